"""The order and the rules of a list, from what a request asks for."""

from __future__ import annotations

from collections.abc import Sequence

from recsys.bundle.costs import answer_work
from recsys.bundle.diversity import CANDIDATES
from recsys.bundle.ranker import DIRECTIONS
from recsys.bundle.ranking import RANK_BY, Order
from recsys.bundle.rules import Rules, boosts_of, rules_of
from recsys.bundle.typing import Float32Array
from serve.api_error import ApiError
from serve.ids import GivenId
from serve.list_requests import RecommendationFilters
from serve.models.person import Person
from serve.models.served_model import ServedModel


def order_of(model: ServedModel, options: RecommendationFilters) -> Order:
    """How the list is ordered. Where a request names `min_ratings`, the catalogue's filter sees to it.

    Raises:
        ApiError: 409, the model has no such order.
    """
    if model.partner is not None:
        if options.rank_by is not None:
            raise ApiError(409, "ranking_model", "rank_by must be left out: a ranking model orders these lists")
        return Order("", 0, options.diversity)
    try:
        order = model.ranker.order(options.rank_by, None, options.diversity)
    except ValueError:
        if model.bundle.is_ranking:
            raise ApiError(409, "ranking_model", "rank_by must be left out: this model ranks, in one order") from None
        detail = f"rank_by must be one of {', '.join(orders_of(model))}: bound needs the samples of a posterior"
        raise ApiError(409, "no_samples", detail) from None
    return order if options.min_ratings is None else order._replace(min_ratings=0)


def orders_of(model: ServedModel) -> list[str]:
    """The values of `rank_by` that a model has, its default first; none where a ranking model orders."""
    if model.bundle.is_ranking or model.partner is not None:
        return []
    default = model.ranker.order().rank_by
    others = [name for name in RANK_BY if name != default and (name != "bound" or model.bundle.factors.samples > 1)]
    return [default, *others]


def rules_for(model: ServedModel, options: RecommendationFilters) -> Rules:
    """The rules of a request.

    Raises:
        ApiError: 400, an id is malformed; 404, a boost names neither a genre nor an item.
    """

    def rows(name: str, ids: Sequence[GivenId]) -> list[int]:
        texts = (model.items.text(item, f"{name}[{place}]") for place, item in enumerate(ids))
        return [model.items.get(text, -1) for text in texts]

    if options.available is None and not options.exclude and not options.boost:
        return Rules()
    try:
        boost = boosts_of(options.boost, model.catalogue.rows_of_genre, lambda name: model.items.get(name, -1))
    except ValueError:
        detail = "boost must name genres listed by /model, or ids of items"
        raise ApiError(404, "unknown_boost", detail) from None
    available = None if options.available is None else rows("available", options.available)
    return rules_of(model.bundle.n_items, available=available, exclude=rows("exclude", options.exclude), boost=boost)


def partner_scores(model: ServedModel, person: Person) -> Float32Array | None:
    """What a list is sorted by where a ranking bundle orders it, `(n_items,)`; None where none does."""
    if model.partner is None:
        return None
    bundle, vector = model.bundle, person.vector
    gain = model.ranker.gain(vector, bundle.factors.scores(vector)) if model.partner.mix else None
    in_bundle = 0 <= person.row < len(bundle.user_ids)
    as_fitted = in_bundle and person.given is None and person.merged is None
    user_id = bundle.user_ids[person.row : person.row + 1].tolist()[0] if as_fitted else None
    history, stars, time = person.told
    return model.partner.scores(user_id, history, gain, stars, time)


def work_of_partner(model: ServedModel, ratings: int) -> int:
    """Multiplications that the ranking bundle takes beside the other, if there is one."""
    ranking = None if model.partner is None else model.partner.ranking
    return 0 if ranking is None else answer_work(ranking, ranking.n_items, ratings)


def work_of(options: RecommendationFilters) -> int:
    """Multiplications that diversity takes, beside those of the answer."""
    return 4 * DIRECTIONS * options.k * max(CANDIDATES, 2 * options.k) if options.diversity else 0
