"""recsys itself, by the functions that its command is made of."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig

from benchmarks.comparison.contract import Floats, Run
from benchmarks.comparison.protocols import composed
from benchmarks.comparison.task import Rows, Task
from recsys.bundle import TEST, Bundle
from recsys.data.datamodule import RatingDataModule
from recsys.models.base import RatingModel
from recsys.training.export import make_bundle
from recsys.training.run import Selection, build_data, refit, select


class Selected:
    """Epochs chosen with validation rows, then a refit on all: what `python -m recsys.train` does."""

    def __init__(self, run: Run) -> None:
        torch.set_num_threads(run.threads)
        self.run = run

    def prepare(self, task: Task) -> None:
        settings = [f"{name}={value}" for name, value in self.run.settings.items()]
        root = [f"data.root={self.run.root}"] if self.run.root else []
        places = [
            f"seed={self.run.seed}",
            f"run_dir={self.run.folder}",
            "model_name=recsys",  # as the folder, else taken from a running command
            "trainer.accelerator=cpu",
            "~callbacks.progress",
        ]
        self.cfg = composed([*settings, *task.overrides, *root, *places])
        self.data = build_data(self.cfg)
        self.data.prepare_data()
        self.data.setup()
        self.task = task

    def fit(self) -> None:
        (self.run.folder / "checkpoints").mkdir()
        loggers = list(instantiate(self.cfg.logger).values())
        selection, _ = select(self.cfg, self.data, self.run.folder, loggers)
        self.data = self.data.with_fit_on("train_val")
        self.model, _ = refit(self.cfg, self.data, selection, self.run.folder)

    def predict(self) -> Floats:
        bundle = make_bundle(self.model, self.data)
        check_rows(bundle, self.task)
        predicted: Floats = bundle.predict_rows(self.task.test_user, self.task.test_item)
        return predicted


class FixedEpochs(Selected):
    """As many epochs as `trainer.max_epochs` says, on training and validation rows at once."""

    def prepare(self, task: Task) -> None:
        super().prepare(task)
        self.data = self.data.with_fit_on("train_val")

    def fit(self) -> None:
        (self.run.folder / "checkpoints").mkdir()
        self.model = fit_for_epochs(self.cfg, self.data, self.run)


def fit_for_epochs(cfg: DictConfig, data: RatingDataModule, run: Run) -> RatingModel:
    """A model fitted on `data.fit_rows` for `cfg.trainer.max_epochs` epochs; plateau keeps its first rate then."""
    rates = [float(cfg.model.get("learning_rate", 0))] * int(cfg.trainer.max_epochs)
    model, _ = refit(cfg, data, Selection(rates, {}, 0.0), run.folder)
    return model


class Ranked(Selected):
    """Items by score, or by predicted stars before clipping."""

    def scores(self, users: Rows) -> Floats:
        bundle = self.bundle()
        return bundle.scores_of(users, bundle.ratings.part != TEST)  # fitted on all others

    def bundle(self) -> Bundle:
        if not hasattr(self, "exported"):
            self.exported = make_bundle(self.model, self.data)
            check_rows(self.exported, self.task)
        return self.exported


class RankedFixedEpochs(Ranked, FixedEpochs):
    """As many epochs as `trainer.max_epochs` says, on training and validation rows at once."""


def check_rows(bundle: Bundle, task: Task) -> None:
    """That the bundle's rows, and its test rows, are the task's.

    Raises:
        ValueError: They are not.
    """
    test = np.flatnonzero(bundle.ratings.part == TEST)
    user, item = bundle.ratings.user_index()[test], bundle.ratings.item[test]
    same: dict[str, Any] = {
        "user ids": (bundle.user_ids, task.user_ids),
        "item ids": (bundle.item_ids, task.item_ids),
        "test users": (np.unique(user), np.unique(task.test_user)),
    }
    if task.kind == "rating":
        width = task.n_items
        same["test pairs"] = np.sort(user * width + item), np.sort(task.test_user * width + task.test_item)
    for name, (own, others) in same.items():
        if not np.array_equal(own, others):
            raise ValueError(f"{name} of recsys' own run differ from the task's")
