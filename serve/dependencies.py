"""FastAPI dependencies of the routes: the current model and the service."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Protocol

from fastapi import Depends, Request

from serve.answers import MODEL, STATES, depends_on
from serve.api_error import ApiError
from serve.errors import no_model
from serve.live import Live
from serve.models.person import Person
from serve.models.served_model import Folded, Given, ServedModel
from serve.service import Service


class GivenRatings(Protocol):
    """A request with the ratings of somebody new."""

    @property
    def ratings(self) -> Sequence[Given]: ...
    @property
    def attributes(self) -> dict[str, str] | None: ...


async def get_service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


async def get_model(request: Request) -> ServedModel:
    """The current model; a request keeps it even if another model is swapped in meanwhile.

    Raises:
        ApiError: 503, there is none yet.
    """
    service: Service = request.app.state.service
    if (model := service.model) is None:
        raise no_model()
    request.scope[MODEL] = model
    return model


async def get_live(request: Request) -> Live:
    """The service's database.

    Raises:
        ApiError: 409, it was told of none.
    """
    service: Service = request.app.state.service
    if service.live is None:
        raise ApiError(409, "no_database", "this service has no database: start it with --database URL")
    return service.live


async def person_of(request: Request, model: ServedModel, user_id: str) -> Person:
    """Somebody as the model and, where there is one, the database know them.

    Args:
        request: That asks about them.
        model: That answers.
        user_id: As text, see `ServedModel.users`.

    Raises:
        ApiError: 503, the database does not answer.
    """
    live: Live | None = request.app.state.service.live
    if live is None:
        return model.person(user_id)
    state = request.scope.get(STATES, {}).get(user_id)
    person = await live.people.person(request.scope, model, user_id, state)
    depends_on(request.scope, user_id, person.state)
    if model.bundle.encoder is not None and not person.has_vector:
        await request.app.state.service.encodings.encoded(person.fold_in)
    return person


async def encoded_person(service: Service, model: ServedModel, body: GivenRatings) -> Folded | None:
    """Somebody new as the model's encoder reads them; None if it has none, and they are folded in with their answer.

    Args:
        service: Whose requests are encoded together.
        model: That answers.
        body: With their ratings.

    Raises:
        ApiError: As `ServedModel.fold_in`.
    """
    if model.bundle.encoder is None:
        return None
    told = model.fold_in(body.ratings, body.attributes)
    await service.encodings.encoded(told[0])
    return told


def check_genre(request: Request, model: ServedModel, genre: str | None) -> None:
    """Reject a genre that no item has, unless there is a database: items of it, and their genres, come and go.

    Raises:
        ApiError: 400, the model has no such genre, and gets no other.
    """
    service: Service = request.app.state.service
    if genre is not None and service.live is None and not model.catalogue.has_genre(genre):
        raise ApiError(400, "unknown_genre", "genre must be one of those listed by /model")


CurrentService = Annotated[Service, Depends(get_service)]
CurrentModel = Annotated[ServedModel, Depends(get_model)]
CurrentLive = Annotated[Live, Depends(get_live)]


async def require_user_ratings(request: Request) -> None:
    """Reject the request if the service does not expose users' ratings, or not to this key."""
    service: Service = request.app.state.service
    if not service.settings.exposes_user_ratings:
        raise ApiError(403, "histories_off", "this service does not expose users' ratings")
    if not service.guard.permits(request.scope, "histories"):
        raise ApiError(403, "scope_missing", "this key lacks the scope histories")


def records_events_of(request: Request) -> bool:
    """Whether events of whoever asks are recorded."""
    service: Service = request.app.state.service
    return service.live is not None and service.guard.permits(request.scope, "events")


def sees_user_ratings(request: Request) -> bool:
    """Whether users' ratings are exposed to whoever asks."""
    service: Service = request.app.state.service
    return service.settings.exposes_user_ratings and service.guard.permits(request.scope, "histories")
