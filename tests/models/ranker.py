"""A ranking model for tests: matrix factorization that is chosen by how it ranks."""

from __future__ import annotations

from torch import Tensor

from recsys.models.mf import MatrixFactorization
from recsys.models.ranking import RankingModel

RANKER = ("model._target_=tests.models.ranker.Ranker", "data.split=leave_one_out")


class Ranker(RankingModel, MatrixFactorization):
    def scores(self, user: Tensor) -> Tensor:
        return self.user_embedding[user] @ self.item_embedding.T + self.item_bias
