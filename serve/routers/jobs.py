"""Bulk scoring: recommendations for many users, as a job."""

from __future__ import annotations

import importlib.util
import secrets
from collections.abc import AsyncIterator, Awaitable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, TypeVar

import orjson
from fastapi import Request, Response
from fastapi.responses import StreamingResponse
from pydantic import Field, WithJsonSchema

from serve.api_error import ApiError
from serve.dependencies import CurrentLive, CurrentModel, CurrentService, get_live
from serve.jobs.files import MEDIA_TYPES, JobFiles, OpenResult
from serve.list_options import order_of, rules_for
from serve.list_requests import JobRequest
from serve.live import Live
from serve.openapi import error_responses
from serve.process.deadlines import Overdue
from serve.routing import resource_router
from serve.schemas import ModelVersion
from serve.service import Service

if TYPE_CHECKING:
    from recsys.database.jobs import Job, Jobs

router = resource_router("jobs", prefix="/jobs", needs="jobs")

READ_SECONDS = 5.0  # for a piece of a result
PIECE = 1 << 18  # bytes

T = TypeVar("T")


@dataclass
class JobStatus:
    job_id: Annotated[str, Field(examples=["0f4e2c51b7a94d38a6f1c2d3e4f50617"])]
    state: Annotated[str, WithJsonSchema({"type": "string", "enum": ["waiting", "running", "done", "failed"]})]
    done: Annotated[int, Field(description="Users that are scored.", examples=[2400])]
    total: Annotated[int | None, Field(description="Users; null until it starts.", examples=[6040])]
    created: Annotated[int, Field(description="Unix seconds, UTC.", examples=[1_764_460_800])]
    finished: Annotated[int | None, Field(description="Unix seconds, UTC; null until then.")]
    model_version: ModelVersion | None
    error: Annotated[str | None, Field(description="Why it failed.")]
    result: Annotated[str | None, Field(description="Path of the file; null until it is done.")]


@router.post(
    "/recommendations/",
    status_code=202,
    response_model=JobStatus,
    responses=error_responses(400, 403, 404, 408, 409, 413),
    summary="Top-N for many users, as a file",
)
async def score(
    body: JobRequest, model: CurrentModel, live: CurrentLive, service: CurrentService, request: Request
) -> Response:
    """Compute recommendations for some users, or for all of the data set and those who have come since.

    The answer, with the path of the job in `Location`, comes at once; the file has a line for each user, or as Parquet
    a row for each recommendation. It counts what is known of each user when they are scored. Results are kept for a
    week. 403 without keys where the service does not expose users' ratings: the file says who they are.
    """
    if service.guard.keys is None and not service.settings.exposes_user_ratings:
        raise ApiError(403, "histories_off", "this service does not expose its users")
    if body.format == "parquet" and importlib.util.find_spec("pyarrow") is None:
        raise ApiError(409, "no_parquet", "this service has no pyarrow, which writes Parquet; format may be jsonl")
    order_of(model, body)
    rules_for(model, body)
    texts = (model.users.text(user_id, f"body.users[{place}]") for place, user_id in enumerate(body.users))
    users = [*dict.fromkeys(texts)] or None
    options = body.model_dump(exclude={"users", "format"})
    asked = {"users": users, "format": body.format, "options": options}
    job = await live.call(request.scope, _jobs(live).add, secrets.token_hex(16), asked)
    if job is None:
        raise ApiError(503, "too_many_jobs", "too many jobs wait to be computed; try again")
    return Response(orjson.dumps(_status(job)), 202, {"Location": f"/jobs/{job.job_id}"}, media_type="application/json")


@router.get("/{job_id}", responses=error_responses(404, 409), summary="A job")
async def status(job_id: str, request: Request) -> JobStatus:
    """How far a job is."""
    return _status(await _job(request, job_id))


@router.get(
    "/{job_id}/result",
    response_class=StreamingResponse,
    responses={
        200: {"content": {media: {} for media in MEDIA_TYPES.values()}, "description": "The file."},
        **error_responses(404, 409),
    },
    summary="The result of a job",
)
async def result(job_id: str, live: CurrentLive, service: CurrentService, request: Request) -> StreamingResponse:
    """The file, once the job is done; 409 before."""
    job = await _job(request, job_id)
    if job.state != "done":
        raise ApiError(409, "job_not_done", f"this job is {job.state}")
    form = job.request["format"]
    file = JobFiles(service.settings.jobs, str(live.database)).result(job.job_id, form)
    try:
        opened = await _read(service.deadlines.awaited(READ_SECONDS, OpenResult, file))
    except FileNotFoundError:
        raise _unknown() from None
    headers = {"Content-Length": str(opened.size), "Content-Disposition": f'attachment; filename="{file.name}"'}
    return StreamingResponse(_pieces(service, request, opened), headers=headers, media_type=MEDIA_TYPES[form])


async def _pieces(service: Service, request: Request, opened: OpenResult) -> AsyncIterator[bytes]:
    """The content of a file, read beside the event loop."""
    with service.beside.aside(request.scope):
        while piece := await _read(service.deadlines.awaited(READ_SECONDS, opened.read, PIECE)):
            yield piece


async def _read(reading: Awaitable[T]) -> T:
    try:
        return await reading
    except Overdue:
        raise ApiError(503, "result_unavailable", "the result cannot be read in time; try again") from None


async def _job(request: Request, job_id: str) -> Job:
    live = await get_live(request)
    job = await live.call(request.scope, _jobs(live).get, job_id)
    if job is None:
        raise _unknown()
    return job


def _unknown() -> ApiError:
    return ApiError(404, "unknown_job", "no job has this id, or its result was removed")


def _jobs(live: Live) -> Jobs:
    from recsys.database.jobs import Jobs  # and with it SQLAlchemy, which a service without a database does without

    return Jobs(live.database)


def _status(job: Job) -> JobStatus:
    is_done = job.state == "done"
    return JobStatus(
        job.job_id, job.state, job.done, job.total, job.created, job.finished,
        _shown(job.version), job.error, f"/jobs/{job.job_id}/result" if is_done else None,
    )  # fmt: skip


def _shown(version: str | None) -> str | None:
    """As answers name the version; of two bundles it is as short already."""
    return version if version is None or "+" in version else version[:12]
