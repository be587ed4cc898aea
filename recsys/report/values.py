"""Values of run files: finite numbers, printable text, natural sort order."""

from __future__ import annotations

import math
import re
from typing import Any

FORMULA = re.compile(r"'*[=+\-@\t\r\n＝＋－＠]")


def number(value: Any) -> float | None:
    """The value if it is a finite number, else None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return value if math.isfinite(value) else None
    except OverflowError:  # an integer beyond the range of floats
        return None


def csv_cell(value: Any) -> Any:
    """The value for a cell of a CSV file, where spreadsheets would run a text such as `=1+1` as a formula.

    A text that begins with `=`, `+`, `-`, `@`, a tab or a line end, or with apostrophes before one of these, gets an
    apostrophe before it. To read it back, drop one apostrophe of those before such a character. Numbers stay numbers.
    """
    return f"'{value}" if isinstance(value, str) and FORMULA.match(value) else value


def integer(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def natural_sort_key(name: str) -> list[Any]:
    """A sort key that puts 2 before 10."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name)]
