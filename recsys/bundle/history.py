"""The item-item term of a score: what each item of a user's history adds to the score of every other.

    sum over the history's items j of h_j item_weights[j, i],  h_j = 0.5 ** (later items of the history / half_life)

An item counts once, at its latest place. (EASE, Steck 2019; linear item transitions, Choi et al. 2021.)
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from recsys.bundle.typing import Float32Array, IndexArray

__all__ = ["History", "history_weights", "weights_at", "weights_of_all"]

LEAST = 2.0**-24  # the weight of an item, below which it is beside the latest's what rounding is
ROWS = 32  # of the matrix that are gathered at a time, and so stay in the cache
FEW = 8  # the part of the items up to which their weights are read one by one


class History(NamedTuple):
    """The items of a user that have weights, each once, the latest last."""

    items: IndexArray  # (n,) item rows
    weights: Float32Array  # (n,) in (0, 1]


def history_weights(item: IndexArray, n_items: int, half_life: float | None) -> Float32Array:
    """The weight of each of a user's items in order of time, `(n,)`.

    It is 0 for an item without weights of its own and for one that comes again, which take no place, and from `LEAST`
    down, which saves the rows of a long history that nobody would see.

    Args:
        item: Item rows, the latest last, `(n,)`.
        n_items: Items that have weights, the first ones.
        half_life: Places by which a weight halves; None: all are 1.
    """
    weights = np.zeros(len(item), np.float32)
    place = np.flatnonzero(item < n_items)
    latest = np.empty(n_items, np.int64)
    latest[item[place]] = place  # the last of several stays
    place = place[latest[item[place]] == place]
    later = np.arange(len(place) - 1, -1, -1)
    weights[place] = 1.0 if half_life is None else 0.5 ** (later / half_life)
    weights[weights < LEAST] = 0
    return weights


def weights_of_all(item_weights: Float32Array, history: History) -> Float32Array:
    """What a history adds to the score of each item that has weights, `(items,)`."""
    total = np.zeros(len(item_weights), np.float32)
    for start in range(0, len(history.items), ROWS):
        piece = slice(start, start + ROWS)
        total += history.weights[piece] @ item_weights[history.items[piece]]
    return total


def weights_at(item_weights: Float32Array, history: History, item: IndexArray) -> Float32Array:
    """What a history adds to the scores of some item rows, `(rows,)`; 0 for a row without weights, such as -1."""
    known = (item >= 0) & (item < len(item_weights))
    if len(item) > len(item_weights) // FEW:
        return np.where(known, weights_of_all(item_weights, history)[np.where(known, item, 0)], 0)
    added = np.zeros(len(item), np.float32)
    added[known] = history.weights @ item_weights[history.items[:, None], item[known]]
    return added
