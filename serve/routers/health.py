"""Liveness and readiness."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from fastapi import Request
from pydantic import Field

from serve.api_error import ApiError
from serve.dependencies import CurrentService
from serve.openapi import error_responses
from serve.routing import resource_router
from serve.schemas import ModelVersion

router = resource_router("operations", prefix="/health", needs=None)

WITHHELD = "the reason is in its log, and here for keys of the scope operations"
NOT_READY = error_responses(503)
NOT_READY[503]["description"] = "The service is stopping, or waits for its first bundle."


@dataclass
class Live:
    status: Annotated[str, Field(examples=["live"])]


@dataclass
class Ready:
    status: Annotated[str, Field(examples=["ready"])]
    model_version: ModelVersion | None
    data: Annotated[str | None, Field(description="The data set that the model was fitted on.", examples=["ml-1m"])]
    failed_loads: Annotated[
        int | None, Field(description="Bundles that this worker has rejected since it started, each new try counted.")
    ]
    last_error: Annotated[
        str | None,
        Field(
            description="Why the latest bundle of the pointer or the alias was rejected; null if it is being served."
        ),
    ]
    pointer_age_seconds: Annotated[
        float | None,
        Field(
            description="Seconds since the pointer or the alias was last looked at; null without one.", examples=[0.4]
        ),
    ]
    database: Annotated[
        Literal["answers", "unavailable"] | None,
        Field(description="Whether the database answered when it was last asked; null without one."),
    ]


@router.get("/live", summary="Is the process alive?")
async def live() -> Live:
    return Live("live")


@router.get("/ready", responses=NOT_READY, summary="Is the service ready for requests?")
async def ready(request: Request, service: CurrentService) -> Ready:
    """503 while the service is stopping, or waits for its first bundle.

    If a bundle is rejected (see `last_error`), the previous one stays in use. A database that does not answer (see
    `database`) leaves the service ready for what needs none. Where keys are used, all but the status
    is null, unless the key has the scope `operations`.
    """
    if service.draining:
        raise ApiError(503, "not_ready", "the service is stopping")
    models, model = service.models, service.model
    details = service.guard.permits(request.scope, "operations")
    error = models.last_error
    if model is None:  # an error names files of the host
        reason = error if details or error is None else WITHHELD
        raise ApiError(503, "no_model", f"the service waits for its first bundle: {reason}")
    if not details:
        return Ready("ready", None, None, None, None, None, None)
    age, live = models.pointer_age, service.live
    return Ready(
        "ready", model.version, model.bundle.manifest["data"], models.failed_loads, error,
        None if age is None else round(age, 3),
        None if live is None else "answers" if live.answers else "unavailable",
    )  # fmt: skip
