"""Group commit: one thread writes what all requests that wait have to say in one transaction."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import NamedTuple

from recsys.events.event import Event
from recsys.events.event_log import EventLog

MAX_WAITING = 20_000  # events, of a process
MAX_GROUP = 4000  # events of a transaction, but for a single request with more

Outcome = int | Exception
Observe = Callable[[int, int, float, int], None]


class QueueFullError(RuntimeError):
    """Too many events wait to be written."""


class Waiting(NamedTuple):
    """A request that waits to be written."""

    events: Sequence[Event]
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[int]


class GroupCommit:
    """Writes the events of many requests at once, since each commit waits for the disk.

    While a group is being written, or another process writes, requests gather for the next one.

    Args:
        log: Where to.
        max_waiting: Events that wait at most.
        observe: Called in the thread after each commit, with the numbers of its new events and of those that were
            there already, its seconds, and the number of events that wait by then.
    """

    def __init__(self, log: EventLog, *, max_waiting: int = MAX_WAITING, observe: Observe | None = None) -> None:
        self.log, self.max_waiting, self._observe = log, max_waiting, observe
        self._queue: deque[Waiting] = deque()
        self._more = threading.Event()
        self._closed = False
        self._came = self._gone = 0  # events; each is counted by one thread only
        self._thread = threading.Thread(target=self._run, name="events", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Events that are not written yet."""
        return self._came - self._gone

    async def append(self, events: Sequence[Event], seconds: float | None = None) -> int:
        """Append the events of a request, all or none; they are on disk when this returns.

        Given up or cancelled before their turn, they are not written; later, they may be.

        Args:
            events: Of which `Event.check` has nothing to say.
            seconds: To wait; None: however long it takes.

        Returns:
            A `seq` that is not less than those of the events.

        Raises:
            EventConflictError: Some `event_id` is taken by an event with other content.
            QueueFullError: Too many events wait.
            DatabaseError: The database does not answer. The events may be written all the same: append them again.
            TimeoutError: It did not in time. The same goes for this.
        """
        if self._closed or (self.waiting and self.waiting + len(events) > self.max_waiting):
            raise QueueFullError(f"{self.waiting} events wait to be written, of {self.max_waiting} at most")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[int] = loop.create_future()
        self._came += len(events)
        self._queue.append(Waiting(events, loop, future))
        self._more.set()
        if seconds is None:
            return await future
        giving_up = loop.call_later(seconds, _give_up, future)  # a fifth of what `asyncio.timeout` takes
        try:
            return await future
        finally:
            giving_up.cancel()

    def close(self, seconds: float) -> bool:
        """Write what waits, for so long at most, and end the thread. Returns whether it ended."""
        self._closed = True
        self._more.set()
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while self._more.wait():
            self._more.clear()
            while self._queue:
                self._commit()
            if self._closed:
                return

    def _commit(self) -> None:
        start = perf_counter()
        group: list[Waiting] = []
        outcomes: Sequence[Outcome]
        new = 0
        try:
            with self.log.database.writing() as connection:
                group = self._take()  # no sooner: while other processes write, more requests come
                outcomes, new = self.log.insert(connection, [one.events for one in group])
        except Exception as error:  # of the database, or a fault: the thread must go on
            group = group or self._take()
            outcomes = [error] * len(group)
        count = sum(len(one.events) for one in group)
        self._gone += count
        if self._observe is not None:
            accepted = sum(
                len(one.events) for one, outcome in zip(group, outcomes, strict=True) if isinstance(outcome, int)
            )
            if accepted:
                self._observe(new, accepted - new, perf_counter() - start, self.waiting)
        _deliver(group, outcomes)

    def _take(self) -> list[Waiting]:
        """The requests of the next group."""
        group: list[Waiting] = []
        room = MAX_GROUP
        while self._queue and (not group or len(self._queue[0].events) <= room):
            one = self._queue.popleft()
            if one.future.done():  # given up: its client was told that nothing is certain
                self._gone += len(one.events)
                continue
            group.append(one)
            room -= len(one.events)
        return group


def _give_up(future: asyncio.Future[int]) -> None:
    if not future.done():
        future.set_exception(TimeoutError())


def _deliver(group: Sequence[Waiting], outcomes: Sequence[Outcome]) -> None:
    """Tell each request what became of it, waking its event loop once."""
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[int], Outcome]]] = {}
    for one, outcome in zip(group, outcomes, strict=True):
        by_loop.setdefault(one.loop, []).append((one.future, outcome))
    for loop, told in by_loop.items():
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(_tell, told)


def _tell(told: Sequence[tuple[asyncio.Future[int], Outcome]]) -> None:
    for future, outcome in told:
        if future.done():  # given up meanwhile
            continue
        if isinstance(outcome, int):
            future.set_result(outcome)
        else:
            future.set_exception(outcome)
