"""The errors of ratings that cannot be used."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any


class DataError(ValueError):
    """Invalid ratings; the message names file, place, value and allowed values."""


class UndecidedError(DataError):
    """The data do not say which value an option must have.

    Attributes:
        choices: What can be set, each by option.
    """

    def __init__(self, message: str, choices: Sequence[Mapping[str, Any]]) -> None:
        super().__init__(message)
        self.choices = list(choices)


def did_you_mean(value: object, allowed: Iterable[str]) -> str:
    """The end of an error message that names the allowed value nearest to a mistyped one; empty if none is near."""
    names = {name.lower(): name for name in allowed}
    text = str(value).lower()
    near = get_close_matches(text, names, 1) or [name for name in names if len(text) > 1 and name.startswith(text)]
    return f"; did you mean {names[near[0]]}?" if near else ""


def check_choice(option: str, value: object, allowed: Sequence[str]) -> None:
    """Raise a ValueError that names the option, its value and what is allowed, unless the value is."""
    if value not in allowed:
        raise ValueError(f"{option} must be one of {', '.join(allowed)}, got {value!r}{did_you_mean(value, allowed)}")


def listed(names: Sequence[str], most: int = 10) -> str:
    """Names for a message, the first of them."""
    return ", ".join(names[:most]) + (", …" if len(names) > most else "")
