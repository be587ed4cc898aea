"""Made-up ratings between ML-100K and ML-1M in size and shape, in ML-1M's layout.

Users differ in activity and items in popularity as real ones do, so that what depends on who rated how much (runs of
users in the file, the length of fold-ins, repeated rows in a batch) takes the time that it takes on real data.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import csv

USERS, ITEMS, RATINGS = 3_000, 2_000, 300_000
FIRST_SECOND, SECONDS = 956_703_932, 89_750_675  # ML-1M spans 2000 to 2003
GAP_SECONDS = 60.0  # between two ratings of someone who has sat down to it, on average
GENRES = ("Action", "Comedy", "Drama", "Horror", "Romance", "Thriller")

Integers = NDArray[np.int64]


def write_ml_1m(folder: Path, seed: int = 0) -> None:
    """`ratings.dat`, `movies.dat` and `users.dat`; rows are sorted by user, as released."""
    random = np.random.default_rng(seed)
    user, item = _pairs(random)
    columns = (user + 1, item + 1, _stars(random, user, item), _seconds(random, user))
    parts = [part for column in columns for part in (pa.array(column), pa.nulls(RATINGS))][:-1]  # "::" is two ":"
    table = pa.table(parts, names=list("abcdefg"))
    options = csv.WriteOptions(include_header=False, delimiter=":", quoting_style="none")
    csv.write_csv(table, folder / "ratings.dat", options)
    titles = (f"{n}::Film {n} ({1930 + n % 71})::{GENRES[n % 3]}|{GENRES[3 + n % 3]}\n" for n in range(1, ITEMS + 1))
    (folder / "movies.dat").write_text("".join(titles))
    (folder / "users.dat").write_text("".join(f"{n}::F::25::{n % 21}::00000\n" for n in range(1, USERS + 1)))


def _pairs(random: np.random.Generator) -> tuple[Integers, Integers]:
    """User and item of every rating, distinct pairs, by user: log-normal activity, Zipf-like popularity."""
    activity = 20 + np.exp(random.normal(4.2, 1.2, USERS))
    popularity = random.permutation((np.arange(ITEMS) + 30.0) ** -1.2)
    rated = np.zeros(USERS * ITEMS, dtype=bool)
    while (missing := RATINGS - np.count_nonzero(rated)) > 0:  # popular pairs are drawn repeatedly
        user = random.choice(USERS, missing, p=activity / activity.sum())
        item = random.choice(ITEMS, missing, p=popularity / popularity.sum())
        rated[user * ITEMS + item] = True
    pairs = np.flatnonzero(rated)
    return pairs // ITEMS, pairs % ITEMS


def _stars(random: np.random.Generator, user: Integers, item: Integers) -> Integers:
    level = 3.6 + 0.45 * random.standard_normal(USERS)[user] + 0.5 * random.standard_normal(ITEMS)[item]
    return np.rint(level + 0.9 * random.standard_normal(RATINGS)).clip(1, 5).astype(np.int64)


def _seconds(random: np.random.Generator, user: Integers) -> Integers:
    """Each user rates in one sitting, in an order that has nothing to do with the rows'."""
    begin = FIRST_SECOND + random.integers(0, SECONDS, USERS)
    length = GAP_SECONDS * np.bincount(user, minlength=USERS)
    return begin[user] + (random.random(RATINGS) * length[user]).astype(np.int64)
