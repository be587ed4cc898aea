"""Made-up ratings of MovieLens' shapes: few items that many rate, stars that come from factors and biases."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

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


class LongTail(RatingsSource):
    """Half stars of the shape of MovieLens latest-small: a third of the items are rated once, and users find new ones.

    A rating is a mean, biases, a product of `DIM` factors and noise, rounded and clipped to half stars. Popular items
    are somewhat better than obscure ones. Users rate 20 to 2,700 items in the order in which they find them: what is
    known first, then what is obscure or has just come out. So a user's latest ratings are of other items than their
    first ones, some of which nobody has rated before. Users' biases have no correlation with their numbers of ratings,
    or else a few of them would decide by chance how well the average user predicts new ones.

    Args:
        n_users: Number of users.
        n_items: Number of items, each rated at least once.
        n_ratings: Number of ratings.
        seed: Seed of everything that is drawn.
    """

    YEARS, YEAR = 20, 31_557_600  # in seconds

    def __init__(self, n_users: int = 610, n_items: int = 9_724, n_ratings: int = 100_836, *, seed: int = 0) -> None:
        self.name = "synthetic long tail"
        self.n_users, self.n_items, self.n_ratings, self.seed = n_users, n_items, n_ratings, seed

    def prepare(self) -> None:
        """Nothing to fetch."""

    def read(self) -> RatingData:
        random = np.random.default_rng(self.seed)
        fame = random.normal(0, 1, self.n_items)
        user, item, time = self._rated(random, fame)
        stars = 3.4 + _uncorrelated(random.normal(0, 0.42, self.n_users), np.bincount(user))[user]
        stars += (0.1 * fame + random.normal(0, 0.42, self.n_items))[item]
        users, items = (random.normal(0, 0.42, (n, DIM)) for n in (self.n_users, self.n_items))
        stars += np.einsum("nd,nd->n", users[user], items[item]) + random.normal(0, 0.8, len(user))
        stars = np.clip(np.round(stars * 2) / 2, 0.5, 5.0).astype(np.float32)
        frame = pd.DataFrame({"user_id": user, "item_id": item, "rating": stars, "timestamp": time})
        return RatingData(self.name, frame, 0.5, 5.0)

    def _rated(self, random: np.random.Generator, fame: NDArray[np.float64]) -> tuple[NDArray[np.int64], ...]:
        """User, item and time of every rating, by user and time."""
        begin = random.random(self.n_users) * self.YEARS
        released = random.random(self.n_items) * self.YEARS * 1.5 - self.YEARS / 2
        pairs = []
        for user, count in enumerate(self._counts(random).tolist()):
            # Known items first, by a Gumbel draw for each: that is a draw without replacement by fame.
            found = 1.6 * fame + random.gumbel(size=self.n_items)
            found[released > begin[user] + 1.0] = -np.inf  # not out yet
            found[released > begin[user]] -= 2.0  # comes out while the user is there
            items = np.argsort(-found, kind="stable")[:count]
            spent = np.sort(random.random(count))  # of the user's year
            pairs.append((np.full(count, user), items, (self.YEAR * (begin[user] + spent)).astype(np.int64)))
        user, item, time = (np.concatenate(column) for column in zip(*pairs, strict=True))
        # Items that nobody found take the place of ratings of well-known ones, most often late ones.
        missing = np.setdiff1d(np.arange(self.n_items), item)
        late = (time - self.YEAR * begin[user]) / self.YEAR  # from 0 to 1
        odds = np.where(np.bincount(item, minlength=self.n_items)[item] > 20, late**8, 0.0)
        item[random.choice(len(item), len(missing), replace=False, p=odds / odds.sum())] = missing
        return user.astype(np.int64), item.astype(np.int64), time

    def _counts(self, random: np.random.Generator) -> NDArray[np.int64]:
        """Number of ratings of each user: log-normal, from 20 to 2,700, with the wanted sum."""
        activity = np.exp(1.15 * random.normal(size=self.n_users))
        low, high = 0.0, float(self.n_ratings)
        for _ in range(60):
            scale = (low + high) / 2
            counts = np.clip((scale * activity).astype(np.int64), 20, 2_700)
            low, high = (scale, high) if counts.sum() < self.n_ratings else (low, scale)
        counts = np.clip((low * activity).astype(np.int64), 20, 2_700)
        left = self.n_ratings - int(counts.sum())
        counts[np.argsort(-activity, kind="stable")[20 : 20 + left]] += 1
        return counts


class PowerLaw(RatingsSource):
    """Half stars of many users and items of whom most have few ratings: 25 a user and 125 an item, at any size.

    A user's activity is log-normal, and most have fewer than 12 ratings; an item's popularity is a power of its rank,
    with half of the items below 13 ratings and the first one at a hundredth of all. Stars come from biases, noise of
    0.7 and `FACTORS` factors whose products have a standard deviation of 0.7 in all, the k-th of them in proportion to
    1 / k in variance.

    Args:
        n_ratings: Number of ratings, of different pairs; 25 million have a million users and 200,000 items.
    """

    FACTORS = 64

    def __init__(self, n_ratings: int = 25_000_000) -> None:
        self.name = "synthetic power law"
        self.n_ratings, self.n_users, self.n_items = n_ratings, n_ratings // 25, n_ratings // 125

    def prepare(self) -> None:
        """Nothing to fetch."""

    def read(self) -> RatingData:
        random = np.random.default_rng(0)
        activity = np.exp(random.normal(0, 1.3, self.n_users))
        popularity = (np.arange(self.n_items) / self.n_items + 1e-4) ** -1.2
        pair = np.zeros(0, np.int64)
        while len(pair) < self.n_ratings:  # some pairs come twice
            more = max(10_000, (self.n_ratings - len(pair)) * 5 // 4)
            drawn = _drawn(random, activity, more) * self.n_items + _drawn(random, popularity, more)
            pair = np.union1d(pair, drawn)
        pair = np.delete(pair, random.choice(len(pair), len(pair) - self.n_ratings, replace=False))
        user, item = np.divmod(pair, self.n_items)
        stars = (3.5 + random.normal(0, 0.7, len(pair))).astype(np.float32)
        for row, n in ((user, self.n_users), (item, self.n_items)):
            stars += random.normal(0, 0.4, n).astype(np.float32)[row]
        share = 1 / np.arange(1, self.FACTORS + 1)
        for std in np.sqrt(0.7 * np.sqrt(share / share.sum())):  # of each side
            users, items = (random.normal(0, std, n).astype(np.float32) for n in (self.n_users, self.n_items))
            stars += users[user] * items[item]
        stars = np.clip(np.round(stars * 2) / 2, 0.5, 5.0)
        return RatingData(self.name, pd.DataFrame({"user_id": user, "item_id": item, "rating": stars}), 0.5, 5.0)


def _drawn(random: np.random.Generator, weight: NDArray[np.float64], n: int) -> NDArray[np.int64]:
    """Rows in proportion to their weights, `(n,)`."""
    total = np.cumsum(weight)
    return np.minimum(np.searchsorted(total, random.random(n) * total[-1]), len(weight) - 1)


def _uncorrelated(values: NDArray[np.float64], count: NDArray[np.int64]) -> NDArray[np.float64]:
    """The values without their mean and what is linear in the counts."""
    design = np.column_stack([np.ones(len(count)), count])
    return np.asarray(values - design @ np.linalg.lstsq(design, values, rcond=None)[0])
