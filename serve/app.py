"""The routes: `create_app` makes the service, `from_environment` makes it of what the environment says."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, PlainTextResponse
from fastapi.staticfiles import StaticFiles
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import ValidationError
from starlette.convertors import PathConvertor, register_url_convertor

from recsys.bundle import BundleError
from serve import errors, logs, schemas
from serve.errors import ApiError
from serve.metrics import Metrics
from serve.middleware import Edge
from serve.model import INT_ID
from serve.openapi import document, query_parameters
from serve.openapi import errors as fails
from serve.schemas import Id, QueryK
from serve.settings import Settings
from serve.swap import Models

log = logging.getLogger("serve")


class IdConvertor(PathConvertor):
    """Any text as part of a path, with slashes and newlines, which ids of strings may hold."""

    regex = r"[\s\S]+"


register_url_convertor("id", IdConvertor())

PAGE = Path(__file__).parent / "page"
PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-cache",
}
DESCRIPTION = """Answers from a bundle that `recsys` trained. Ids are strings, ratings are stars. Every error has the
shape `{"detail", "code"}`. Every answer has an `X-Request-ID`, which is yours if you send a sane one."""


class Service:
    """What the routes share."""

    def __init__(self, settings: Settings, models: Models, metrics: Metrics) -> None:
        self.settings, self.models, self.metrics = settings, models, metrics
        self.draining = False
        self.documents: dict[str, dict[str, Any]] = {}

    async def follow_pointer(self) -> None:
        """Swap in what the pointer names, for as long as the service runs."""
        while True:
            await asyncio.sleep(self.settings.poll_seconds)
            # In a thread: requests go on being answered by the old model while the new one is loaded.
            swapped = await asyncio.to_thread(self.models.poll)
            self.metrics.failed_loads(self.models.failed_loads)
            if swapped is not None:
                self.metrics.serving(swapped, swapped=True)
                log.info("now serving %s", swapped.version, extra={"fields": {"model_version": swapped.version}})

    def drain_on_sigterm(self) -> None:
        """Let SIGTERM first turn readiness off, and stop listening `drain_seconds` later."""
        loop = asyncio.get_running_loop()
        stop = signal.getsignal(signal.SIGTERM)

        def drain(number: int, frame: FrameType | None) -> None:
            assert callable(stop)
            if self.draining:  # asked twice
                stop(number, frame)
                return
            self.draining = True
            loop.call_soon_threadsafe(loop.call_later, self.settings.drain_seconds, stop, number, frame)

        if callable(stop):
            with contextlib.suppress(ValueError):  # not the main thread: who runs us there handles signals
                signal.signal(signal.SIGTERM, drain)


def query_wish(request: Request) -> schemas.Wish:
    """The query string as a `Wish`: FastAPI's own parameters, one by one, take 40 microseconds more."""
    values = {name: text if name == "genre" else _typed(text) for name, text in request.query_params.items()}
    try:
        return schemas.Wish.model_validate(values)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        raise RequestValidationError([{**e, "loc": ("query", *e["loc"])} for e in found]) from None


def _typed(text: str) -> bool | int | str:
    """The value that a query's text stands for: `true`, `false`, plain digits, or else the text."""
    if text in ("true", "false"):
        return text == "true"
    return int(text) if INT_ID.fullmatch(text) else text


def create_app(settings: Settings, models: Models | None = None) -> FastAPI:
    """The service.

    Args:
        settings: Limits, and where the bundle is.
        models: Loaded already; else they are loaded here.

    Raises:
        BundleError: There is no bundle to start with.
    """
    models = models or Models(settings)
    service = Service(settings, models, Metrics())

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        service.metrics.serving(models.current, swapped=False)
        service.drain_on_sigterm()
        following = asyncio.create_task(service.follow_pointer()) if models.pointer is not None else None
        yield
        if following is not None:
            following.cancel()

    app = FastAPI(title="recsys", description=DESCRIPTION, version="1", lifespan=lifespan)
    app.state.service = service
    errors.install(app)
    app.add_middleware(
        Edge,
        metrics=service.metrics,
        max_in_flight=settings.max_in_flight,
        max_body_bytes=settings.max_body_bytes,
        body_seconds=settings.body_seconds,
    )
    _add_frequent(app, service)
    _add_batches(app, service)
    _add_items_and_users(app, service)
    _add_operations(app, service)
    app.mount("/page", StaticFiles(directory=PAGE))

    def openapi() -> dict[str, Any]:
        model = models.current
        if model.version not in service.documents:
            service.documents = {model.version: document(app, model, histories=settings.histories)}
        return service.documents[model.version]

    app.openapi = openapi  # type: ignore[method-assign]
    return app


def from_environment() -> FastAPI:
    """What a worker process runs; `python -m serve` has put its flags into the environment."""
    settings = Settings()
    logs.configure(settings.log_level)
    try:
        return create_app(settings)
    except BundleError as error:
        raise SystemExit(f"error: {error}") from error


def _add_frequent(app: FastAPI, service: Service) -> None:
    """What is asked most comes first, since routes are tried in order."""

    @app.post("/predict/rating/", tags=["predict"], responses=fails(400, 404, 408, 409, 413), summary="One rating")
    async def predict_rating(pair: schemas.Pair) -> schemas.Prediction:
        """Predicted stars of a user for an item. An unknown user counts as the average one; an unknown item is 404."""
        model = service.models.current
        model.check_stars()
        found = model.predict(pair.user_id, pair.item_id)
        shares = None
        if found.probabilities is not None:
            levels = model.levels
            shares = [schemas.Share(rating=r, probability=p) for r, p in zip(levels, found.probabilities, strict=True)]
        return schemas.Prediction(
            rating=found.rating,
            rating_std=found.std,
            cold_start=found.cold_start,
            star_probabilities=shares,
            model_version=model.version,
        )

    @app.get(
        "/users/{user_id:id}/recommendations",
        tags=["recommend"],
        response_model=schemas.Recommendations,
        responses=fails(400, 403),
        openapi_extra={"parameters": query_parameters(schemas.Wish)},
        summary="Top-N for a user",
    )
    async def recommendations(user_id: Id, request: Request) -> Any:
        """The best items for a user, best first. An unknown user gets the average user's, marked `cold_start`."""
        model = service.models.current
        user, wish = model.user_row(user_id), query_wish(request)
        if wish.explain:
            _check_histories(service)
        return _json(model.recommend(user, wish))


def _add_batches(app: FastAPI, service: Service) -> None:
    @app.post("/predict/ratings/", tags=["predict"], responses=fails(400, 408, 409, 413), summary="Many ratings")
    async def predict_ratings(body: schemas.Pairs) -> schemas.Predictions:
        """Up to 1,000 ratings, in order. A pair that cannot be predicted has an error in its place.

        What is no list of pairs of texts is refused as a whole.
        """
        model = service.models.current
        model.check_stars()
        predictions = model.predict_many([(pair.user_id, pair.item_id) for pair in body.pairs])
        return schemas.Predictions.model_validate({"predictions": predictions, "model_version": model.version})

    @app.post(
        "/recommendations/",
        tags=["recommend"],
        response_model=schemas.NewUserRecommendations,
        responses=fails(400, 408, 409, 413),
        summary="Top-N for someone new",
    )
    async def new_user_recommendations(body: schemas.NewUser) -> Any:
        """The same for someone without an account: their ratings are folded into the model while they wait."""
        model = service.models.current
        model.check_fold_in()
        folded, skipped = model.fold_in([(rated.item_id, rated.rating) for rated in body.ratings], body.attributes)
        return _json(model.recommend(folded, body, skipped))


def _add_items_and_users(app: FastAPI, service: Service) -> None:
    @app.get("/items", tags=["items"], responses=fails(400), summary="Search titles")
    async def items(
        query: Annotated[str | None, Query(min_length=1, max_length=200, examples=["matrix the"])] = None,
        limit: QueryK = 20,
    ) -> schemas.Items:
        """Items whose title holds all words, the last one as a prefix, whatever case and accents. Most rated first.

        Without a query, all items.
        """
        model = service.models.current
        return schemas.Items.model_validate({"items": model.search(query, limit), "model_version": model.version})

    @app.get("/items/{item_id:id}/similar", tags=["items"], responses=fails(400, 404), summary="Similar items")
    async def similar(item_id: Id, k: QueryK = 10) -> schemas.Neighbours:
        """The nearest items by the direction of their vectors."""
        model = service.models.current
        found = model.similar(model.item_row(item_id), k)
        return schemas.Neighbours.model_validate({"items": found, "model_version": model.version})

    @app.get("/items/{item_id:id}", tags=["items"], responses=fails(400, 404), summary="An item")
    async def item(item_id: Id) -> schemas.Item:
        """Title, year, genres, and how it was rated."""
        model = service.models.current
        return schemas.Item.model_validate(model.item(model.item_row(item_id)))

    @app.get("/users/{user_id:id}", tags=["users"], responses=fails(400, 403, 404), summary="A user's ratings")
    async def user(user_id: Id, limit: QueryK = 100) -> schemas.User:
        """What a user rated, best first. The service may be set not to tell."""
        _check_histories(service)
        return schemas.User.model_validate(service.models.current.user(user_id, limit))


def _json(content: str) -> Response:
    return Response(content, media_type="application/json")


def _check_histories(service: Service) -> None:
    if not service.settings.histories:
        raise ApiError(403, "histories_off", "this service does not show people's ratings")


def _add_operations(app: FastAPI, service: Service) -> None:
    @app.get("/model", tags=["operations"], responses=fails(), summary="The model in service")
    async def model_facts() -> schemas.Model:
        """The bundle's manifest, and what clients need to know besides."""
        return schemas.Model.model_validate(service.models.current.facts(histories=service.settings.histories))

    @app.get("/health/live", tags=["operations"], summary="Is the process alive?")
    async def live() -> schemas.Live:
        return schemas.Live(status="live")

    @app.get(
        "/health/ready",
        tags=["operations"],
        responses={503: {"model": schemas.Error, "description": "The service is stopping."}},
        summary="Should it get requests?",
    )
    async def ready() -> schemas.Ready:
        """503 while the service is stopping. A refused bundle shows in `last_error`; the one before it still serves."""
        if service.draining:
            raise ApiError(503, "not_ready", "the service is stopping")
        model = service.models.current
        return schemas.Ready(
            status="ready",
            model_version=model.version,
            data=model.bundle.manifest["data"],
            failed_loads=service.models.failed_loads,
            last_error=service.models.last_error,
        )

    @app.get("/metrics", tags=["operations"], response_class=PlainTextResponse, summary="Figures for Prometheus")
    async def metrics() -> Response:
        return Response(service.metrics.text(), media_type=CONTENT_TYPE_LATEST)

    @app.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(PAGE / "index.html", headers=PAGE_HEADERS)
