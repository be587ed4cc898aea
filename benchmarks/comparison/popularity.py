"""The same list for everyone: items by how often they were rated."""

from __future__ import annotations

import numpy as np

from benchmarks.comparison.contract import Floats, Run
from benchmarks.comparison.task import Rows, Task


class Popularity:
    """Score of an item: its training ratings."""

    def __init__(self, run: Run) -> None: ...

    def prepare(self, task: Task) -> None:
        self.task = task

    def fit(self) -> None:
        self.counts = np.bincount(self.task.train_item, minlength=self.task.fitted_items).astype(np.float64)

    def scores(self, users: Rows) -> Floats:
        return np.broadcast_to(self.counts, (len(users), len(self.counts)))
