"""Predicted ratings."""

from __future__ import annotations

from fastapi import Request

from recsys.bundle.costs import answer_work
from serve.dependencies import CurrentModel
from serve.openapi import error_responses
from serve.predictor import Prediction, Predictions, predict, predict_many
from serve.routing import resource_router
from serve.schemas import Pair, Pairs
from serve.service import Service

router = resource_router("predict", prefix="/predict")


@router.post("/rating/", responses=error_responses(400, 404, 408, 409, 413), summary="One rating")
async def predict_rating(pair: Pair, model: CurrentModel) -> Prediction:
    """Predict a user's rating of an item. An unknown user is treated as average; an unknown item is a 404."""
    model.check_rating_model()
    return predict(model, pair.user_id, pair.item_id)


@router.post("/ratings/", responses=error_responses(400, 408, 409, 413), summary="Many ratings")
async def predict_ratings(body: Pairs, model: CurrentModel, request: Request) -> Predictions:
    """Predict up to 1,000 ratings, in order. A pair that cannot be predicted gets an error instead.

    A malformed body is rejected as a whole.
    """
    model.check_rating_model()
    pairs = [(pair.user_id, pair.item_id) for pair in body.pairs]
    service: Service = request.app.state.service
    work = answer_work(model.bundle, len(pairs))
    return Predictions(await service.beside.computed(request.scope, work, predict_many, model, pairs), model.version)
