"""What ranking and interval metrics are computed from: top-N lists with their hits, and prediction intervals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from recsys.bundle.typing import Float64Array, IndexArray

PADDING = -1  # fills a list that has fewer items than places


@dataclass(frozen=True, eq=False)
class RankedLists:
    """Top-N lists of users who have held-out items, and which places hold one of these."""

    items: IndexArray  # (users, places), best first, filled with PADDING
    hits: NDArray[np.bool_]  # (users, places)
    relevant: IndexArray  # (users,) number of held-out items, at least 1
    popularity: Float64Array  # (n_items,) share of the fitted users who have rated each item of the catalogue

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
        """Discounted gain of a perfect list of k places, `(users,)`."""
        best: Float64Array = np.cumsum(self.discount[:k])
        return np.asarray(best[np.minimum(self.relevant, k) - 1])

    def recommended(self, k: int) -> IndexArray:
        """How many lists of k places hold each item of the catalogue, `(n_items,)`."""
        items = self.items[:, :k]
        return np.bincount(items[items != PADDING], minlength=len(self.popularity))


class IntervalHits(NamedTuple):
    """Which test ratings lie inside their prediction intervals."""

    inside: Mapping[float, Float64Array]  # by the interval's level, each (test rows,) in [0, 1]
    std: Float64Array  # (test rows,) predictive standard deviation in stars
