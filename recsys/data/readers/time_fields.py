"""Columns of times: unix seconds from numbers, ISO 8601, strptime patterns or typed values."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from recsys.data.readers.conversion import (
    BadValuesError,
    as_texts,
    convert_distinct,
    is_integer_text,
    parse_number,
    plain_integers,
    plain_numbers,
)
from recsys.data.readers.fields import Field
from recsys.data.readers.format import Values
from recsys.events.event import LAST_SECOND

LATEST = 100_000_000_000  # unix seconds (year 5138); larger values must be milliseconds
UNITS = {"seconds": 1, "milliseconds": 1_000, "microseconds": 1_000_000, "nanoseconds": 1_000_000_000}  # in a second


@dataclass(frozen=True)
class Time(Field):
    """A time, as int64 unix seconds, rounded down; UTC if it has no zone.

    Attributes:
        format: `seconds`, `milliseconds`, `microseconds` or `nanoseconds` since 1970, `iso8601`, or a strptime pattern.
            Columns of a typed file that hold times or dates need none.
    """

    format: str = "seconds"

    def value(self, text: str, decimal: str = ".") -> int:
        if self.format in UNITS:
            return self._of_number(text, decimal)
        time = self._parsed(text.strip())
        if time is None:
            allowed = "a time in ISO 8601" if self.format == "iso8601" else f"a time such as {self._example()}"
            raise ValueError(f"must be {allowed}, got {text!r}")
        if not 1970 <= time.year <= 9999 or time.timestamp() < 0:
            raise ValueError(f"must be in the years 1970 to 9999, got {text!r}")
        seconds: float = time.timestamp()
        return math.floor(seconds)

    def parse(self, column: pa.Array, decimal: str = ".") -> Values:
        kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
        if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
            return self._of_typed(column.cast(kind))
        if self.format in UNITS:
            values = self._plain(column, decimal)
        else:
            values = _iso_seconds(as_texts(column)) if self.format == "iso8601" else self._by_pattern(as_texts(column))
        if values is not None and (not len(values) or 0 <= values.min() <= values.max() <= self._last()):
            return values
        return convert_distinct(self.value, column, decimal, np.int64)

    def _last(self) -> int:
        return LATEST - 1 if self.format == "seconds" else LAST_SECOND

    def _of_number(self, text: str, decimal: str) -> int:
        try:
            value = parse_number(text.strip(), decimal)
        except ValueError:
            raise ValueError(f"must be unix {self.format}, got {text!r}") from None
        unit = UNITS[self.format]
        highest = LATEST if self.format == "seconds" else (LAST_SECOND + 1) * unit
        if not 0 <= value < highest:
            raise ValueError(f"must be unix {self.format} in [0, {highest}), got {text.strip()}")
        return int(text) // unit if is_integer_text(text) else math.floor(value / unit)

    def _plain(self, column: pa.Array, decimal: str) -> NDArray[np.int64] | None:
        """Numbers as seconds; None unless all of them are plain and have no sign that an unit hides."""
        numbers: Any = plain_integers(column)
        if numbers is None:
            numbers = plain_numbers(column, np.float64, decimal, missing=False)
        if numbers is None or not len(numbers) or numbers.min() < 0 or not np.isfinite(numbers.max()):
            return None
        if numbers.max() >= (LAST_SECOND + 1) * UNITS[self.format]:
            return None
        unit = UNITS[self.format]
        seconds = numbers if unit == 1 else numbers // unit if numbers.dtype.kind == "i" else numbers / unit
        whole: NDArray[np.int64] = (np.floor(seconds) if seconds.dtype.kind == "f" else seconds).astype(
            np.int64, copy=False
        )
        return whole

    def _of_typed(self, column: pa.Array) -> NDArray[np.int64]:
        seconds = column.cast(pa.timestamp("s"), safe=False).cast(pa.int64())
        if pa.types.is_timestamp(column.type) and column.type.unit != "s":
            units = {"ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
            seconds = pa.array(
                np.floor_divide(
                    column.cast(pa.int64()).fill_null(-1).to_numpy(zero_copy_only=False), units[column.type.unit]
                )
            )
        values: NDArray[np.int64] = seconds.fill_null(-1).to_numpy(zero_copy_only=False)
        bad = np.flatnonzero((values < 0) | (values > LAST_SECOND))
        if len(bad):
            texts = ["" if text is None else text for text in column.take(pa.array(bad)).cast(pa.string()).to_pylist()]
            raise BadValuesError(bad, [f"must be in the years 1970 to 9999, got {text!r}" for text in texts])
        return values

    def _by_pattern(self, texts: pa.Array) -> NDArray[np.int64] | None:
        try:
            times = pd.to_datetime(texts.to_pandas(), format=self.format, utc=True)
        except (ValueError, re.error):
            return None
        return None if times.isna().any() else _floor_seconds(times)

    def _parsed(self, text: str) -> Any:
        """The time, with a zone; None if the text is none."""
        try:
            if self.format == "iso8601":
                iso: Any = pd.to_datetime(_iso(text), format="ISO8601", utc=True) if text else pd.NaT
                return None if pd.isna(iso) else iso
            time = datetime.strptime(text, self.format)
        except (ValueError, re.error):  # the second if the pattern names a part of a time twice
            return None
        return time if time.tzinfo else time.replace(tzinfo=UTC)

    def _example(self) -> str:
        return f"{datetime(2005, 12, 31, 23, 59, 59, tzinfo=UTC).strftime(self.format)} ({self.format})"


def _iso(text: str) -> str:
    """ISO 8601 as databases write it ("2005-12-31 23:59:59 UTC"), in the form that pandas reads."""
    return re.sub(r"\s*(UTC|GMT)$", "Z", re.sub(r"\s+([+-]\d\d(:?\d\d)?)$", r"\1", text))


def _iso_seconds(texts: pa.Array) -> NDArray[np.int64] | None:
    """Times in ISO 8601 as unix seconds; None if one of them is not."""
    for text, kind in ((texts, pa.timestamp("us")), (texts, pa.timestamp("us", "UTC"))):
        try:
            micro = text.cast(kind).cast(pa.int64())
        except pa.ArrowException:
            continue
        seconds: NDArray[np.int64] = np.floor_divide(micro.to_numpy(zero_copy_only=False), 1_000_000)
        return seconds
    plain = pc.replace_substring_regex(
        pc.replace_substring_regex(texts, r"\s+([+-]\d\d(:?\d\d)?)$", r"\1"), r"\s*(UTC|GMT)$", "Z"
    )
    try:
        times = pd.to_datetime(plain.to_pandas(), format="ISO8601", utc=True)
    except ValueError:
        return None
    return None if times.isna().any() else _floor_seconds(times)


def _floor_seconds(times: pd.Series[Any]) -> NDArray[np.int64]:
    """Unix seconds, rounded down."""
    exact: NDArray[Any] = times.dt.tz_localize(None).to_numpy()
    return exact.astype("datetime64[s]").astype(np.int64)
