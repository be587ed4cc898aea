"""Users and their ratings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from fastapi import Depends, Request
from pydantic import Field

from serve.answers import kept
from serve.api_error import ApiError
from serve.dependencies import CurrentLive, CurrentModel, person_of, records_events_of, require_user_ratings
from serve.models.person import NO_EVENTS, Person
from serve.models.served_model import ServedModel, Summary, unused
from serve.openapi import error_responses
from serve.rounding import rounded
from serve.routing import resource_router
from serve.schemas import Id, Input, ItemSummary, ModelVersion, QueryK, RecordedAttributes, RecordedId, Unused
from serve.service import Service

router = resource_router("users", prefix="/users", needs="histories")
changes = resource_router("users", prefix="/users", needs="events")


@dataclass
class RatedItem(ItemSummary):
    rating: Annotated[float | None, Field(description="Stars; null for implicit feedback.", examples=[5.0])]


@dataclass
class User:
    user_id: str
    n_ratings: int
    mean_rating: Annotated[float | None, Field(description="In stars; null for implicit feedback.")]
    cold_start: Annotated[bool, Field(description="Whether the model has no ratings of this user.")]
    ratings: Annotated[list[RatedItem], Field(description="Best first.")]
    model_version: ModelVersion
    attributes: Annotated[
        dict[str, str] | None,
        Field(
            description="As they were set last; null for a key without the scope `events`.",
            examples=[{"gender": "F"}],
        ),
    ]


@router.get(
    "/{user_id}",
    responses=error_responses(400, 403, 404),
    dependencies=[Depends(require_user_ratings)],
    summary="A user's ratings",
)
@kept(of_person=True)
async def user(user_id: Id, model: CurrentModel, request: Request, limit: QueryK = 100) -> User:
    """A user's ratings, highest first, then by popularity. 403 if the service does not expose them."""
    text = model.users.text_in_path(user_id)
    person = await person_of(request, model, text)
    items, stars = person.rated
    if person.row < 0 and person.state == NO_EVENTS:
        raise ApiError(404, "unknown_user", "no user has this id")
    new = items >= len(model.catalogue.n_ratings)  # of items that the bundle does not have
    popularity = np.where(new, 0, model.catalogue.n_ratings[np.where(new, 0, items)])
    order = np.lexsort((items, -popularity, -stars))[:limit]
    is_implicit = model.bundle.is_implicit
    best = zip(items[order].tolist(), [None] * len(order) if is_implicit else rounded(stars[order]), strict=True)
    return User(
        user_id=text,
        n_ratings=len(items),
        mean_rating=float(stars.mean()) if len(items) and not is_implicit else None,
        cold_start=not person.is_known,
        ratings=[RatedItem(*_summary(model, person, item), rating) for item, rating in best],
        model_version=model.version,
        attributes=await _attributes(request, person),
    )


async def _attributes(request: Request, person: Person) -> dict[str, str] | None:
    """Those that were set, for whoever may set them."""
    service: Service = request.app.state.service
    live = service.live
    if live is None:
        return {}
    if not records_events_of(request):
        return None
    return await live.people.attributes(request.scope, person.user_id) if person.state[1] else {}


def _summary(model: ServedModel, person: Person, item: int) -> Summary:
    if item < len(model.items):
        return model.summary(item)
    item_id = person.unknown_items[item - len(model.items)]
    return item_id, item_id, None, []


class UserIn(Input):
    """What is known of a user besides ratings."""

    attributes: RecordedAttributes = Field(
        description="Side information by name, such as a gender: names that /model lists, with values that may be new."
    )


@dataclass
class DescribedUser:
    user_id: str
    attributes: Annotated[dict[str, str], Field(examples=[{"gender": "F"}])]
    unused: Unused


@changes.put("/{user_id}", responses=error_responses(400, 408, 409, 413), summary="Set a user's attributes")
async def set_attributes(
    user_id: RecordedId, body: UserIn, model: CurrentModel, live: CurrentLive, request: Request
) -> DescribedUser:
    """Set all attributes of a user, who may be new, in the place of those before. They count in the next answer.

    Values that the model does not know are kept for its next fit, which reads those that enough users have.
    """
    text = model.users.text_in_path(user_id)
    model.users.check_recordable(text, "user_id")
    model.check_settable_attributes(body.attributes)
    await live.call(request.scope, live.descriptions.set_user, text, body.attributes)
    return DescribedUser(text, body.attributes, unused(body.attributes, model.attribute_rows))
