"""The web page at `/` and the documentation of the API at `/docs`: local files, and a policy of what they may load."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

from fastapi import Request, Response
from fastapi.routing import APIRoute
from fastapi.staticfiles import StaticFiles
from starlette.routing import BaseRoute, Mount
from starlette.types import Scope

PAGE = Path(__file__).parent / "page"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
TYPED = f"{POLICY}; require-trusted-types-for 'script'; trusted-types 'none'"  # no markup made of texts; not Swagger UI
CACHING = "no-cache"  # ask each time, and get 304 if it has not changed


def _swagger_ui() -> Path:
    """The folder of Swagger UI's files. The package around them is not imported."""
    spec = find_spec("fastapi_swagger")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("fastapi-swagger, which has the files of /docs, is not installed")
    return Path(spec.origin).parent / "resources"


class Files(StaticFiles):
    """Files by name: those of the page and two of Swagger UI, whatever else lies in their folders."""

    def __init__(self) -> None:
        super().__init__(directory=PAGE)
        swagger_ui = [_swagger_ui() / name for name in ("swagger-ui-bundle.js", "swagger-ui.css")]
        self.files = {path.name: path for path in (*PAGE.iterdir(), *swagger_ui)}

    def lookup_path(self, path: str) -> tuple[str, os.stat_result | None]:
        file = self.files.get(path)
        return ("", None) if file is None else (str(file), file.stat())

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)  # with 304, too: a browser may keep its headers
        policy = TYPED if path == "index.html" else POLICY
        response.headers.update({"Content-Security-Policy": policy, "Cache-Control": CACHING})
        return response


def page_routes() -> list[BaseRoute]:
    """The two pages, and what they load."""
    files = Files()

    def page(path: str, file: str) -> APIRoute:
        async def respond(request: Request) -> Response:
            return await files.get_response(file, request.scope)

        return APIRoute(path, respond, methods=["GET", "HEAD"], include_in_schema=False)

    return [page("/", "index.html"), page("/docs", "docs.html"), Mount("/page", files)]
