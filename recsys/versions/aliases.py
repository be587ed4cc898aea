"""Aliases: names such as `champion` for versions. Each change is a row that holds the hash of the row before it."""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, insert, select

from recsys.database import Database
from recsys.database.tables import alias_changes, versions
from recsys.versions.version import SHOWN, VersionConflictError, VersionError

NAME = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,63}")
NO_HASH = "0" * 64  # before the first row
LONGEST = 1000  # characters of who and why
ANY = object()  # of `expected`: whatever the alias names


class ChainError(VersionError):
    """The history of aliases was altered."""


@dataclass(frozen=True)
class AliasChange:
    """One row of the history, which is never changed."""

    number: int  # 1, 2, 3, …
    alias: str
    version: str
    changed: int  # unix seconds; never less than in the row before
    changed_by: str
    reason: str
    other_data: bool  # whether a service may swap to it although its users and items are others
    previous_hash: str
    hash: str

    def computed_hash(self) -> str:
        """The hash that the row must have: of all that it says, and of the row before."""
        content = [
            self.number, self.alias, self.version, self.changed, self.changed_by, self.reason, self.other_data,
            self.previous_hash,
        ]  # fmt: skip
        return hashlib.sha256(json.dumps(content, separators=(",", ":")).encode()).hexdigest()


class Aliases:
    """The aliases of a database, and their history.

    Args:
        database: With the tables.
    """

    def __init__(self, database: Database) -> None:
        self.database = database

    def set(
        self,
        alias: str,
        version: str,
        who: str,
        why: str,
        *,
        expected: Any = ANY,
        other_data: bool = False,
    ) -> AliasChange:
        """Let an alias name a version. If it does already, nothing is added.

        Args:
            alias: Such as `champion`.
            version: Registered, and not withdrawn.
            who: Who changes it.
            why: The reason; neither may hold personal data of users, as the row stays for ever.
            expected: The version that the alias must still name, None for none yet.
            other_data: Let a service swap to it although its users and items are others.

        Raises:
            VersionError: There is no such version, it is withdrawn, or the name is none.
            VersionConflictError: The alias names another version than `expected`.
            DatabaseError: The database cannot be written.
        """
        check_alias(alias)
        for name, text in (("who", who), ("why", why)):
            if not 0 < len(text) <= LONGEST:
                raise VersionError(f"{name} must have 1 to {LONGEST} characters, got {len(text)}")
        with self.database.writing() as connection:
            before = _last(connection, alias)
            if expected is not ANY and expected != (before.version if before else None):
                names = f"names {before.version[:SHOWN]}" if before else "names nothing"
                wanted = f"not {expected[:SHOWN]}" if expected else "which must be new"
                raise VersionConflictError(f"alias {alias} {names}, {wanted}: it was changed meanwhile")
            if before is not None and before.version == version:
                return before
            found = connection.execute(select(versions.c.withdrawn).where(versions.c.version == version)).first()
            if found is None:
                raise VersionError(f"there is no version {version[:SHOWN]}")
            if found[0] is not None:
                raise VersionError(f"version {version[:SHOWN]} is withdrawn: its files are no longer in the store")
            return _append(connection, alias, version, who, why, other_data)

    def last(self, alias: str) -> AliasChange | None:
        """The change by which an alias names what it names; None if there is no such alias."""
        with self.database.reading() as connection:
            return _last(connection, alias)

    def current(self, alias: str) -> str | None:
        """The version that an alias names; None if there is no such alias."""
        last = self.last(alias)
        return None if last is None else last.version

    def all(self) -> dict[str, str]:
        """The version that each alias names."""
        with self.database.reading() as connection:
            return named(connection)

    def at(self, alias: str, seconds: int) -> AliasChange | None:
        """The change by which an alias named, at a time in unix seconds, what it did; None if it named nothing yet."""
        with self.database.reading() as connection:
            return _last(connection, alias, upto=seconds)

    def history(self, alias: str | None = None) -> list[AliasChange]:
        """The changes of an alias, or of all, in their order."""
        wanted = select(alias_changes).order_by(alias_changes.c.number)
        if alias is not None:
            wanted = wanted.where(alias_changes.c.alias == alias)
        with self.database.reading() as connection:
            return [_change(row) for row in connection.execute(wanted)]

    def verify(self, head: str | None = None) -> AliasChange | None:
        """Check that no row of the history was changed, added or removed. Returns the last one, None without any.

        Args:
            head: Hash of a row that an earlier check ended with: it must still be there, since a chain does not tell
                that its end was cut off.

        Raises:
            ChainError: The history was altered; the message names the row.
        """
        changes = self.history()
        before, latest = NO_HASH, 0
        for number, change in enumerate(changes, 1):
            if change.number != number:
                raise ChainError(f"alias history: row {number} is missing")
            if change.previous_hash != before or change.hash != change.computed_hash() or change.changed < latest:
                raise ChainError(f"alias history: row {number} was altered")
            before, latest = change.hash, change.changed
        if head is not None and head not in {change.hash for change in changes}:
            raise ChainError(f"alias history: the row with hash {head[:SHOWN]} is missing")
        return changes[-1] if changes else None


def check_alias(alias: str) -> None:
    """Check the name of an alias.

    Raises:
        VersionError: It is none, or could be taken for a version.
    """
    if not NAME.fullmatch(alias) or re.fullmatch(r"[0-9a-f]+", alias):
        raise VersionError(
            "alias must be 1 to 64 letters, digits, '.', '_' or '-', a letter first, and no hexadecimal number, "
            f"got {alias!r:.80}"
        )


def confirm(connection: Connection, aliases: Iterable[str], who: str, why: str) -> None:
    """Add rows by which aliases name what they name, so that services load it anew.

    Args:
        connection: Of a transaction of the only writer.
        aliases: That name something.
        who: Does it.
        why: The reason.
    """
    for alias in aliases:
        before = _last(connection, alias)
        assert before is not None
        _append(connection, alias, before.version, who, why, before.other_data)


def named(connection: Connection) -> dict[str, str]:
    """The version that each alias names, as a transaction sees it."""
    wanted = select(alias_changes.c.alias, alias_changes.c.version).order_by(alias_changes.c.number)
    return {row.alias: row.version for row in connection.execute(wanted)}


def _last(connection: Connection, alias: str | None = None, upto: int | None = None) -> AliasChange | None:
    """The last change, of an alias or of any, until a time in unix seconds."""
    wanted = select(alias_changes)
    if alias is not None:
        wanted = wanted.where(alias_changes.c.alias == alias)
    if upto is not None:
        wanted = wanted.where(alias_changes.c.changed <= upto)
    row = connection.execute(wanted.order_by(alias_changes.c.number.desc()).limit(1)).first()
    return None if row is None else _change(row)


def _append(connection: Connection, alias: str, version: str, who: str, why: str, other_data: bool) -> AliasChange:
    before = _last(connection)
    number, latest, previous = (1, 0, NO_HASH) if before is None else (before.number + 1, before.changed, before.hash)
    changed = max(int(time.time()), latest)  # a clock may be set back
    new = AliasChange(number, alias, version, changed, who, why, other_data, previous, "")
    new = replace(new, hash=new.computed_hash())
    connection.execute(insert(alias_changes).values(**vars(new)))
    return new


def _change(row: Any) -> AliasChange:
    return AliasChange(**row._mapping)
