"""The distance to a full refit: how far its predictions would be from a version's, estimated without it.

A sample of users and items is solved again given all others, as a sweep of a refit would begin. How far their
predictions move is a share of how far they would move in all of it; that share is measured at each refit.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from recsys.bundle import Bundle
from recsys.bundle.factors import Factors
from recsys.bundle.sides import take_items, take_users
from recsys.bundle.typing import Float64Array, Id
from recsys.update.solve import Touched, Turns, is_drawn, one_sample
from recsys.update.threads import in_threads

SAMPLED = 100  # users, and as many items: 10,000 pairs
# Of the distance to the first step, where none was measured: ALS on MovieLens 1M had 10 to 20 after updates with a
# sweep over everybody, and 2.7 to 7.1 after updates without.
RATIO, RATIO_WITHOUT_SWEEPS = 14.0, 3.3


class Distance(NamedTuple):
    """RMS difference of predictions in stars."""

    stars: float
    error: float  # standard error, from drawing users and items


def estimated_distance(bundle: Bundle, ratio: float, seed: int = 0) -> Distance:
    """The distance of a version to a full refit on the same ratings.

    Args:
        bundle: The version, as `updated` made it.
        ratio: Of the distance to the first step towards it.
        seed: Of the sample.
    """
    generator = np.random.default_rng(seed)
    users, items = (
        np.sort(generator.choice(n, min(n, SAMPLED), replace=False)) for n in (bundle.n_users, bundle.n_items)
    )
    turns = Turns(
        bundle.ratings,
        len(bundle.item_ids),
        Touched(users, items),
        user_attributes=bundle.user_attributes,
        item_attributes=bundle.item_attributes,
    )

    def predicted(factors: Factors) -> Float64Array:
        small = take_items(take_users(factors, users), items)
        linear = np.einsum("ud,id->ui", small.user_factors[:, 0], small.item_factors[:, 0], dtype=np.float64)
        return np.asarray(linear + small.user_bias + small.item_bias.T + small.mu)

    def step(number: int) -> Float64Array:
        factors = one_sample(bundle.factors, number)
        before, after = (predicted(one).clip(*bundle.scale) for one in (factors, turns.swept(factors)))
        return np.asarray(ratio * (after - before))

    steps = np.stack(in_threads(step, range(bundle.factors.samples)))
    square = np.square(steps.mean(0))
    if is_drawn(bundle.factors):  # whose noise is no distance
        square -= steps.var(0, ddof=1) / len(steps)
    stars = float(np.sqrt(max(square.mean(), 0.0)))
    error = float(np.sqrt(sum(square.mean(axis).var() / square.shape[1 - axis] for axis in (0, 1))))  # of the square
    return Distance(stars, float(min(error / (2 * stars), np.sqrt(error))) if stars else float(np.sqrt(error)))


def random_pairs(bundle: Bundle, n: int = SAMPLED**2, seed: int = 0) -> tuple[list[Id], list[Id]]:
    """Ids of users and items with factors, drawn independently and with replacement, `n` of each."""
    generator = np.random.default_rng(seed)
    users, items = generator.integers(0, bundle.n_users, n), generator.integers(0, bundle.n_items, n)
    return bundle.user_ids[users].tolist(), bundle.item_ids[items].tolist()


def measured_distance(one: Bundle, other: Bundle, pairs: tuple[list[Id], list[Id]]) -> float:
    """The RMS difference in stars of two versions' predictions of these pairs of users and items."""
    ours, theirs = (np.asarray(bundle.predict(*pairs), np.float64) for bundle in (one, other))
    return float(np.sqrt(np.square(ours - theirs).mean()))
