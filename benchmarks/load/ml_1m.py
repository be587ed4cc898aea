"""A bundle of the size of ML-1M, made in less than a second: random factors, and ratings as skewed as people's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from recsys.bundle import UserRatings
from tests.bundles import make_bundle, random_factors

USERS, ITEMS, DIM = 6040, 3706, 32
MEAN_RATINGS, MOST_RATINGS = 166, 2000  # of a user


def save_bundle(folder: Path, *, dim: int = DIM, samples: int = 1, noisy: bool = False, items: bool = False) -> Path:
    random = np.random.default_rng(0)
    counts = np.minimum(random.geometric(1 / MEAN_RATINGS, USERS), MOST_RATINGS)
    rated = [np.sort(random.choice(ITEMS, count, replace=False)).astype(np.int32) for count in counts]
    factors = random_factors(n_users=USERS, n_items=ITEMS, dim=dim, samples=samples, noisy=noisy, items=items)
    sizes = {"users": USERS, "items": ITEMS, "ratings": int(counts.sum())}
    ids = list(range(1, USERS + 1)), list(range(1, ITEMS + 1))
    bundle = make_bundle(factors, *ids, data="the size of ml-1m", counts=sizes)
    ratings = UserRatings(
        np.append(0, np.cumsum(counts)).astype(np.int64),
        np.concatenate(rated),
        random.integers(1, 6, counts.sum()).astype(np.float32),
        np.zeros(counts.sum(), np.uint8),
        None,
    )
    replace(bundle, ratings=ratings).save(folder)
    return folder
