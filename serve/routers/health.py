"""Liveness and readiness."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from serve.dependencies import CurrentService
from serve.errors import ApiError
from serve.routing import resource_router
from serve.schemas import Error, ModelVersion

router = resource_router("operations", prefix="/health")


@dataclass
class Live:
    status: Annotated[str, Field(examples=["live"])]


@dataclass
class Ready:
    status: Annotated[str, Field(examples=["ready"])]
    model_version: ModelVersion
    data: Annotated[str, Field(description="The data set that the model was fitted on.", examples=["ml-1m"])]
    failed_loads: Annotated[int, Field(description="Bundles that this worker has rejected since it started.")]
    last_error: Annotated[
        str | None,
        Field(description="Why the latest bundle of the pointer was rejected; null if it is being served."),
    ]


@router.get("/live", summary="Is the process alive?")
async def live() -> Live:
    return Live("live")


@router.get(
    "/ready",
    responses={503: {"model": Error, "description": "The service is stopping."}},
    summary="Is the service ready for requests?",
)
async def ready(service: CurrentService) -> Ready:
    """503 while the service is stopping. If a bundle is rejected (see `last_error`), the previous one stays in use."""
    if service.draining:
        raise ApiError(503, "not_ready", "the service is stopping")
    models = service.models
    model = models.current
    return Ready("ready", model.version, model.bundle.manifest["data"], models.failed_loads, models.last_error)
