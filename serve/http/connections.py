"""Open connections: bounded in number, in all and per address, and in the time that each may keep the service waiting.

A connection that waits for its client, for whatever it is, stands in one `Waiting` table. Within a table all have the
same time, so they stand in the order in which it ends, and no connection needs a timer of its own.
"""

from __future__ import annotations

from collections import Counter
from time import monotonic
from typing import Protocol

from serve.settings import Settings

LINGER_SECONDS = 2.0
MOST_LINGERING = 256


class Connection(Protocol):
    """What stands in a table.

    Attributes:
        address: Of the client, or what counts as one; empty for a trusted proxy, who speaks for many.
        waiting: The table in which it stands, if any.
    """

    address: str
    waiting: Waiting | None

    def expire(self) -> None:
        """End the wait: it took too long."""

    def drop(self) -> None:
        """Close at once, to make room."""


class Waiting(dict[Connection, float]):
    """Connections that wait for one kind of thing, and since when, the oldest first.

    Args:
        limit: Name of the setting that bounds the wait.
        seconds: For which a connection may stand here.
    """

    def __init__(self, limit: str, seconds: float) -> None:
        super().__init__()
        self.limit, self.seconds = limit, seconds


class Connections:
    """Connections of one worker.

    Args:
        settings: Limits.
        most: Maximum number of connections; those beyond take the place of the oldest one without a request.
        per_address: The same for each client address; 0 for no limit.
        closed: Counts connections that are closed here, by the setting that bounds them.
    """

    def __init__(self, settings: Settings, most: int, per_address: int, closed: Counter[str]) -> None:
        self.most, self.per_address, self.closed = most, per_address, closed
        self.opening = Waiting("first_byte_seconds", settings.first_byte_seconds)
        self.header = Waiting("header_seconds", settings.header_seconds)
        self.idle = Waiting("idle_seconds", settings.idle_seconds)  # also: the answer is there, and not read
        self.body = Waiting("body_seconds", settings.body_seconds + LINGER_SECONDS)  # which are the middleware's
        self.lingering = Waiting("", LINGER_SECONDS)  # answered; what still comes is discarded
        self._by_address: dict[str, dict[Connection, None]] = {}
        self.closing = False  # each ends with what it is about
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, connection: Connection) -> None:
        self._count += 1
        self._by_address.setdefault(connection.address, {})[connection] = None

    def remove(self, connection: Connection) -> None:
        """The connection is closed; without effect if it was removed before."""
        leave(connection)
        same = self._by_address.get(connection.address)
        if same is not None and connection in same:
            self._count -= 1
            del same[connection]
            if not same:
                del self._by_address[connection.address]

    def make_room(self, address: str) -> bool:
        """Whether one more from this address fits in, for which the oldest one without a request may have to go."""
        same = self._by_address.get(address)
        if same is not None and self.per_address and len(same) >= self.per_address and address:
            oldest = next((one for one in same if one.waiting is not None), None)
            return oldest is not None and self._drop(oldest, "max_connections_per_address")
        return self._count < self.most or self.drop_oldest()

    def drop_oldest(self) -> bool:
        """Close the oldest connection without a request, if there is one."""
        for table in (self.opening, self.header, self.idle, self.body):
            if table:
                return self._drop(next(iter(table)), "max_connections")
        return False

    def linger(self, connection: Connection) -> None:
        """Keep an answered connection for a moment: closed while its client sends, it would lose the answer.

        It takes no other one's place.
        """
        self.remove(connection)
        if len(self.lingering) >= MOST_LINGERING:
            oldest = next(iter(self.lingering))
            leave(oldest)
            oldest.drop()
        wait(connection, self.lingering)

    def expire(self) -> None:
        """Close all that have waited for too long."""
        now = monotonic()
        for table in (self.lingering, self.opening, self.header, self.idle, self.body):
            while table:
                connection, since = next(iter(table.items()))
                if since + table.seconds > now:
                    break
                if table is not self.lingering:
                    self.closed[table.limit] += 1
                leave(connection)
                connection.expire()

    def _drop(self, connection: Connection, limit: str) -> bool:
        self.closed[limit] += 1
        self.remove(connection)
        connection.drop()
        return True


def wait(connection: Connection, table: Waiting) -> None:
    """Let a connection stand in this table, where it keeps its place if it stands there already."""
    if connection.waiting is not table:
        if connection.waiting is not None:
            del connection.waiting[connection]
        connection.waiting = table
        table[connection] = monotonic()


def leave(connection: Connection) -> None:
    """The connection waits for nothing."""
    if connection.waiting is not None:
        del connection.waiting[connection]
        connection.waiting = None
