"""Many requests in one commit; each is told what became of its own events."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from recsys.database import Database, DatabaseError
from recsys.events import Event, EventConflictError, EventLog, GroupCommit
from recsys.events.group_commit import QueueFullError
from tests.events.test_event_log import event


@pytest.fixture
def log(tmp_path: Path) -> EventLog:
    return EventLog(Database.open(f"sqlite:///{tmp_path}/live.db"))


@pytest.fixture
def writer(log: EventLog) -> Iterator[GroupCommit]:
    one = GroupCommit(log)
    yield one
    one.close(5)


async def appended(writer: GroupCommit, *requests: list[Event]) -> list[Any]:
    return await asyncio.gather(*(writer.append(one) for one in requests), return_exceptions=True)


def test_requests_that_wait_share_a_commit(log: EventLog) -> None:
    commits: list[tuple[int, int, int]] = []
    writer = GroupCommit(log, observe=lambda new, known, seconds, waiting: commits.append((new, known, waiting)))

    async def crowd() -> list[Any]:
        with log.database.writing():  # another process writes
            waiting = [asyncio.ensure_future(writer.append([event(n)])) for n in range(100)]
            while writer.waiting < 100:
                await asyncio.sleep(0.001)
        return await asyncio.gather(*waiting)

    assert all(seq >= 100 for seq in asyncio.run(crowd()))
    assert commits == [(100, 0, 0)]
    assert log.count() == 100
    conflict = [event(200), event(1, rating=1.0)]
    asyncio.run(appended(writer, [event(7), event(101)]))
    asyncio.run(appended(writer, conflict))
    assert commits == [(100, 0, 0), (1, 1, 0)]
    writer.close(5)


def test_each_request_is_told_of_its_own(writer: GroupCommit, log: EventLog) -> None:
    log.append([event(1)])
    first, second, third = asyncio.run(appended(writer, [event(2)], [event(1, rating=1.0), event(3)], [event(1)]))
    assert isinstance(second, EventConflictError)
    assert (first, third) == (2, 2)
    assert [one.event_id for one in log.of_user("7")] == ["e1", "e2"]


def test_events_are_on_disk_when_append_returns(writer: GroupCommit, log: EventLog) -> None:
    async def one_by_one() -> None:
        for n in range(20):
            seq = await writer.append([event(n)])
            assert log.cut() == seq == n + 1

    asyncio.run(one_by_one())


def test_a_database_that_fails_fails_what_waits_and_no_more(
    writer: GroupCommit, log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> Any:
        raise DatabaseError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(log.database, "writing", broken)
        assert all(isinstance(one, DatabaseError) for one in asyncio.run(appended(writer, [event(1)], [event(2)])))
    assert asyncio.run(appended(writer, [event(3)])) == [1]
    assert writer.waiting == 0


def test_a_fault_does_not_end_the_writer(writer: GroupCommit, log: EventLog, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(log, "insert", lambda connection, requests: 1 / 0)
        (found,) = asyncio.run(appended(writer, [event(1)]))
        assert isinstance(found, ZeroDivisionError)
    assert asyncio.run(appended(writer, [event(1)])) == [1]


def test_too_many_waiting_events_are_refused_at_once(log: EventLog) -> None:
    writer = GroupCommit(log, max_waiting=3)

    async def crowd() -> None:
        with log.database.writing():
            first = asyncio.ensure_future(writer.append([event(n) for n in range(3)]))
            await asyncio.sleep(0)
            with pytest.raises(QueueFullError, match="3 events wait to be written, of 3 at most"):
                await writer.append([event(9)])
        await first
        await writer.append([event(n) for n in range(10, 20)])  # more than may wait, but nothing does

    asyncio.run(crowd())
    writer.close(5)
    assert log.count() == 13


def test_what_is_given_up_before_its_turn_is_not_written(writer: GroupCommit, log: EventLog) -> None:
    async def impatient() -> None:
        with log.database.writing():
            with pytest.raises(TimeoutError):
                await writer.append([event(1)], 0.05)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):  # which cancels it
                    await writer.append([event(3)])
            other = asyncio.ensure_future(writer.append([event(2)]))
            await asyncio.sleep(0.01)
        await other

    asyncio.run(impatient())
    assert [one.event_id for one in log.of_user("7")] == ["e2"]
    assert writer.waiting == 0


def test_closing_writes_what_waits(log: EventLog) -> None:
    writer = GroupCommit(log)

    async def leave() -> int:
        waiting = asyncio.ensure_future(writer.append([event(1)]))
        await asyncio.sleep(0)
        assert await asyncio.to_thread(writer.close, 5)
        return await waiting

    assert asyncio.run(leave()) == 1
    (refused,) = asyncio.run(appended(writer, [event(2)]))
    assert isinstance(refused, QueueFullError)


def test_a_writer_that_hangs_does_not_hold_the_end(writer: GroupCommit, log: EventLog) -> None:
    held, free = threading.Event(), threading.Event()

    def hold() -> None:
        with log.database.writing():
            held.set()
            free.wait(10)

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait(5)

    async def ask() -> None:
        asyncio.ensure_future(writer.append([event(1)])).add_done_callback(lambda done: done.cancelled())
        await asyncio.sleep(0)
        start = time.monotonic()
        assert not writer.close(0.05)
        assert time.monotonic() - start < 1

    asyncio.run(ask())
    free.set()
    holder.join()


@pytest.mark.services
def test_the_same_in_postgres(postgres: str) -> None:
    log = EventLog(Database.open(postgres))
    writer = GroupCommit(log)
    numbers = [event(n, user="group commit") for n in range(300)]
    before = log.cut()
    told = asyncio.run(appended(writer, *([one] for one in numbers), numbers, [numbers[0]._replace(rating=1.0)]))
    assert isinstance(told.pop(), EventConflictError)
    assert all(seq > before for seq in told)
    found = log.of_user("group commit")
    assert [one.event for one in found] == numbers
    assert sorted({one.seq for one in found}) == [one.seq for one in found]
    writer.close(5)
