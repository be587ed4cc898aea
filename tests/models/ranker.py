"""A ranking model for tests: matrix factorization that is chosen by how it ranks."""

from __future__ import annotations

import torch

from recsys.data.datamodule import RatingDataModule
from recsys.evaluation.metrics import catalogue_metrics
from recsys.evaluation.registry import NDCG
from recsys.models.mf import MatrixFactorization

RANKER = ("model._target_=tests.models.ranker.Ranker", "data.split=leave_one_out")


class Ranker(MatrixFactorization):
    task = "ranking"
    monitor = NDCG

    def on_validation_epoch_end(self) -> None:
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        assert isinstance(data, RatingDataModule)
        fitted, held_out = data.fit_data.columns, data.rows(data.split.val).columns
        metrics = catalogue_metrics(
            lambda user: (self.user_embedding[torch.from_numpy(user)] @ self.item_embedding.T + self.item_bias).numpy(
                force=True
            ),
            (fitted.user.numpy(), fitted.item.numpy()),
            (held_out.user.numpy(), held_out.item.numpy()),
        )
        self.log("val/ndcg@10", metrics["ndcg@10"])
