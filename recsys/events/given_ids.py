"""Ids of users and items as people type them."""

from __future__ import annotations

import re

from recsys.events.merge import id_of

INTEGER = re.compile(r"-?[0-9]{1,19}")


def given_id(text: str, id_kind: str | None) -> str:
    """The id that is meant, as events have it: where ids are integers, `07` means `7`, as it does to the service.

    Args:
        text: As it was typed.
        id_kind: Of the data, `int` or `str`; None if it is not known.

    Raises:
        ValueError: Ids are integers, and this is none of 64 bits.
    """
    if id_kind != "int":
        return text
    found = str(int(text)) if INTEGER.fullmatch(text) else ""
    if id_of(found, "int") is None:
        raise ValueError(f"ids of this data are integers, such as 50, got {text!r:.80}")
    return found
