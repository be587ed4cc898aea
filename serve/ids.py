"""Ids of users and items: text or numbers in requests, rows in the bundle."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from recsys.bundle.ids import MAX_ID_LENGTH
from recsys.events.event import MAX_ID_BYTES, is_storable
from recsys.events.given_ids import INTEGER
from recsys.events.merge import LARGEST_INT, id_of
from serve.api_error import ApiError

DIGITS = re.compile(r"-?[0-9]{20,}")
MAX_INTEGER = 10**19 - 1  # of 19 digits
LONG = 19  # characters of an integer that may not fit into 64 bits
EXACT_FLOATS = 2**53  # up to here a float is the number that was sent
ENCODED_DOTS = {"%2E": ".", "%2E%2E": ".."}

GivenId = str | int | float  # of a JSON body


class IdIndex(dict[str, int]):
    """Rows by id as text.

    Args:
        rows: Row by id, as in a bundle.
        integers: Whether the ids are integers, so that `007` means `7`.
        rule: The format of a valid id, as a sentence.
    """

    def __init__(self, rows: Mapping[Any, int], *, integers: bool, rule: str) -> None:
        super().__init__((str(one), row) for one, row in rows.items())
        self.integers, self.rule = integers, rule

    def text(self, given: GivenId, place: str = "") -> str:
        """The id that is meant, as text.

        A JSON integer stands for its digits, whatever the kind of the ids. So does `7.0`, which is the same number,
        unless there is a text `7.0` among the ids. A float beyond 2^53 may not be the number that was sent.

        Args:
            given: As it was sent.
            place: Where in a body, for the message.

        Raises:
            ApiError: 400, the id is malformed.
        """
        if isinstance(given, str):
            if given in self or (not self.integers and 0 < len(given) <= MAX_ID_LENGTH):
                return given
            if self.integers and INTEGER.fullmatch(given):
                return str(int(given))
        elif isinstance(given, int):
            if abs(given) <= MAX_INTEGER:
                return str(given)
        elif given.is_integer() and abs(given) <= EXACT_FLOATS and str(given) not in self:
            return str(int(given))
        raise ApiError(400, "invalid_id", self.fault(given, place))

    def fault(self, given: object, place: str) -> str:
        """What is wrong with an id that is malformed, as a sentence that does not repeat it."""
        too_large = isinstance(given, int | float) and abs(given) > MAX_INTEGER
        if too_large or (self.integers and isinstance(given, str) and DIGITS.fullmatch(given)):
            rule = f"integers must be from {-MAX_INTEGER} to {MAX_INTEGER}"
        else:
            rule = self.rule
        return f"{place}: {rule}" if place else rule

    def check_recordable(self, text: str, place: str) -> None:
        """Check that a database holds an id, and that a bundle can.

        Args:
            text: As `text` returns it.
            place: What it is, for the message.

        Raises:
            ApiError: 400, it has a NUL; 409, it is too large.
        """
        if self.integers:
            if len(text) >= LONG and id_of(text, "int") is None:
                raise ApiError(409, "unrecordable_id", f"{place} must be from {-LARGEST_INT} to {LARGEST_INT}")
        elif not is_storable(text, MAX_ID_BYTES):
            if "\0" in text:
                raise ApiError(400, "invalid_id", f"{place} must have no NUL")
            raise ApiError(409, "unrecordable_id", f"{place} must be at most {MAX_ID_BYTES} bytes of UTF-8")

    def row(self, given: GivenId, place: str = "") -> int:
        """The row of an id; -1 if it is not in the data set.

        Raises:
            ApiError: 400, the id is malformed.
        """
        return self.get(self.text(given, place), -1)

    def text_in_path(self, given: str) -> str:
        """As `text`, for a segment of a path, where browsers resolve `.` and `..`: those may be sent encoded twice."""
        text = self.text(given)
        return ENCODED_DOTS.get(text.upper(), text) if text not in self else text


def id_rule(*, integers: bool, example: str | None) -> str:
    """The format of a valid id, as a sentence."""
    rule = "IDs must be valid integers" if integers else f"IDs must be strings of 1 to {MAX_ID_LENGTH} characters"
    if example is None:
        return rule
    return f"{rule}, such as {example}" if integers else f'{rule}, such as "{example}"'


def id_schema(*, integers: bool, recorded: bool = False) -> dict[str, Any]:
    """The format of a valid id in a path as a JSON schema; one that is recorded has no NUL."""
    if integers:
        return {"type": "string", "pattern": f"^{INTEGER.pattern}$"}
    text = {"type": "string", "minLength": 1, "maxLength": MAX_ID_LENGTH}
    return text | {"pattern": r"^[^\x00]+$"} if recorded else text


def body_id_schema(*, integers: bool, recorded: bool = False) -> dict[str, Any]:
    """The format of a valid id in a body as a JSON schema: as in a path, or an integer."""
    number = {"type": "integer", "minimum": -MAX_INTEGER, "maximum": MAX_INTEGER}
    return {"anyOf": [id_schema(integers=integers, recorded=recorded), number]}
