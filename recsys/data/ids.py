"""IdMap: maps raw ids to dense rows and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:  # a served bundle has no pandas
    import pandas as pd

Ids: TypeAlias = "pd.Series[Any] | NDArray[Any] | Sequence[int] | Sequence[str]"

TABLE_SPAN = 1 << 26  # largest span of integer ids for a lookup table (512 MB), which is faster than a search


@dataclass(frozen=True, eq=False)
class IdMap:
    """Raw ids and their dense rows: the row of an id is its position among the sorted ids.

    Attributes:
        values: The ids, distinct and ascending, `(rows,)`: int64, or Python strings (dtype object).
    """

    values: NDArray[Any]

    def __post_init__(self) -> None:
        values = _checked(self.values)
        if len(values) > 1 and not (values[1:] > values[:-1]).all():
            raise ValueError("values must be distinct and ascending; IdMap.fit sorts them")
        object.__setattr__(self, "values", values)

    @classmethod
    def fit(cls, ids: Ids) -> IdMap:
        """Build the map of the distinct ids.

        Raises:
            TypeError: The ids are neither integers nor strings, or both.
        """
        return cls(_distinct(_checked(_codes(ids)[1])))

    @property
    def kind(self) -> str:
        """Type of the ids: `int` or `str`."""
        return "int" if self.values.dtype.kind == "i" else "str"

    def __len__(self) -> int:
        return len(self.values)

    def with_others(self, ids: pd.Series[Any], row: NDArray[np.int64]) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """The ids of the map, followed by the other ones among these, ascending; and the row of each of these ids.

        Args:
            ids: `(n,)`.
            row: What `rows` gives for them, `(n,)`.
        """
        unseen = row < 0
        if not unseen.any():
            return self.values, row
        others, row = IdMap.fit(ids[unseen]), row.copy()
        row[unseen] = len(self) + others.rows(ids[unseen])
        return np.concatenate([self.values, others.values]), row

    def rows(self, ids: Ids) -> NDArray[np.int64]:
        """Dense rows of the ids, int64 of the same length; -1 for an unknown id.

        Raises:
            TypeError: The ids are of the other type: "1" is not 1, and would silently be unknown.
        """
        codes, distinct = _codes(ids)
        values = _checked(distinct)
        if len(values) and len(self) and values.dtype != self.values.dtype:
            raise TypeError(f"ids must be {self.kind} as those fitted, got {values[:1].tolist()[0]!r}")
        rows = self._search(values)
        return rows if codes is None else rows[codes]

    def ids(self, rows: NDArray[np.integer[Any]] | Sequence[int]) -> NDArray[Any]:
        """Raw ids of the rows.

        Raises:
            IndexError: A row is outside [0, len).
        """
        positions = np.asarray(rows, dtype=np.int64)
        wrong = (positions < 0) | (positions >= len(self))
        if wrong.any():
            raise IndexError(f"rows must be in [0, {len(self)}), got {positions[wrong].flat[0]}")
        return self.values[positions]

    def _search(self, values: NDArray[Any]) -> NDArray[np.int64]:
        if not len(self) or not len(values):
            return np.full(len(values), -1)
        if self.kind == "str":
            return np.fromiter((self._row_of.get(value, -1) for value in values), np.int64, len(values))
        if self._table is not None:
            first, last = self.values[0], self.values[-1]
            inside = (values >= first) & (values <= last)
            return np.where(inside, self._table[np.where(inside, values - first, 0)], -1)
        positions = np.minimum(np.searchsorted(self.values, values), len(self) - 1)
        return np.where(self.values[positions] == values, positions, -1)

    @cached_property
    def _row_of(self) -> dict[str, int]:
        return {value: row for row, value in enumerate(self.values)}

    @cached_property
    def _table(self) -> NDArray[np.int64] | None:
        """Lookup table of the rows of all integers from the first to the last id; None if the span is too large."""
        span = int(self.values[-1]) - int(self.values[0]) + 1
        if span > TABLE_SPAN:
            return None
        table = np.full(span, -1)
        table[self.values - self.values[0]] = np.arange(len(self))
        return table


def _codes(ids: Ids) -> tuple[NDArray[np.int64] | None, Any]:
    """Codes and distinct ids; (None, ids) if factorizing first would be slower."""
    if isinstance(ids, Sequence | np.ndarray) or ids.dtype.kind in "iu":
        return None, ids
    return ids.factorize(use_na_sentinel=False)  # a Series of strings: each row is hashed once


def _checked(ids: Any) -> NDArray[Any]:
    """The ids as int64 or as an object array of strings."""
    array = np.asarray(ids)
    if array.ndim != 1:
        raise TypeError(f"ids must be one-dimensional, got shape {array.shape}")
    if array.dtype.kind in "iu":
        if array.dtype == np.uint64 and len(array) and array.max() > np.iinfo(np.int64).max:
            raise TypeError(f"ids must fit in 64 bits with a sign, got {array.max()}")
        return array.astype(np.int64, copy=False)
    if array.dtype.kind not in "OUT" and len(array):
        raise TypeError(f"ids must be integers or strings, got {array.dtype} such as {array[:1].tolist()[0]!r}")
    given = ids if isinstance(ids, (list, tuple)) else array  # np.asarray turns [1, "a"] into two strings
    wrong = next((value for value in given if not isinstance(value, str)), None) if len(array) else None
    if wrong is not None or any(value is None for value in given):
        raise TypeError(f"ids must be all integers or all strings, got {wrong!r} among them")
    return np.array([str(value) for value in array], dtype=object)


def _distinct(ids: NDArray[Any]) -> NDArray[Any]:
    """Sorted distinct ids; integers within a small span need no sort."""
    if ids.dtype.kind == "i" and len(ids):
        first = int(ids.min())
        span = int(ids.max()) - first + 1
        if span <= min(TABLE_SPAN, 8 * len(ids)):
            seen = np.zeros(span, dtype=bool)
            seen[ids - first] = True
            return np.flatnonzero(seen) + first
    if ids.dtype.kind == "O":
        return np.array(sorted(set(ids)), dtype=object)
    return np.unique(ids)
