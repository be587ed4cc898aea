"""Pages of other origins: none may call the service, unless it is listed."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp

from serve.errors import error

EXPOSED = ("ETag", "X-Request-ID", "RateLimit", "RateLimit-Policy", "Retry-After", "WWW-Authenticate")


class Cors(CORSMiddleware):
    """Starlette's middleware, with what the service takes and gives. A preflight needs no key: it cannot have one."""

    def __init__(self, app: ASGIApp, origins: list[str]) -> None:
        super().__init__(
            app, allow_origins=origins, allow_methods=("GET", "POST", "PUT"), expose_headers=EXPOSED,
            allow_headers=("Authorization", "Content-Type", "If-None-Match", "X-Request-ID"),
        )  # fmt: skip

    def preflight_response(self, request_headers: Headers) -> Response:
        response = super().preflight_response(request_headers)
        if response.status_code == 200:
            return response
        vary = {"Vary": self.preflight_headers["Vary"]}
        return error(400, "cors_refused", "the service does not allow this origin, method or header", vary)
