"""The model in service, described for clients: its manifest, filters, attributes and sample users."""

from __future__ import annotations

from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from recsys.bundle.attributes import choices
from serve.served_model import ServedModel

N_SAMPLE_USERS = 20
SAMPLE_USER_RATINGS = 100  # ratings that a sample user should have: enough to show a taste


class ServiceInfo(BaseModel):
    """What the page and other clients need to know besides the manifest."""

    genres: list[str]
    rating_step: float | None = Field(description="Between neighbouring ratings of the data set; null where it varies.")
    years: tuple[int, int] | None = Field(description="The first and the last year of the items.")
    attributes: dict[str, list[str]] = Field(
        description="Side information that a new user may give: the values of each attribute.",
        examples=[{"gender": ["F", "M"]}],
    )
    expose_user_ratings: bool = Field(description="Whether users' ratings are shown.")
    histories: bool = Field(description="The former name of `expose_user_ratings`.", deprecated=True)
    example_users: list[str] = Field(
        description="Users with about a hundred ratings; none where ratings are not shown."
    )


class ModelInfo(BaseModel):
    """The bundle's manifest, and what this service adds."""

    model_config = ConfigDict(extra="allow")

    model_version: str
    service: ServiceInfo


def model_info(model: ServedModel, *, expose_user_ratings: bool) -> ModelInfo:
    service = ServiceInfo(
        genres=model.catalogue.genres,
        rating_step=model.catalogue.rating_step,
        years=model.catalogue.years,
        attributes=choices(model.bundle.attributes),
        expose_user_ratings=expose_user_ratings,
        histories=expose_user_ratings,
        example_users=sample_users(model) if expose_user_ratings else [],
    )
    return ModelInfo(**model.bundle.manifest, model_version=model.version, service=service)


def sample_users(model: ServedModel) -> list[str]:
    """Fitted users with about `SAMPLE_USER_RATINGS` ratings, those with the most usual mean rating first."""
    bundle = model.bundle
    rated = bundle.ratings
    counts = np.diff(rated.indptr)[: bundle.n_users]
    nearest = np.argsort(np.abs(counts - SAMPLE_USER_RATINGS), kind="stable")[: 5 * N_SAMPLE_USERS]
    means = np.array([rated.rating[rated.slice_of(user)].mean() if counts[user] else np.inf for user in nearest])
    usual = rated.rating.mean() if len(rated.rating) else 0.0
    chosen = nearest[np.argsort(np.abs(means - usual), kind="stable")[:N_SAMPLE_USERS]]
    return [str(bundle.user_ids[row]) for row in chosen]


def sample_ids(model: ServedModel, *, expose_user_ratings: bool) -> dict[str, Any]:
    """Existing ids, as examples of the documentation."""
    item_id = model.summary(int(model.catalogue.n_ratings.argmax()))[0]
    users = sample_users(model) if expose_user_ratings else []
    return {"item_id": item_id} | ({"user_id": users[0]} if users else {})
