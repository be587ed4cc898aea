"""Conversions of whole columns of texts or typed values, which the fields share."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

Value: TypeAlias = Callable[[str, str], Any]  # what a text means, with a decimal separator; ValueError if invalid

INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,18})", re.ASCII)
DIGITS = re.compile(r"-?[0-9]{1,40}", re.ASCII)
NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?|[+-]?(inf|infinity|nan)", re.ASCII | re.I)
GROUPED = {  # numbers with signs between thousands, by decimal sign
    ".": re.compile(r"[+-]?[1-9][0-9]{0,2}(,[0-9]{3})+(\.[0-9]*)?", re.ASCII),
    ",": re.compile(r"[+-]?[1-9][0-9]{0,2}(\.[0-9]{3})+(,[0-9]*)?", re.ASCII),
}
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


def is_integer(text: str) -> bool:
    """Whether a text is a 64-bit integer in canonical form: "7", not "07", "+7" or "7.0"."""
    return bool(INTEGER.fullmatch(text)) and text != "-0" and -(1 << 63) <= int(text) < 1 << 63


def is_integer_text(text: str) -> bool:
    """Whether a text is a 64-bit integer; leading zeros and surrounding blanks are allowed."""
    digits = DIGITS.fullmatch(text.strip())
    return bool(digits) and -(1 << 63) <= int(text) < 1 << 63


def without_groups(text: str, decimal: str) -> str:
    """The text without signs between thousands, if it is a number such as 1,234.5."""
    return text.replace("," if decimal == "." else ".", "") if GROUPED[decimal].fullmatch(text) else text


def parse_number(text: str, decimal: str) -> float:
    """The number that a text without surrounding blanks is."""
    plain = text if decimal == "." else text.replace(".", "no digit").replace(decimal, ".")
    if not NUMBER.fullmatch(plain):
        raise ValueError(f"must be a number, got {text!r}")
    return float(plain)


def as_texts(column: pa.Array) -> pa.Array:
    """The column as texts, empty where it is missing."""
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if column.type != pa.string():
        column = column.cast(kind).cast(pa.string())
    return column.fill_null("") if column.null_count else column


def encode(column: pa.Array) -> pa.DictionaryArray:
    return as_texts(column).dictionary_encode()


def relabel(encoded: pa.DictionaryArray, labels: pa.Array) -> pa.DictionaryArray:
    """The array with other texts for its distinct values, or none; equal ones become one."""
    return labels.take(encoded.indices).dictionary_encode()


def _each(value: Value, texts: list[str], decimal: str) -> tuple[list[Any], dict[int, str]]:
    """Values of the texts, and what is wrong with some of them, by position."""
    values: list[Any] = []
    problems = {}
    for place, text in enumerate(texts):
        try:
            values.append(value(text, decimal))
        except ValueError as error:
            problems[place] = str(error)
            values.append(None)
    return values, problems


def raise_bad(encoded: pa.DictionaryArray, problems: dict[int, str]) -> None:
    if problems:
        codes = encoded.indices.to_numpy(zero_copy_only=False)
        rows = np.flatnonzero(np.isin(codes, list(problems)))
        raise BadValuesError(rows, [problems[code] for code in codes[rows].tolist()])


def convert_distinct(value: Value, column: pa.Array, decimal: str, dtype: type[Any]) -> NDArray[Any]:
    """Convert the distinct texts one by one; NaN where one is missing."""
    encoded = encode(column)
    values, problems = _each(value, encoded.dictionary.to_pylist(), decimal)
    raise_bad(encoded, problems)
    distinct = np.array([math.nan if each is None else each for each in values], dtype=dtype)
    values_of_rows: NDArray[Any] = distinct[encoded.indices.to_numpy(zero_copy_only=False)]
    return values_of_rows


def plain_integers(column: pa.Array, *, canonical: bool = False) -> NDArray[np.int64] | None:
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


def plain_numbers(column: pa.Array, dtype: type[Any], decimal: str, *, missing: bool) -> NDArray[Any] | None:
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


def _offsets(texts: pa.Array) -> NDArray[np.int32]:
    offsets = np.frombuffer(texts.buffers()[1], dtype=np.int32)
    return offsets[texts.offset : texts.offset + len(texts) + 1]


def _bytes_of(texts: pa.Array) -> NDArray[np.uint8]:
    """All texts without gaps."""
    data, offsets = texts.buffers()[2], _offsets(texts)
    if data is None or not len(texts):
        return np.zeros(0, np.uint8)
    return np.frombuffer(data, dtype=np.uint8)[offsets[0] : offsets[-1]]
