"""Ids of users and items: text in requests, rows in the bundle."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from serve.errors import ApiError

INT_ID = re.compile(r"-?[0-9]{1,19}")
MAX_ID_LENGTH = 512  # characters


class IdIndex(dict[str, int]):
    """Rows by id as text.

    Args:
        rows: Row by id, as in a bundle.
        integers: Whether the ids are integers, so that `007` means `7`.
    """

    def __init__(self, rows: Mapping[Any, int], *, integers: bool) -> None:
        super().__init__((str(one), row) for one, row in rows.items())
        self.integers = integers

    def row(self, text: str) -> int:
        """The row of an id; -1 if it is not in the data set.

        Raises:
            ApiError: 400, the id is malformed.
        """
        row = self.get(text)
        if row is not None:
            return row
        if not (INT_ID.fullmatch(text) if self.integers else 0 < len(text) <= MAX_ID_LENGTH):
            raise ApiError(400, "invalid_id", id_rule(integers=self.integers))
        return self.get(str(int(text)), -1) if self.integers else -1


def id_rule(*, integers: bool) -> str:
    """The format of a valid id, as a sentence."""
    return "IDs must be valid integers" if integers else f"IDs must be strings of 1 to {MAX_ID_LENGTH} characters"


def id_schema(*, integers: bool) -> dict[str, Any]:
    """The format of a valid id as a JSON schema."""
    if integers:
        return {"type": "string", "pattern": f"^{INT_ID.pattern}$"}
    return {"type": "string", "minLength": 1, "maxLength": MAX_ID_LENGTH}
