"""Items: search, details and neighbours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Query, Request
from pydantic import Field

from recsys.bundle.costs import SEARCHED
from recsys.bundle.titles import natural_title
from serve.answers import kept
from serve.dependencies import CurrentLive, CurrentModel
from serve.models.served_model import ServedModel, unused
from serve.openapi import error_responses
from serve.routing import resource_router
from serve.schemas import (
    MAX_FIELDS,
    TEXT,
    Id,
    Input,
    Item,
    ItemSummary,
    ModelVersion,
    QueryK,
    RecordedAttributes,
    RecordedId,
    Text,
    Unused,
    Year,
)
from serve.service import Service

router = resource_router("items", prefix="/items")
changes = resource_router("items", prefix="/items", needs="events")


@dataclass
class Items:
    items: list[Item]
    model_version: ModelVersion


@dataclass
class ItemDetails(Item):
    attributes: Annotated[dict[str, str], Field(description="As they were set last.", examples=[{"country": "NZ"}])]


@dataclass
class Neighbour(ItemSummary):
    similarity: Annotated[
        float,
        Field(
            description="In [-1, 1]: the cosine of the two items' vectors, shrunk for items with few ratings; or, of a "
            "model of item weights, what having the one adds to the score of the other.",
            examples=[0.83],
        ),
    ]


@dataclass
class Neighbours:
    items: Annotated[list[Neighbour], Field(description="Most similar first.")]
    model_version: ModelVersion


@router.get("", responses=error_responses(400), summary="Search titles and ids")
@kept(of_person=False)
async def items(
    model: CurrentModel,
    request: Request,
    query: Annotated[str | None, Query(min_length=1, max_length=200, examples=["matrix the"])] = None,
    limit: QueryK = 20,
) -> Items:
    """Items whose title contains all words, the last one as a prefix, ignoring case and accents; most rated first.

    If there are none, those with the fewest typos. The item whose id this is comes first, others whose ids begin so
    come last. Without a query, all items.
    """
    if query is None:
        rows = model.catalogue.popular(limit)
    else:
        service: Service = request.app.state.service
        work = model.catalogue.search_work(query)
        rows = await service.beside.computed(request.scope, work, model.catalogue.search, query, limit)
    return Items([_item(model, row) for row in rows], model.version)


@router.get("/{item_id}", responses=error_responses(400, 404), summary="An item")
@kept(of_person=False)
async def item(item_id: Id, model: CurrentModel) -> ItemDetails:
    """Title, year, genres, the attributes that were set, and the number and mean of its ratings."""
    row = model.item_in_path(item_id)
    return ItemDetails(**vars(_item(model, row)), attributes=dict(model.told.attributes.get(row, {})))


@router.get("/{item_id}/similar", responses=error_responses(400, 404), summary="Similar items")
@kept(of_person=False)
async def similar(item_id: Id, model: CurrentModel, k: QueryK = 10) -> Neighbours:
    """The most similar items; empty for an item that the model knows nothing of."""
    rows, cosines = model.bundle.similar_rows(model.item_in_path(item_id), k)
    pairs = zip(rows.tolist(), cosines.tolist(), strict=True)
    return Neighbours([Neighbour(*model.summary(other), cosine) for other, cosine in pairs], model.version)


def _item(model: ServedModel, row: int) -> Item:
    count = int(model.catalogue.n_ratings[row])
    has_mean = count and not model.bundle.is_implicit
    return Item(*model.summary(row), count, float(model.catalogue.mean_rating[row]) if has_mean else None)


class ItemIn(Input):
    """What an item is."""

    title: Annotated[str, Field(min_length=1, max_length=SEARCHED, pattern=TEXT)]
    year: Year | None = None
    genres: list[Text] = Field([], max_length=MAX_FIELDS)
    attributes: RecordedAttributes = Field(
        {}, description="Side information by name; a model reads those it was trained with."
    )


@dataclass
class DescribedItem(ItemSummary):
    attributes: Annotated[dict[str, str], Field(examples=[{"country": "NZ"}])]
    unused: Unused


@changes.put("/{item_id}", responses=error_responses(400, 408, 409, 413), summary="Add or change an item")
async def set_item(
    item_id: RecordedId, body: ItemIn, model: CurrentModel, live: CurrentLive, request: Request
) -> DescribedItem:
    """Set title, year, genres and attributes of an item, which may be new, in the place of those before.

    Every worker serves it within seconds. An item that the model was not fitted on is predicted from its genres
    and attributes, and from its ratings once it has some.
    """
    text = model.items.text_in_path(item_id)
    model.items.check_recordable(text, "item_id")
    said = body.year, body.genres, body.attributes
    await live.call(request.scope, live.descriptions.set_item, text, body.title, *said)
    left = unused(body.attributes, model.bundle.item_attribute_names)
    return DescribedItem(text, natural_title(body.title), *said, unused=left)
