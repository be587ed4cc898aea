"""Results of a bundle's methods."""

from __future__ import annotations

from typing import NamedTuple

from recsys.bundle.typing import Float32Array, Id


class Predictions(NamedTuple):
    """Predictions of many rows."""

    mean: Float32Array  # (rows,) stars
    std: Float32Array | None  # (rows,) predictive standard deviation in stars; None unless asked for
    probabilities: Float32Array | None = None  # (rows, levels) of each level; None unless the link is ordinal


class Recommendation(NamedTuple):
    """An item with its score."""

    item_id: Id
    score: float  # what the list is ordered by; for similar items, the similarity
    title: str  # the id of an item without one
    year: int | None
    genres: list[str]
    rating: float | None = None  # predicted stars; None of a ranking model, and for similar items


class Reason(NamedTuple):
    """A rated item and its contribution to the score of another one."""

    item_id: Id
    rating: float  # stars that the user gave
    contribution: float  # to the score, in stars unless the model ranks; negative if it lowered the score
    title: str


class Explanation(NamedTuple):
    """`score = base + sum of the reasons' contributions + remainder`; in stars unless the model ranks.

    It is the linear part, before clipping and link, unlike the score of a `Recommendation`: so its parts add up.
    """

    score: float
    base: float  # score for a user without ratings
    reasons: list[Reason]  # one per rated item, the largest contribution first
    remainder: float  # of a fitted user: what training found beyond the fold-in of their ratings
