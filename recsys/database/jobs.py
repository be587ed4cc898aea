"""Jobs: bulk scoring that waits, is computed, or has ended; each by one process at a time, of all machines."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, NamedTuple

from sqlalchemy import Connection, delete, func, select, update

from recsys.database.connection import Database
from recsys.database.tables import jobs

WAITING, RUNNING, DONE, FAILED = "waiting", "running", "done", "failed"
STALE_SECONDS = 15  # after which a job is taken over from a process that no longer says how far it is
MOST_UNDONE = 100  # jobs that wait or run
MOST_DONE = 100  # jobs whose result is kept
KEPT_SECONDS = 7 * 86_400  # for which it is
MOST_TRIES = 3  # processes that end with a job without having come further


class Job(NamedTuple):
    """As it is in the table.

    Attributes:
        request: `users`, a list of ids or None for all; `options` and `format` of the result; and with the first
            try `cut`, the last event of those who count among all users, and `tries` without progress since `tried`.
        version: SHA-256 of the bundle that it is computed with.
        done: Users that are scored.
        worker: The process that computes it.
        seen: When that process last said so.
    """

    job_id: str
    state: str
    request: dict[str, Any]
    version: str | None
    done: int
    total: int | None
    worker: str | None
    seen: int | None
    error: str | None
    created: int
    finished: int | None


class JobState(NamedTuple):
    """What a process needs to know of a job that it may take."""

    job_id: str
    state: str
    seen: int | None

    def is_free(self, now: float) -> bool:
        """Whether a process may take it."""
        return self.state == WAITING or (self.state == RUNNING and (self.seen or 0) <= now - STALE_SECONDS)


class Jobs:
    """The jobs of a database. All methods raise a DatabaseError if it does not answer.

    Args:
        database: With their table.
    """

    def __init__(self, database: Database) -> None:
        self.database = database

    def add(self, job_id: str, request: dict[str, Any]) -> Job | None:
        """Add a job that waits; None if too many do."""
        undone = select(func.count()).where(jobs.c.state.in_((WAITING, RUNNING)))
        with self.database.writing() as connection:
            if connection.execute(undone).scalar_one() >= MOST_UNDONE:
                return None
            row = {"job_id": job_id, "state": WAITING, "request": request, "done": 0, "created": int(time.time())}
            connection.execute(jobs.insert().values(row))
            return _find(connection, job_id)

    def get(self, job_id: str) -> Job | None:
        with self.database.reading() as connection:
            return _find(connection, job_id)

    def states(self) -> list[JobState]:
        """Of all jobs, the oldest first."""
        with self.database.reading() as connection:
            return _states(connection)

    def claim(self, worker: str, at_once: int) -> Job | None:
        """Take the oldest job that is free, unless so many run already; None if there is none.

        A job with which several processes have ended without coming further has failed.
        """
        now = int(time.time())
        with self.database.writing() as connection:
            every = _states(connection)
            if sum(one.state == RUNNING and not one.is_free(now) for one in every) >= at_once:
                return None
            for one in every:
                job = _find(connection, one.job_id) if one.is_free(now) else None
                if job is None:
                    continue
                tries = 0 if job.done > job.request.get("tried", 0) else job.request.get("tries", 0)
                if tries >= MOST_TRIES:
                    why = f"{tries} processes have ended with it, perhaps for want of memory"
                    _set(connection, job.job_id, state=FAILED, error=why, finished=now)
                    continue
                request = job.request | {"tries": tries + 1, "tried": job.done}
                _set(connection, job.job_id, state=RUNNING, worker=worker, seen=now, request=request)
                return _find(connection, job.job_id)
        return None

    def begin(self, job: Job, version: str, done: int, total: int, cut: int) -> bool:
        """Note what a job is computed with. Returns whether it still belongs to the worker of `job`."""
        request = job.request | {"cut": cut}
        return self._report(job, version=version, done=done, total=total, request=request)

    def report(self, job: Job, done: int) -> bool:
        """Note how far a job is. Returns whether it still belongs to the worker of `job`."""
        return self._report(job, done=done)

    def release(self, job: Job) -> bool:
        """Leave a job to the next process. Returns whether it belonged to the worker of `job`."""
        return self._report(job, seen=0)

    def end(self, job: Job, error: str | None = None) -> bool:
        """Note that the result is there, or why there is none. Returns whether it belonged to the worker of `job`."""
        state = DONE if error is None else FAILED
        return self._report(job, state=state, error=error, finished=int(time.time()))

    def remove_old(self) -> None:
        """Remove the rows of jobs that ended long ago, or before many others."""
        ended = (
            select(jobs.c.job_id, jobs.c.finished)
            .where(jobs.c.state.in_((DONE, FAILED)))
            .order_by(jobs.c.finished.desc(), jobs.c.job_id)
        )
        oldest = time.time() - KEPT_SECONDS
        with self.database.reading() as connection:
            rows = connection.execute(ended).all()
        old = [job_id for place, (job_id, finished) in enumerate(rows) if place >= MOST_DONE or finished < oldest]
        if old:
            with self.database.writing() as connection:
                connection.execute(delete(jobs).where(jobs.c.job_id.in_(old)))

    def _report(self, job: Job, **changes: Any) -> bool:
        changes = {"seen": int(time.time())} | changes
        mine = (jobs.c.job_id == job.job_id) & (jobs.c.worker == job.worker) & (jobs.c.state == RUNNING)
        with self.database.writing() as connection:
            return connection.execute(update(jobs).where(mine).values(changes)).rowcount == 1


def forget_jobs(connection: Connection, user_id: str, *, everyone: bool) -> int:
    """Remove the jobs that name a user, in a transaction of the only writer. Returns how many.

    Whoever computes one of them stops, and services remove the results of jobs that are no longer in the table.

    Args:
        connection: Of the transaction.
        user_id: As text.
        everyone: Remove those of all users, too: their results name the user if anything knows them.
    """
    requests = connection.execute(select(jobs.c.job_id, jobs.c.request)).all()
    named = [one for one, request in requests if _names(request, user_id, everyone=everyone)]
    connection.execute(delete(jobs).where(jobs.c.job_id.in_(named)))
    return len(named)


def _names(request: Mapping[str, Any], user_id: str, *, everyone: bool) -> bool:
    return everyone if request["users"] is None else user_id in request["users"]


def _find(connection: Connection, job_id: str) -> Job | None:
    row = connection.execute(select(jobs).where(jobs.c.job_id == job_id)).first()
    return None if row is None else Job(*row)


def _states(connection: Connection) -> list[JobState]:
    columns = select(jobs.c.job_id, jobs.c.state, jobs.c.seen)
    return [JobState(*row) for row in connection.execute(columns.order_by(jobs.c.created, jobs.c.job_id))]


def _set(connection: Connection, job_id: str, **changes: Any) -> None:
    connection.execute(update(jobs).where(jobs.c.job_id == job_id).values(changes))
