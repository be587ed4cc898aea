"""Request middleware: request ids, access log, metrics, and limits on body size, body time and concurrency."""

from __future__ import annotations

import asyncio
import logging
import math
import re
import secrets
from time import perf_counter
from typing import Any

from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve.access.guard import Guard
from serve.access.headers import secured
from serve.errors import error
from serve.http.load import ARRIVED, OPERATIONS, REFUSED, UNLIMITED_PATHS, Load
from serve.http.refusals import OVERLOADED
from serve.metrics import Metrics

access = logging.getLogger("serve.access")
log = logging.getLogger("serve")

VALID_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:-]{1,128}")
REDIRECT = 307  # by the router, to the same path with a slash more or less at its end
METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))


class RequestMiddleware:
    """ASGI middleware around the routes. Requests that it rejects have no route and are counted as `other`.

    Args:
        app: The application.
        metrics: Request metrics.
        guard: Who may ask.
        load: What is in flight, and how much of it may be, then 503. Our protocol counts its requests there itself.
        max_body_bytes: Maximum size of a body, then 413; 0 for no limit.
        body_seconds: Timeout for receiving a body, then 408.
    """

    def __init__(
        self, app: ASGIApp, metrics: Metrics, guard: Guard, load: Load, max_body_bytes: int, body_seconds: float
    ) -> None:
        self.app, self.metrics, self.guard, self.load = app, metrics, guard, load
        self.max_body_bytes, self.body_seconds = max_body_bytes, body_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        start = perf_counter()
        request_id = _request_id(scope)
        status = 500
        started = False
        load = self.load

        async def answer(message: Message) -> None:
            nonlocal status, started
            if message["type"] == "http.response.start":
                status, started = message["status"], True
                limits = scope.get("limits", ())
                headers = _here(scope, message["headers"]) if status == REDIRECT else message["headers"]
                message["headers"] = [*secured(headers), *limits, (b"x-request-id", request_id)]
            await send(message)

        state = scope.get("state", {})
        arrived = state.get(ARRIVED)  # by our protocol
        limited = scope["path"] not in UNLIMITED_PATHS
        if limited and OPERATIONS in state:
            await error(404, "not_found", "health and metrics only on this port")(scope, receive, answer)
            self._record(scope, request_id, status, start)
            return
        if limited and (load.full if arrived is None else REFUSED in state or not load.begins(arrived)):
            load.shed[OVERLOADED.code] += 1
            full = error(503, OVERLOADED.code, OVERLOADED.detail, {"Retry-After": "1"})
            await self._send(full, scope, receive, answer)
            self._record(scope, request_id, status, start)
            return
        if (refusal := self.guard.check(scope)) is not None:
            await self._send(refusal, scope, receive, answer)
            self._record(scope, request_id, status, start)
            return
        load.in_flight += limited and arrived is None
        if scope["method"] != "GET":
            receive = _bounded(receive, self.max_body_bytes or math.inf, self.body_seconds)
        try:
            if arrived is None:  # responses are computed without yielding, so let waiting requests be counted first
                await asyncio.sleep(0)
            await self.app(scope, receive, answer)
        except Exception:
            log.exception("request %s failed", request_id.decode())
            if not started:
                detail = "internal error; see the log for this X-Request-ID"
                await self._send(error(500, "internal_error", detail), scope, receive, answer)
        finally:
            load.in_flight -= limited and arrived is None
            self._record(scope, request_id, status, start)

    async def _send(self, response: Response, scope: Scope, receive: Receive, send: Send) -> None:
        """Send an error that no route made."""
        await self.guard.readable(response)(scope, receive, send)

    def _record(self, scope: Scope, request_id: bytes, status: int, start: float) -> None:
        seconds = perf_counter() - start
        route = _template(scope)
        known = route != "other" and scope["method"] in METHODS  # clients must not be able to create labels
        self.metrics.observe_request(scope["method"] if known else "other", route, status, seconds)
        if access.isEnabledFor(logging.INFO):
            fields: dict[str, Any] = {
                "request_id": request_id.decode(), "method": scope["method"], "route": route, "status": status,
                "ms": round(1000 * seconds, 3),
            }  # fmt: skip
            if (key := scope.get("key")) is not None:
                fields["key"] = key.name
            if access.isEnabledFor(logging.DEBUG):
                fields["path"] = scope["path"]  # may contain a user id
            access.info("request", extra={"fields": fields})


def _bounded(receive: Receive, limit: float, seconds: float) -> Receive:
    """Receive the body, raising 413 if it is too long and 408 if it is too slow, regardless of its headers."""
    left, deadline, complete = limit, asyncio.get_running_loop().time() + seconds, False

    async def receive_within() -> Message:
        nonlocal left, complete
        if complete:  # only a disconnect can follow, without a deadline
            return await receive()
        try:
            async with asyncio.timeout_at(deadline):
                message = await receive()
        except TimeoutError:
            raise HTTPException(408) from None
        complete = not message.get("more_body", False)
        left -= len(message.get("body", b""))
        if left < 0:
            raise HTTPException(413)
        return message

    return receive_within


def _here(scope: Scope, headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Headers of a redirect within this service, without the scheme: before a proxy it was https, not http."""
    path: bytes = scope["raw_path"]
    path = path.rstrip(b"/") if path.endswith(b"/") else path + b"/"
    query = b"?" + scope["query_string"] if scope["query_string"] else b""
    return [(name, path + query if name == b"location" else value) for name, value in headers]


def _request_id(scope: Scope) -> bytes:
    """The client's request id if valid, or else a new one."""
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            if VALID_REQUEST_ID.fullmatch(value):
                return bytes(value)
            break
    return secrets.token_hex(8).encode()


def _template(scope: Scope) -> str:
    """The route template, such as `/items/{item_id}`; `other` without a route."""
    route = scope.get("route")
    return getattr(route, "path_format", "other") if route is not None else "other"
