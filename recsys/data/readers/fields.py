"""Columns of a ratings file: texts or typed values become numbers or categories, or the bad ones are described.

Each field has one scalar rule, `value`, that says what a text means. `parse` applies it to a whole column: by a
vectorized conversion where every value is plain, otherwise to the distinct texts.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from recsys.data.readers.conversion import (
    NUMBER,
    convert_distinct,
    encode,
    parse_number,
    plain_numbers,
    relabel,
    without_groups,
)
from recsys.data.readers.format import Values

MISSING_WORDS = ("NA", "N/A", "nan", "NaN", "null", "NULL", "None", r"\N")  # besides empty
# Words for a weight, in lower case.
FLAGS = dict.fromkeys(("true", "yes", "t", "y"), 1.0) | dict.fromkeys(("false", "no", "f", "n"), 0.0)


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
class Text(Field):
    """A text of few distinct values, such as the kind of an event; empty if missing."""

    def value(self, text: str, decimal: str = ".") -> str:
        return text.strip()

    def parse(self, column: pa.Array, decimal: str = ".") -> Values:
        encoded = encode(column)
        return relabel(encoded, pc.utf8_trim_whitespace(encoded.dictionary))

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
        value = np.float32(parse_number(without_groups(text, decimal), decimal))
        if value in self._missing_numbers():
            return None
        if not self._inside(value, value):
            raise ValueError(f"must be {self._allowed()}, got {text}")
        return value

    def parse(self, column: pa.Array, decimal: str = ".") -> Values:
        values = plain_numbers(column, np.float32, decimal, missing=self.missing is not None)
        if values is not None:
            if len(numbers := self._missing_numbers()):
                values = np.where(np.isin(values, numbers), np.float32(np.nan), values)
            if not len(values) or self._inside(np.fmin.reduce(values), np.fmax.reduce(values)):
                return values
            if np.isnan(values).all():
                return values
        return convert_distinct(self.value, column, decimal, np.float32)

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
    """A count, or hours: a finite number as float64; true or yes is 1, false or no is 0; NaN where it is missing."""

    def value(self, text: str, decimal: str = ".") -> float | None:
        text = text.strip()
        if not text or text in MISSING_WORDS:
            return None
        if text.lower() in FLAGS:
            return FLAGS[text.lower()]
        value = parse_number(without_groups(text, decimal), decimal)
        if not math.isfinite(value):
            raise ValueError(f"must be finite, got {text}")
        return value

    def parse(self, column: pa.Array, decimal: str = ".") -> Values:
        values = plain_numbers(column, np.float64, decimal, missing=True)
        if values is not None and not np.isinf(values).any():
            return values
        return convert_distinct(self.value, column, decimal, np.float64)
