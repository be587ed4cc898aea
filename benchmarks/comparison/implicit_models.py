"""implicit (Frederickson): what was rated counts as taken, whatever the stars, unless `min_rating` asks for more."""

from __future__ import annotations

from typing import Any

import numpy as np
from implicit.als import AlternatingLeastSquares
from implicit.bpr import BayesianPersonalizedRanking
from scipy.sparse import csr_matrix

from benchmarks.comparison.contract import Floats, Run
from benchmarks.comparison.task import Rows, Task


class Implicit:
    """A factor model of a user x item matrix of ones."""

    def __init__(self, run: Run) -> None:
        settings = dict(run.settings)
        self.min_rating = settings.pop("min_rating")
        self.model = self.build(use_gpu=False, num_threads=run.threads, random_state=run.seed, **settings)

    def build(self, **arguments: Any) -> Any:
        raise NotImplementedError

    def prepare(self, task: Task) -> None:
        taken = task.train_rating >= self.min_rating
        user, item = task.train_user[taken], task.train_item[taken]
        shape = (task.fitted_users, task.fitted_items)
        self.matrix = csr_matrix((np.ones(len(user), np.float32), (user, item)), shape)

    def fit(self) -> None:
        self.model.fit(self.matrix, show_progress=False)

    def scores(self, users: Rows) -> Floats:
        scores: Floats = self.model.user_factors[users] @ self.model.item_factors.T
        return scores


class ALS(Implicit):
    """Weighted least squares on all cells (Hu, Koren & Volinsky 2008)."""

    def build(self, **arguments: Any) -> Any:
        return AlternatingLeastSquares(**arguments)


class BPR(Implicit):
    """Pairwise ranking by stochastic gradient descent (Rendle et al. 2009)."""

    def build(self, **arguments: Any) -> Any:
        return BayesianPersonalizedRanking(**arguments)
