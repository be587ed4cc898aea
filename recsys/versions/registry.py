"""Registry: the versions of a database, each with parent, cut, metrics, configuration and commit."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, insert, select, update

from recsys.database import Database
from recsys.database.tables import events, versions
from recsys.versions.aliases import named
from recsys.versions.version import RETENTION, Version, VersionConflictError, VersionError

AT_ONCE = 500  # values that are looked up in a query


class Registry:
    """The versions of a database.

    Args:
        database: With their table.
    """

    def __init__(self, database: Database) -> None:
        self.database = database

    def add(self, version: Version, new_users: Iterable[str] = ()) -> Version:
        """Register a version whose files are in the store; one that is registered already stays as it is.

        One that retention removed is registered again.

        Args:
            version: To register.
            new_users: Ids of the users whom it has from events, not from its parent: if the events of one of them are
                gone, that person was forgotten meanwhile.

        Raises:
            VersionConflictError: Its parent was withdrawn meanwhile, or one of its new users forgotten.
            VersionError: This very version was withdrawn, as it holds rows of someone who was forgotten.
            DatabaseError: The database cannot be written.
        """
        with self.database.writing() as connection:
            found = _found(connection, version.version)
            if found is not None and found.withdrawn is None:
                return found
            if found is not None and found.reason != RETENTION:
                raise VersionError(f"version {found.short} was withdrawn for ever: {found.reason}")
            parent = None if version.parent is None else _found(connection, version.parent)
            if parent is not None and parent.withdrawn is not None and parent.reason != RETENTION:
                raise VersionConflictError(f"the parent of version {version.short} was withdrawn meanwhile")
            if not _have_events(connection, list(new_users)):
                raise VersionConflictError(f"a user of version {version.short} was forgotten meanwhile")
            if found is None:
                connection.execute(insert(versions).values(**vars(version)))
                return version
            where = versions.c.version == version.version
            connection.execute(update(versions).where(where).values(withdrawn=None, reason=None))
            return replace(found, withdrawn=None, reason=None)

    def get(self, version: str) -> Version | None:
        """A version by all its digits; None if there is none."""
        with self.database.reading() as connection:
            return _found(connection, version)

    def find(self, digits: str) -> Version:
        """The version that begins with these digits.

        Raises:
            VersionError: There is none, or more than one.
        """
        if not digits or set(digits) - set("0123456789abcdef"):
            raise VersionError(f"version must be a version's first digits or an alias, got {digits!r:.80}")
        wanted = select(versions).where(versions.c.version.startswith(digits, autoescape=True)).limit(2)
        with self.database.reading() as connection:
            found = [_version(row) for row in connection.execute(wanted)]
        if len(found) != 1:
            raise VersionError(f"there is {'more than one' if found else 'no'} version {digits:.64}")
        return found[0]

    def all(self) -> list[Version]:
        """All versions, the newest first."""
        wanted = select(versions).order_by(versions.c.created.desc(), versions.c.version)
        with self.database.reading() as connection:
            return [_version(row) for row in connection.execute(wanted)]

    def withdraw(self, withdrawn: Iterable[str], reason: str) -> list[str]:
        """Mark versions as withdrawn, before their files are removed. Those that an alias names now are left out.

        Returns:
            Those that are withdrawn now.
        """
        with self.database.writing() as connection:
            kept = set(named(connection).values())
            marked = [version for version in withdrawn if version not in kept]
            for start in range(0, len(marked), AT_ONCE):
                where = versions.c.version.in_(marked[start : start + AT_ONCE])
                values = {"withdrawn": int(time.time()), "reason": reason}
                is_new = versions.c.withdrawn.is_(None) | (versions.c.reason != reason)
                connection.execute(update(versions).where(where, is_new).values(**values))
        return marked

    def withdrawn(self, among: Iterable[str]) -> set[str]:
        """Which of these versions are withdrawn."""
        with self.database.reading() as connection:
            return withdrawn(connection, among)


def is_registered(connection: Connection, version: str) -> bool:
    """Whether a version has a row, as a transaction sees it."""
    return _found(connection, version) is not None


def withdrawn(connection: Connection, among: Iterable[str]) -> set[str]:
    """Which of these versions are withdrawn, as a transaction sees it."""
    asked, found = list(among), set[str]()
    for start in range(0, len(asked), AT_ONCE):
        where = versions.c.version.in_(asked[start : start + AT_ONCE])
        wanted = select(versions.c.version).where(where, versions.c.withdrawn.is_not(None))
        found.update(connection.execute(wanted).scalars())
    return found


def _have_events(connection: Connection, users: list[str]) -> bool:
    """Whether each of the users has events."""
    for start in range(0, len(users), AT_ONCE):
        part = set(users[start : start + AT_ONCE])
        wanted = select(events.c.user_id).where(events.c.user_id.in_(part)).distinct()
        if len(connection.execute(wanted).all()) < len(part):
            return False
    return True


def _found(connection: Connection, version: str) -> Version | None:
    row = connection.execute(select(versions).where(versions.c.version == version)).first()
    return None if row is None else _version(row)


def _version(row: Any) -> Version:
    return Version(**row._mapping)
