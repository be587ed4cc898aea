"""RecBole (Zhao et al. 2021), by its own dataset, sampler, loader and trainer."""

from __future__ import annotations

import os

import numpy as np
import torch
from recbole.config import Config
from recbole.data import create_dataset
from recbole.data.dataloader import TrainDataLoader
from recbole.data.interaction import Interaction
from recbole.model.general_recommender import bpr
from recbole.model.sequential_recommender import sasrec
from recbole.sampler import Sampler
from recbole.trainer import Trainer
from recbole.utils import init_seed

from benchmarks.comparison.contract import Floats, Run
from benchmarks.comparison.task import Rows, Task

NAME = "ratings"
USERS_AT_ONCE = 256
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


class SASRec:
    """A transformer, trained to predict what follows each beginning of a history; a fixed number of epochs."""

    def __init__(self, run: Run) -> None:
        torch.set_num_threads(run.threads)
        self.run = run

    def prepare(self, task: Task) -> None:
        os.chdir(self.run.folder)
        folder = self.run.folder / NAME
        folder.mkdir()
        place = np.argsort(task.train_order())  # of each row among them
        rows = np.stack([task.train_user, task.train_item, place], 1)
        header = "user:token\titem:token\ttimestamp:float"
        np.savetxt(folder / f"{NAME}.inter", rows, "%d", "\t", header=header, comments="")
        fields = FIELDS | {"TIME_FIELD": "timestamp", "load_col": {"inter": ["user", "item", "timestamp"]}}
        plain = {"data_path": str(self.run.folder), "use_gpu": False, "train_neg_sample_args": None}
        self.config = Config("SASRec", NAME, config_dict=fields | plain | self.run.settings | {"seed": self.run.seed})
        init_seed(self.run.seed, self.config["reproducibility"])
        self.dataset = create_dataset(self.config)
        self.histories = self._histories(task)
        self.dataset._change_feat_format()
        self.dataset.data_augmentation()  # every beginning of a history, and what comes next
        self.loader = TrainDataLoader(self.config, self.dataset, None, shuffle=True)
        self.model = sasrec.SASRec(self.config, self.dataset)
        self.items = self.dataset.token2id("item", [str(item) for item in range(task.fitted_items)])

    def _histories(self, task: Task) -> list[Rows]:
        """Each user's items by the library's numbers, the latest ones, the oldest first."""
        order = task.train_order()
        items = self.dataset.token2id("item", [str(item) for item in task.train_item[order].tolist()])
        ends = np.cumsum(np.bincount(task.train_user, minlength=task.n_users))[:-1]
        longest = self.config["MAX_ITEM_LIST_LENGTH"]
        return [one[-longest:] for one in np.split(np.asarray(items), ends)]

    def fit(self) -> None:
        Trainer(self.config, self.model).fit(self.loader, verbose=False, saved=False)

    @torch.no_grad()
    def scores(self, users: Rows) -> Floats:
        self.model.eval()
        found = []
        for block in np.split(users, range(USERS_AT_ONCE, len(users), USERS_AT_ONCE)):
            some = [torch.from_numpy(self.histories[user]) for user in block.tolist()]
            padded = torch.zeros(len(some), self.config["MAX_ITEM_LIST_LENGTH"], dtype=torch.int64)
            for row, history in zip(padded, some, strict=True):
                row[: len(history)] = history
            asked = Interaction({"item_list": padded, "item_length": torch.tensor([len(one) for one in some])})
            found.append(self.model.full_sort_predict(asked)[:, self.items].numpy())
        scores: Floats = np.concatenate(found)
        return scores
