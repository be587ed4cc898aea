"""What people do now: events, their order, and what they say of a person."""

from recsys.events.event import RATING, WITHDRAWAL, Event, StoredEvent
from recsys.events.event_log import EventColumns, EventConflictError, EventLog

__all__ = [
    "RATING",
    "WITHDRAWAL",
    "Event",
    "EventColumns",
    "EventConflictError",
    "EventLog",
    "StoredEvent",
]
