"""Computes a job: the recommendations of each user, as a request for them would be answered now."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import orjson
from numpy.linalg import LinAlgError
from sqlalchemy import func, select

from recsys.database.jobs import Job, Jobs
from recsys.database.tables import events
from recsys.events import EventLog
from recsys.events.merge import id_of
from recsys.files.writing import sync
from serve.api_error import ApiError
from serve.jobs.files import JobFiles, PartialResult, write_parquet
from serve.list_requests import RecommendationOptions
from serve.models.served_model import ServedModel
from serve.recommender import Recommendations

REPORT_SECONDS = 2.0  # between reports of how far a job is
MOST_HELD = 1 << 22  # bytes of lines that are not written yet
WITHOUT = ("explanation", "because")  # fields of a recommendation that jobs leave out

Recommend = Callable[[str, RecommendationOptions], Recommendations]  # for a user's id as text


def compute(job: Job, jobs: Jobs, files: JobFiles, model: ServedModel, recommend: Recommend) -> bool:
    """Compute a job, or go on with it where another process has ended.

    Args:
        job: That this process has claimed.
        jobs: Where to report.
        files: Where the result goes.
        model: That answers.
        recommend: Gives the recommendations of a user.

    Returns:
        Whether there is a result; False if the job was taken over or forgotten meanwhile.

    Raises:
        DatabaseError: The database does not answer: the job can be taken over.
        OSError: A file cannot be written.
    """
    version = model.version if model.partner else model.bundle.sha256 or model.version
    cut = job.request["cut"] if "cut" in job.request and job.version == version else EventLog(jobs.database).cut()
    users = users_of(job, jobs, model, cut)
    options = RecommendationOptions(**job.request["options"])
    token = str(job.worker).rpartition(":")[2]
    with PartialResult(files, job.job_id, token, resume=job.version == version) as partial:
        if not jobs.begin(job, version, partial.lines, len(users), cut):
            return _given_up(job, jobs, files)
        held: list[bytes] = []
        size, reported = 0, time.monotonic()
        for user_id in users[partial.lines :]:
            held.append(_line(user_id, options, recommend))
            size += len(held[-1])
            if size > MOST_HELD or time.monotonic() > reported + REPORT_SECONDS:
                partial.append(held)
                held, size, reported = [], 0, time.monotonic()
                if not jobs.report(job, partial.lines):
                    return _given_up(job, jobs, files)
        partial.append(held)
    if not jobs.report(job, len(users)):
        return _given_up(job, jobs, files)
    form = job.request["format"]
    result = files.result(job.job_id, form)
    if form == "parquet":
        write_parquet(partial.path, result)
        partial.path.unlink()
    else:
        partial.path.replace(result)
    sync(files.folder)
    return jobs.end(job) or _given_up(job, jobs, files)


def users_of(job: Job, jobs: Jobs, model: ServedModel, cut: int) -> Sequence[str]:
    """The users of a job: those it names, or all of the bundle and then those with events until the cut."""
    named: list[str] | None = job.request["users"]
    if named is not None:
        return named
    first = func.min(events.c.seq)
    wanted = select(events.c.user_id).where(events.c.seq <= cut).group_by(events.c.user_id).order_by(first)
    with jobs.database.reading() as connection:
        found = connection.execute(wanted).scalars().all()
    kind = str(model.bundle.manifest["id_kind"])
    new = [user_id for user_id in found if user_id not in model.users and id_of(user_id, kind) is not None]
    return [*map(str, model.bundle.user_ids.tolist()), *new]


def _line(user_id: str, options: RecommendationOptions, recommend: Recommend) -> bytes:
    """The line of a user, or why they have no recommendations."""
    try:
        answer = recommend(user_id, options)
    except (ArithmeticError, LinAlgError):
        error = "the model has no finite answer to their ratings"
        return orjson.dumps({"user_id": user_id, "error": error, "recommendations": []}) + b"\n"
    except ApiError as error:
        if error.status >= 500:  # it is the database's, and passes
            raise
        return orjson.dumps({"user_id": user_id, "error": error.detail, "recommendations": []}) + b"\n"
    found: list[dict[str, Any]] = [
        {name: value for name, value in vars(one).items() if name not in WITHOUT} for one in answer.recommendations
    ]
    return orjson.dumps({"user_id": user_id, "cold_start": answer.cold_start, "recommendations": found}) + b"\n"


def _given_up(job: Job, jobs: Jobs, files: JobFiles) -> bool:
    """Leave a job to whoever has it now; if nobody has, its users were forgotten, and nothing may stay of them."""
    if jobs.get(job.job_id) is None:
        files.remove(job.job_id)
    return False
