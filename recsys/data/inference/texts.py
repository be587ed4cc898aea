"""What a text of a file is: a number, a time, a missing value, or something else."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence

from recsys.data.readers.conversion import GROUPED
from recsys.data.readers.fields import MISSING_WORDS

MISSING = frozenset(("", *MISSING_WORDS))
NUMBER = re.compile(r"\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*", re.ASCII)
COMMA_NUMBER = re.compile(r"\s*[-+]?(\d+,\d+)\s*", re.ASCII)  # with a decimal comma
WHOLE = re.compile(r"\s*-?\d+(\.0*)?\s*", re.ASCII)
TIME = re.compile(r"\d{1,4}([-/.])\d{1,2}\1\d{1,4}(?![-./\d]).{0,25}|\d{1,2}:\d{2}(:\d{2})?", re.ASCII)


def is_missing(text: str) -> bool:
    return text.strip() in MISSING


def is_number(text: str, decimal: str = ".") -> bool:
    """Whether a text is a finite number, such as 1234.5 or 1,234.5; with `decimal` "," also 2,5 and 1.234,5."""
    return bool(
        NUMBER.fullmatch(text) or (decimal == "," and COMMA_NUMBER.fullmatch(text)) or is_grouped(text, decimal)
    )


def is_grouped(text: str, decimal: str) -> bool:
    """Whether a text is a number with signs between thousands."""
    return bool(GROUPED[decimal].fullmatch(text.strip()))


def is_time(text: str) -> bool:
    """Whether a text has the shape of a date or a time of day with digits."""
    return bool(TIME.fullmatch(text.strip()))


def numbers(texts: Iterable[str], decimal: str = ".") -> list[float]:
    """The texts as numbers, NaN for those that are none."""
    return [_value(text, decimal) if is_number(text, decimal) else math.nan for text in texts]


def _value(text: str, decimal: str) -> float:
    if is_grouped(text, decimal):
        text = text.replace("," if decimal == "." else ".", "")
    return float(text.replace(",", ".") if decimal == "," else text)


def present(texts: Iterable[str]) -> list[str]:
    """The texts that are not missing."""
    return [text for text in texts if text.strip() not in MISSING]


def numeric(texts: Sequence[str], decimal: str = ".") -> bool:
    """Whether all texts that are not missing are numbers, and there is one."""
    found = present(texts)
    return bool(found) and all(is_number(text, decimal) for text in found)
