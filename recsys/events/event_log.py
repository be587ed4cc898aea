"""EventLog: events are appended in the order of commits, and read up to a cut."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, Connection, delete, func, literal_column, select

from recsys.database import Database
from recsys.database.tables import events
from recsys.events.event import WITHDRAWAL, Event, EventConflictError, StoredEvent

AT_ONCE = 500  # ids that are looked up in a query
CHUNK = 50_000  # events that are read at a time
COLUMNS = "insert into events (event_id, user_id, item_id, kind, rating, timestamp, received) "
ARRAYS = (
    "select * from unnest(%s::text[], %s::text[], %s::text[], %s::text[], %s::float8[], %s::bigint[], %s::bigint[])"
)
SIZES = (256, 64, 16, 4, 1)  # rows of a statement in SQLite: a step for each row would give up Python's lock each time

STATEMENTS = {
    size: f"{COLUMNS} values {', '.join(['(?, ?, ?, ?, ?, ?, ?)'] * size)} on conflict (event_id) do nothing"
    for size in SIZES
}

Row = tuple[Any, ...]


class EventColumns(NamedTuple):
    """Events as columns, in the order of `seq`."""

    seq: NDArray[np.int64]
    user_id: list[str]
    item_id: list[str]
    kind: list[str]
    rating: NDArray[np.float64]  # NaN where there is none
    timestamp: NDArray[np.int64]

    def where(self, chosen: NDArray[np.bool_]) -> EventColumns:
        """Some of the events."""
        rows = np.flatnonzero(chosen).tolist()
        user_id, item_id, kind = ([column[row] for row in rows] for column in (self.user_id, self.item_id, self.kind))
        return EventColumns(self.seq[chosen], user_id, item_id, kind, self.rating[chosen], self.timestamp[chosen])


class Inserted(NamedTuple):
    """What became of requests in a transaction."""

    outcomes: list[int | EventConflictError]  # as of `EventLog.append`
    new: int  # events; others were there already


class EventLog:
    """The events of a database.

    Args:
        database: With their table.
    """

    def __init__(self, database: Database) -> None:
        self.database = database

    def append(self, *requests: Sequence[Event]) -> list[int | EventConflictError]:
        """Append the events of one or more requests in one transaction, which is on disk when this returns.

        An event that is there already with the same content counts once. A request with an `event_id` that is taken by
        other content is left out as a whole.

        Returns:
            For each request, a `seq` that is not less than those of its events; or why it was left out.

        Raises:
            DatabaseError: The database cannot be written; nothing was.
        """
        with self.database.writing() as connection:
            return self.insert(connection, requests).outcomes

    def insert(self, connection: Connection, requests: Sequence[Sequence[Event]]) -> Inserted:
        """As `append`, within a transaction of the only writer."""
        received = int(time.time())
        rows = [(*event, received) for request in requests for event in request]
        driver: Any = connection.connection.driver_connection  # through SQLAlchemy this takes twice as long
        driver.execute("savepoint requests")
        inserted, last = self._insert(driver, rows)
        if inserted == len(rows):
            return Inserted([last] * len(requests), inserted)
        driver.execute("rollback to savepoint requests")
        conflicts, new = self._sorted_out(connection, requests)
        self._insert(driver, [(*event, received) for event in new])
        last = _last(connection)
        return Inserted([last if why is None else why for why in conflicts], len(new))

    def append_new(self, batch: Sequence[Event]) -> int:
        """Append the events whose `event_id` is not there, whatever the content of those that are. Returns how many.

        Raises:
            DatabaseError: The database cannot be written; nothing was.
        """
        received = int(time.time())
        with self.database.writing() as connection:
            driver: Any = connection.connection.driver_connection
            return self._insert(driver, [(*event, received) for event in batch])[0]

    def _insert(self, driver: Any, rows: Sequence[Row]) -> tuple[int, int]:
        """Insert those whose `event_id` is new. Returns how many these are, and the `seq` of the last one."""
        inserted = last = 0
        if rows and not self.database.is_sqlite:
            statement = f"{COLUMNS} {ARRAYS} on conflict (event_id) do nothing returning seq"
            found = [seq for (seq,) in driver.execute(statement, tuple(map(list, zip(*rows, strict=True))))]
            return len(found), max(found, default=0)
        start = 0
        for size in SIZES:
            while len(rows) - start >= size:
                cursor = driver.execute(STATEMENTS[size], tuple(chain.from_iterable(rows[start : start + size])))
                inserted, last, start = inserted + cursor.rowcount, cursor.lastrowid, start + size
        return inserted, last

    def _sorted_out(
        self, connection: Connection, requests: Sequence[Sequence[Event]]
    ) -> tuple[list[EventConflictError | None], list[Event]]:
        """What each request's ids collide with, in the table or in a request before it; and the events to insert."""
        there: dict[str, Event] = {}
        ids = list({event.event_id for request in requests for event in request})
        columns = [events.c[name] for name in Event._fields]
        for start in range(0, len(ids), AT_ONCE):
            found = connection.execute(select(*columns).where(events.c.event_id.in_(ids[start : start + AT_ONCE])))
            there.update((row[0], Event(*row)) for row in found)
        conflicts: list[EventConflictError | None] = []
        inserted: list[Event] = []
        for request in requests:
            new: dict[str, Event] = {}
            wrong = []
            for event in request:
                before = there.get(event.event_id) or new.setdefault(event.event_id, event)
                if before != event:
                    wrong.append(event.event_id)
            conflicts.append(EventConflictError(wrong) if wrong else None)
            if not wrong:
                there.update(new)
                inserted += new.values()
        return conflicts, inserted

    def cut(self) -> int:
        """The `seq` of the last event, 0 without any: no event with this or a lower one will be added."""
        with self.database.reading() as connection:
            return _last(connection)

    def cut_at(self, seconds: int) -> int:
        """The `seq` of the last event received until a time in unix seconds, 0 without any."""
        with self.database.reading() as connection:
            return _last(connection, events.c.received <= seconds)

    def of_user(self, user_id: str, after: int = 0, upto: int | None = None) -> list[StoredEvent]:
        """A user's events with `after < seq <= upto`, in the order of `seq`."""
        wanted = select(events).where(events.c.user_id == user_id, events.c.seq > after).order_by(events.c.seq)
        if upto is not None:
            wanted = wanted.where(events.c.seq <= upto)
        with self.database.reading() as connection:
            return [StoredEvent(*row) for row in connection.execute(wanted)]

    def count(self) -> int:
        """How many events there are."""
        with self.database.reading() as connection:
            return int(connection.execute(select(func.count()).select_from(events)).scalar_one())

    def latest(self, count: int, user_id: str | None = None) -> list[StoredEvent]:
        """The last `count` events of all users or one, in the order of `seq`."""
        wanted = select(events).order_by(events.c.seq.desc()).limit(max(count, 0))
        if user_id is not None:
            wanted = wanted.where(events.c.user_id == user_id)
        with self.database.reading() as connection:
            return [StoredEvent(*row) for row in connection.execute(wanted)][::-1]

    def last_of(self, user_id: str, upto: int | None = None) -> int:
        """The `seq` of a user's last event, of those with `seq <= upto`; 0 without any."""
        until = () if upto is None else (events.c.seq <= upto,)
        with self.database.reading() as connection:
            return _last(connection, events.c.user_id == user_id, *until)

    def read(self, after: int = 0, upto: int | None = None) -> Iterator[EventColumns]:
        """The events with `after < seq <= upto` in chunks, in the order of `seq`."""
        upto = self.cut() if upto is None else upto
        names = ("seq", "user_id", "item_id", "kind", "rating", "timestamp")
        wanted = select(*(events.c[name] for name in names)).order_by(events.c.seq).limit(CHUNK)
        while True:
            with self.database.reading() as connection:
                rows = connection.execute(wanted.where(events.c.seq > after, events.c.seq <= upto)).all()
            if not rows:
                return
            seq, users, items, kinds, ratings, times = zip(*rows, strict=True)
            yield EventColumns(
                np.array(seq, np.int64), list(users), list(items), list(kinds),
                np.array(ratings, np.float64), np.array(times, np.int64),
            )  # fmt: skip
            after = int(seq[-1])

    def since(self, cut: int, upto: int | None = None) -> Iterator[EventColumns]:
        """The events after the cut of a bundle, as `read`, that count beside its ratings.

        What happened before a withdrawal up to the cut is left out: the bundle no longer knows of the withdrawal.
        """
        wanted = select(events.c.user_id, events.c.item_id, func.max(events.c.timestamp))
        wanted = wanted.where(events.c.kind == literal_column(f"'{WITHDRAWAL}'"), events.c.seq <= cut)
        with self.database.reading() as connection:
            found = connection.execute(wanted.group_by(events.c.user_id, events.c.item_id)).all()
        withdrawn = {(user, item): time for user, item, time in found}
        for some in self.read(cut, upto):
            pairs = zip(some.user_id, some.item_id, strict=True)
            before = np.fromiter((withdrawn.get(pair, -1) for pair in pairs), np.int64, len(some.seq))
            kept = some.timestamp >= before
            if kept.any():
                yield some if kept.all() else some.where(kept)

    def forget(self, user_id: str) -> int:
        """Delete a user's events. Returns how many there were."""
        with self.database.writing() as connection:
            return int(connection.execute(delete(events).where(events.c.user_id == user_id)).rowcount)


def _last(connection: Connection, *where: ColumnElement[bool]) -> int:
    """The `seq` of the last event of which all this is true, as a transaction sees it; 0 without any."""
    return int(connection.execute(select(func.coalesce(func.max(events.c.seq), 0)).where(*where)).scalar_one())
