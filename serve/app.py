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

from fastapi import Depends, FastAPI, Query, Request, Response
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse
from fastapi.staticfiles import StaticFiles
from prometheus_client import CONTENT_TYPE_LATEST

from recsys.bundle import BundleError
from serve import errors, logs, schemas
from serve.errors import ApiError
from serve.metrics import Metrics
from serve.middleware import Edge
from serve.model import ServedModel
from serve.openapi import document
from serve.openapi import errors as fails
from serve.schemas import Flag, Genre, Id, QueryK, QueryMinRatings, QueryYear
from serve.settings import Settings
from serve.swap import Models

log = logging.getLogger("serve")

PAGE = Path(__file__).parent / "page"
PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; base-uri 'none'; frame-ancestors 'none'",
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


async def current_model(request: Request) -> ServedModel:
    """The model in service when the request came; it answers the request from start to end."""
    model: ServedModel = request.app.state.service.models.current
    return model


async def the_service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


CurrentModel = Annotated[ServedModel, Depends(current_model)]
TheService = Annotated[Service, Depends(the_service)]


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

    app = FastAPI(
        title="recsys",
        description=DESCRIPTION,
        version="1",
        lifespan=lifespan,
        max_body_size=settings.max_body_bytes or None,
    )
    app.state.service = service
    errors.install(app)
    app.add_middleware(Edge, metrics=service.metrics, max_in_flight=settings.max_in_flight)
    _add_predictions(app)
    _add_recommendations(app)
    _add_items_and_users(app)
    _add_operations(app)
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


def _add_predictions(app: FastAPI) -> None:
    @app.post("/predict/rating/", tags=["predict"], responses=fails(400, 404, 409, 413), summary="One rating")
    async def predict_rating(pair: schemas.Pair, model: CurrentModel) -> schemas.Prediction:
        """Predicted stars of a user for an item. An unknown user counts as the average one; an unknown item is 404."""
        model.check_stars()
        rating, cold_start = model.predict(pair.user_id, pair.item_id)
        return schemas.Prediction(rating=rating, cold_start=cold_start, model_version=model.version)

    @app.post("/predict/ratings/", tags=["predict"], responses=fails(400, 409, 413), summary="Many ratings")
    async def predict_ratings(body: schemas.Pairs, model: CurrentModel) -> schemas.Predictions:
        """Up to 1,000 ratings, in order. A pair that cannot be predicted has an error in its place."""
        model.check_stars()
        predictions = model.predict_many([(pair.user_id, pair.item_id) for pair in body.pairs])
        return schemas.Predictions.model_validate({"predictions": predictions, "model_version": model.version})


def _add_recommendations(app: FastAPI) -> None:
    @app.get(
        "/users/{user_id:path}/recommendations",
        tags=["recommend"],
        response_model=schemas.Recommendations,
        responses=fails(400, 403),
        summary="Top-N for a user",
    )
    async def recommendations(
        user_id: Id,
        model: CurrentModel,
        service: TheService,
        k: QueryK = 10,
        exclude_seen: Annotated[Flag, Query(description="Leave out what the user has rated.")] = True,
        genre: Genre | None = None,
        year_from: QueryYear | None = None,
        year_to: QueryYear | None = None,
        min_ratings: QueryMinRatings = 0,
        explain: Annotated[Flag, Query(description="Say which of the user's ratings contributed most.")] = False,
        distribution: Annotated[Flag, Query(description="Count the predicted ratings of all items.")] = False,
    ) -> Any:
        """The best items for a user, best first. An unknown user gets the average user's, marked `cold_start`."""
        user = model.user_row(user_id)
        if explain:
            _check_histories(service)
        return model.recommend(
            user, k, exclude_seen=exclude_seen, genre=genre, year_from=year_from, year_to=year_to,
            min_ratings=min_ratings, explain=explain,
            distribution=distribution,
        )  # fmt: skip

    @app.post(
        "/recommendations/",
        tags=["recommend"],
        response_model=schemas.NewUserRecommendations,
        responses=fails(400, 409, 413),
        summary="Top-N for someone new",
    )
    async def new_user_recommendations(body: schemas.NewUser, model: CurrentModel) -> Any:
        """The same for someone without an account: their ratings are folded into the model while they wait."""
        model.check_fold_in()
        folded, skipped = model.fold_in([(rated.item_id, rated.rating) for rated in body.ratings])
        answer = model.recommend(
            folded, body.k, exclude_seen=body.exclude_seen, genre=body.genre, year_from=body.year_from,
            year_to=body.year_to, min_ratings=body.min_ratings, explain=body.explain, distribution=body.distribution,
        )  # fmt: skip
        return answer | {"skipped": skipped}


def _add_items_and_users(app: FastAPI) -> None:
    @app.get("/items", tags=["items"], responses=fails(400), summary="Search titles")
    async def items(
        model: CurrentModel,
        query: Annotated[str, Query(min_length=1, max_length=200, examples=["matrix the"])],
        limit: QueryK = 20,
    ) -> schemas.Items:
        """Items whose title holds all words, the last one as a prefix, whatever case and accents. Most rated first."""
        return schemas.Items.model_validate({"items": model.search(query, limit), "model_version": model.version})

    @app.get("/items/{item_id:path}/similar", tags=["items"], responses=fails(400, 404), summary="Similar items")
    async def similar(item_id: Id, model: CurrentModel, k: QueryK = 10) -> schemas.Neighbours:
        """The nearest items by the direction of their vectors."""
        found = model.similar(model.item_row(item_id), k)
        return schemas.Neighbours.model_validate({"items": found, "model_version": model.version})

    @app.get("/items/{item_id:path}", tags=["items"], responses=fails(400, 404), summary="An item")
    async def item(item_id: Id, model: CurrentModel) -> schemas.Item:
        return schemas.Item.model_validate(model.item(model.item_row(item_id)))

    @app.get("/users/{user_id:path}", tags=["users"], responses=fails(400, 403, 404), summary="A user's ratings")
    async def user(user_id: Id, model: CurrentModel, service: TheService, limit: QueryK = 100) -> schemas.User:
        """What a user rated, best first. The service may be set not to tell."""
        _check_histories(service)
        return schemas.User.model_validate(model.user(user_id, limit))


def _check_histories(service: Service) -> None:
    if not service.settings.histories:
        raise ApiError(403, "histories_off", "this service does not show people's ratings")


def _add_operations(app: FastAPI) -> None:
    @app.get("/model", tags=["operations"], responses=fails(), summary="The model in service")
    async def model_facts(model: CurrentModel, service: TheService) -> schemas.Model:
        """The bundle's manifest, and what clients need to know besides."""
        return schemas.Model.model_validate(model.facts(histories=service.settings.histories))

    @app.get("/health/live", tags=["operations"], summary="Is the process alive?")
    async def live() -> schemas.Live:
        return schemas.Live(status="live")

    @app.get(
        "/health/ready",
        tags=["operations"],
        response_model=schemas.Ready,
        responses={503: {"model": schemas.Ready, "description": "The service is stopping."}},
        summary="Should it get requests?",
    )
    async def ready(model: CurrentModel, service: TheService) -> Any:
        """503 while the service is stopping. A refused bundle shows in `last_error`; the one before it still serves."""
        found = schemas.Ready(
            status="stopping" if service.draining else "ready",
            model_version=model.version,
            data=model.bundle.manifest["data"],
            failed_loads=service.models.failed_loads,
            last_error=service.models.last_error,
        )
        return JSONResponse(found.model_dump(), 503 if service.draining else 200)

    @app.get("/metrics", tags=["operations"], response_class=PlainTextResponse, summary="Figures for Prometheus")
    async def metrics(service: TheService) -> Response:
        return Response(service.metrics.text(), media_type=CONTENT_TYPE_LATEST)

    @app.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(PAGE / "index.html", headers=PAGE_HEADERS)
