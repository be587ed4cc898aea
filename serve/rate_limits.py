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
TRIES = 20  # to get the lock, before the request is counted without


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


class Decision(NamedTuple):
    """What is left to a client.

    Attributes:
        allowed: Whether the request is within the limit.
        remaining: Requests that may follow at once.
        seconds: Until there is more: the whole quota, or one request if there is none left.
    """

    allowed: bool
    remaining: int
    seconds: int


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
        self._cells = memoryview(self._memory).cast("q")
        self._places: dict[tuple[str, str], tuple[int, int]] = {}
        if self._lock is not None:
            fcntl.flock(self._lock, fcntl.LOCK_EX)
        if not any(self._memory[:SECRET]):
            self._memory[:SECRET] = secrets.token_bytes(SECRET)
        if self._lock is not None:
            fcntl.flock(self._lock, fcntl.LOCK_UN)

    def take(self, kind: str, client: str, limit: RateLimit) -> Decision:
        """Count a request of a client.

        Args:
            kind: Of what is counted; each kind has its own buckets.
            client: Name of the client.
            limit: What it may do.
        """
        period = limit.seconds * SECOND
        step = period // limit.quota
        place = self._places.get((kind, client)) or self._remember(kind, client)
        locked = self._acquire()
        try:
            now = time.monotonic_ns()
            at = self._find(*place, now)
            full = max(self._cells[at + 1], now)  # when the bucket will be full
            allowed = full + step <= now + period
            if allowed:
                full += step
                self._cells[at] = place[0]
                self._cells[at + 1] = full
        finally:
            if locked:
                fcntl.flock(self._lock, fcntl.LOCK_UN)  # type: ignore[arg-type]
        if not allowed:
            return Decision(False, 0, -(-(full + step - now - period) // SECOND))
        return Decision(True, (now + period - full) // step, -(-(full - now) // SECOND))

    def _remember(self, kind: str, client: str) -> tuple[int, int]:
        """The mark of a client, never 0, and where its bucket begins."""
        name = f"{kind}\0{client}".encode(errors="surrogateescape")
        digest = hashlib.blake2b(name, digest_size=16, key=self._memory[:SECRET]).digest()
        mark = int.from_bytes(digest[:8], "little", signed=True) or 1
        bucket = SECRET // 8 + 2 * PLACES * (int.from_bytes(digest[8:], "little") % BUCKETS)
        if len(self._places) >= MOST_REMEMBERED:
            self._places.clear()
        self._places[kind, client] = mark, bucket
        return mark, bucket

    def _find(self, mark: int, bucket: int, now: int) -> int:
        """The client's place, or that of the one whose bucket is full first, emptied."""
        cells = self._cells
        first, time_of_first = bucket, cells[bucket + 1]
        for at in range(bucket, bucket + 2 * PLACES, 2):
            if cells[at] == mark:
                return at
            if cells[at + 1] < time_of_first:
                first, time_of_first = at, cells[at + 1]
        cells[first] = mark
        cells[first + 1] = 0
        return first

    def _acquire(self) -> bool:
        """Lock the file, unless another worker keeps it: a stopped one must not stop all."""
        if self._lock is None:
            return False
        for _ in range(TRIES):
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            return True
        return False
