"""What a model must beat: the global mean, the item's mean, user and item biases, fixed or running. NumPy only."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from recsys.bundle.typing import Float64Array, Int64Array

USER_PRIOR, ITEM_PRIOR = 15.0, 10.0  # ratings' worth of pull towards zero on a bias


class Biases(NamedTuple):
    """`r(u, i) = mu + b_u + b_i` in stars; rows never rated have bias 0."""

    mu: float
    user: Float64Array  # (n_users,)
    item: Float64Array  # (n_items,)

    def predict(self, user: Int64Array, item: Int64Array) -> Float64Array:
        """Predicted stars, unclipped, `(rows,)`; a row of -1 (never seen) counts as bias 0."""
        return self.mu + np.where(user >= 0, self.user[user], 0.0) + np.where(item >= 0, self.item[item], 0.0)


def fit_item_means(item: Int64Array, rating: NDArray[np.floating[Any]], n_users: int, n_items: int) -> Biases:
    """Every item's own mean, and the global mean where it has none."""
    rating = rating.astype(np.float64)
    mu = float(rating.mean())
    count = np.bincount(item, minlength=n_items)
    total = np.bincount(item, weights=rating - mu, minlength=n_items)
    return Biases(mu, np.zeros(n_users), total / np.maximum(count, 1))


def fit_biases(
    user: Int64Array,
    item: Int64Array,
    rating: NDArray[np.floating[Any]],
    n_users: int,
    n_items: int,
    *,
    sweeps: int = 10,
    user_prior: float = USER_PRIOR,
    item_prior: float = ITEM_PRIOR,
) -> Biases:
    """Shrunk biases by alternating least squares (Koren 2010, "Factor in the Neighbors", section 2.1).

    Args:
        user: Dense user rows, `(n,)`.
        item: Dense item rows, `(n,)`.
        rating: Stars, `(n,)`.
        n_users: Number of user rows.
        n_items: Number of item rows.
        sweeps: Rounds of item biases given user biases, then the reverse.
        user_prior: Ratings' worth of pull towards zero on a user's bias.
        item_prior: The same on an item's bias.
    """
    mu = float(np.mean(rating, dtype=np.float64))
    deviation = rating.astype(np.float64) - mu
    user_weight = user_prior + np.bincount(user, minlength=n_users)
    item_weight = item_prior + np.bincount(item, minlength=n_items)
    user_bias, item_bias = np.zeros(n_users), np.zeros(n_items)
    for _ in range(sweeps):
        item_bias = np.bincount(item, deviation - user_bias[user], minlength=n_items) / item_weight
        user_bias = np.bincount(user, deviation - item_bias[item], minlength=n_users) / user_weight
    return Biases(mu, user_bias, item_bias)


def running_user_biases(
    user: Int64Array, time: Int64Array, surprise: Float64Array, *, prior: float = USER_PRIOR
) -> Float64Array:
    """The bias of each rating's user as known just before it, `(n,)`: a shrunk mean of their surprises until then.

    Ratings at the same time know nothing of each other.

    Args:
        user: User rows, `(n,)`.
        time: When each rating was given, `(n,)`.
        surprise: Stars above the global mean and the item's bias, `(n,)`.
        prior: Ratings' worth of pull towards zero.
    """
    order = np.lexsort((time, user))
    new_user = np.diff(user[order], prepend=-1) != 0
    new_time = new_user | (np.diff(time[order], prepend=-1) != 0)
    # Where each rating's user begins, and the group of ratings at its time.
    since, until = (np.maximum.accumulate(np.where(new, np.arange(len(user)), 0)) for new in (new_user, new_time))
    total = np.append(0, np.cumsum(surprise[order]))
    biases = np.empty(len(user))
    biases[order] = (total[until] - total[since]) / (prior + until - since)
    return biases
