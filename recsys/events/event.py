"""Event: something that a person did with an item."""

from __future__ import annotations

from typing import NamedTuple

RATING, WITHDRAWAL = "rating", "withdrawal"  # kinds; any other is what the shop calls it, such as a purchase


class Event(NamedTuple):
    """As the client sends it. The latest event of a user and an item counts, by `timestamp` and then by `seq`."""

    event_id: str  # the client's, unique: what is sent twice counts once
    user_id: str
    item_id: str
    kind: str  # RATING; WITHDRAWAL takes back what the user said of the item before
    rating: float | None  # stars of a rating, else None
    timestamp: int  # unix seconds in UTC, when it happened


class StoredEvent(NamedTuple):
    """As it is in the table."""

    seq: int  # ascends in the order of commits
    event_id: str
    user_id: str
    item_id: str
    kind: str
    rating: float | None
    timestamp: int
    received: int  # unix seconds in UTC, when it was committed

    @property
    def event(self) -> Event:
        return Event(*self[1:7])
