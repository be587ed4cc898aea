"""Attributes of users and items (side information) as sparse 0/1 tables."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from recsys.data.columns import GENRES, ITEM_ID, TITLE, USER_ID, YEAR
from recsys.data.ids import IdMap, Ids
from recsys.data.rating_data import RatingData

logger = logging.getLogger(__name__)

AGES = np.array([1, 18, 25, 35, 45, 50, 56])  # lower bounds of ml-1m's age brackets, in years
SINGLE_YEARS = 1980  # first year that is a category of its own; earlier years are grouped by decade
MAX_NUMBERS = 25  # a column with more distinct numbers is binned into deciles
MAX_TEXTS = 200  # a column with more distinct texts, such as names, is dropped
UNKNOWN = ("", "nan", "na", "n/a", "null", "none")  # missing values in numeric columns; the text "NA" may be Namibia


@dataclass(frozen=True, eq=False)
class Attributes:
    """A sparse 0/1 table in CSR format: row r has the attributes `index[indptr[r]:indptr[r + 1]]`.

    Attributes:
        names: Distinct column names, such as "gender=F" or "genre=Drama".
        indptr: Start of each row's entries, int64 `(rows + 1,)`.
        index: Columns that are 1, int32 `(entries,)`; ascending and distinct within a row.
    """

    names: list[str]
    indptr: NDArray[np.int64]
    index: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.indptr) - 1

    def of(self, row: int) -> NDArray[np.int32]:
        """The attributes of a row in [0, len), ascending."""
        return self.index[self.indptr[row] : self.indptr[row + 1]]

    def take(self, rows: NDArray[np.int64] | Sequence[int]) -> Attributes:
        """The given rows in this order; -1 is a row without attributes."""
        rows = np.asarray(rows, np.int64)
        count = np.append(np.diff(self.indptr), 0)[rows]
        indptr = np.append(0, np.cumsum(count))
        entries = np.repeat(self.indptr[rows] - indptr[:-1], count) + np.arange(indptr[-1])
        return Attributes(self.names, indptr, self.index[entries])

    def dense(self) -> NDArray[np.uint8]:
        """The dense table, `(rows, names)`; for small tables."""
        table = np.zeros((len(self), len(self.names)), np.uint8)
        table[np.repeat(np.arange(len(self)), np.diff(self.indptr)), self.index] = 1
        return table


Rule: TypeAlias = Callable[[str, pd.Series, NDArray[np.int64]], Attributes]  # a column's name, distinct values, counts


def user_attributes(data: RatingData, ids: Ids) -> Attributes:
    """Attributes of these users, one row per id in this order; empty for ids that are not in the users table.

    The columns depend on the whole users table, but neither on `ids` nor on ratings (no leakage). `age` in years is
    binned as in MovieLens 1M, `zip_code` is reduced to its first character, and other columns follow
    `column_attributes`.

    Raises:
        TypeError: The ids are integers but the source has strings, or vice versa.
    """
    return _attributes(data.users, USER_ID, {"age": _age, "zip_code": _zip}, ids)


def item_attributes(data: RatingData, ids: Ids) -> Attributes:
    """Attributes of these items: years (decades before 1980), genres and other columns, but no titles."""
    items = None if data.items is None else data.items.drop(columns=TITLE, errors="ignore")
    return _attributes(items, ITEM_ID, {YEAR: _year, GENRES: _genres}, ids)


def column_attributes(column: str, values: pd.Series[Any], count: NDArray[np.int64]) -> Attributes:
    """One row per distinct value of a column, with one attribute, or none for missing values.

    If all values are finite numbers, each is a category; more than 25 are binned into deciles of the table's rows:
    "price=5..12". Otherwise each text is a category; columns with more than 200 texts are dropped with a warning. Empty
    values are missing, and so are "NA" and the like in numeric columns.

    Args:
        column: Name of the column.
        values: Distinct values, numbers or texts.
        count: Number of rows with each value, int64.
    """
    numbers = _numbers(values)
    return _one_hot_text(column, values) if numbers is None else _one_hot_number(column, numbers, count)


def _attributes(frame: pd.DataFrame | None, id_column: str, rules: dict[str, Rule], ids: Ids) -> Attributes:
    if frame is None or not len(frame):
        return Attributes([], np.zeros(len(ids) + 1, np.int64), np.zeros(0, np.int32))
    known = IdMap.fit(frame[id_column])
    row = np.zeros(len(known), np.int64)
    row[known.rows(frame[id_column])] = np.arange(len(frame))  # the last of an id's rows, as in a bundle
    columns = []
    for column in frame.columns.drop(id_column):
        code, distinct = frame[column].factorize()
        rule = rules.get(column, column_attributes)
        columns.append(rule(column, pd.Series(distinct), np.bincount(code[code >= 0])).take(code))
    return _hstack(columns, len(frame)).take(np.append(row, -1)[known.rows(ids)])


def _hstack(columns: list[Attributes], rows: int) -> Attributes:
    """Concatenate tables with the same rows; attributes with the same name are merged."""
    place: dict[str, int] = {}
    for name in (name for column in columns for name in column.names):
        place.setdefault(name, len(place))
    keys = [np.zeros(0, np.int64)]
    for column in columns:
        index = np.array([place[name] for name in column.names], np.int64)[column.index]
        keys.append(np.repeat(np.arange(rows), np.diff(column.indptr)) * len(place) + index)
    key = np.sort(np.concatenate(keys))  # np.unique takes ten times as long
    row, index = np.divmod(key[np.diff(key, prepend=-1) > 0], max(len(place), 1))
    indptr = np.append(0, np.cumsum(np.bincount(row, minlength=rows)))
    return Attributes(list(place), indptr, index.astype(np.int32))


def _age(column: str, values: pd.Series[Any], count: NDArray[np.int64]) -> Attributes:
    years = _numbers(values)
    if years is None:
        return column_attributes(column, values, count)
    start = AGES[np.maximum(np.searchsorted(AGES, years, side="right") - 1, 0)]
    return _categories(column, np.where(np.isnan(years), np.nan, start))


def _zip(column: str, values: pd.Series[Any], count: NDArray[np.int64]) -> Attributes:
    return _one_hot_text("zip", values.astype("str").str.strip().str[:1])  # a digit, or the letter of a Canadian code


def _year(column: str, values: pd.Series[Any], count: NDArray[np.int64]) -> Attributes:
    year = values.to_numpy(np.float64, na_value=np.nan)
    period = np.where(year < SINGLE_YEARS, year // 10 * 10, year)
    return _categories(column, period, lambda start: f"{start:.0f}" + ("s" if start < SINGLE_YEARS else ""))


def _genres(column: str, values: pd.Series[Any], count: NDArray[np.int64]) -> Attributes:
    genres = [sorted({name.strip() for name in text.split("|")} - {""}) for text in values]
    names = sorted({name for row in genres for name in row})
    place = {name: index for index, name in enumerate(names)}
    index = np.array([place[name] for row in genres for name in row], np.int32)
    return Attributes([f"genre={name}" for name in names], np.append(0, np.cumsum([*map(len, genres)])), index)


def _numbers(values: pd.Series[Any]) -> NDArray[np.float64] | None:
    """The values as numbers, NaN if missing; None if any value is not a finite number."""
    numbers: NDArray[np.float64] = pd.to_numeric(values, errors="coerce").to_numpy(np.float64, na_value=np.nan)
    rest = values[np.isnan(numbers)].astype("str").str.strip().str.lower()
    return numbers if rest.isin(UNKNOWN).all() and not np.isinf(numbers).any() else None


def _one_hot_text(column: str, values: pd.Series[Any]) -> Attributes:
    texts = values.astype("str").str.strip()
    group, names = texts.where(texts != "").factorize(sort=True)
    if len(names) > MAX_TEXTS:
        logger.warning(
            "dropping high-cardinality column %s from the attributes: %d distinct values, more than %d",
            *(column, len(names), MAX_TEXTS),
        )
        return _one_hot([], np.full(len(texts), -1))
    return _one_hot([f"{column}={name}" for name in names], group)


def _one_hot_number(column: str, numbers: NDArray[np.float64], count: NDArray[np.int64]) -> Attributes:
    known = ~np.isnan(numbers)
    values, place = np.unique(numbers[known], return_inverse=True)
    if len(values) <= MAX_NUMBERS:
        return _categories(column, numbers)
    rows = np.bincount(place, count[known]).astype(np.int64)
    tenth = 10 * (np.cumsum(rows) - rows) // rows.sum()  # a frequent value ends its bin
    first = np.flatnonzero(np.diff(tenth, prepend=-1))
    ends = zip(values[first], values[np.append(first[1:], len(values)) - 1], strict=True)
    names = [_number(low) if low == high else f"{_number(low)}..{_number(high)}" for low, high in ends]
    group = np.full(len(numbers), -1)
    group[known] = np.searchsorted(first, place, side="right") - 1
    return _one_hot([f"{column}={name}" for name in names], group)


def _number(value: float) -> str:
    return repr(float(value) + 0.0).removesuffix(".0")  # -0 is 0


def _categories(column: str, numbers: NDArray[np.float64], written: Callable[[float], str] = _number) -> Attributes:
    """One category for each distinct number, ascending; none for NaN."""
    group, values = pd.factorize(numbers, sort=True)
    return _one_hot([f"{column}={written(value)}" for value in values], group)


def _one_hot(names: list[str], group: NDArray[Any]) -> Attributes:
    """At most one attribute per row; group -1 has none."""
    return Attributes(names, np.append(0, np.cumsum(group >= 0)), group[group >= 0].astype(np.int32))
