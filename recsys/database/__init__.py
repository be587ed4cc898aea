"""One database for what happens after training: events, items, attributes, versions, aliases and jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from recsys.database.errors import DatabaseError

if TYPE_CHECKING:
    from recsys.database.connection import Database

__all__ = ["Database", "DatabaseError"]


def __getattr__(name: str) -> Any:
    """SQLAlchemy is imported by whoever uses it: `recsys.database.passwords` needs none."""
    if name == "Database":
        from recsys.database.connection import Database

        return Database
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
