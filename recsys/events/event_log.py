"""EventLog: events are appended in the order of commits, and read up to a cut."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, delete, func, select

from recsys.database import Database
from recsys.database.tables import events
from recsys.events.event import Event, StoredEvent

AT_ONCE = 500  # ids that are looked up in a query
CHUNK = 50_000  # events that are read at a time
INSERT = (
    "insert into events (event_id, user_id, item_id, kind, rating, timestamp, received) "
    "values ({0}, {0}, {0}, {0}, {0}, {0}, {0}) on conflict (event_id) do nothing"
)


class EventConflictError(ValueError):
    """Event ids that are taken by events with other content.

    Attributes:
        event_ids: These.
    """

    def __init__(self, event_ids: Sequence[str]) -> None:
        few = ", ".join(repr(one)[:80] for one in event_ids[:3]) + (", …" if len(event_ids) > 3 else "")
        super().__init__(f"event_id is taken by an event with other content: {few}")
        self.event_ids = list(event_ids)


class EventColumns(NamedTuple):
    """Events as columns, in the order of `seq`."""

    seq: NDArray[np.int64]
    user_id: list[str]
    item_id: list[str]
    kind: list[str]
    rating: NDArray[np.float64]  # NaN where there is none
    timestamp: NDArray[np.int64]


class EventLog:
    """The events of a database.

    Args:
        database: With their table.
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        marker = "?" if database.is_sqlite else "%s"
        self._insert = INSERT.format(marker)

    def append(self, *requests: Sequence[Event]) -> list[EventConflictError | None]:
        """Append the events of one or more requests in one transaction, which is on disk when this returns.

        An event that is there already with the same content counts once. A request with an `event_id` that is taken by
        other content is left out as a whole.

        Returns:
            For each request, None, or why it was left out.

        Raises:
            DatabaseError: The database cannot be written; nothing was.
        """
        received = int(time.time())
        with self.database.writing() as connection:
            taken = self._conflicts(connection, requests)
            rows = [
                (*event, received)
                for request, conflict in zip(requests, taken, strict=True)
                if conflict is None
                for event in request
            ]
            if rows:
                connection.exec_driver_sql(self._insert, rows)
        return taken

    def _conflicts(
        self, connection: Connection, requests: Sequence[Sequence[Event]]
    ) -> list[EventConflictError | None]:
        """Of each request, what its event ids collide with: events in the table, or of a request before it."""
        there: dict[str, Event] = {}
        ids = list({event.event_id for request in requests for event in request})
        columns = [events.c[name] for name in Event._fields]
        for start in range(0, len(ids), AT_ONCE):
            found = connection.execute(select(*columns).where(events.c.event_id.in_(ids[start : start + AT_ONCE])))
            there.update((row[0], Event(*row)) for row in found)
        taken: list[EventConflictError | None] = []
        for request in requests:
            new: dict[str, Event] = {}
            wrong = []
            for event in request:
                before = there.get(event.event_id) or new.setdefault(event.event_id, event)
                if before != event:
                    wrong.append(event.event_id)
            taken.append(EventConflictError(wrong) if wrong else None)
            if not wrong:
                there.update(new)
        return taken

    def cut(self) -> int:
        """The `seq` of the last event, 0 without any: no event with this or a lower one will be added."""
        with self.database.reading() as connection:
            return int(connection.execute(select(func.coalesce(func.max(events.c.seq), 0))).scalar_one())

    def of_user(self, user_id: str, after: int = 0, upto: int | None = None) -> list[StoredEvent]:
        """A user's events with `after < seq <= upto`, in the order of `seq`."""
        wanted = select(events).where(events.c.user_id == user_id, events.c.seq > after).order_by(events.c.seq)
        if upto is not None:
            wanted = wanted.where(events.c.seq <= upto)
        with self.database.reading() as connection:
            return [StoredEvent(*row) for row in connection.execute(wanted)]

    def last_of(self, user_id: str) -> int:
        """The `seq` of a user's last event, 0 without any."""
        wanted = select(func.coalesce(func.max(events.c.seq), 0)).where(events.c.user_id == user_id)
        with self.database.reading() as connection:
            return int(connection.execute(wanted).scalar_one())

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

    def forget(self, user_id: str) -> int:
        """Delete a user's events. Returns how many there were."""
        with self.database.writing() as connection:
            return int(connection.execute(delete(events).where(events.c.user_id == user_id)).rowcount)
