"""DatabaseError, without SQLAlchemy."""

from __future__ import annotations


class DatabaseError(ValueError):
    """A database cannot be used; the message names it, and never its password."""
