"""The current model."""

from __future__ import annotations

from serve.dependencies import CurrentModel, CurrentService
from serve.info import ModelInfo, model_info
from serve.routing import resource_router

router = resource_router("operations")


@router.get("/model", summary="The current model")
async def get_model_info(model: CurrentModel, service: CurrentService) -> ModelInfo:
    """The bundle's manifest, with information about the service."""
    return model_info(model, expose_user_ratings=service.settings.exposes_user_ratings)
