"""Events: order, idempotence, cuts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from recsys.database import Database
from recsys.events import Event, EventConflictError, EventLog


def event(number: int, user: str = "7", item: str = "50", rating: float = 4.0, time: int = 100) -> Event:
    return Event(f"e{number}", user, item, "rating", rating, time)


@pytest.fixture
def log(tmp_path: Path) -> EventLog:
    return EventLog(Database.open(f"sqlite:///{tmp_path}/live.db"))


def test_events_are_read_in_the_order_of_commits(log: EventLog) -> None:
    assert log.cut() == 0 == log.last_of("7")
    assert log.append([event(2, time=300), event(1)]) == [2]
    log.append([event(3, user="8")])
    assert [one.event_id for one in log.of_user("7")] == ["e2", "e1"]
    assert [one.event for one in log.of_user("7", after=1)] == [event(1)]
    assert (log.last_of("7"), log.last_of("8"), log.cut()) == (2, 3, 3)
    (columns,) = log.read()
    assert columns.seq.tolist() == [1, 2, 3]
    assert columns.user_id == ["7", "7", "8"]
    assert columns.timestamp.tolist() == [300, 100, 100]
    assert [one.seq.tolist() for one in log.read(1, 2)] == [[2]]


def test_an_event_without_stars_is_read_as_nan(log: EventLog) -> None:
    log.append([Event("a", "7", "50", "withdrawal", None, 5)])
    (columns,) = log.read()
    assert np.isnan(columns.rating).all()
    assert log.of_user("7")[0].rating is None


def test_the_same_event_counts_once(log: EventLog) -> None:
    assert log.append([event(1), event(1)], [event(1)]) == [1, 1]
    assert log.append([event(1)]) == [1]
    assert len(log.of_user("7")) == 1


def test_a_request_with_a_taken_id_is_left_out_as_a_whole(log: EventLog) -> None:
    log.append([event(1)])
    first, second, third = log.append([event(2), event(1, rating=1.0)], [event(3)], [event(3, rating=2.0), event(4)])
    assert isinstance(first, EventConflictError)
    assert first.event_ids == ["e1"]
    assert second == 2
    assert isinstance(third, EventConflictError)
    assert [one.event_id for one in log.of_user("7")] == ["e1", "e3"]


def appends_only_what_is_new(log: EventLog) -> None:
    log.append([event(1)])
    assert log.append_new([event(1, rating=1.0), event(2), event(2), event(3)]) == 2
    assert [(one.event_id, one.rating) for one in log.of_user("7")] == [("e1", 4.0), ("e2", 4.0), ("e3", 4.0)]
    assert log.append_new([event(1), event(3)]) == 0 == log.append_new([])


def test_of_an_id_that_is_there_the_first_stays(log: EventLog) -> None:
    appends_only_what_is_new(log)


@pytest.mark.services
def test_of_an_id_that_is_there_the_first_stays_in_postgres(postgres: str) -> None:
    appends_only_what_is_new(EventLog(Database.open(postgres)))


def test_a_request_that_contradicts_itself_is_left_out(log: EventLog) -> None:
    (conflict,) = log.append([event(1), event(1, rating=1.0)])
    assert isinstance(conflict, EventConflictError)
    assert log.cut() == 0


def test_the_seq_of_forgotten_events_is_not_used_again(log: EventLog) -> None:
    log.append([event(1), event(2)])
    assert log.forget("7") == 2
    log.append([event(3)])
    assert [one.seq for one in log.of_user("7")] == [3]


def test_what_was_withdrawn_before_the_cut_stays_so(log: EventLog) -> None:
    withdrawal = Event("w", "7", "50", "withdrawal", None, 300)
    log.append([withdrawal, event(1, time=200), event(2, time=300), event(3, item="51"), event(4, user="8")])
    (columns,) = log.since(1)
    assert columns.seq.tolist() == [3, 4, 5]
    assert columns.item_id == ["50", "51", "50"]
    assert columns.rating.tolist() == [4.0] * 3
    (columns,) = log.since(0)
    assert columns.seq.tolist() == [1, 2, 3, 4, 5]
    assert [*log.since(1, 2)] == [], "nothing is left of these"
