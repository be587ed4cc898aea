"""Predicted ratings, single and in batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import Field

from serve.api_error import ApiError
from serve.ids import GivenId
from serve.models.person import Person
from serve.models.served_model import ServedModel
from serve.schemas import Error, ModelVersion, Std


@dataclass
class RatingProbability:
    rating: Annotated[float, Field(description="Stars, a level of the scale.", examples=[4.0])]
    probability: Annotated[float, Field(examples=[0.38])]


@dataclass
class Prediction:
    rating: Annotated[float, Field(description="Predicted stars, within the scale.", examples=[4.31])]
    rating_std: Std
    cold_start: Annotated[
        bool,
        Field(
            description="Whether the model was not fitted on the item, or neither fitted on the user nor told of their "
            "ratings; a cold user or item is treated as average, or as predicted from its attributes.",
            examples=[False],
        ),
    ]
    star_probabilities: Annotated[
        list[RatingProbability] | None,
        Field(
            description="The probability of each level of the scale, lowest first; null for models that predict only "
            "a mean."
        ),
    ]
    model_version: ModelVersion


@dataclass
class PairPrediction:
    rating: Annotated[float | None, Field(description="Predicted stars; null on an error.", examples=[4.31])]
    rating_std: Annotated[float | None, Field(description="As in a single prediction.", examples=[0.87])]
    cold_start: Annotated[
        bool | None, Field(description="As in a single prediction; null on an error.", examples=[False])
    ]
    error: Annotated[Error | None, Field(description="Why this pair has no prediction.", examples=[None])] = None


@dataclass
class Predictions:
    predictions: Annotated[list[PairPrediction], Field(description="In the order of the pairs.")]
    model_version: ModelVersion


def predict(model: ServedModel, person: Person, item: int) -> Prediction:
    """Predict somebody's rating of an item's row with a rating model."""
    bundle, vector, levels = model.bundle, person.vector, None
    if model.is_plain:
        stars, std = bundle.factors.predict_for(vector, item).item(), bundle.manifest.get("noise")
    else:
        mean, spread, probabilities = bundle.predictions_for(vector, np.array([item]), std=model.has_std)
        stars, std = mean.item(), None if spread is None else spread.item()
        if probabilities is not None:
            levels = list(map(RatingProbability, model.levels, probabilities[0].tolist()))
    cold = not (person.is_known and item < bundle.fitted_items)
    # Clipped in float64, where the bounds are exactly those of the scale.
    return Prediction(min(max(stars, model.low), model.high), std, cold, levels, model.version)


def predict_many(
    model: ServedModel, pairs: Sequence[tuple[GivenId, GivenId]], people: Mapping[str, Person]
) -> list[PairPrediction]:
    """Predict many ratings; a pair that cannot be predicted gets an error instead.

    Args:
        model: A rating model.
        pairs: Ids of users and items.
        people: Those who are not, or not only, as the bundle knows them, by their ids.
    """
    user, item = np.full(len(pairs), -1), np.full(len(pairs), -1)
    errors: dict[int, ApiError] = {}
    apart: dict[str, list[int]] = {}  # places of the pairs of each of these people
    for place, (user_id, item_id) in enumerate(pairs):
        try:
            text = model.users.text(user_id)
            user[place], item[place] = model.users.get(text, -1), model.item_row(item_id)
            if text in people:
                apart.setdefault(text, []).append(place)
        except ApiError as error:
            errors[place] = error
    mean, spread, _ = model.bundle.predictions(user, item, std=model.has_std)
    known = (user >= 0) & (user < model.bundle.n_users)
    for text, places in apart.items():
        person, rows = people[text], np.array(places)
        found = model.bundle.predictions_for(person.vector, item[rows], std=model.has_std)
        mean[rows], known[rows] = found.mean, person.is_known
        if spread is not None and found.std is not None:
            spread[rows] = found.std
    stars = mean.astype(np.float64).clip(model.low, model.high).tolist()
    std = [None] * len(pairs) if spread is None else spread.tolist()
    cold = (~known | (item >= model.bundle.fitted_items)).tolist()
    predictions = list(map(PairPrediction, stars, std, cold))
    for place, reason in errors.items():
        predictions[place] = PairPrediction(None, None, None, Error(reason.detail, reason.code))
    return predictions
