"""Values of run files: numbers that are finite, text that any terminal takes, names in natural order."""

from __future__ import annotations

import math
import re
from typing import Any


def number(value: Any) -> float | None:
    """A finite number as it is; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return value if math.isfinite(value) else None
    except OverflowError:  # a whole number beyond any float
        return None


def integer(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def printable(text: str) -> str:
    """One line that any terminal and any file can take: no control characters, no halves of characters."""
    text = "".join(character if character.isprintable() else " " for character in text)
    return " ".join(text.split()).encode("utf-8", "replace").decode()


def natural_sort_key(name: str) -> list[Any]:
    """A key that sorts 2 before 10."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name)]
