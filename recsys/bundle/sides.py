"""Rows of one side of a model: some of them, or more of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from recsys.bundle.factors import Factors, UserVector
from recsys.bundle.schema import FACTOR_SPECS
from recsys.bundle.typing import IndexArray

__all__ = ["append_items", "append_users", "stack_vectors", "take_items", "take_users", "zero_rows"]

PRECISIONS = ("user_precision", "item_precision")  # of rows without their own: 1


def take_users(factors: Factors, user: IndexArray) -> Factors:
    """The model with the rows of some of its users, in this order; arrays of items are shared."""
    return replace(factors, **{name: array[user] for name, array in _of_side(factors, "u").items()})


def take_items(factors: Factors, item: IndexArray | slice) -> Factors:
    """The model with the rows of some of its items, in this order; arrays of users are shared.

    Raises:
        ValueError: It has item weights, which belong to all items together.
    """
    if factors.item_weights is not None:
        raise ValueError("items cannot be taken from a model with item_weights, which belong to all of them together")
    return replace(factors, **{name: array[item] for name, array in _of_side(factors, "i").items()})


def append_users(factors: Factors, rows: UserVector) -> Factors:
    """The model with more users.

    Args:
        factors: The model.
        rows: With arrays `(users, samples)` and `(users, samples, dim)`. As raters they shift no item's prior mean.
    """
    return _append(factors, "u", {"user_bias": rows.bias, "user_factors": rows.factors}, rows)


def append_items(factors: Factors, rows: UserVector) -> Factors:
    """The model with more items; to item weights they add nothing.

    Args:
        factors: The model.
        rows: As `append_users`, of the `mirrored` model. As rated items they shift no user's prior mean.
    """
    return _append(factors, "i", {"item_bias": rows.bias, "item_factors": rows.factors}, rows)


def stack_vectors(vectors: list[UserVector]) -> UserVector:
    """One or more vectors as rows, `(vectors, samples)` and `(vectors, samples, dim)`."""
    own = [vector.precision for vector in vectors]
    precision = None
    if any(array is not None for array in own):
        precision = np.stack([np.ones_like(v.bias) if v.precision is None else v.precision for v in vectors])
    return UserVector(
        np.stack([vector.bias for vector in vectors]), np.stack([vector.factors for vector in vectors]), precision
    )


def zero_rows(factors: Factors, n: int) -> UserVector:
    """Rows of n average users or items."""
    samples, dim = factors.item_factors.shape[1:]
    return UserVector(np.zeros((n, samples), np.float32), np.zeros((n, samples, dim), np.float32))


def _of_side(factors: Factors, axis: str) -> dict[str, np.ndarray]:
    """The arrays with a row for each user (`u`) or item (`i`), by name."""
    arrays = {name: getattr(factors, name) for name, spec in FACTOR_SPECS.items() if spec.axes[0] == axis}
    return {name: array for name, array in arrays.items() if array is not None}


def _append(factors: Factors, axis: str, given: dict[str, np.ndarray], rows: UserVector) -> Factors:
    arrays = {}
    for name, array in _of_side(factors, axis).items():
        more = given.get(name)
        if name in PRECISIONS and rows.precision is not None:
            more = rows.precision
        if more is None:
            more = np.full((len(rows.bias), *array.shape[1:]), float(name in PRECISIONS), np.float32)
        arrays[name] = np.concatenate([array, more.astype(np.float32, copy=False)])
    return replace(factors, **arrays)
