"""Fold-in by a matrix of item weights: somebody is the history of their items, and nothing is solved."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from recsys.bundle.factors import UserVector
from recsys.bundle.fold_in import FoldIn
from recsys.bundle.history import History, history_weights
from recsys.bundle.typing import Float32Array, IndexArray

__all__ = ["HistoryFoldIn"]


@dataclass(frozen=True, eq=False, repr=False)
class HistoryFoldIn(FoldIn):
    """A user of a model with `item_weights`, from their items in order of time; what they rated them does not count."""

    @cached_property
    def weights(self) -> Float32Array:
        """The weight of each of the items, `(n,)`."""
        matrix = self.model.item_weights
        assert matrix is not None
        half_life = self.model.history_half_life
        return history_weights(self.items, len(matrix), None if half_life is None else float(half_life[0]))

    @cached_property
    def vector(self) -> UserVector:
        """The history; bias and factors are those of the average user, who has none."""
        average = self.model.user(-1)
        if not len(self.items):
            return average
        counts = self.weights > 0
        return average._replace(cold_start=False, history=History(self.items[counts], self.weights[counts]))

    def contributions(self, targets: IndexArray) -> tuple[Float32Array, Float32Array]:
        """`base (t,)`, level and bias of each item, and the exact `contributions (t, n)`; see `FoldIn`."""
        model, matrix = self.model, self.model.item_weights
        assert matrix is not None
        parts = np.zeros((len(targets), len(self.items)), np.float32)
        counts, weighted = self.weights > 0, targets < len(matrix)
        pairs = matrix[self.items[counts], targets[weighted, None]]
        parts[np.ix_(weighted, counts)] = self.weights[counts] * pairs
        return np.asarray(model.mu.mean() + model.item_bias[targets].mean(1), np.float32), parts
