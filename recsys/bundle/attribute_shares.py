"""Which attributes somebody's items have more often than everybody's: genres, decades and others of items.

For an attribute value v, such as a genre,

    lift_v = (sum over the history of 1 / (values of the item) + PRIOR base_v) / (n + PRIOR) / base_v

where n counts the history's items that have any value, and `base_v` is the share of all fitted ratings. An item's lift
is the mean over its values. It is 1 for somebody without a history and for an item without values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from recsys.bundle.attributes import RowAttributes
from recsys.bundle.ranking import GAIN, POPULARITY, RECENT
from recsys.bundle.typing import Float32Array, Float64Array, IndexArray, Int64Array

__all__ = ["AttributeShares", "attribute_shares"]

PRIOR = 20.0  # ratings of everybody that a history is mixed with
LEAST_LIFT = 1e-3  # added before the logarithm
SMALL, FEW_VALUES = 1 << 16, 64  # numbers of a table of sets, and values in all
MAX_NAMES = 20  # attributes that are told apart
GENRE, DECADE = "genre", "decade"
OTHERS = (GENRE, DECADE, "year", POPULARITY, GAIN, RECENT)  # names that an attribute of the model would repeat


class AttributeShares:
    """Of one attribute, such as the genre. Items with the same values are looked at once.

    Args:
        values: Positions of each item's values, `(n_items,)` of them.
        n_values: Number of values.
        counts: Fitted ratings of each item, `(n_items,)`.
    """

    def __init__(self, values: Sequence[tuple[int, ...]], n_values: int, counts: Float64Array) -> None:
        sets = {one: row for row, one in enumerate(dict.fromkeys(values))}
        self.set_of: Int64Array = np.array([sets[one] for one in values], np.int64)  # (n_items,)
        length = np.array([len(one) for one in sets], np.int64)
        self._value = np.array([value for one in sets for value in one], np.int64)
        self._set = np.repeat(np.arange(len(sets)), length)
        self._weight = 1 / length[self._set]
        self._has_values = length > 0
        of_sets = np.bincount(self.set_of, counts, len(sets)).astype(np.float64)
        base = self._by_value(of_sets, n_values) + 1.0
        self._base = base / base.sum() if n_values else base

    def log_lift(self, history: IndexArray) -> Float32Array:
        """The logarithm of each set's lift, `(sets,)`, for `set_of`.

        Args:
            history: Item rows, `(n,)`.
        """
        counts = np.bincount(self.set_of[history], minlength=len(self._has_values)).astype(np.float64)
        known = self._by_value(counts, len(self._base))
        lift = (known / self._base + PRIOR) / (counts[self._has_values].sum() + PRIOR)
        found = np.bincount(self._set, lift[self._value] * self._weight, len(self._has_values))
        return np.where(self._has_values, np.log(found + LEAST_LIFT), 0).astype(np.float32)

    def table(self) -> Float32Array:
        """Of each set, its values over their share of all ratings, and whether it has any, `(sets, values + 1)`."""
        found = np.zeros((len(self._has_values), len(self._base) + 1), np.float32)
        found[self._set, self._value] = self._weight / self._base[self._value]
        found[:, -1] = self._has_values
        return found

    @property
    def base(self) -> Float64Array:
        """The share of each value among all ratings, `(values,)`."""
        return self._base

    def _by_value(self, of_sets: Float64Array, n_values: int) -> Float64Array:
        return np.bincount(self._value, of_sets[self._set] * self._weight, n_values).astype(np.float64)


class SmallShares:
    """All attributes at once, where their tables are small: four small products instead of many passes.

    Args:
        shares: By name.
        weights: Of their logarithms, by name.
    """

    def __init__(self, shares: Mapping[str, AttributeShares], weights: Mapping[str, np.float32]) -> None:
        tables = [one.table() for one in shares.values()]
        self._of_item = np.concatenate(
            [table[one.set_of] for one, table in zip(shares.values(), tables, strict=True)], 1
        )
        widths, heights = ([table.shape[axis] for table in tables] for axis in (1, 0))
        column, row = (np.append(0, np.cumsum(sizes)) for sizes in (widths, heights))
        # A set's lift is (its part of the history's sums + PRIOR) / (n + PRIOR): sums and n are columns of one table.
        self._of_set = np.zeros((row[-1], column[-1]), np.float32)
        self._n_of = np.repeat(column[1:] - 1, widths)  # for each column, that of its attribute's n
        self._weight = np.repeat(np.array([weights[name] for name in shares], np.float32), heights)
        self._added = np.full(row[-1], LEAST_LIFT, np.float32)  # before the logarithm
        self.places = {}
        for number, (name, one) in enumerate(shares.items()):
            table = tables[number]
            block = self._of_set[row[number] : row[number + 1], column[number] : column[number + 1]]
            block[:, :-1] = table[:, :-1] * one.base.astype(np.float32)
            self._added[row[number] : row[number + 1]] += (1 - LEAST_LIFT) * (1 - table[:, -1])  # no values: lift 1
            self.places[name] = slice(row[number], row[number + 1])

    def weighted(self, history: IndexArray) -> Float32Array:
        """The weight times the logarithm of the lift of every set, `(all sets,)`; `places` says whose are where."""
        sums = np.ones(len(history), np.float32) @ self._of_item.take(history, 0)  # a quarter of the time of a sum
        sums += np.float32(PRIOR)
        lift = sums / sums.take(self._n_of)
        found: Float32Array = self._of_set @ lift
        found += self._added
        np.log(found, out=found)
        found *= self._weight
        return found


def is_small(shares: Mapping[str, AttributeShares]) -> bool:
    """Whether `SmallShares` takes little memory."""
    values = sum(len(one.base) + 1 for one in shares.values())
    sets = sum(int(one.set_of.max(initial=0)) + 1 for one in shares.values())
    return bool(shares) and values * sets <= SMALL and values <= FEW_VALUES


def attribute_shares(
    items: Sequence[Mapping[str, Any]], names: Sequence[str], known: RowAttributes | None, counts: Float64Array
) -> dict[str, AttributeShares]:
    """The attributes of items by name: genre, decade, and others that the model knows; those with two values or more.

    Args:
        items: Years and genres, at least one entry for each item of `counts`.
        names: The manifest's `item_attributes`.
        known: Which of them each item has.
        counts: Fitted ratings of each item, `(n_items,)`.
    """
    rows = range(len(counts))
    texts: dict[str, list[list[str]]] = {
        GENRE: [list(dict.fromkeys(items[row]["genres"])) for row in rows],
        DECADE: [[] if items[row]["year"] is None else [str(items[row]["year"] // 10)] for row in rows],
    }
    if known is not None:
        parted = [full.partition("=")[::2] for full in names]
        for name in dict.fromkeys(name for name, _ in parted if name not in OTHERS):
            texts[name] = [[parted[one][1] for one in known.of(row).tolist() if parted[one][0] == name] for row in rows]
    found = {}
    for name, of_items in list(texts.items())[:MAX_NAMES]:
        number: dict[str, int] = {}
        values = [tuple(sorted(number.setdefault(text, len(number)) for text in one)) for one in of_items]
        if len(number) > 1:
            found[name] = AttributeShares(values, len(number), counts)
    return found
