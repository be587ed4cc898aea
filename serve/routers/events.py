"""Events: what people do now, recorded before it is acknowledged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from fastapi import Request
from pydantic import ConfigDict, FailFast, Field

from recsys.bundle.ids import MAX_KIND
from recsys.events.event import CHOICE, MAX_EVENT_ID, RATING, Event
from serve.api_error import ApiError
from serve.dependencies import get_live, get_model
from serve.models.served_model import ServedModel
from serve.openapi import error_responses
from serve.routing import resource_router
from serve.schemas import TEXT, Input, RecordedBodyId, Seconds, Stars
from serve.times import check_time, latest_time

router = resource_router("events", prefix="/events", needs="events")

MAX_EVENTS = 1000  # of a request


class EventIn(Input):
    """What a person did with an item. The latest of a user and an item counts, by `timestamp`, then by arrival."""

    model_config = ConfigDict(
        json_schema_extra={
            "anyOf": [
                {"properties": {"kind": {"const": RATING}, "rating": {"type": "number"}}, "required": ["rating"]},
                {
                    "properties": {"kind": {"not": {"const": RATING}}, "rating": {"type": "null"}},
                    "required": ["kind"],
                },
            ]
        }
    )

    event_id: str = Field(
        min_length=1, max_length=MAX_EVENT_ID, pattern=TEXT, description="Unique, such as a UUID: what is sent again "
        "counts once.", examples=["0b8f6f0e-6d5e-4f0c-9c37-7f2b3c9d1a55"],
    )  # fmt: skip
    user_id: RecordedBodyId
    item_id: RecordedBodyId
    kind: str = Field(
        RATING, min_length=1, max_length=MAX_KIND, pattern=TEXT, description="`rating`; `withdrawal`, which takes back "
        "what the user said of the item before; or what you call it, such as `purchase`. A `rating` without stars, of "
        "implicit feedback, is recorded as a `choice`.",
    )  # fmt: skip
    rating: Stars | None = Field(
        None, description="Stars, within the scale; required for the kind `rating` (optional for implicit feedback), "
        "not allowed for any other kind.",
    )  # fmt: skip
    timestamp: Seconds


class Events(Input):
    events: Annotated[list[EventIn], FailFast()] = Field(min_length=1, max_length=MAX_EVENTS)


@dataclass
class Accepted:
    accepted: Annotated[int, Field(description="Number of events, those sent before included.")]
    seq: Annotated[
        int, Field(description="The events are among those up to this number in the order of commits.", examples=[4711])
    ]


@router.post("/", responses=error_responses(400, 408, 409, 413), summary="Record events")
async def record_events(body: Events, request: Request) -> Accepted:
    """Record up to 1,000 events, all or none. They are on disk before the answer, and count in the next one.

    Users and items may be unknown. Events of the same `event_id` and content count once, so that a request without an
    answer can be sent again; with other content it is a 409. Only JSON is read, so that no page of another site can
    send any.
    """
    live, model = await get_live(request), await get_model(request)  # called rather than injected, which takes longer
    events = _checked(body.events, model)
    return Accepted(len(events), await live.append(request.scope, events))


def _checked(given: Sequence[EventIn], model: ServedModel) -> list[Event]:
    """The events with ids as texts.

    Raises:
        ApiError: 400, one is none; 409, its ids cannot be recorded.
    """
    low, high = model.bundle.given_scale
    user_text, item_text = model.users.text, model.items.text
    latest = latest_time()
    events = []
    for place, one in enumerate(given):
        of_user, of_item = f"body.events[{place}].user_id", f"body.events[{place}].item_id"
        user_id, item_id, rating = user_text(one.user_id, of_user), item_text(one.item_id, of_item), one.rating
        is_choice = one.kind == RATING and rating is None and model.bundle.is_implicit
        kind = CHOICE if is_choice else one.kind
        model.users.check_recordable(user_id, of_user)
        model.items.check_recordable(item_id, of_item)
        if kind == RATING:
            if rating is None:
                raise ApiError(400, "rating_missing", f"body.events[{place}].rating must be given for the kind rating")
            if not low <= rating <= high:
                detail = f"body.events[{place}].rating must be {model.bundle.allowed_stars}"
                raise ApiError(400, "rating_off_scale", detail)
        elif rating is not None:
            detail = f"body.events[{place}].rating must be left out: only the kind rating has one"
            raise ApiError(400, "rating_unexpected", detail)
        check_time(one.timestamp, latest, f"body.events[{place}].timestamp")
        events.append(Event(one.event_id, user_id, item_id, kind, rating, one.timestamp))
    return events
