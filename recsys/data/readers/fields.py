"""Column validators: a vectorized check, then a scalar check that describes the offending value."""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

Values: TypeAlias = Any  # an array of numbers, or of ids a pyarrow dictionary array; both (rows,)

INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,18})", re.ASCII)
DIGITS = re.compile(r"-?[0-9]{1,40}", re.ASCII)
LATEST = 100_000_000_000  # unix seconds (year 5138); larger values must be milliseconds


class BadValueError(ValueError):
    """A value of a column is invalid; the scalar check finds which one."""


@dataclass(frozen=True)
class Field(ABC):
    """A column of a ratings file, with its name in the frame."""

    name: str

    @property
    @abstractmethod
    def type(self) -> pa.DataType:
        """Arrow type of the parsed column."""

    @abstractmethod
    def values(self, column: pa.ChunkedArray) -> Values:
        """Validate a parsed column and return its values.

        Raises:
            BadValueError: A value is invalid.
        """

    @abstractmethod
    def problem(self, text: str) -> str | None:
        """Describe what is wrong with a text; None if it is valid."""


@dataclass(frozen=True)
class IntegerId(Field):
    """An id that must be an integer, as in every MovieLens release."""

    @property
    def type(self) -> pa.DataType:
        return pa.int64()

    def values(self, column: pa.ChunkedArray) -> Values:
        return _numbers(column)

    def problem(self, text: str) -> str | None:
        return None if _parses(text) else f"must be an integer, got {text!r}"


@dataclass(frozen=True)
class AnyId(Field):
    """An id that is kept verbatim; dictionary-encoded, since ids repeat."""

    @property
    def type(self) -> pa.DataType:
        return pa.dictionary(pa.int32(), pa.string())

    def values(self, column: pa.ChunkedArray) -> Values:
        array = column.unify_dictionaries().combine_chunks()
        array = array.chunk(0) if isinstance(array, pa.ChunkedArray) else array
        if array.null_count or any(not text.strip() for text in array.dictionary.to_pylist()):
            raise BadValueError(self.name)
        return array

    def problem(self, text: str) -> str | None:
        return None if text.strip() else f"must not be empty, got {text!r}"


@dataclass(frozen=True)
class Stars(Field):
    """A rating on a scale; a bound may be infinite if the range of the data is used."""

    lowest: float = -math.inf
    highest: float = math.inf

    @property
    def type(self) -> pa.DataType:
        return pa.float32()

    def values(self, column: pa.ChunkedArray) -> Values:
        values = _numbers(column)
        if len(values) and not self._inside(values.min(), values.max()):  # NaN makes both of them NaN
            raise BadValueError(self.name)
        return values

    def problem(self, text: str) -> str | None:
        try:
            value = np.float32(text.strip().replace("_", "no digit"))
        except ValueError:
            return f"must be a number, got {text!r}"
        if self._inside(value, value):
            return None
        return f"must be {self._allowed()}, got {text.strip()}"

    def _inside(self, low: np.float32, high: np.float32) -> bool:
        finite = bool(np.isfinite(low) and np.isfinite(high))
        return finite and bool(low >= np.float32(self.lowest) and high <= np.float32(self.highest))

    def _allowed(self) -> str:
        if math.isinf(self.lowest) and math.isinf(self.highest):
            return "finite"
        if math.isinf(self.highest):
            return f"finite and >= {self.lowest:g}"
        return f"in [{self.lowest:g}, {self.highest:g}]" if self.lowest > -math.inf else f"<= {self.highest:g}"


@dataclass(frozen=True)
class Seconds(Field):
    """A timestamp in unix seconds."""

    @property
    def type(self) -> pa.DataType:
        return pa.int64()

    def values(self, column: pa.ChunkedArray) -> Values:
        values = _numbers(column)
        if len(values) and not 0 <= values.min() <= values.max() < LATEST:
            raise BadValueError(self.name)
        return values

    def problem(self, text: str) -> str | None:
        if not _parses(text):
            return f"must be unix seconds, got {text!r}"
        if 0 <= int(text) < LATEST:
            return None
        return f"must be unix seconds in [0, {LATEST}), got {text.strip()}"


@dataclass(frozen=True)
class IsoTime(Field):
    """A date or time in ISO 8601, converted to unix seconds; UTC if it has no zone."""

    @property
    def type(self) -> pa.DataType:
        return pa.string()

    def values(self, column: pa.ChunkedArray) -> Values:
        if column.null_count:
            raise BadValueError(self.name)
        try:
            times = pd.to_datetime(column.to_pandas(), format="ISO8601", utc=True)
        except ValueError as error:
            raise BadValueError(self.name) from error
        values = times.dt.tz_localize(None).to_numpy().astype("datetime64[s]").astype(np.int64)
        if len(values) and values.min() < 0:
            raise BadValueError(self.name)
        return values

    def problem(self, text: str) -> str | None:
        try:
            time = pd.to_datetime(text, format="ISO8601", utc=True) if text.strip() else pd.NaT
        except ValueError:
            time = pd.NaT
        if pd.isna(time):
            return f"must be a time in ISO 8601, as in the first row, got {text!r}"
        return None if time.timestamp() >= 0 else f"must be in 1970 or later, got {text!r}"


def is_integer(text: str) -> bool:
    """Whether a text is a 64-bit integer in canonical form: "7", not "07", "+7" or "7.0"."""
    return bool(INTEGER.fullmatch(text)) and text != "-0" and -(1 << 63) <= int(text) < 1 << 63


def _parses(text: str) -> bool:
    """Whether Arrow parses the text as a 64-bit integer; leading zeros and surrounding blanks are allowed."""
    digits = DIGITS.fullmatch(text.strip())
    return bool(digits) and -(1 << 63) <= int(text) < 1 << 63


def _numbers(column: pa.ChunkedArray) -> NDArray[Any]:
    """The column as one contiguous array; missing values are invalid."""
    if column.null_count:
        raise BadValueError("empty")
    array = column.combine_chunks()
    values: NDArray[Any] = (
        array.to_numpy(zero_copy_only=False) if len(column) else np.zeros(0, column.type.to_pandas_dtype())
    )
    return values
