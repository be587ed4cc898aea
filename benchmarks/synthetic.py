"""Made-up ratings of MovieLens' shapes: few items that many rate, stars that come from factors and biases."""

from __future__ import annotations

import numpy as np
import pandas as pd

from recsys.data.rating_data import RatingData
from recsys.data.repeats import merge_repeats
from recsys.data.sources.base import RatingsSource

SHAPES = {"ml-1m": (6_040, 3_706, 1_000_209), "ml-25m": (162_541, 59_047, 25_000_095)}
DIM = 8  # of the factors that the stars come from


class Synthetic(RatingsSource):
    """Ratings of a data set's shape, which a factorization can learn.

    Args:
        shape: `ml-1m` or `ml-25m`: how many users, items and ratings.
    """

    def __init__(self, shape: str) -> None:
        self.name = f"synthetic {shape}"
        self.n_users, self.n_items, self.n_ratings = SHAPES[shape]

    def prepare(self) -> None:
        """Nothing to fetch."""

    def read(self) -> RatingData:
        random = np.random.default_rng(0)
        # As skewed as MovieLens is: the most active user has some 20 times, the best known item 300 times the mean.
        user = (self.n_users * random.random(self.n_ratings) ** 1.7).astype(np.int64)
        item = (self.n_items * random.random(self.n_ratings) ** 3).astype(np.int64)
        stars = np.full(self.n_ratings, 3.5, np.float32)
        stars += random.normal(0, 0.4, self.n_users).astype(np.float32)[user]
        stars += random.normal(0, 0.4, self.n_items).astype(np.float32)[item]
        users = random.normal(0, 0.45, (self.n_users, DIM)).astype(np.float32)
        items = random.normal(0, 0.45, (self.n_items, DIM)).astype(np.float32)
        for d in range(DIM):
            stars += users[:, d][user] * items[:, d][item]
        stars += random.normal(0, 0.7, self.n_ratings).astype(np.float32)
        stars = np.clip(np.round(stars * 2) / 2, 0.5, 5.0)
        frame = pd.DataFrame({"user_id": user, "item_id": item, "rating": stars})
        return RatingData(self.name, merge_repeats(frame, self.name), 0.5, 5.0)
