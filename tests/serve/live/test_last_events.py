"""Reads of people: the same from every database, and never stale."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import delete

from recsys.database import Database, DatabaseError
from recsys.database.tables import events, users
from recsys.events import Event, EventLog
from recsys.events.descriptions import Descriptions
from serve.live.last_events import LastEvents, Said, SqlEvents, SqliteEvents, last_events


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.services)])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    url = f"sqlite:///{tmp_path}/li%3Fve.db" if request.param == "sqlite" else request.getfixturevalue("postgres")
    found = Database.open(url)
    yield found
    with found.writing() as connection:
        connection.execute(delete(events))
        connection.execute(delete(users))
    found.close()


@pytest.fixture
def reads(database: Database) -> LastEvents:
    found = last_events(database)
    assert isinstance(found, SqliteEvents if database.is_sqlite else SqlEvents)
    return found


def event(number: int, user: str = "7", item: str = "50", kind: str = "rating", time: int = 100) -> Event:
    return Event(f"e{number}", user, item, kind, 4.0 if kind == "rating" else None, time)


def test_each_read_sees_what_was_committed_before(database: Database, reads: LastEvents) -> None:
    log, descriptions = EventLog(database), Descriptions(database)
    assert reads.state("7") == (0, 0)
    last = 0
    for number in range(5):
        log.append([event(number), event(100 + number, user="8")])
        seq, revision = reads.state("7")
        assert seq > last
        assert revision == 0
        last = seq
    descriptions.set_user("7", {"gender": "F"})
    seq, revision = reads.state("7")
    assert seq == last
    assert revision > 0
    assert reads.attributes("7") == {"gender": "F"}
    assert reads.attributes("8") == {}
    other = reads.state("8")
    assert reads.states(["8", "nobody", "7", "nu\0l"]) == [other, (0, 0), (last, revision), (0, 0)]


def test_events_are_read_in_order_between_bounds(database: Database, reads: LastEvents) -> None:
    log = EventLog(database)
    log.append([event(1, item="a"), event(2, item="b", kind="withdrawal"), event(3, user="8"), event(4, item="c")])
    first, second, fourth = (one.seq for one in log.of_user("7"))
    assert reads.events("7", 0, fourth, 10) == [
        Said(first, "a", "rating", 4.0, 100), Said(second, "b", "withdrawal", None, 100),
        Said(fourth, "c", "rating", 4.0, 100),
    ]  # fmt: skip
    assert [one.item_id for one in reads.events("7", second, fourth - 1, 10)] == ["b"]
    assert [one.item_id for one in reads.events("7", 0, fourth, 2)] == ["a", "b"]
    assert reads.events("nobody", 0, fourth, 2) == []


def test_of_withdrawals_the_last_by_time_is_known(database: Database, reads: LastEvents) -> None:
    log = EventLog(database)
    log.append([event(number, kind="withdrawal", time=time) for number, time in enumerate((200, 300, 100))])
    log.append([event(9, item="c", kind="withdrawal"), event(10, item="d")])
    seqs = [one.seq for one in log.of_user("7")]
    assert reads.withdrawn("7", seqs[2]) == {"50": 300}
    assert reads.withdrawn("7", seqs[0]) == {"50": 200}
    assert reads.withdrawn("7", seqs[-1]) == {"50": 300, "c": 100}


def test_threads_read_at_once(database: Database, reads: LastEvents) -> None:
    EventLog(database).append([event(1)])
    found = []
    threads = [threading.Thread(target=lambda: found.append(reads.state("7"))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [reads.state("7")] * 4


def test_reads_of_sqlite_write_nothing_and_create_nothing(tmp_path: Path) -> None:
    reads = SqliteEvents(tmp_path / "missing.db")
    with pytest.raises(DatabaseError, match="does not answer"):
        reads.state("7")
    assert not (tmp_path / "missing.db").exists()
    Database.open(f"sqlite:///{tmp_path}/missing.db").close()
    assert reads.state("7") == (0, 0), "it is tried again"
    with pytest.raises(DatabaseError, match="readonly"):
        reads._rows("delete from events")
