"""The order and the rules of a list, from what a request asks for."""

from __future__ import annotations

from collections.abc import Sequence

from recsys.bundle.diversity import CANDIDATES
from recsys.bundle.ranker import DIRECTIONS
from recsys.bundle.ranking import RANK_BY, Order
from recsys.bundle.rules import Rules, boosts_of, rules_of
from serve.api_error import ApiError
from serve.ids import GivenId
from serve.list_requests import RecommendationFilters
from serve.models.served_model import ServedModel


def order_of(model: ServedModel, options: RecommendationFilters) -> Order:
    """How the list is ordered. Where a request names `min_ratings`, the catalogue's filter sees to it.

    Raises:
        ApiError: 409, the model has no such order.
    """
    try:
        order = model.ranker.order(options.rank_by, None, options.diversity)
    except ValueError:
        if model.bundle.is_ranking:
            raise ApiError(409, "ranking_model", "rank_by must be left out: this model ranks, in one order") from None
        raise ApiError(409, "no_samples", "rank_by may not be bound: this model has no posterior") from None
    return order if options.min_ratings is None else order._replace(min_ratings=0)


def orders_of(model: ServedModel) -> list[str]:
    """The values of `rank_by` that a model has, its default first; none of a ranking model."""
    if model.bundle.is_ranking:
        return []
    default = model.ranker.order().rank_by
    others = [name for name in RANK_BY if name != default and (name != "bound" or model.bundle.factors.samples > 1)]
    return [default, *others]


def rules_for(model: ServedModel, options: RecommendationFilters) -> Rules:
    """The rules of a request.

    Raises:
        ApiError: 400, an id is malformed, or a boost names neither a genre nor an item.
    """

    def rows(name: str, ids: Sequence[GivenId]) -> list[int]:
        texts = (model.items.text(item, f"{name}[{place}]") for place, item in enumerate(ids))
        return [model.items.get(text, -1) for text in texts]

    if options.available is None and not options.exclude and not options.boost:
        return Rules()
    try:
        boost = boosts_of(
            options.boost, model.catalogue.rows_of_genre, lambda name: model.items.get(model.items.text(name), -1)
        )
    except ValueError:
        detail = "boost must name genres listed by /model, or ids of items"
        raise ApiError(400, "unknown_boost", detail) from None
    available = None if options.available is None else rows("available", options.available)
    return rules_of(model.bundle.n_items, available=available, exclude=rows("exclude", options.exclude), boost=boost)


def work_of(options: RecommendationFilters) -> int:
    """Multiplications that diversity takes, beside those of the answer."""
    return DIRECTIONS * options.k * max(CANDIDATES, 2 * options.k) if options.diversity else 0
