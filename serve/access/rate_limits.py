"""Rate limits that all workers of this host count together: `RateLimit.parse("600/minute")`.

Each client has a bucket of that many requests, which fills up at that rate (the generic cell rate algorithm). Its state
is one number, the time at which the bucket will be full again; a bucket that is full needs no place. Time is that since
the machine started, which nobody sets back.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import secrets
import time
from pathlib import Path
from typing import NamedTuple

try:
    import fcntl
except ImportError:  # Windows: workers may then overlook a request of each other
    fcntl = None  # type: ignore[assignment]

PERIODS = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400}
SECOND = 1_000_000_000  # nanoseconds
BUCKETS, PLACES = 8192, 8  # clients whose name hashes to the same bucket share its places
SECRET = 16  # bytes at the beginning, by which names are hashed: clients cannot choose to share places
MOST_REMEMBERED = 4096
TRIES = 200  # to get the lock, before the request is counted without


class RateLimit(NamedTuple):
    """So many requests in so much time.

    Attributes:
        quota: Requests, >= 1.
        seconds: In how many seconds.
    """

    quota: int
    seconds: int

    @classmethod
    def parse(cls, text: str) -> RateLimit:
        """`600/minute`: `settings` has checked the form."""
        quota, _, period = text.partition("/")
        return cls(int(quota), PERIODS[period])


class Table:
    """Times by client, in memory that workers share: a file of fixed size, in which the least recent make room.

    Args:
        file: Shared with other workers; None if there are none.
    """

    def __init__(self, file: Path | None = None) -> None:
        size = SECRET + 16 * BUCKETS * PLACES
        self._lock: int | None = None
        if file is None:
            self._memory = mmap.mmap(-1, size)
        else:
            handle = os.open(file, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
            os.ftruncate(handle, size)  # filled with zeros, if it is new
            self._memory = mmap.mmap(handle, size)
            self._lock = handle if fcntl is not None else None
        self.cells = memoryview(self._memory).cast("q")
        if self._lock is not None:
            fcntl.flock(self._lock, fcntl.LOCK_EX)
        if not any(self._memory[:SECRET]):
            self._memory[:SECRET] = secrets.token_bytes(SECRET)
        self.unlock()

    def place(self, name: str) -> tuple[int, int]:
        """The mark of a client, never 0, and where the bucket begins that may hold it."""
        encoded = name.encode(errors="surrogateescape")
        digest = hashlib.blake2b(encoded, digest_size=16, key=self._memory[:SECRET]).digest()
        mark = int.from_bytes(digest[:8], "little", signed=True) or 1
        return mark, SECRET // 8 + 2 * PLACES * (int.from_bytes(digest[8:], "little") % BUCKETS)

    def find(self, mark: int, bucket: int) -> int:
        """The cell before the client's time; if it has none, that of whoever is full first, emptied."""
        cells = self.cells
        places = range(bucket, bucket + 2 * PLACES, 2)
        for at in places:
            if cells[at] == mark:
                return at
        first = min(places, key=lambda at: cells[at + 1])
        cells[first], cells[first + 1] = mark, 0
        return first

    def lock(self) -> bool:
        """Lock the file, unless another worker keeps it: a stopped one must not stop all."""
        if self._lock is None:
            return True
        for _ in range(TRIES):
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            return True
        return False

    def unlock(self) -> None:
        if self._lock is not None:
            fcntl.flock(self._lock, fcntl.LOCK_UN)


class Limiter:
    """Counts the requests of clients.

    Args:
        table: Of their times, of other limiters too.
        kind: What is counted; each kind has its own buckets.
        limit: What each client may do.
    """

    def __init__(self, table: Table, kind: str, limit: RateLimit) -> None:
        self._table, self._kind = table, kind
        self._period = limit.seconds * SECOND
        self._step = self._period // limit.quota
        self._places: dict[str, tuple[int, int, int]] = {}

    def take(self, client: str) -> tuple[int, int]:
        """Count a request, if it is within the limit.

        Returns:
            The number of requests that may follow at once, or -1 if this one was too many; and the seconds until there
            is more: the whole quota, or one request if this one was too many.
        """
        table = self._table
        cells = table.cells
        mark, bucket, at = self._places.get(client) or self._remember(client)
        locked = table.lock()
        now = time.monotonic_ns()
        if cells[at] != mark:
            at = table.find(mark, bucket)
            self._places[client] = mark, bucket, at
        full, latest = cells[at + 1], now + self._period  # when the client's bucket will be full
        full = (full if now < full <= latest else now) + self._step  # later than possible: from before a restart
        left = latest - full
        if left >= 0:
            cells[at + 1] = full
        if locked:
            table.unlock()
        if left < 0:
            return -1, -(left // SECOND)
        return left // self._step, -((now - full) // SECOND)

    def _remember(self, client: str) -> tuple[int, int, int]:
        if len(self._places) >= MOST_REMEMBERED:
            self._places.clear()
        mark, bucket = self._table.place(f"{self._kind}\0{client}")
        self._places[client] = mark, bucket, bucket
        return mark, bucket, bucket
