"""Predicted ratings, single and in batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import Field

from serve.api_error import ApiError
from serve.ids import GivenId
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
            description="Whether the model was not fitted on the user or the item; a cold user or item is treated as "
            "average, or as predicted from its attributes.",
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


def predict(model: ServedModel, user_id: GivenId, item_id: GivenId) -> Prediction:
    """Predict one rating with a rating model.

    Raises:
        ApiError: 400, an id is malformed; 404, the item is not in the data set.
    """
    user, item = model.user_row(user_id), model.item_row(item_id)
    bundle = model.bundle
    vector, levels = bundle.vector(user), None
    if model.is_plain:
        stars, std = bundle.factors.predict_for(vector, item).item(), bundle.manifest.get("noise")
    else:
        mean, spread, probabilities = bundle.predictions_for(vector, np.array([item]), std=model.has_std)
        stars, std = mean.item(), None if spread is None else spread.item()
        if probabilities is not None:
            levels = list(map(RatingProbability, model.levels, probabilities[0].tolist()))
    cold = not (model.is_fitted_user(user) and item < bundle.fitted_items)
    # Clipped in float64, where the bounds are exactly those of the scale.
    return Prediction(min(max(stars, model.low), model.high), std, cold, levels, model.version)


def predict_many(model: ServedModel, pairs: Sequence[tuple[GivenId, GivenId]]) -> list[PairPrediction]:
    """Predict many ratings; a pair that cannot be predicted gets an error instead."""
    user, item = np.full(len(pairs), -1), np.full(len(pairs), -1)
    errors: dict[int, ApiError] = {}
    for place, (user_id, item_id) in enumerate(pairs):
        try:
            user[place], item[place] = model.user_row(user_id), model.item_row(item_id)
        except ApiError as error:
            errors[place] = error
    mean, spread, _ = model.bundle.predictions(user, item, std=model.has_std)
    stars = mean.astype(np.float64).clip(model.low, model.high).tolist()
    std = [None] * len(pairs) if spread is None else spread.tolist()
    cold = ((user < 0) | (user >= model.bundle.n_users) | (item >= model.bundle.fitted_items)).tolist()
    predictions = list(map(PairPrediction, stars, std, cold))
    for place, reason in errors.items():
        predictions[place] = PairPrediction(None, None, None, Error(reason.detail, reason.code))
    return predictions
