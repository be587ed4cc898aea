"""What a shop knows besides ratings: items that must not be in a list, those in stock, and some to be moved up."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from numbers import Real
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from recsys.bundle.typing import Float32Array, IndexArray, Int64Array

Rows = Sequence[int] | IndexArray  # of items

MAX_BOOSTS = 100  # genres and items that may be boosted at once
MAX_BOOST = 10.0  # magnitude of an amount
MAX_SUM = 50.0  # magnitude of what an item is given in all; its exponential is far from overflow


class Rules(NamedTuple):
    """Of the items with factors."""

    allowed: NDArray[np.bool_] | None = None  # (n_items,) whether an item may be in the list; None: all may
    boost: Float32Array | None = None  # (n_items,) added to scores; None: nothing


def rules_of(
    n_items: int,
    *,
    available: Rows | None = None,
    exclude: Rows = (),
    boost: Sequence[tuple[Rows, float]] = (),
) -> Rules:
    """Rules from rows of items; those without factors are ignored.

    Args:
        n_items: Items with factors.
        available: The only items that may be in the list; None: all may.
        exclude: Items that may not.
        boost: Item rows, and the amount that is added to the score of each; amounts of one item add up, to
            `MAX_SUM` at most.
    """

    def within(rows: Rows) -> Int64Array:
        found = np.asarray(rows, np.int64)
        return found[(found >= 0) & (found < n_items)]

    allowed, out = None, within(exclude)
    if available is not None:
        allowed = np.zeros(n_items, bool)
        allowed[within(available)] = True
    if len(out):
        allowed = np.ones(n_items, bool) if allowed is None else allowed
        allowed[out] = False
    if not boost:
        return Rules(allowed)
    amounts = np.zeros(n_items, np.float32)
    for rows, amount in boost:
        amounts[within(rows)] += np.float32(amount)
    return Rules(allowed, amounts.clip(-MAX_SUM, MAX_SUM))


def boosts_of(
    boost: Mapping[Any, Any], rows_of_genre: Callable[[Any], Rows], row_of_item: Callable[[Any], int]
) -> list[tuple[Rows, float]]:
    """The item rows of each genre or item that is boosted, with its amount.

    Args:
        boost: Amounts by genre or id; a name that is both is the genre.
        rows_of_genre: No rows for what is no genre.
        row_of_item: -1 for what is no item.

    Raises:
        ValueError: There are more than `MAX_BOOSTS`, one is neither genre nor item, or an amount is not within
            `MAX_BOOST`.
    """
    if len(boost) > MAX_BOOSTS:
        raise ValueError(f"boost must have {MAX_BOOSTS} genres and items at most, got {len(boost)}")
    found: list[tuple[Rows, float]] = []
    for name, amount in boost.items():
        is_number = isinstance(amount, Real) and not isinstance(amount, bool) and math.isfinite(amount)
        if not is_number or abs(amount) > MAX_BOOST:
            raise ValueError(f"boost of {name!r:.80} must be in [{-MAX_BOOST:g}, {MAX_BOOST:g}], got {amount!r:.80}")
        rows = rows_of_genre(name)
        if not len(rows):
            if (row := row_of_item(name)) < 0:
                raise ValueError(f"boost must name genres or ids of items, and {name!r:.80} is neither")
            rows = [row]
        found.append((rows, float(amount)))
    return found
