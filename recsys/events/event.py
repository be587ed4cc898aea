"""Event: something that a person did with an item."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from typing import NamedTuple

from recsys.bundle.ids import KIND, KIND_RULE, MAX_ID_LENGTH

RATING, WITHDRAWAL = "rating", "withdrawal"  # kinds; any other is what the shop calls it, such as a purchase
CHOICE = "choice"  # the kind of implicit feedback of which no more is said
MAX_ID_BYTES = 2500  # of a user's or an item's id in UTF-8: PostgreSQL's indices hold no more
MAX_EVENT_ID = 200  # characters
CLOCK_TOLERANCE = 86_400  # seconds that an event may be ahead of the clock of who records it
LAST_SECOND = 253_402_300_799  # of the year 9999


class EventConflictError(ValueError):
    """Event ids that are taken by events with other content.

    Attributes:
        event_ids: These.
    """

    def __init__(self, event_ids: Sequence[str]) -> None:
        few = ", ".join(repr(one)[:80] for one in event_ids[:3]) + (", …" if len(event_ids) > 3 else "")
        super().__init__(f"event_id is taken by an event with other content: {few}")
        self.event_ids = list(event_ids)


class Event(NamedTuple):
    """As the client sends it. The latest event of a user and an item counts, by `timestamp` and then by `seq`."""

    event_id: str  # the client's, unique: what is sent twice counts once
    user_id: str
    item_id: str
    kind: str  # RATING; WITHDRAWAL takes back what the user said of the item before
    rating: float | None  # stars of a rating, else None
    timestamp: int  # unix seconds in UTC, when it happened

    @classmethod
    def of_content(
        cls, user_id: str, item_id: str, kind: str, rating: float | None, timestamp: int | None, otherwise: int = 0
    ) -> Event:
        """An event whose id is made of its content, so that what is imported again counts once.

        Args:
            user_id: Who.
            item_id: With what.
            kind: What they did.
            rating: Stars of a rating.
            timestamp: When, in unix seconds; None if it is not known.
            otherwise: Stands for a time that is not known, and is no part of the id.
        """
        content = json.dumps([user_id, item_id, kind, rating, timestamp]).encode()
        event_id = f"import-{hashlib.sha256(content).hexdigest()[:40]}"
        return cls(event_id, user_id, item_id, kind, rating, otherwise if timestamp is None else timestamp)

    def check(self) -> None:
        """Check that every database holds it as it is.

        Raises:
            ValueError: Names the field, the value and what is allowed.
        """
        for name, value, longest in (
            ("event_id", self.event_id, MAX_EVENT_ID),
            ("user_id", self.user_id, MAX_ID_LENGTH),
            ("item_id", self.item_id, MAX_ID_LENGTH),
        ):
            if not is_storable(value, longest):
                raise ValueError(
                    f"{name} must be UTF-8 of 1 to {longest} characters, {MAX_ID_BYTES} bytes at most, without NUL, "
                    f"got {value!r:.80}"
                )
        if not KIND.fullmatch(self.kind):
            raise ValueError(f"kind must be {KIND_RULE}, got {self.kind!r}")
        if (self.kind == RATING) != (self.rating is not None):
            raise ValueError(
                f"rating must be given for kind {RATING}, and no other, got {self.rating} for {self.kind!r}"
            )
        if self.rating is not None and not math.isfinite(self.rating):
            raise ValueError(f"rating must be a finite number, got {self.rating}")
        if not 0 <= self.timestamp <= LAST_SECOND:
            raise ValueError(f"timestamp must be unix seconds from 0 to {LAST_SECOND}, got {self.timestamp}")


def is_storable(text: str, longest: int) -> bool:
    """Whether a text is an id that every database holds: UTF-8 of 1 to `MAX_ID_BYTES` bytes without NUL."""
    try:
        return 0 < len(text) <= longest and "\0" not in text and len(text.encode()) <= MAX_ID_BYTES
    except UnicodeEncodeError:  # half a surrogate pair
        return False


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
