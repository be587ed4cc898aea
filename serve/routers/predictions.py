"""Predicted ratings."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from fastapi import Request

from recsys.bundle.costs import answer_work
from serve.answers import kept
from serve.api_error import ApiError
from serve.dependencies import CurrentModel, encoded_person, person_of
from serve.ids import GivenId
from serve.live import Live
from serve.models.person import Person
from serve.models.served_model import Folded, ServedModel
from serve.openapi import error_responses
from serve.predictor import Prediction, Predictions, predict, predict_many
from serve.routing import resource_router
from serve.schemas import Pairs, PredictionRequest
from serve.service import Service

router = resource_router("predict", prefix="/predict")


@router.post("/rating/", responses=error_responses(400, 404, 408, 409, 413), summary="One rating")
@kept(of_person=True)
async def predict_rating(body: PredictionRequest, model: CurrentModel, request: Request) -> Prediction:
    """Predict a user's rating of an item. An unknown user is treated as average; an unknown item is a 404.

    Where the service has a database, a user's acknowledged events count. Somebody who is not in the data set is folded
    in from the given ratings, the latest last.
    """
    model.check_rating_model()
    service: Service = request.app.state.service
    if body.ratings:
        model.check_fold_in()
        item, work = model.item_row(body.item_id, "body.item_id"), answer_work(model.bundle, 1, len(body.ratings))
        told = await encoded_person(service, model, body)
        return await service.beside.computed(request.scope, work, _for_new_user, model, body, item, told)
    text, item = model.users.text(body.user_id, "body.user_id"), model.item_row(body.item_id, "body.item_id")
    person = await person_of(request, model, text)
    if not person.is_live:
        return predict(model, person, item)
    return await service.beside.computed(request.scope, person.work(1), predict, model, person, item)


def _for_new_user(model: ServedModel, body: PredictionRequest, item: int, told: Folded | None) -> Prediction:
    folded, _ = told or model.fold_in(body.ratings, body.attributes)
    return predict(model, Person(model.bundle, -1, given=folded), item)


@router.post("/ratings/", responses=error_responses(400, 408, 409, 413), summary="Many ratings")
async def predict_ratings(body: Pairs, model: CurrentModel, request: Request) -> Predictions:
    """Predict up to 1,000 ratings, in order. A pair that cannot be predicted gets an error instead.

    A malformed body is rejected as a whole.
    """
    model.check_rating_model()
    pairs = [(pair.user_id, pair.item_id) for pair in body.pairs]
    service: Service = request.app.state.service
    people = {} if service.live is None else await _with_events(request, service.live, model, pairs)
    work = answer_work(model.bundle, len(pairs)) + sum(person.work(0) for person in people.values())
    predictions = await service.beside.computed(request.scope, work, predict_many, model, pairs, people)
    return Predictions(predictions, model.version)


async def _with_events(
    request: Request, live: Live, model: ServedModel, pairs: Sequence[tuple[GivenId, GivenId]]
) -> dict[str, Person]:
    """Those of the pairs' users who are not as the bundle knows them, by their ids."""
    texts = []
    for user_id, _ in pairs:
        with contextlib.suppress(ApiError):  # the pair gets an error
            texts.append(model.users.text(user_id))
    people = await live.people.people(request.scope, model, texts)
    return {text: person for text, person in people.items() if person.is_live}
