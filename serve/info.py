"""Description of the current model for clients: manifest, filters, attributes and sample users."""

from __future__ import annotations

from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from recsys.bundle.attributes import choices
from serve.list_options import orders_of
from serve.models.served_model import ServedModel

N_SAMPLE_USERS = 20
SAMPLE_USER_RATINGS = 100  # typical number of ratings of a sample user


class ServiceInfo(BaseModel):
    """Information for the web UI and other clients, in addition to the manifest."""

    genres: list[str]
    levels: list[float] | None = Field(
        description="The ratings that people give, ascending, such as 1, 2, 3, 4, 5; null for implicit feedback, and "
        "where there are more than eleven.",
        examples=[[1.0, 2.0, 3.0, 4.0, 5.0]],
    )
    rating_step: float | None = Field(
        description="Step between ratings of the data set, see `levels`; null if it varies.", deprecated=True
    )
    lowest_rating: float | None = Field(
        description="Lowest rating of the data set, see `levels`; null without ratings.", deprecated=True
    )
    constant_std: float | None = Field(
        description="The `rating_std` of every prediction, where it is the same for all; null where it differs from "
        "item to item, or is not known.",
        examples=[0.87],
    )
    implicit: bool = Field(
        description="Whether the data set says only which items a user chose: nothing has stars, and `rating` may be "
        "left out."
    )
    kinds: list[str] = Field(
        description="The kinds of events that the model tells apart, the strongest last; empty if it does not.",
        examples=[["view", "purchase"]],
    )
    ordered: bool = Field(
        description="Whether the order of a user's ratings counts: those of a new user are then given in order of time."
    )
    years: tuple[int, int] | None = Field(description="The first and last year of the items.")
    orders: list[str] = Field(
        description="The values of `rank_by` that this model has, its default first; empty for a ranking model.",
        examples=[["liking", "stars", "gain"]],
    )
    rank_with: str | None = Field(description="Model that orders the lists, if that is another one.", examples=["ease"])
    attributes: dict[str, list[str]] = Field(
        description="Attributes that a new user may give, with their values.",
        examples=[{"gender": ["F", "M"]}],
    )
    expose_user_ratings: bool = Field(description="Whether users' ratings are exposed to this key, if keys are used.")
    histories: bool = Field(description="The former name of `expose_user_ratings`.", deprecated=True)
    records_events: bool = Field(
        description="Whether events are recorded: the service has a database, and this key may write to it."
    )
    example_users: list[str] = Field(
        description="Users with about a hundred ratings; empty if ratings are not exposed."
    )


class ModelInfo(BaseModel):
    """The bundle's manifest, with information about the service."""

    model_config = ConfigDict(extra="allow")

    model_version: str
    service: ServiceInfo


def model_info(model: ServedModel, *, expose_user_ratings: bool, records_events: bool) -> ModelInfo:
    service = ServiceInfo(
        genres=model.catalogue.genres,
        levels=model.catalogue.levels,
        constant_std=model.constant_std,
        rating_step=model.catalogue.rating_step,
        lowest_rating=model.catalogue.lowest_rating,
        implicit=model.bundle.is_implicit,
        kinds=list(model.bundle.kind_ratings),
        ordered=model.bundle.is_ordered,
        years=model.catalogue.years,
        orders=orders_of(model),
        rank_with=None if model.partner is None else str(model.partner.ranking.manifest.get("model")),
        attributes=choices(model.bundle.attributes),
        expose_user_ratings=expose_user_ratings,
        histories=expose_user_ratings,
        records_events=records_events,
        example_users=sample_users(model) if expose_user_ratings else [],
    )
    return ModelInfo(**(model.bundle.manifest | {"model_version": model.version, "service": service}))


def sample_users(model: ServedModel) -> list[str]:
    """Fitted users with about `SAMPLE_USER_RATINGS` ratings, those with the most typical mean rating first."""
    bundle = model.bundle
    rated = bundle.ratings
    counts = np.diff(rated.indptr)[: bundle.n_users]
    nearest = np.argsort(np.abs(counts - SAMPLE_USER_RATINGS), kind="stable")[: 5 * N_SAMPLE_USERS]
    means = np.array([rated.rating[rated.slice_of(user)].mean() if counts[user] else np.inf for user in nearest])
    usual = rated.rating.mean() if len(rated.rating) else 0.0
    chosen = nearest[np.argsort(np.abs(means - usual), kind="stable")[:N_SAMPLE_USERS]]
    return [str(bundle.user_ids[row]) for row in chosen]


def sample_ids(model: ServedModel, *, expose_user_ratings: bool) -> dict[str, Any]:
    """Existing ids, as examples in the OpenAPI document."""
    item_id = model.summary(int(model.catalogue.n_ratings.argmax()))[0]
    users = sample_users(model) if expose_user_ratings else []
    return {"item_id": item_id} | ({"user_id": users[0]} if users else {})
