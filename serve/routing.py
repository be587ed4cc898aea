"""Routes that match the encoded path and encode responses with orjson: `router = resource_router("items")`."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable
from typing import Any, ClassVar
from urllib.parse import unquote_to_bytes

import orjson
from fastapi import APIRouter, Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.routing import Match
from starlette.types import Receive, Scope, Send

from serve.answers import OF_PERSON
from serve.openapi import ETAG_RESPONSES, error_responses
from serve.service import Service


def resource_router(tag: str, *, prefix: str = "", needs: str | None = "predict") -> APIRouter:
    """A router of `ResourceRoute`s with the error responses common to all routes.

    Args:
        tag: Heading in the documentation.
        prefix: Of all its paths.
        needs: The scope that a key must have, where keys are used; None if everybody may ask.
    """

    class GuardedRoute(ResourceRoute):
        scope_of_key = needs

    return APIRouter(prefix=prefix, tags=[tag], route_class=GuardedRoute, responses=error_responses())


class ResourceRoute(APIRoute):
    """A route whose parameters are single segments of the encoded path, with any content.

    `/users/a%2Fhistory` is the user `a/history`; `/users/a/history` is another route. Dataclasses returned by endpoints
    are encoded directly by orjson: they also define the OpenAPI schema, and cannot be created with missing fields.

    Attributes:
        scope_of_key: The scope that a key must have; None if none is needed.
        of_person: Of a route whose answers are kept, whether they depend on people's events; None for others.
    """

    scope_of_key: ClassVar[str | None] = "predict"

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        self.of_person: bool | None = getattr(endpoint, OF_PERSON, None)
        if self.of_person is not None and "GET" in options["methods"]:
            options["responses"] = {**ETAG_RESPONSES, **(options["responses"] or {})}
        super().__init__(path, _encoding(endpoint), **options)

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        raw_path = scope.get("raw_path") or b""
        if b"%2" not in raw_path:  # no encoded slash or percent sign: the decoded path has the same segments
            return super().matches(scope)
        match, child_scope = super().matches({**scope, "path": _escaped(raw_path)})
        parameters = child_scope.get("path_params", {})
        for name, value in parameters.items():
            parameters[name] = value.replace("%2F", "/").replace("%25", "%")
        return match, child_scope

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = scope["guard"].refuse(scope, self.scope_of_key)  # of this very route, however its path was written
        if refusal is not None:
            await refusal(scope, receive, send)
        elif scope["method"] not in (self.methods or ()):
            raise HTTPException(405, headers={"Allow": ", ".join(self._allowed(scope))})
        elif self.of_person is None:
            await super().handle(scope, receive, send)
        else:
            service: Service = scope["app"].state.service
            await service.answers.respond(service, scope, receive, send, self.app, of_person=self.of_person)

    def _allowed(self, scope: Scope) -> list[str]:
        """The methods of this path, for which other routes need other scopes."""
        routes = [route for route in scope["app"].routes if getattr(route, "path", None) == self.path]
        return sorted({method for route in routes for method in route.methods})


def _escaped(raw_path: bytes) -> str:
    """The decoded path, with `/` and `%` within segments still encoded."""
    segments = (unquote_to_bytes(segment).decode(errors="replace") for segment in raw_path.split(b"/"))
    return "/".join(segment.replace("%", "%25").replace("/", "%2F") for segment in segments)


def _encoding(endpoint: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap the endpoint to encode dataclasses as JSON; FastAPI still sees its signature and annotations."""
    if not inspect.iscoroutinefunction(endpoint):
        raise TypeError(f"{endpoint.__name__} must be an async function")

    @functools.wraps(endpoint)
    async def encoded(**arguments: Any) -> Any:
        answer = await endpoint(**arguments)
        if not dataclasses.is_dataclass(answer):  # a response, or a value that FastAPI validates and encodes
            return answer
        return Response(orjson.dumps(answer), media_type="application/json")

    return encoded
