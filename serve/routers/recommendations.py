"""Top-N recommendations, for users of the data set and for new ones."""

from __future__ import annotations

from fastapi import Request

from recsys.bundle.costs import answer_work
from serve.answers import kept
from serve.dependencies import CurrentModel, check_genre, encoded_person, get_model, person_of, require_user_ratings
from serve.list_options import work_of, work_of_partner
from serve.list_requests import FoldInRequest, RecommendationQuery
from serve.models.person import Person
from serve.models.served_model import Folded, ServedModel
from serve.openapi import error_responses
from serve.query import query_parameters, recommendation_query
from serve.recommender import FoldInRecommendations, Recommendations, recommend
from serve.routing import resource_router
from serve.schemas import Id
from serve.service import Service

router = resource_router("recommend")


@router.get(
    "/users/{user_id}/recommendations",
    responses=error_responses(400, 403, 404, 409, 503),
    openapi_extra=query_parameters(RecommendationQuery),
    summary="Top-N for a user",
)
@kept(of_person=True)
async def recommendations(user_id: Id, request: Request) -> Recommendations:
    """The best items for a user, best first. An unknown user gets those of the average user, with `cold_start` set.

    Where the service has a database, a user's acknowledged events count.
    """
    model = await get_model(request)  # called rather than injected, which takes a tenth of a top-10
    text, query = model.users.text_in_path(user_id), recommendation_query(request)
    if query.explain:
        await require_user_ratings(request)
    check_genre(request, model, query.genre)
    person, service = await person_of(request, model, text), request.app.state.service
    work = person.work(model.bundle.n_items, query.k if query.explain else 0) + work_of(query)
    work += work_of_partner(model, len(person.seen))
    answer: Recommendations = await service.beside.computed(request.scope, work, recommend, model, person, query)
    return answer


@router.post("/recommendations/", responses=error_responses(400, 404, 408, 409, 413), summary="Top-N for a new user")
@kept(of_person=False)
async def new_user_recommendations(body: FoldInRequest, model: CurrentModel, request: Request) -> FoldInRecommendations:
    """The same for a user who is not in the data set, by folding in the given ratings, the latest last."""
    model.check_fold_in()
    check_genre(request, model, body.genre)
    service: Service = request.app.state.service
    work = answer_work(model.bundle, model.bundle.n_items, len(body.ratings), body.k if body.explain else 0)
    work += work_of(body) + work_of_partner(model, len(body.ratings))
    told = await encoded_person(service, model, body)
    return await service.beside.computed(request.scope, work, _for_new_user, model, body, told)


def _for_new_user(model: ServedModel, body: FoldInRequest, told: Folded | None) -> FoldInRecommendations:
    folded, unknown = told or model.fold_in(body.ratings, body.attributes)
    answer = recommend(model, Person(model.bundle, -1, given=folded), body)
    return FoldInRecommendations(**vars(answer), unknown_items=unknown, skipped=unknown)
