"""RecBole (Zhao et al. 2021), by its own dataset, sampler, loader and trainer."""

from __future__ import annotations

import os

import numpy as np
import torch
from recbole.config import Config
from recbole.data import create_dataset
from recbole.data.dataloader import TrainDataLoader
from recbole.model.general_recommender import bpr
from recbole.sampler import Sampler
from recbole.trainer import Trainer
from recbole.utils import init_seed

from benchmarks.comparison.contract import Floats, Run
from benchmarks.comparison.task import Rows, Task

NAME = "ratings"
FIELDS = {"USER_ID_FIELD": "user", "ITEM_ID_FIELD": "item", "load_col": {"inter": ["user", "item"]}}


class BPR:
    """Pairwise ranking with Adam, whatever the stars; a fixed number of epochs, since test rows must choose none."""

    def __init__(self, run: Run) -> None:
        torch.set_num_threads(run.threads)
        self.run = run

    def prepare(self, task: Task) -> None:
        os.chdir(self.run.folder)  # logs and boards go to the working directory, whatever is configured
        folder = self.run.folder / NAME
        folder.mkdir()
        pairs = np.stack([task.train_user, task.train_item], 1)
        np.savetxt(folder / f"{NAME}.train.inter", pairs, "%d", "\t", header="user:token\titem:token", comments="")
        plain = {"data_path": str(self.run.folder), "benchmark_filename": ["train"], "use_gpu": False}
        self.config = Config("BPR", NAME, config_dict=FIELDS | plain | self.run.settings | {"seed": self.run.seed})
        init_seed(self.run.seed, self.config["reproducibility"])
        (self.dataset,) = create_dataset(self.config).build()
        sampler = Sampler(["train"], [self.dataset]).set_phase("train")
        self.loader = TrainDataLoader(self.config, self.dataset, sampler, shuffle=True)
        self.model = bpr.BPR(self.config, self.dataset)
        self.items = self.dataset.token2id("item", [str(item) for item in range(task.fitted_items)])

    def fit(self) -> None:
        Trainer(self.config, self.model).fit(self.loader, verbose=False, saved=False)

    def scores(self, users: Rows) -> Floats:
        rows = self.dataset.token2id("user", [str(user) for user in users.tolist()])
        user, item = (embedding.weight.detach().numpy() for embedding in (self.model.user_embedding,
                                                                           self.model.item_embedding))  # fmt: skip
        scores: Floats = user[rows] @ item[self.items].T
        return scores
