"""Centring: factors whose zero vector is the average user or item."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys.bundle.factors import Factors, concat_samples
from recsys.bundle.typing import Float32Array, Float64Array

__all__ = ["Side", "centred_factors", "recentred"]

KEPT = (  # arrays that do not depend on where the zero vector is
    "precision", "user_precision", "item_precision", "levels", "thresholds", "drift", "unit",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Side:
    """Users or items before centring: their rows, and the prior of a row `[p, b]` that was not fitted.

    Attributes:
        bias: `(n,)`, in stars.
        factors: `(n, dim)`.
        prior_mean: Of `[p, b]`, `(dim + 1,)`.
        prior_precision: Each term, `(terms, dim + 1, dim + 1)`, or its diagonal, `(terms, dim + 1)`.
        prior_exponent: How each term grows with a row's number of ratings.
        prior_offset: What is added to that number for each term; None for nothing.
        implicit: What a rating with each row of the other side adds to `p`, or to `[p, b]`, times the root of the
            number of ratings, `(n_other, dim)` or `(n_other, dim + 1)`.
        attribute_effects: What an attribute adds to the prior mean, `(attributes, dim + 1)`.
        cold_start_effects: What it adds to the row of someone without ratings, `(attributes, dim + 1)`; of users only,
            as an item's are its `attribute_effects`.
        cold_start_mean: Of such a row, `(dim + 1,)`.
        no_bias: Precision, a rating, that holds at 0 the bias of a model that has none; it makes two terms more.
    """

    bias: Float64Array
    factors: Float64Array
    prior_mean: Float64Array
    prior_precision: Float64Array
    prior_exponent: Sequence[float]
    prior_offset: Sequence[float] | None = None
    implicit: Float64Array | None = None
    attribute_effects: Float64Array | None = None
    cold_start_effects: Float64Array | None = None
    cold_start_mean: Float64Array | None = None
    no_bias: float = 0.0


def centred_factors(mu: float, users: Side, items: Side, fitted_items: int | None = None) -> Factors:
    """One sample of factors, moved so that the mean row of each side is the zero vector with bias 0.

    With means `p0, q0`: `p.q = (p - p0).(q - q0) + p.q0 + p0.q - p0.q0`, so that each side's bias takes the
    product with the other side's mean. Predictions stay as they are.

    Args:
        mu: Global level in stars.
        users: Rows and prior.
        items: Likewise.
        fitted_items: How many of the items, the first ones, make the mean item; None for all.
    """
    p0, q0 = users.factors.mean(0), items.factors[:fitted_items].mean(0)
    user_bias, item_bias = users.bias + users.factors @ q0, items.bias + items.factors @ p0
    user_level, item_level = user_bias.mean(), item_bias[:fitted_items].mean()
    of_user, of_item = _moved(users, p0, q0, user_level), _moved(items, q0, p0, item_level)
    return Factors(
        mu=np.array([mu - p0 @ q0 + user_level + item_level], np.float32),
        user_bias=(user_bias - user_level).astype(np.float32)[:, None],
        item_bias=(item_bias - item_level).astype(np.float32)[:, None],
        user_factors=(users.factors - p0).astype(np.float32)[:, None],
        item_factors=(items.factors - q0).astype(np.float32)[:, None],
        item_implicit=of_user.pop("implicit"),
        user_implicit=of_item.pop("implicit"),
        **of_user,
        **{f"item_{name}": array for name, array in of_item.items() if name != "cold_start_effects"},
    )


def recentred(factors: Factors) -> Factors:
    """A model whose rows have changed, moved so that the mean row of each side is the zero vector with bias 0 again.

    Args:
        factors: All of its items are fitted. Its prior of items is left out.
    """
    nothing = np.zeros(factors.prior_mean.shape[1])

    def of_sample(array: Float32Array | None, number: int, axis: int = 1) -> Any:
        return None if array is None else np.take(array, number, axis).astype(np.float64)

    def moved(number: int) -> Factors:
        users = Side(
            bias=of_sample(factors.user_bias, number),
            factors=of_sample(factors.user_factors, number),
            prior_mean=of_sample(factors.prior_mean, number, 0),
            prior_precision=of_sample(factors.prior_precision, number),
            prior_exponent=factors.prior_exponent.tolist(),
            prior_offset=None if factors.prior_offset is None else factors.prior_offset.tolist(),
            implicit=of_sample(factors.item_implicit, number),
            attribute_effects=of_sample(factors.attribute_effects, number),
            cold_start_effects=of_sample(factors.cold_start_effects, number),
            cold_start_mean=of_sample(factors.cold_start_mean, number, 0),
        )
        item_rows = of_sample(factors.item_bias, number), of_sample(factors.item_factors, number)
        return centred_factors(float(factors.mu[number]), users, Side(*item_rows, nothing, nothing[None], (0.0,)))

    found = concat_samples([moved(number) for number in range(factors.samples)])
    kept = {name: getattr(factors, name) for name in KEPT}
    if factors.cold_start_items is not None:  # which say all of somebody without ratings, where the zero vector was
        level = [model.mu + model.item_bias for model in (factors, found)]
        kept["cold_start_items"] = factors.cold_start_items + (level[0] - level[1])
        if found.cold_start_mean is not None:  # to which they are added
            bias = factors.user_bias + np.einsum("usd,sd->us", factors.user_factors, factors.item_factors.mean(0))
            origin = np.column_stack([factors.user_factors.mean(0), bias.mean(0)])
            kept["cold_start_mean"] = np.asarray(found.cold_start_mean + origin, np.float32)
    return replace(
        found, **kept, item_prior_mean=None, item_prior_precision=None, item_prior_exponent=None, user_implicit=None
    )


def _moved(side: Side, own: Float64Array, other: Float64Array, level: float) -> dict[str, Any]:
    """The prior of a side in the new coordinates `y = T x - t`: arrays by name, None for those that there are not.

    Args:
        side: Before centring.
        own: The mean of its factors, `(dim,)`.
        other: The mean of the other side's factors, `(dim,)`.
        level: The mean of its biases, after they took the product with `other`.
    """
    to_new, to_old = np.eye(len(side.prior_mean)), np.eye(len(side.prior_mean))
    to_new[-1, :-1], to_old[-1, :-1] = other, -other
    origin = np.append(own, level)
    full = [np.diag(term) if term.ndim == 1 else term for term in side.prior_precision]
    terms = [to_old.T @ term @ to_old for term in full]
    growths = [*zip(side.prior_exponent, side.prior_offset or [0.0] * len(terms), strict=True)]
    if side.no_bias:
        terms += _split_double(side.no_bias * np.outer(to_old[-1], to_old[-1]))
        growths += [(1.0, 0.0)] * 2

    def moved(shifts: Float64Array | None) -> Float32Array | None:
        return None if shifts is None else (shifts @ to_new[:, : shifts.shape[1]].T).astype(np.float32)[:, None]

    cold = side.cold_start_mean
    return {
        "prior_mean": (to_new @ side.prior_mean - origin).astype(np.float32)[None],
        "prior_precision": np.stack(terms).astype(np.float32)[:, None],
        "prior_exponent": np.array([exponent for exponent, _ in growths], np.float32),
        "prior_offset": None if side.prior_offset is None else np.array([offset for _, offset in growths], np.float32),
        "implicit": moved(side.implicit),
        "attribute_effects": moved(side.attribute_effects),
        "cold_start_effects": moved(side.cold_start_effects),
        "cold_start_mean": None if cold is None else (to_new @ cold - origin).astype(np.float32)[None],
    }


def _split_double(term: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """Two terms whose sum keeps 44 bits of a large one in float32, both with a diagonal >= 0.

    Rounded to 24 bits, a precision that is large along one direction alone says something of all the others.
    """
    large = ((1 - 2.0**-20) * term).astype(np.float32).astype(np.float64)
    return [large, term - large]
