"""What people do now: events, their order, and what they say of a person."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from recsys.events.event import RATING, WITHDRAWAL, Event, EventConflictError, StoredEvent

if TYPE_CHECKING:
    from recsys.events.event_log import EventColumns, EventLog
    from recsys.events.group_commit import GroupCommit

__all__ = [
    "RATING",
    "WITHDRAWAL",
    "Event",
    "EventColumns",
    "EventConflictError",
    "EventLog",
    "GroupCommit",
    "StoredEvent",
]
OF_A_DATABASE = {"EventColumns": "event_log", "EventLog": "event_log", "GroupCommit": "group_commit"}


def __getattr__(name: str) -> Any:
    """SQLAlchemy is imported by whoever has a database."""
    if name in OF_A_DATABASE:
        import importlib

        return getattr(importlib.import_module(f"recsys.events.{OF_A_DATABASE[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
