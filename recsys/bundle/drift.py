"""Per-user temporal bias drift: an exponentially weighted mean of a user's residuals, shrunk towards 0.

drift = sum_k w_k e_k / (sum_k w_k + shrinkage),  w_k = exp(-(number of later ratings) / ratings)
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from recsys.bundle.typing import Float32Array, Float64Array, IndexArray

__all__ = ["Drift"]


class Drift(NamedTuple):
    ratings: float  # number of later ratings that lowers a residual's weight by a factor e
    shrinkage: float  # weight of a drift of 0, in ratings

    def weights(self, n: int) -> Float64Array:
        """The weight of each of n residuals in the drift, the latest last, `(n,)`."""
        weight = np.exp(-np.arange(n - 1, -1, -1) / self.ratings)
        return np.asarray(weight / (weight.sum() + self.shrinkage))

    def discounted_sums(self, values: Float32Array, n: int) -> Float32Array:
        """`sum_k w_k values_k` over the first 0, 1, ..., n of the values `(>= n, ...)`: `(n + 1, ...)`."""
        decay, sums = np.exp(np.float32(-1 / self.ratings)), np.zeros((n + 1, *values.shape[1:]), np.float32)
        for k in range(n):
            sums[k + 1] = decay * sums[k] + values[k]
        return sums

    def total_weight(self, n: IndexArray) -> Float64Array:
        """The divisor of `discounted_sums`: `sum_k w_k + shrinkage` over n residuals, of any shape."""
        return np.asarray(np.expm1(-n / self.ratings) / np.expm1(-1 / self.ratings) + self.shrinkage)
