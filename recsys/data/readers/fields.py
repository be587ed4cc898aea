"""Column validators: texts or typed values become numbers, ids or categories, or the first bad one is described.

Each field has one scalar rule, `value`, that says what a text means. `parse` applies it to a whole column: by a
vectorized conversion where every value is plain, otherwise to the distinct texts.
"""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from recsys.bundle.ids import MAX_ID_LENGTH
from recsys.data.readers.format import Values

INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,18})", re.ASCII)
DIGITS = re.compile(r"-?[0-9]{1,40}", re.ASCII)
NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?|[+-]?(inf|infinity|nan)", re.ASCII | re.I)
ID_NUMBER = r"-?[0-9]+(\.0+)?"
FIRST_IDS = 100
MISSING_WORDS = ("NA", "N/A", "nan", "NaN", "null", "NULL", "None", r"\N")  # besides empty
NUMBER_OR_WORD = re.compile("|".join([ID_NUMBER, *map(re.escape, MISSING_WORDS)]))
LATEST = 100_000_000_000  # unix seconds (year 5138); larger values must be milliseconds
LAST_SECOND = 253_402_300_799  # of the year 9999
UNITS = {"seconds": 1, "milliseconds": 1_000, "microseconds": 1_000_000, "nanoseconds": 1_000_000_000}  # in a second
EXACT = 1 << 53  # larger whole numbers have lost digits as a float
POWERS = np.array([0, *(10**n for n in range(1, 19))], dtype=np.int64)  # smallest numbers of 1, 2, … digits


class BadValuesError(ValueError):
    """Values of a column are invalid.

    Attributes:
        rows: Positions of the invalid values, ascending.
        problems: What is wrong with each.
    """

    def __init__(self, rows: Sequence[int] | NDArray[np.int64], problems: Sequence[str]) -> None:
        super().__init__(problems[0])
        self.rows, self.problems = np.asarray(rows, dtype=np.int64), problems


@dataclass(frozen=True)
class Field(ABC):
    """A column of a ratings file, with its name in the frame."""

    name: str

    @abstractmethod
    def value(self, text: str, decimal: str = ".") -> Any:
        """What a text means; None where it is missing.

        Raises:
            ValueError: It is invalid; says what is allowed.
        """

    @abstractmethod
    def parse(self, column: pa.Array, decimal: str = ".") -> Values:
        """Values of a column of texts, or of a typed file.

        Args:
            column: The column, `(rows,)`; typed columns may have nulls.
            decimal: Decimal separator of texts.

        Raises:
            BadValuesError: Values are invalid.
        """

    def join(self, parts: list[Values]) -> Values:
        """All parts of a column, in order; empties the list, to free each part."""
        total = np.empty(sum(map(len, parts)), dtype=parts[0].dtype if parts else np.float64)
        end = len(total)
        while parts:
            part = parts.pop()
            total[end - len(part) : end] = part
            end -= len(part)
        return total

    def problem(self, text: str, decimal: str = ".") -> str | None:
        """Describe what is wrong with a text; None if it is valid."""
        try:
            self.value(text, decimal)
        except ValueError as error:
            return str(error)
        return None


@dataclass(frozen=True)
class IntegerId(Field):
    """An id that must be an integer, as in every MovieLens release; leading zeros and blanks are allowed."""

    def value(self, text: str, decimal: str = ".") -> int:
        if not _parses(text):
            raise ValueError(f"must be an integer, got {text!r}")
        return int(text)

    def parse(self, column: pa.Array, decimal: str = ".") -> Values:
        return _first_of(_plain_integers(column), lambda: _by_distinct(self, column, decimal, np.int64))


@dataclass(frozen=True)
class AnyId(Field):
    """An id, kept as written without surrounding blanks; an empty one is missing.

    `parse` and `join` give integers if all ids are canonical 64-bit integers, else a dictionary array with nulls for
    missing ids. If each id of a column is written as a whole number, such as 7 or 7.0, then 7.0 is the id 7, and the
    words of `MISSING_WORDS` are missing.
    """

    def value(self, text: str, decimal: str = ".") -> str | None:
        text = text.strip()
        if len(text) > MAX_ID_LENGTH:
            raise ValueError(f"must have at most {MAX_ID_LENGTH} characters, got {len(text)}: {text[:40]!r}…")
        if "\n" in text or "\0" in text:
            raise ValueError(f"must have no line end and no NUL character, got {text[:40]!r}")
        return text or None

    def parse(self, column: pa.Array, decimal: str = ".") -> Values:
        plain = _plain_integers(column, canonical=True)
        if plain is not None:
            return plain
        kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
        if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
            column = _whole_numbers(column)
        encoded = _encoded(column)
        texts = pc.utf8_trim_whitespace(encoded.dictionary)
        bad = pc.greater(pc.utf8_length(texts), MAX_ID_LENGTH)
        for sign in "\n\0":
            bad = pc.or_(bad, pc.match_substring(texts, sign))
        if pc.any(bad).as_py():
            _raise_bad(
                encoded,
                {place: self.problem(texts[place].as_py()) or "" for place in pc.indices_nonzero(bad).to_pylist()},
            )
        if texts.equals(encoded.dictionary) and not pc.any(pc.equal(texts, "")).as_py():
            return encoded
        return _relabelled(encoded, pc.if_else(pc.equal(texts, ""), pa.scalar(None, pa.string()), texts))

    def join(self, parts: list[Values]) -> Values:
        if all(isinstance(part, np.ndarray) for part in parts):
            return super().join(parts) if parts else np.zeros(0, np.int64)
        arrays = [_id_texts(part) for part in parts]
        parts.clear()
        whole = pa.chunked_array(arrays).unify_dictionaries().combine_chunks()
        whole = pa.concat_arrays(whole.chunks) if isinstance(whole, pa.ChunkedArray) else whole
        ids = whole.dictionary
        if not all(NUMBER_OR_WORD.fullmatch(text) for text in ids[:FIRST_IDS].to_pylist()):
            return whole  # most often: this is quick
        words = pc.is_in(ids, value_set=pa.array(MISSING_WORDS))
        numbers = pc.match_substring_regex(ids, f"^{ID_NUMBER}$")
        if not pc.all(pc.or_(words, numbers)).as_py() or not pc.any(numbers).as_py():
            return whole
        plain = pc.replace_substring_regex(ids, r"\.0+$", "")
        return _relabelled(whole, pc.if_else(words, pa.scalar(None, pa.string()), plain))


@dataclass(frozen=True)
class Text(Field):
    """A text of few distinct values, such as the kind of an event; empty if missing."""

    def value(self, text: str, decimal: str = ".") -> str:
        return text.strip()

    def parse(self, column: pa.Array, decimal: str = ".") -> Values:
        encoded = _encoded(column)
        return _relabelled(encoded, pc.utf8_trim_whitespace(encoded.dictionary))

    def join(self, parts: list[Values]) -> Values:
        if not parts:
            return pa.array([], pa.string()).dictionary_encode()
        whole = pa.chunked_array(parts).unify_dictionaries().combine_chunks()
        parts.clear()
        return pa.concat_arrays(whole.chunks) if isinstance(whole, pa.ChunkedArray) else whole


@dataclass(frozen=True)
class Stars(Field):
    """A rating on a scale; a bound may be infinite if the range of the data is used.

    Attributes:
        lowest: Lowest rating of the scale.
        highest: Highest rating of the scale.
        missing: Values that mean "not rated", besides empty and the words of `MISSING_WORDS`; they become NaN, numbers
            among them by value (99 is 99.0). None if every row must have a rating.
    """

    lowest: float = -math.inf
    highest: float = math.inf
    missing: tuple[float | str, ...] | None = None

    def value(self, text: str, decimal: str = ".") -> np.float32 | None:
        text = text.strip()
        if self.missing is not None and (not text or text in MISSING_WORDS or text in self.missing):
            return None
        value = np.float32(_number(text, decimal))
        if value in self._missing_numbers():
            return None
        if not self._inside(value, value):
            raise ValueError(f"must be {self._allowed()}, got {text}")
        return value

    def parse(self, column: pa.Array, decimal: str = ".") -> Values:
        values = _plain_numbers(column, np.float32, decimal, missing=self.missing is not None)
        if values is not None:
            if len(numbers := self._missing_numbers()):
                values = np.where(np.isin(values, numbers), np.float32(np.nan), values)
            if not len(values) or self._inside(np.fmin.reduce(values), np.fmax.reduce(values)):
                return values
            if np.isnan(values).all():
                return values
        return _by_distinct(self, column, decimal, np.float32)

    def _missing_numbers(self) -> NDArray[np.float32]:
        numbers = [float(value) for value in self.missing or () if NUMBER.fullmatch(str(value))]
        return np.array(numbers, dtype=np.float32)

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
class Weight(Field):
    """A count, or hours: a finite number >= 0 as float64; NaN where it is missing."""

    def value(self, text: str, decimal: str = ".") -> float | None:
        text = text.strip()
        if not text or text in MISSING_WORDS:
            return None
        value = _number(text, decimal)
        if not 0 <= value < math.inf:
            raise ValueError(f"must be finite and >= 0, got {text}")
        return value

    def parse(self, column: pa.Array, decimal: str = ".") -> Values:
        values = _plain_numbers(column, np.float64, decimal, missing=True)
        if values is not None and not (values < 0).any() and not np.isinf(values).any():
            return values
        return _by_distinct(self, column, decimal, np.float64)


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
            values = _iso_seconds(_texts(column)) if self.format == "iso8601" else self._by_pattern(_texts(column))
        if values is not None and (not len(values) or 0 <= values.min() <= values.max() <= self._last()):
            return values
        return _by_distinct(self, column, decimal, np.int64)

    def _last(self) -> int:
        return LATEST - 1 if self.format == "seconds" else LAST_SECOND

    def _of_number(self, text: str, decimal: str) -> int:
        try:
            value = _number(text.strip(), decimal)
        except ValueError:
            raise ValueError(f"must be unix {self.format}, got {text!r}") from None
        unit = UNITS[self.format]
        highest = LATEST if self.format == "seconds" else (LAST_SECOND + 1) * unit
        if not 0 <= value < highest:
            raise ValueError(f"must be unix {self.format} in [0, {highest}), got {text.strip()}")
        return int(text) // unit if _parses(text) else math.floor(value / unit)

    def _plain(self, column: pa.Array, decimal: str) -> NDArray[np.int64] | None:
        """Numbers as seconds; None unless all of them are plain and have no sign that an unit hides."""
        numbers: Any = _plain_integers(column)
        if numbers is None:
            numbers = _plain_numbers(column, np.float64, decimal, missing=False)
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
        except ValueError:
            return None
        return None if times.isna().any() else _floor_seconds(times)

    def _parsed(self, text: str) -> Any:
        """The time, with a zone; None if the text is none."""
        try:
            if self.format == "iso8601":
                iso: Any = pd.to_datetime(_iso(text), format="ISO8601", utc=True) if text else pd.NaT
                return None if pd.isna(iso) else iso
            time = datetime.strptime(text, self.format)
        except ValueError:
            return None
        return time if time.tzinfo else time.replace(tzinfo=UTC)

    def _example(self) -> str:
        return f"{datetime(2005, 12, 31, 23, 59, 59, tzinfo=UTC).strftime(self.format)} ({self.format})"


def is_integer(text: str) -> bool:
    """Whether a text is a 64-bit integer in canonical form: "7", not "07", "+7" or "7.0"."""
    return bool(INTEGER.fullmatch(text)) and text != "-0" and -(1 << 63) <= int(text) < 1 << 63


def same_kind(users: Values, items: Values) -> tuple[Values, Values]:
    """Ids of one kind, `(rows,)` each: int64 if all of both are integers, else dictionary arrays of texts."""
    if isinstance(users, np.ndarray) and isinstance(items, np.ndarray):
        return users, items
    return _id_texts(users), _id_texts(items)


def integers_if_all(ids: Values) -> Values:
    """Ids as int64 if all of them are canonical integers; as they are otherwise."""
    if isinstance(ids, np.ndarray) or ids.null_count or not len(ids) or not is_integer(ids[0].as_py()):
        return ids
    is_used = np.zeros(len(ids.dictionary), dtype=bool)
    is_used[ids.indices.to_numpy()] = True
    used = np.flatnonzero(is_used)
    texts = ids.dictionary.take(pa.array(used)).to_pylist()
    if not all(map(is_integer, texts)):
        return ids
    distinct = np.zeros(len(ids.dictionary), dtype=np.int64)
    distinct[used] = [int(text) for text in texts]
    return distinct[ids.indices.to_numpy()]


def _first_of(values: Any, otherwise: Callable[[], Values]) -> Values:
    return otherwise() if values is None else values


def _parses(text: str) -> bool:
    """Whether a text is a 64-bit integer; leading zeros and surrounding blanks are allowed."""
    digits = DIGITS.fullmatch(text.strip())
    return bool(digits) and -(1 << 63) <= int(text) < 1 << 63


def _number(text: str, decimal: str) -> float:
    """The number that a text without surrounding blanks is."""
    plain = text if decimal == "." else text.replace(".", "no digit").replace(decimal, ".")
    if not NUMBER.fullmatch(plain):
        raise ValueError(f"must be a number, got {text!r}")
    return float(plain)


def _texts(column: pa.Array) -> pa.Array:
    """The column as texts, empty where it is missing."""
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if column.type != pa.string():
        column = column.cast(kind).cast(pa.string())
    return column.fill_null("") if column.null_count else column


def _encoded(column: pa.Array) -> pa.DictionaryArray:
    return _texts(column).dictionary_encode()


def _relabelled(encoded: pa.DictionaryArray, labels: pa.Array) -> pa.DictionaryArray:
    """The array with other texts for its distinct values, or none; equal ones become one."""
    return labels.take(encoded.indices).dictionary_encode()


def _each(field: Field, texts: list[str], decimal: str) -> tuple[list[Any], dict[int, str]]:
    """Values of the texts, and what is wrong with some of them, by position."""
    values: list[Any] = []
    problems = {}
    for place, text in enumerate(texts):
        try:
            values.append(field.value(text, decimal))
        except ValueError as error:
            problems[place] = str(error)
            values.append(None)
    return values, problems


def _raise_bad(encoded: pa.DictionaryArray, problems: dict[int, str]) -> None:
    if problems:
        codes = encoded.indices.to_numpy(zero_copy_only=False)
        rows = np.flatnonzero(np.isin(codes, list(problems)))
        raise BadValuesError(rows, [problems[code] for code in codes[rows].tolist()])


def _by_distinct(field: Field, column: pa.Array, decimal: str, dtype: type[Any]) -> NDArray[Any]:
    """Convert the distinct texts one by one; NaN where one is missing."""
    encoded = _encoded(column)
    values, problems = _each(field, encoded.dictionary.to_pylist(), decimal)
    _raise_bad(encoded, problems)
    distinct = np.array([math.nan if value is None else value for value in values], dtype=dtype)
    values_of_rows: NDArray[Any] = distinct[encoded.indices.to_numpy(zero_copy_only=False)]
    return values_of_rows


def _plain_integers(column: pa.Array, *, canonical: bool = False) -> NDArray[np.int64] | None:
    """The column as int64; None unless each value is an integer, in canonical form if asked for."""
    kind = column.type
    if column.null_count:
        return None
    try:
        if kind == pa.string():
            last = _bytes_of(column)
            if len(last) and last.max() > ord("9"):  # such as 0x1F, which Arrow takes for a number
                return None
        elif not pa.types.is_integer(kind):
            return None
        values: NDArray[np.int64] = column.cast(pa.int64()).to_numpy(zero_copy_only=False)
    except pa.ArrowException:
        return None
    if canonical and kind == pa.string() and len(values):
        digits = np.diff(_offsets(column)) - (values < 0)
        if int(digits.max()) > 18 or (np.abs(values) < POWERS[digits - 1]).any():
            return None
    return values


def _plain_numbers(column: pa.Array, dtype: type[Any], decimal: str, *, missing: bool) -> NDArray[Any] | None:
    """The column as floats, NaN where it is null and `missing`; None unless all others are plain finite numbers."""
    kind = column.type
    target = pa.float32() if dtype is np.float32 else pa.float64()
    if column.null_count and not missing:
        return None
    if kind == pa.string() and decimal != ".":
        if (_bytes_of(column) == ord(".")).any():
            return None
        column = pc.replace_substring(column, decimal, ".")
    elif kind != pa.string() and not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or _is_decimal(kind)):
        return None
    try:
        values: NDArray[Any] = column.cast(target, safe=False).to_numpy(zero_copy_only=False)
    except pa.ArrowException:
        return None
    if kind == pa.string():
        return values if np.isfinite(values).all() else None
    if np.isinf(values).any() or (not missing and np.isnan(values).any()):
        return None
    return values


def _is_decimal(kind: pa.DataType) -> bool:
    return bool(pa.types.is_decimal(kind))


def _whole_numbers(column: pa.Array) -> pa.Array:
    """Texts of ids that a typed file holds as floats or decimals, null where they are missing."""
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    column = column.cast(kind)
    values = column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    known = ~np.isnan(values)
    exact = np.floor(values) == values
    if pa.types.is_floating(kind):
        exact &= np.abs(values) <= EXACT
    bad = np.flatnonzero(known & ~exact)
    if len(bad):
        raise BadValuesError(bad, [f"must be a whole number up to 2**53, got {values[row]}" for row in bad])
    target = pa.int64() if pa.types.is_floating(kind) else pa.decimal128(38, 0)
    whole = pa.array(np.where(known, values, 0).astype(np.int64)) if target == pa.int64() else column.cast(target)
    return pc.if_else(pa.array(known), whole.cast(pa.string()), pa.scalar(None, pa.string()))


def _id_texts(part: Values) -> pa.DictionaryArray:
    if not isinstance(part, np.ndarray):
        return part
    distinct, codes = np.unique(part, return_inverse=True)
    return pa.DictionaryArray.from_arrays(pa.array(codes.astype(np.int32)), pa.array(distinct).cast(pa.string()))


def _offsets(texts: pa.Array) -> NDArray[np.int32]:
    offsets = np.frombuffer(texts.buffers()[1], dtype=np.int32)
    return offsets[texts.offset : texts.offset + len(texts) + 1]


def _bytes_of(texts: pa.Array) -> NDArray[np.uint8]:
    """All texts without gaps."""
    data, offsets = texts.buffers()[2], _offsets(texts)
    if data is None or not len(texts):
        return np.zeros(0, np.uint8)
    return np.frombuffer(data, dtype=np.uint8)[offsets[0] : offsets[-1]]


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
