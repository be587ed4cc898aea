"""A job is computed by one process at a time, whatever ends in between."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from recsys.database import Database
from recsys.database import jobs as module
from recsys.database.jobs import DONE, FAILED, MOST_TRIES, RUNNING, STALE_SECONDS, WAITING, Jobs, forget_jobs

REQUEST: dict[str, Any] = {"users": ["1", "2"], "options": {"k": 3}, "format": "jsonl"}


class Clock:
    """`time`, as far as jobs use it."""

    now = 1_000_000.0

    def time(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.services)])
def jobs(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> Iterator[Jobs]:
    url = f"sqlite:///{tmp_path}/live.db" if request.param == "sqlite" else request.getfixturevalue("postgres")
    database = Database.open(url)
    yield Jobs(database)
    database.close()


def test_the_oldest_is_computed_first_and_as_many_at_once_as_allowed(jobs: Jobs, clock: Clock) -> None:
    for number in range(3):
        clock.now += 1
        assert jobs.add(f"job{2 - number}", REQUEST)
    first = jobs.claim("a", 2)
    second = jobs.claim("b", 2)
    assert first is not None
    assert second is not None
    assert [first.job_id, second.job_id] == ["job2", "job1"]
    assert (first.state, first.worker, first.request["users"]) == (RUNNING, "a", ["1", "2"])
    assert jobs.claim("c", 2) is None
    assert jobs.end(first)
    third = jobs.claim("c", 2)
    assert third is not None
    assert third.job_id == "job0"
    assert [one.state for one in jobs.states()] == [DONE, RUNNING, RUNNING]


def test_many_who_ask_at_once_get_a_job_each(jobs: Jobs) -> None:
    for number in range(8):
        jobs.add(f"job{number}", REQUEST)
    with ThreadPoolExecutor(8) as pool:
        claimed = [*pool.map(lambda number: jobs.claim(f"worker {number}", 5), range(8))]
    found = [job.job_id for job in claimed if job is not None]
    assert len(found) == len(set(found)) == 5


def test_a_job_of_a_process_that_is_silent_is_taken_over(jobs: Jobs, clock: Clock) -> None:
    jobs.add("job", REQUEST)
    before = jobs.claim("a", 1)
    assert before is not None
    assert jobs.begin(before, "version", 0, 2, 17)
    clock.now += STALE_SECONDS - 1
    assert jobs.report(before, 1)
    clock.now += STALE_SECONDS - 1
    assert jobs.claim("b", 1) is None
    clock.now += 1
    after = jobs.claim("b", 1)
    assert after is not None
    assert (after.done, after.total, after.version, after.request["cut"]) == (1, 2, "version", 17)
    assert not jobs.report(before, 2)  # it wakes up, and must stop
    assert not jobs.end(before)
    assert jobs.end(after)
    assert not jobs.report(after, 2)


def test_a_job_that_ends_every_process_has_failed(jobs: Jobs) -> None:
    jobs.add("job", REQUEST)
    for done in (0, 5, 5, 5, 5):  # the second one came further
        job = jobs.claim("a", 1)
        assert job is not None
        jobs.report(job, done)
        assert jobs.release(job)
    job = jobs.claim("a", 1)
    assert job is None
    [one] = jobs.states()
    assert one.state == FAILED
    found = jobs.get("job")
    assert found is not None
    assert f"{MOST_TRIES} processes" in str(found.error)


def test_too_many_are_refused(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_UNDONE", 2)
    assert jobs.add("a", REQUEST)
    assert jobs.add("b", REQUEST)
    assert jobs.add("c", REQUEST) is None
    job = jobs.claim("worker", 1)
    assert job is not None
    jobs.end(job, "why not")
    assert jobs.add("c", REQUEST)
    failed = jobs.get("a")
    assert failed is not None
    assert (failed.state, failed.error) == (FAILED, "why not")
    assert jobs.get("d") is None


def test_results_are_kept_for_a_week_and_not_too_many(
    jobs: Jobs, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_DONE", 2)
    for name in "abcd":
        clock.now += 1
        jobs.add(name, REQUEST)
        if name != "d":
            job = jobs.claim("worker", 9)
            assert job is not None
            jobs.end(job)
    jobs.remove_old()
    assert [one.job_id for one in jobs.states()] == ["b", "c", "d"]
    clock.now += module.KEPT_SECONDS
    jobs.remove_old()
    assert [(one.job_id, one.state) for one in jobs.states()] == [("d", WAITING)]


def test_a_forgotten_user_is_in_no_job(jobs: Jobs) -> None:
    jobs.add("names them", REQUEST)
    jobs.add("all", REQUEST | {"users": None})
    jobs.add("others", REQUEST | {"users": ["10", "22"]})
    job = jobs.claim("a", 1)
    assert job is not None
    with jobs.database.writing() as connection:
        assert forget_jobs(connection, "5", everyone=False) == 0
        assert forget_jobs(connection, "2", everyone=True) == 2
    assert [one.job_id for one in jobs.states()] == ["others"]
    assert not jobs.report(job, 1)  # whoever computes it stops
