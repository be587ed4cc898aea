"""Fold-in of new items: the mirrored ridge solve, by the rows of their raters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from recsys.bundle.factors import Factors, UserVector
from recsys.bundle.fold_in import RidgeFoldIn, fold_in
from recsys.bundle.sides import append_users, take_users
from recsys.bundle.typing import Float32Array, IndexArray

__all__ = ["ItemRatings", "fold_in_item", "fold_in_items", "raters_moment", "row_precision"]


class ItemRatings(NamedTuple):
    """The ratings of an item, each user's at most once."""

    user: IndexArray  # (n,) rows of fitted users, or n_users + the row of one of the other raters
    rating: Float32Array  # (n,) stars


def fold_in_item(
    factors: Factors,
    user: IndexArray,
    rating: Float32Array,
    attributes: IndexArray | None = None,
    raters: UserVector | None = None,
) -> RidgeFoldIn:
    """Fold in an item from its ratings: one ridge solve per sample, as `fold_in` of the mirrored model.

    The row of the item is the `vector` of the result, whose `model` is the mirrored one of the raters alone.

    Args:
        factors: The model.
        user: Rows of the raters, `(n,)`, those from `n_users` on in `raters`.
        rating: Their stars, `(n,)`.
        attributes: Positions among the item attributes, `(a,)`.
        raters: Rows of users who were not fitted, `(users, samples)` and `(users, samples, dim)`.

    Raises:
        ValueError: The model has no prior of items.
        numpy.linalg.LinAlgError: The prior makes the system singular.
    """
    return fold_in_items(factors, [ItemRatings(user, rating)], None if attributes is None else [attributes], raters)[0]


def fold_in_items(
    factors: Factors,
    items: Sequence[ItemRatings],
    attributes: Sequence[IndexArray] | None = None,
    raters: UserVector | None = None,
) -> list[RidgeFoldIn]:
    """As `fold_in_item`, of many items; what they have in common is computed once.

    Args:
        factors: The model.
        items: Ratings of each.
        attributes: Positions among the item attributes, of each; None: none of any.
        raters: Rows of users who were not fitted.
    """
    n_users = len(factors.user_bias)
    user = np.concatenate([np.zeros(0, np.int64), *(item.user for item in items)])
    fitted = np.unique(user[user < n_users])
    known = take_users(factors, fitted)
    mirrored = (known if raters is None else append_users(known, raters)).mirrored()
    folded = []
    for number, (rater, rating) in enumerate(items):
        row = np.where(rater < n_users, np.searchsorted(fitted, rater), len(fitted) + rater - n_users)
        folded.append(fold_in(mirrored, row, rating, None if attributes is None else attributes[number]))
    return folded


def row_precision(folded: RidgeFoldIn, moment: Float32Array) -> Float32Array:
    """The relative noise precision of a folded-in item of a posterior, `(samples,)`, by which its row's spread counts.

    A posterior's sample of the row is its mean given the sample's users, without the row's own spread, which is large
    after few ratings. It counts as noise of the item: with the row's covariance C in units of the noise, and
    `z = [p, 1]` of a user, the precision is `1 / (1 + mean of z' C z over users)`. Draws of the row instead were no
    better (benchmarks/negative_results.md).

    Args:
        folded: The fold-in; without ratings it has the prior's spread.
        moment: `raters_moment` of the model.
    """
    spread = np.linalg.solve(folded.system, moment).trace(axis1=1, axis2=2)
    return np.asarray(1 / (1 + np.maximum(spread, 0)), np.float32)


def raters_moment(factors: Factors) -> Float32Array | None:
    """Mean of `[p, 1] [p, 1]'` over all users, `(samples, dim + 1, dim + 1)`; None where samples have no noise."""
    if factors.precision is None:
        return None
    moment = np.ones((factors.samples, *[factors.prior_mean.shape[1]] * 2), np.float32)
    for s in range(factors.samples):
        users = factors.user_factors[:, s]
        moment[s, :-1, :-1] = users.T @ users / np.float32(len(users))
        moment[s, -1, :-1] = moment[s, :-1, -1] = users.mean(0)
    return moment
