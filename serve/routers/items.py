"""Items: search, details and neighbours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Query
from pydantic import Field

from serve.dependencies import CurrentModel
from serve.models.served_model import ServedModel
from serve.openapi import error_responses
from serve.routing import resource_router
from serve.schemas import Id, Item, ItemSummary, ModelVersion, QueryK

router = resource_router("items", prefix="/items")


@dataclass
class Items:
    items: list[Item]
    model_version: ModelVersion


@dataclass
class Neighbour(ItemSummary):
    similarity: Annotated[
        float,
        Field(
            description="Cosine of the two items' vectors, in [-1, 1]; shrunk for items with few ratings.",
            examples=[0.83],
        ),
    ]


@dataclass
class Neighbours:
    items: Annotated[list[Neighbour], Field(description="Most similar first.")]
    model_version: ModelVersion


@router.get("", responses=error_responses(400), summary="Search titles")
async def items(
    model: CurrentModel,
    query: Annotated[str | None, Query(min_length=1, max_length=200, examples=["matrix the"])] = None,
    limit: QueryK = 20,
) -> Items:
    """Items whose title contains all words, the last one as a prefix, ignoring case and accents; most rated first.

    Without a query, all items.
    """
    rows = model.catalogue.popular(limit) if query is None else model.catalogue.search(query, limit)
    return Items([_item(model, row) for row in rows], model.version)


@router.get("/{item_id}", responses=error_responses(400, 404), summary="An item")
async def item(item_id: Id, model: CurrentModel) -> Item:
    """Title, year, genres, and the number and mean of its ratings."""
    return _item(model, model.item_in_path(item_id))


@router.get("/{item_id}/similar", responses=error_responses(400, 404), summary="Similar items")
async def similar(item_id: Id, model: CurrentModel, k: QueryK = 10) -> Neighbours:
    """The most similar items by cosine of their vectors; empty for an item without a vector."""
    rows, cosines = model.bundle.similar_rows(model.item_in_path(item_id), k)
    pairs = zip(rows.tolist(), cosines.tolist(), strict=True)
    return Neighbours([Neighbour(*model.summary(other), cosine) for other, cosine in pairs], model.version)


def _item(model: ServedModel, row: int) -> Item:
    count = int(model.catalogue.n_ratings[row])
    return Item(*model.summary(row), count, float(model.catalogue.mean_rating[row]) if count else None)
