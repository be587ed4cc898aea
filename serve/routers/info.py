"""The current model."""

from __future__ import annotations

from fastapi import Request

from serve.answers import kept
from serve.dependencies import CurrentModel, records_events_of, sees_user_ratings
from serve.info import ModelInfo, model_info
from serve.routing import resource_router

router = resource_router("operations")


@router.get("/model", summary="The current model")
@kept(of_person=False)
async def get_model_info(model: CurrentModel, request: Request) -> ModelInfo:
    """The bundle's manifest, with information about the service."""
    return model_info(model, expose_user_ratings=sees_user_ratings(request), records_events=records_events_of(request))
