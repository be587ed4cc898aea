"""Precision of ratings around a model's linear part, by user and item."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from recsys.bundle.factors import Factors, UserVector
from recsys.bundle.typing import Float32Array, IndexArray

__all__ = ["RatingNoise"]


@dataclass(frozen=True, eq=False)
class RatingNoise:
    """The noise of a model's ratings, including uncertainty about users without a fitted row."""

    factors: Factors

    def precision(self, user: IndexArray, item: IndexArray) -> Float32Array | None:
        """The noise precision `(rows, samples)` for dense rows, where -1 is an unseen row.

        For a user without ratings it includes the variance among fitted users. None if the model has no `precision`.
        """
        own = None
        if self.factors.user_precision is not None:
            own = np.where((user >= 0)[:, None], self.factors.user_precision[user], 1)
        return self._total(own, item, user < 0)

    def precision_for(self, vector: UserVector, item: IndexArray) -> Float32Array | None:
        """As `precision`, for one user; for a folded-in user it includes the variance of their posterior."""
        total = self._total(vector.precision, item, np.full(len(item), vector.cold_start))
        if total is None or vector.posterior is None or self.factors.precision is None:
            return total
        design = np.where((item >= 0)[:, None, None], self.factors.design.transpose(1, 0, 2)[item], 0)
        design[:, :, -1] = 1
        variance = vector.posterior.variance(design)
        return np.asarray(1 / (1 / total + variance / self.factors.precision), np.float32)

    def _total(self, own: Float32Array | None, item: IndexArray, cold_start: NDArray[np.bool_]) -> Float32Array | None:
        factors = self.factors
        if factors.precision is None:
            return None
        total = np.broadcast_to(factors.precision, (len(item), factors.samples))
        if own is not None:
            total = total * own
        if factors.item_precision is not None:
            total = total * np.where((item >= 0)[:, None], factors.item_precision[item], 1)
        if cold_start.any():
            variance = np.where(cold_start[:, None], self._user_population_variance[item], 0)
            total = np.asarray(1 / (1 / total + variance), np.float32)
        return np.asarray(total, np.float32)

    @cached_property
    def _user_population_variance(self) -> Float32Array:
        """The variance of the fitted users' linear parts for each item and, last, the average item.

        Its shape is `(n_items + 1, samples)`.
        """
        factors = self.factors
        users = np.concatenate([factors.user_factors, factors.user_bias[:, :, None]], 2)
        users = users - users.mean(0)
        variance = np.empty((len(factors.item_bias) + 1, factors.samples), np.float32)
        for s in range(factors.samples):
            covariance = users[:, s].T @ users[:, s] / len(users)
            design = np.pad(factors.design[s], ((0, 1), (0, 0)))
            design[-1, -1] = 1
            variance[:, s] = np.einsum("id,de,ie->i", design, covariance, design, optimize=True)
        return variance
