"""Top-N recommendations with their explanations, and the histogram of all predicted ratings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import Field

from recsys.bundle.scoring import ItemScores
from recsys.bundle.typing import Float32Array, IndexArray
from serve.list_options import order_of, partner_scores, rules_for
from serve.list_requests import RecommendationOptions
from serve.models.person import Person
from serve.models.served_model import ServedModel
from serve.rounding import DECIMALS, SMALL_DECIMALS, rounded
from serve.schemas import ItemSummary, ModelVersion, Std

N_REASONS = 3  # that speak for an item; a rating model gives one against it, too
LEAST_CONTRIBUTION = 0.025  # of a rating model's reason, as a share of the scale: a tenth of a star from 1 to 5
N_BINS = 16  # of the histogram of predicted ratings


@dataclass
class Reason:
    item_id: Annotated[str, Field(examples=["172"])]
    title: Annotated[str, Field(examples=["The Empire Strikes Back (1980)"])]
    rating: Annotated[
        float | None, Field(description="The user's rating in stars; null for implicit feedback.", examples=[5.0])
    ]
    contribution: Annotated[
        float,
        Field(
            description="Contribution of this rating to the predicted rating, in stars, in the fold-in of all of the "
            "user's ratings, or to a ranking model's score; negative if it speaks against the item.",
            examples=[0.21],
        ),
    ]


@dataclass
class Recommendation(ItemSummary):
    rating: Annotated[
        float | None, Field(description="Predicted stars, within the scale; null for a ranking model.", examples=[4.62])
    ]
    rating_std: Std
    base: Annotated[
        float | None,
        Field(
            description="What the average user would give, in stars; `rating - base` is what knowing this user "
            "adds. Null for a ranking model.",
            examples=[4.12],
        ),
    ]
    score: Annotated[
        float,
        Field(
            description="What the list is sorted by, highest first, as `rank_by` says: predicted stars, their gain or "
            "their lower bound; the chance that the user picks the item, times the stars; or a ranking model's score. "
            "With `diversity`, less what it has in common with items before. Equal predictions go by what they are "
            "before clipping, then all by the item's row.",
            examples=[4.62],
        ),
    ]
    explanation: Annotated[
        list[Reason] | None,
        Field(
            description="Up to three of the user's ratings that speak for the item, the largest contribution first; "
            "of a rating model then the one that speaks against it most; each with at least a tenth of a star (a "
            "fortieth of the scale). Null without `explain`."
        ),
    ]
    because: Annotated[list[Reason] | None, Field(description="The former name of `explanation`.", deprecated=True)]


@dataclass
class Distribution:
    """Predicted ratings of all items."""

    edges: Annotated[list[float], Field(description="Bounds of the bins in stars, one more than bins.")]
    counts: Annotated[list[int], Field(description="Items in each bin.")]


@dataclass
class Recommendations:
    recommendations: Annotated[list[Recommendation], Field(description="Best first, by `score`.")]
    cold_start: Annotated[
        bool,
        Field(
            description="Whether the model has no ratings of the user; then recommendations are those of the average "
            "user, or as predicted from the user's attributes."
        ),
    ]
    distribution: Distribution | None
    model_version: ModelVersion


@dataclass
class FoldInRecommendations(Recommendations):
    unknown_items: Annotated[
        list[int], Field(description="Positions of the ratings of items that are unknown to the model.")
    ]
    skipped: Annotated[list[int], Field(description="The former name of `unknown_items`.", deprecated=True)]


def recommend(model: ServedModel, person: Person, options: RecommendationOptions) -> Recommendations:
    """The best items for somebody; none if no item has the genre."""
    bundle, vector = model.bundle, person.vector
    distribution = _histogram(model, bundle.item_scores(vector)) if options.distribution else None
    rules, seen = rules_for(model, options), person.seen
    allowed = model.catalogue.allowed(options.genre, options.year_from, options.year_to, options.min_ratings or 0)
    if allowed is not None:
        allowed = allowed[: bundle.n_items] if rules.allowed is None else allowed[: bundle.n_items] & rules.allowed
    rows, shown, stars = model.ranker.top(
        vector,
        options.k,
        order_of(model, options),
        history=seen,
        seen=seen if options.exclude_seen else None,
        allowed=rules.allowed if allowed is None else allowed,
        boost=rules.boost,
        scores=partner_scores(model, person),
    )
    unset = [None] * len(rows)
    explanations = _explain(model, person, rows) if options.explain else unset
    ratings = unset if stars is None else rounded(stars)
    best = (
        ratings if stars is shown and stars is not None else [round(score, SMALL_DECIMALS) for score in shown.tolist()]
    )
    spread = model.std(vector, rows)
    std = unset if spread is None else rounded(spread)
    bases = unset if bundle.is_ranking else rounded(model.average_ratings[rows])
    columns = zip(rows.tolist(), ratings, std, bases, best, explanations, strict=True)
    return Recommendations(
        [
            Recommendation(*model.summary(row), rating, by, base, score, explanation, explanation)
            for row, rating, by, base, score, explanation in columns
        ],
        not person.is_known,
        distribution,
        model.version,
    )


def _explain(model: ServedModel, person: Person, rows: IndexArray) -> list[list[Reason]]:
    """For each recommended item, the ratings that contributed most to its score; see `Recommendation.explanation`."""
    folded, parts = person.contributions(rows)
    if folded is None:
        return [[] for _ in rows]
    is_ranking = model.bundle.is_ranking
    least = 0.0 if is_ranking else LEAST_CONTRIBUTION * (model.high - model.low)
    strongest = _largest(parts, N_REASONS)
    amounts = np.take_along_axis(parts, strongest, 1)
    counts = (amounts > 0) & (amounts >= least)
    if not is_ranking and parts.shape[1]:
        against = parts.argmin(1)[:, None]
        amount = np.take_along_axis(parts, against, 1)
        strongest, amounts = np.hstack([strongest, against]), np.hstack([amounts, amount])
        counts = np.hstack([counts, amount <= -least])
    stars = [[None] * (N_REASONS + 1)] * len(rows) if model.bundle.is_implicit else rounded(folded.rating[strongest])
    items = folded.items[strongest].tolist()
    return [
        [
            Reason(*model.summary(item)[:2], given, round(amount, DECIMALS))
            for item, given, amount, is_reason in zip(*reasons, strict=False)
            if is_reason
        ]
        for reasons in zip(items, stars, amounts.tolist(), counts.tolist(), strict=True)
    ]


def _largest(values: Float32Array, k: int) -> IndexArray:
    """Positions of the k largest of each row, largest first."""
    n = values.shape[1]
    line = np.arange(len(values))[:, None]
    places = values.argpartition(n - k, axis=1)[:, n - k :] if n > k else np.arange(n)[None].repeat(len(values), 0)
    order: IndexArray = places[line, (-values[line, places]).argsort(axis=1, kind="stable")]
    return order


def _histogram(model: ServedModel, scores: ItemScores) -> Distribution | None:
    """Counts of the predicted ratings of all items; None for a ranking model."""
    if model.bundle.is_ranking:
        return None
    low, high = model.low, model.high
    predicted = scores.linear if scores.shown is None else scores.shown
    counts, edges = np.histogram(predicted.astype(np.float64).clip(low, high), N_BINS, (low, high))
    return Distribution(edges.tolist(), counts.tolist())
