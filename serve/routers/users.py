"""Users and their ratings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from fastapi import Depends
from pydantic import Field

from serve.api_error import ApiError
from serve.dependencies import CurrentModel, require_user_ratings
from serve.openapi import error_responses
from serve.rounding import rounded
from serve.routing import resource_router
from serve.schemas import Id, ItemSummary, ModelVersion, QueryK

router = resource_router("users", prefix="/users", needs="histories")


@dataclass
class RatedItem(ItemSummary):
    rating: Annotated[float, Field(description="Stars.", examples=[5.0])]


@dataclass
class User:
    user_id: str
    n_ratings: int
    mean_rating: Annotated[float | None, Field(description="In stars.")]
    cold_start: Annotated[bool, Field(description="Whether the model was not fitted on this user.")]
    ratings: Annotated[list[RatedItem], Field(description="Best first.")]
    model_version: ModelVersion


@router.get(
    "/{user_id}",
    responses=error_responses(400, 403, 404),
    dependencies=[Depends(require_user_ratings)],
    summary="A user's ratings",
)
async def user(user_id: Id, model: CurrentModel, limit: QueryK = 100) -> User:
    """A user's ratings, highest first, then by popularity. 403 if the service does not expose them."""
    row = model.user_in_path(user_id)
    if row < 0:
        raise ApiError(404, "unknown_user", "no user has this id")
    ratings = model.bundle.ratings
    entries = ratings.slice_of(row)
    items, stars = ratings.item[entries], ratings.rating[entries]
    order = np.lexsort((items, -model.catalogue.n_ratings[items], -stars))[:limit]
    best = zip(items[order].tolist(), rounded(stars[order]), strict=True)
    return User(
        user_id=str(model.bundle.user_ids[row]),
        n_ratings=len(items),
        mean_rating=float(stars.mean()) if len(items) else None,
        cold_start=not model.is_fitted_user(row),
        ratings=[RatedItem(*model.summary(item), rating) for item, rating in best],
        model_version=model.version,
    )
