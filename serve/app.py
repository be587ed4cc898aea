"""The application: `create_app(settings)`; `from_environment` builds it from environment variables."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Any

from fastapi import FastAPI

from serve import errors
from serve.access.cors import Cors
from serve.middleware import RequestMiddleware
from serve.models.model_manager import ModelManager
from serve.openapi import openapi_document
from serve.pages import page_routes
from serve.process import logs
from serve.process.shutdown import end_with_parent
from serve.routers import ROUTERS
from serve.service import Service
from serve.settings import Settings, listed

DESCRIPTION = """Predictions and recommendations from a bundle trained by `recsys`. Ids in answers are strings; in a
body, one that is an integer may be a JSON number, too. In a path, the ids `.` and `..` may be sent as `%252E` and
`%252E%252E`: browsers resolve them otherwise. Ratings are in stars. Every error has the form `{"detail", "code"}`.
Every response has an `X-Request-ID`: the one in the request if valid."""


class RecsysAPI(FastAPI):
    """The application, with an OpenAPI document for the current model."""

    def __init__(self, service: Service, **options: Any) -> None:
        super().__init__(**options)
        self.state.service = service
        self._documents: dict[tuple[str, int] | None, dict[str, Any]] = {}  # at most one, by version and revision

    def openapi(self) -> dict[str, Any]:
        service: Service = self.state.service
        model = service.model
        version = None if model is None else (model.version, model.revision)
        if version not in self._documents:
            keys, rate_limit = service.guard.keys is not None, service.guard.limit is not None
            exposed = service.settings.exposes_user_ratings and not keys  # the document is shown to everybody
            self._documents = {
                version: openapi_document(
                    self,
                    model,
                    expose_user_ratings=exposed,
                    keys=keys,
                    rate_limit=rate_limit,
                    live=service.live is not None,
                )
            }
        return self._documents[version]


def create_app(settings: Settings, models: ModelManager | None = None) -> FastAPI:
    """Create the application.

    Args:
        settings: Limits and the location of the bundle.
        models: Already loaded models; by default they are loaded at startup.
    """
    service = Service(settings, models)

    def lifespan(app: FastAPI) -> AbstractAsyncContextManager[None]:
        return service.run()

    app = RecsysAPI(
        service, title="recsys", description=DESCRIPTION, version="1", lifespan=lifespan, docs_url=None, redoc_url=None
    )  # FastAPI's own pages of documentation load scripts of another origin
    errors.install(app)
    if origins := listed(settings.cors_origins):
        app.add_middleware(Cors, origins=origins)
    app.add_middleware(
        RequestMiddleware,
        metrics=service.metrics,
        guard=service.guard,
        load=service.load,
        max_body_bytes=settings.max_body_bytes,
        body_seconds=settings.body_seconds,
    )
    for router in ROUTERS:
        app.router.routes += router.routes  # include_router would match each request twice (FastAPI 0.165)
    app.router.routes += page_routes()
    return app


def from_environment() -> FastAPI:
    """Create the application in a worker process, from the environment set by `python -m serve`."""
    settings = Settings()
    logs.configure(settings.log_level)
    end_with_parent()
    return create_app(settings)
