"""The error of ratings that cannot be used."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class DataError(ValueError):
    """Invalid ratings; the message names file, place, value and allowed values."""


def did_you_mean(value: object, allowed: Iterable[str]) -> str:
    """The end of an error message that names the allowed value nearest to a mistyped one; empty if none is near."""
    names = {name.lower(): name for name in allowed}
    near = get_close_matches(str(value).lower(), names, 1)
    return f"; did you mean {names[near[0]]}?" if near else ""
