"""The service with two more routes that do nothing: what HTTP, validation and middleware cost without an answer.

    uvicorn benchmarks.load.noop:with_noop --factory

`/noop/rating/` has the models of `/predict/rating/` and passes all middleware. `bare` is the same route without any.
"""

from __future__ import annotations

from fastapi import FastAPI

from serve.app import from_environment
from serve.predictor import Prediction
from serve.schemas import PredictionRequest


async def nothing(pair: PredictionRequest) -> Prediction:
    return Prediction(4.2, None, False, None, "5f0c9a1b2c3d")


def with_noop() -> FastAPI:
    app = from_environment()
    app.post("/noop/rating/")(nothing)
    app.router.routes.insert(0, app.router.routes.pop())  # found at once, as cheaply as can be
    return app


def bare() -> FastAPI:
    app = FastAPI()
    app.post("/noop/rating/")(nothing)
    return app
