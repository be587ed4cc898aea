"""Ranking models, selected by a ranking metric of the held-out items over the full catalogue."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

from recsys.data.batches import Batch
from recsys.data.datamodule import RatingDataModule
from recsys.evaluation.ranking import catalogue_metrics
from recsys.evaluation.registry import NDCG, Metric, Metrics
from recsys.models.base import RatingModel
from recsys.models.held_out_users import validate_held_out_users


class RankingModel(RatingModel):
    """A model whose scores rank items and are not in stars; must precede the other base class."""

    task: str = "ranking"
    monitor: Metric = NDCG

    @property
    def unit(self) -> float:
        """1: scores do not depend on the rating scale."""
        return 1.0

    @abstractmethod
    def scores(self, user: Tensor) -> Tensor:
        """Scores of every fitted item, `(users, n_items)`, for fitted users' rows, `(users,)`."""

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Do nothing: a ranking metric is not a mean over rows."""

    def on_validation_epoch_end(self) -> None:
        """Log the training loss and the monitored metric on the validation rows, if any."""
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        assert isinstance(data, RatingDataModule)
        if self.trainer.state.fn == "fit" and not self.one_epoch:  # which has no loss to watch
            self.log("train/loss", self.mean_train_loss())
        metrics = self.validation_metrics(data)
        if metrics is not None:
            self.log(self.monitor.validation_key, metrics[self.monitor.name] or 0.0)

    def validation_metrics(self, data: RatingDataModule) -> Metrics | None:
        """The monitored metric of all validation rows of each user, given the fitted ones; None if there are none."""
        folded = validate_held_out_users(self, data)
        if folded is not None:
            return folded
        held_out, fitted = data.rows(data.split.val).columns, data.fit_data.columns
        if not len(held_out.user):
            return None
        return catalogue_metrics(
            lambda user: self.scores(torch.from_numpy(user).to(self.device)).float().numpy(force=True),
            (fitted.user.numpy(force=True), fitted.item.numpy(force=True)),
            (held_out.user.numpy(force=True), held_out.item.numpy(force=True)),
            [self.monitor.name],
            one_of=data.split_arguments["ties"] == "group",
        )

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Nothing: `recsys.evaluation` measures the bundle."""

    def on_test_epoch_end(self) -> None:
        """Nothing: `recsys.evaluation` measures the bundle."""
