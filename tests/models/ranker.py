"""A ranking model for tests: matrix factorization that is chosen by how it ranks."""

from __future__ import annotations

from recsys.data.datamodule import RatingDataModule
from recsys.evaluation.metrics import catalogue_figures
from recsys.evaluation.monitor import NDCG
from recsys.models.mf import MatrixFactorization

RANKER = ("model._target_=tests.models.ranker.Ranker", "data.split=leave_one_out")


class Ranker(MatrixFactorization):
    task = "ranking"
    monitor = NDCG

    def on_validation_epoch_end(self) -> None:
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        assert isinstance(data, RatingDataModule)
        fitted, held_out = data.fit_data.columns, data.rows(data.split.val).columns
        figures = catalogue_figures(
            lambda user: self.user_embedding[user] @ self.item_embedding.T + self.item_bias,
            (fitted.user, fitted.item),
            (held_out.user, held_out.item),
        )
        self.log("val/ndcg@10", figures["ndcg@10"])
