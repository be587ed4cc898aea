"""What an event may hold."""

from __future__ import annotations

from typing import Any

import pytest

from recsys.events.event import LAST_SECOND, Event

GOOD = Event("a", "7", "50", "rating", 4.0, 100)


@pytest.mark.parametrize(
    "changes",
    [{}, {"user_id": "李" * 600}, {"kind": "withdrawal", "rating": None}, {"kind": "put in a cart", "rating": None},
     {"timestamp": 0}, {"timestamp": LAST_SECOND}, {"event_id": "x" * 200}],
)  # fmt: skip
def test_what_every_database_holds_is_an_event(changes: dict[str, Any]) -> None:
    one = GOOD._replace(**changes)
    one.check()
    assert one._replace(**{name: getattr(GOOD, name) for name in changes}) == GOOD


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"event_id": ""}, "event_id must be UTF-8 of 1 to 200 characters, 2500 bytes at most, without NUL, got ''"),
        ({"event_id": "x" * 201}, "event_id must be"),
        ({"user_id": "a\0b"}, "user_id must be UTF-8 of 1 to 2048 characters"),
        ({"user_id": "\ud800"}, "user_id must be"),
        ({"item_id": "李" * 900}, "item_id must be"),  # 2,700 bytes
        ({"kind": ""}, "kind must be 1 to 64 characters"),
        ({"kind": "a\nb"}, "kind must be"),
        ({"rating": None}, "rating must be given for kind rating"),
        ({"kind": "purchase"}, "rating must be given for kind rating, and no other, got 4.0 for 'purchase'"),
        ({"rating": float("nan")}, "rating must be a finite number"),
        ({"timestamp": -1}, "timestamp must be unix seconds from 0"),
        ({"timestamp": LAST_SECOND + 1}, "timestamp must be"),
    ],
)
def test_what_is_none_is_said(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        GOOD._replace(**changes).check()
