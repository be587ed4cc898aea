"""RecTools' transformers (Tikhonovich et al. 2025), by its own dataset, loader and trainer."""

from __future__ import annotations

import os

import numpy as np
import pandas as pd
import torch
from pytorch_lightning import Trainer, seed_everything
from rectools import Columns
from rectools.dataset import Dataset
from rectools.models import SASRecModel
from rectools.models.nn.transformers.ligr import LiGRLayers

from benchmarks.comparison.contract import Floats, Run
from benchmarks.comparison.task import Rows, Task

LONGEST_LIST = 100  # items of a list; what is beyond has no score


class SASRec:
    """What comes next, by items and their order, whatever the stars; a fixed number of epochs."""

    def __init__(self, run: Run) -> None:
        torch.set_num_threads(run.threads)
        self.run = run

    def prepare(self, task: Task) -> None:
        os.chdir(self.run.folder)
        place = np.argsort(task.train_order())  # of each row among them
        interactions = pd.DataFrame({
            Columns.User: task.train_user, Columns.Item: task.train_item, Columns.Weight: 1.0,
            Columns.Datetime: pd.to_datetime(place, unit="s"),
        })  # fmt: skip
        self.dataset, self.n_items = Dataset.construct(interactions), task.fitted_items
        seed_everything(self.run.seed)
        settings = dict(self.run.settings)
        epochs, precision = settings.pop("epochs"), settings.pop("precision")

        def trainer() -> Trainer:  # its own but for the precision
            quiet = dict.fromkeys(
                ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False
            )
            return Trainer(max_epochs=epochs, precision=precision, deterministic=True, **quiet)

        self.model = SASRecModel(**settings, get_trainer_func=trainer, **self.layers())

    def layers(self) -> dict[str, object]:
        return {}

    def fit(self) -> None:
        self.model.fit(self.dataset)

    def scores(self, users: Rows) -> Floats:
        found = self.model.recommend(users, self.dataset, k=LONGEST_LIST, filter_viewed=True)
        scores = np.full((len(users), self.n_items), -np.inf)
        row = np.searchsorted(users, found[Columns.User].to_numpy())
        scores[row, found[Columns.Item].to_numpy()] = found[Columns.Score].to_numpy()
        return scores


class ESASRec(SASRec):
    """SASRec with LiGR layers, which with a sampled softmax its authors name eSASRec."""

    def layers(self) -> dict[str, object]:
        return {"transformer_layers_type": LiGRLayers}
