"""Centring: factors whose zero vector is the average user or item."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from recsys.bundle.factors import Factors


def centred_factors(
    mu: float,
    user_bias: NDArray[np.float64],
    item_bias: NDArray[np.float64],
    user_factors: NDArray[np.float64],
    item_factors: NDArray[np.float64],
    prior_mean: NDArray[np.float64],
    prior_precision: NDArray[np.float64],
    prior_exponent: Sequence[float],
    prior_offset: Sequence[float] | None = None,
    item_implicit: NDArray[np.float64] | None = None,
    attribute_effects: NDArray[np.float64] | None = None,
    cold_start_effects: NDArray[np.float64] | None = None,
    cold_start_mean: NDArray[np.float64] | None = None,
    fitted_items: int | None = None,
    no_bias: float = 0.0,
) -> Factors:
    """One sample of factors, moved so that the mean row of each side is the zero vector with bias 0.

    With means `p0, q0`: `p.q = (p - p0).(q - q0) + p.q0 + p0.q - p0.q0`, so that each side's bias takes the
    product with the other side's mean. Predictions stay as they are.

    Args:
        mu: Global level in stars.
        user_bias: `(n_users,)`.
        item_bias: `(n_items,)`.
        user_factors: `(n_users, dim)`.
        item_factors: `(n_items, dim)`.
        prior_mean: Of a user's `[p, b]` before centring, `(dim + 1,)`.
        prior_precision: Each term before centring, `(terms, dim + 1, dim + 1)`, or its diagonal, `(terms, dim + 1)`.
        prior_exponent: How each term grows with a user's number of ratings.
        prior_offset: What is added to that number for each term; None for nothing.
        item_implicit: What having rated an item adds to `p`, or to `[p, b]`, times the root of the number of ratings,
            `(n_items, dim)` or `(n_items, dim + 1)`.
        attribute_effects: What an attribute adds to a user's prior mean, `(attributes, dim + 1)`.
        cold_start_effects: What it adds to the row of someone without ratings, `(attributes, dim + 1)`.
        cold_start_mean: Of such a row, before centring, `(dim + 1,)`.
        fitted_items: How many of the items, the first ones, make the mean item; None for all.
        no_bias: Precision, a rating, that holds at 0 the bias of a model that has none; it makes two terms more.
    """
    p0, q0 = user_factors.mean(0), item_factors[:fitted_items].mean(0)
    user_bias, item_bias = user_bias + user_factors @ q0, item_bias + item_factors @ p0
    user_level, item_level = user_bias.mean(), item_bias[:fitted_items].mean()
    # The user's new coordinates are y = T x - t; the prior follows them.
    to_new = np.eye(len(prior_mean))
    to_new[-1, :-1] = q0
    to_old = np.eye(len(prior_mean))
    to_old[-1, :-1] = -q0
    origin = np.append(p0, user_level)
    full = [np.diag(term) if term.ndim == 1 else term for term in prior_precision]
    terms = [to_old.T @ term @ to_old for term in full]
    growths = [*zip(prior_exponent, prior_offset or [0.0] * len(terms), strict=True)]
    if no_bias:
        terms += _split_double(no_bias * np.outer(to_old[-1], to_old[-1]))
        growths += [(1.0, 0.0)] * 2
    moved = {}
    for name, shifts in (("item_implicit", item_implicit), ("attribute_effects", attribute_effects),
                         ("cold_start_effects", cold_start_effects)):  # fmt: skip
        if shifts is not None:
            moved[name] = (shifts @ to_new[:, : shifts.shape[1]].T).astype(np.float32)[:, None]
    if cold_start_mean is not None:
        moved["cold_start_mean"] = (to_new @ cold_start_mean - origin).astype(np.float32)[None]
    return Factors(
        mu=np.array([mu - p0 @ q0 + user_level + item_level], np.float32),
        user_bias=(user_bias - user_level).astype(np.float32)[:, None],
        item_bias=(item_bias - item_level).astype(np.float32)[:, None],
        user_factors=(user_factors - p0).astype(np.float32)[:, None],
        item_factors=(item_factors - q0).astype(np.float32)[:, None],
        prior_mean=(to_new @ prior_mean - origin).astype(np.float32)[None],
        prior_precision=np.stack(terms).astype(np.float32)[:, None],
        prior_exponent=np.array([exponent for exponent, _ in growths], np.float32),
        prior_offset=None if prior_offset is None else np.array([offset for _, offset in growths], np.float32),
        **moved,
    )


def _split_double(term: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """Two terms whose sum keeps 44 bits of a large one in float32, both with a diagonal >= 0.

    Rounded to 24 bits, a precision that is large along one direction alone says something of all the others.
    """
    large = ((1 - 2.0**-20) * term).astype(np.float32).astype(np.float64)
    return [large, term - large]
