"""What ranking and interval metrics are computed from: top-N lists with their hits, and prediction intervals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from recsys.bundle.typing import Float64Array, IndexArray

HEAD = 0.8  # share of the ratings that the most popular items have together; all others are the long tail
PADDING = -1  # fills a list that has fewer items than places


@dataclass(frozen=True, eq=False)
class RankedLists:
    """Top-N lists that should have some relevant items, and which places hold one of these."""

    items: IndexArray  # (lists, places), best first, filled with PADDING
    hits: NDArray[np.bool_]  # (lists, places)
    relevant: IndexArray  # (lists,) number of relevant items, at least 1
    popularity: Float64Array  # (n_items,) share of the fitted users who have rated each item of the catalogue, above 0
    weight: Float64Array | None = None  # (lists,) how much each counts; None: all the same

    @classmethod
    def of(
        cls,
        lists: IndexArray,
        row: IndexArray,
        item: IndexArray,
        popularity: Float64Array,
        weight: Float64Array | None = None,
    ) -> RankedLists:
        """Lists with what they should have; lists without relevant items are left out.

        Args:
            lists: Items, best first, `(lists, places)`, filled with `PADDING`.
            row: Of each relevant item, the list that should have it, `(relevant items,)`.
            item: The relevant items, `(relevant items,)`; -1 is in no list.
            popularity: Share of the fitted users who have rated each item of the catalogue, `(n_items,)`, above 0.
            weight: How much each list counts, `(lists,)`; None: all the same.
        """
        relevant, hits = np.bincount(row, minlength=len(lists)), hits_of(lists, row, item)
        some = relevant > 0
        return cls(lists[some], hits[some], relevant[some], popularity, None if weight is None else weight[some])

    def mean(self, values: NDArray[np.floating]) -> float:
        """The mean over the lists of their values, `(lists,)`."""
        if self.weight is None:
            return float(values.mean())
        return float(values @ self.weight / self.weight.sum())

    @cached_property
    def ranks(self) -> IndexArray:
        return np.arange(1, self.items.shape[1] + 1)

    @cached_property
    def discount(self) -> Float64Array:
        return np.asarray(1 / np.log2(self.ranks + 1), np.float64)

    @cached_property
    def self_information(self) -> Float64Array:
        return -np.log2(self.popularity)

    def best_gain(self, k: int) -> Float64Array:
        """Discounted gain of a perfect list of k places, `(lists,)`."""
        best: Float64Array = np.cumsum(self.discount[:k])
        return np.asarray(best[np.minimum(self.relevant, k) - 1])

    @cached_property
    def long_tail(self) -> NDArray[np.bool_]:
        """Which items are not among the most popular ones that have `HEAD` of all ratings, `(n_items,)`."""
        order = np.argsort(-self.popularity, kind="stable")
        before = np.cumsum(self.popularity[order]) - self.popularity[order]
        tail = np.empty(len(order), bool)
        tail[order] = before >= HEAD * self.popularity.sum()
        return tail

    def recommended(self, k: int) -> Float64Array:
        """How many lists of k places hold each item of the catalogue, each by its weight, `(n_items,)`."""
        items = self.items[:, :k]
        held = items != PADDING
        weight = None if self.weight is None else np.broadcast_to(self.weight[:, None], items.shape)[held]
        return np.bincount(items[held], weight, len(self.popularity)).astype(np.float64)


def hits_of(lists: IndexArray, row: IndexArray, item: IndexArray) -> NDArray[np.bool_]:
    """Which places of lists, `(lists, places)`, hold one of the items of their row; an item of -1 is in none."""
    catalogue = 1 + max(int(lists.max(initial=0)), int(item.max(initial=0)))
    pair = np.where(lists == PADDING, -1, np.arange(len(lists))[:, None] * catalogue + lists)
    return np.isin(pair, (row * catalogue + item)[item >= 0])


class IntervalHits(NamedTuple):
    """Which test ratings lie inside their prediction intervals."""

    inside: Mapping[float, Float64Array]  # by the interval's level, each (test rows,) in [0, 1]
    std: Float64Array  # (test rows,) predictive standard deviation in stars
