"""What the database knows of people, read as fast as it can be: each read sees all that was committed before it."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from recsys.database import DatabaseError
from serve.models.person import NO_EVENTS, State

if TYPE_CHECKING:
    from recsys.database import Database

BUSY_SECONDS = 0.05  # SQLite's readers wait for nobody, except after a crash
CACHE_KIB = 16_384  # of SQLite's pages, for each connection
LAST = (
    "coalesce((select max(seq) from events where user_id = {0}), 0), "
    "coalesce((select revision from users where user_id = {0}), 0)"
)
OF_ONE = f"select {LAST.format('?1')}"
OF_MANY = f"select one, {LAST.format('one')} from unnest(%s::text[]) as people(one)"
EVENTS = (
    "select seq, item_id, kind, rating, timestamp from events where user_id = {0} and seq between {0} and {0} "
    "order by seq limit {0}"
)
WITHDRAWN = "select item_id, timestamp from events where user_id = {0} and kind = 'withdrawal' and seq <= {0}"
ATTRIBUTES = "select attributes from users where user_id = {0}"


class Said(NamedTuple):
    """An event of a person."""

    seq: int
    item_id: str
    kind: str
    rating: float | None
    timestamp: int


class LastEvents(Protocol):
    """Reads of a database; all block, and raise a DatabaseError if it does not answer."""

    is_quick: bool  # whether a read of one person takes less than a switch to another thread

    def state(self, user_id: str) -> State:
        """The `seq` of someone's last event, and the revision of their attributes."""

    def states(self, user_ids: Sequence[str]) -> list[State]:
        """As `state`, of many."""

    def events(self, user_id: str, first: int, last: int, most: int) -> list[Said]:
        """At most so many of someone's events with `first <= seq <= last`, in the order of `seq`."""

    def withdrawn(self, user_id: str, cut: int) -> dict[str, int]:
        """When somebody withdrew what they had said of items, for the last time up to a cut, by item."""

    def attributes(self, user_id: str) -> dict[str, str]:
        """The attributes that were set for someone, by name."""


class SqliteEvents:
    """SQLite by its own driver, with a connection for each thread.

    Args:
        path: The database's file.
    """

    is_quick = True

    def __init__(self, path: Path) -> None:
        self._uri = f"{path.absolute().as_uri()}?mode=rw"
        self._of_thread = threading.local()

    def state(self, user_id: str) -> State:
        try:  # each request asks: the shortest way first
            state: State = self._of_thread.cursor.execute(OF_ONE, (user_id,)).fetchall()[0]
        except (AttributeError, sqlite3.Error):  # there is no connection yet, or it is broken
            [state] = self._rows(OF_ONE, user_id)
        return state

    def states(self, user_ids: Sequence[str]) -> list[State]:
        return [self.state(user_id) for user_id in user_ids]

    def events(self, user_id: str, first: int, last: int, most: int) -> list[Said]:
        return list(map(Said._make, self._rows(EVENTS.format("?"), user_id, first, last, most)))

    def withdrawn(self, user_id: str, cut: int) -> dict[str, int]:
        return _latest(self._rows(WITHDRAWN.format("?"), user_id, cut))

    def attributes(self, user_id: str) -> dict[str, str]:
        found = self._rows(ATTRIBUTES.format("?"), user_id)
        return json.loads(found[0][0]) if found else {}

    def _rows(self, statement: str, *values: object) -> list[Any]:
        """All rows, so that the read has ended and the next one sees what is committed until then."""
        try:
            cursor: sqlite3.Cursor | None = getattr(self._of_thread, "cursor", None)
            if cursor is None:
                connection = sqlite3.connect(self._uri, uri=True, timeout=BUSY_SECONDS, isolation_level=None)
                cursor = self._of_thread.cursor = connection.cursor()
                cursor.execute("pragma query_only = on")
                cursor.execute(f"pragma cache_size = -{CACHE_KIB}")
            return cursor.execute(statement, values).fetchall()
        except (sqlite3.Error, sqlite3.Warning) as error:
            self._of_thread.cursor = None
            raise DatabaseError(f"the database does not answer: {error}") from None


class SqlEvents:
    """Any database, by SQLAlchemy.

    Args:
        database: With the tables.
    """

    is_quick = False

    def __init__(self, database: Database) -> None:
        self.database = database

    def state(self, user_id: str) -> State:
        [state] = self.states([user_id])
        return state

    def states(self, user_ids: Sequence[str]) -> list[State]:
        storable = [user_id for user_id in user_ids if "\0" not in user_id]
        found = {one: (seq, revision) for one, seq, revision in self._rows(OF_MANY, storable)}
        return [found.get(user_id, NO_EVENTS) for user_id in user_ids]

    def events(self, user_id: str, first: int, last: int, most: int) -> list[Said]:
        return [Said(*row) for row in self._rows(EVENTS.format("%s"), user_id, first, last, most)]

    def withdrawn(self, user_id: str, cut: int) -> dict[str, int]:
        return _latest(self._rows(WITHDRAWN.format("%s"), user_id, cut))

    def attributes(self, user_id: str) -> dict[str, str]:
        found = self._rows(ATTRIBUTES.format("%s"), user_id)
        return dict(found[0][0]) if found else {}

    def _rows(self, statement: str, *values: object) -> Sequence[Any]:
        with self.database.reading() as connection:
            return connection.exec_driver_sql(statement, values).all()


def _latest(rows: Sequence[Any]) -> dict[str, int]:
    return {item: time for time, item in sorted((time, item) for item, time in rows)}


def last_events(database: Database) -> LastEvents:
    """The fastest reads of a database."""
    return SqliteEvents(database.path) if database.is_sqlite else SqlEvents(database)
