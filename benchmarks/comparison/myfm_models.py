"""myFM (Ohtsuki): Bayesian factorization machines by Gibbs sampling, on relation blocks of users and of items."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, hstack, identity

from benchmarks.comparison.contract import Floats, Run
from benchmarks.comparison.task import Rows, Task

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it asks pkg_resources for its version
    from myfm import MyFMRegressor, RelationBlock


class Ids:
    """User and item ids alone: Bayesian matrix factorization with biases.

    Ids that training does not know have a column of their own, whose posterior is the prior. Every group of columns
    has a prior of its own, as in myFM's examples.
    """

    def __init__(self, run: Run) -> None:
        self.rank, self.n_iter = run.settings["rank"], run.settings["n_iter"]
        self.model = MyFMRegressor(self.rank, random_seed=run.seed)

    def prepare(self, task: Task) -> None:
        sides = [self.user_columns(task), self.item_columns(task)]
        self.group_shapes = [columns.shape[1] for side in sides for columns in side]
        matrices = [hstack(side, format="csr", dtype=np.float64) for side in sides]
        rows = [(task.train_user, task.train_item), (task.test_user, task.test_item)]
        self.train, self.test = (
            [RelationBlock(row, matrix) for row, matrix in zip(pair, matrices, strict=True)] for pair in rows
        )
        self.rating = task.train_rating.astype(np.float64)

    def user_columns(self, task: Task) -> list[csr_matrix]:
        return [identity(task.n_users, format="csr")]

    def item_columns(self, task: Task) -> list[csr_matrix]:
        return [identity(task.n_items, format="csr")]

    def fit(self) -> None:
        self.model.fit(
            None,
            self.rating,
            X_rel=self.train,
            n_iter=self.n_iter,
            group_shapes=self.group_shapes,
        )

    def predict(self) -> Floats:
        predicted: Floats = self.model.predict(None, self.test)
        return predicted


class Blocks(Ids):
    """Ids, what else the user rated and who else rated the item (training rows), and attributes of both."""

    def user_columns(self, task: Task) -> list[csr_matrix]:
        rated = implicit(task.train_user, task.train_item, task.n_users, task.n_items)
        names = ("user age", "user gender", "user occupation")
        known = [one_hot(task.attributes[name]) for name in names if name in task.attributes]
        return [*super().user_columns(task), rated, *known]

    def item_columns(self, task: Task) -> list[csr_matrix]:
        raters = implicit(task.train_item, task.train_user, task.n_items, task.n_users)
        known = [one_hot(task.attributes["item year"])] if "item year" in task.attributes else []
        if "item genres" in task.attributes:
            known.append(unit_rows(csr_matrix(task.attributes["item genres"], dtype=np.float64)))
        return [*super().item_columns(task), raters, *known]


def implicit(row: Rows, column: Rows, rows: int, columns: int) -> csr_matrix:
    """Ones where a pair was rated, each row over the root of its count: `(rows, columns)`."""
    return unit_rows(csr_matrix((np.ones(len(row)), (row, column)), (rows, columns)))


def unit_rows(matrix: csr_matrix) -> csr_matrix:
    """A matrix of zeros and ones, every row of length 1 or empty."""
    count = np.maximum(np.diff(matrix.indptr), 1)
    return csr_matrix((matrix.data / np.repeat(np.sqrt(count), np.diff(matrix.indptr)), matrix.indices, matrix.indptr))


def one_hot(category: NDArray[np.int64]) -> csr_matrix:
    """A column a category; -1 is an empty row."""
    row = np.flatnonzero(category >= 0)
    shape = (len(category), int(category.max()) + 1)
    return csr_matrix((np.ones(len(row)), (row, category[row])), shape)
