"""Figures of a data set that decide how it can be split and learned from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from recsys.data.columns import ITEM_ID, RATING, TIMESTAMP, USER_ID, WEIGHT
from recsys.data.inference.values import value_counts
from recsys.data.rating_data import RatingData

MOST_STEPS = 1000  # distinct values up to which a scale has steps
LARGEST = 1e9  # range of a scale with steps
BINS = 10  # of a histogram with too many distinct values
FEW = 3  # ratings below which a user has none to test on


@dataclass(frozen=True)
class Side:
    """Users, or items.

    Attributes:
        n: How many.
        middle: Median number of ratings.
        once: How many have a single rating.
        few: How many have fewer than `FEW`.
    """

    n: int
    middle: float
    once: int
    few: int


@dataclass(frozen=True)
class Statistics:
    """Figures of a data set.

    Attributes:
        rows: Ratings, or pairs of a user and an item.
        users: Its users.
        items: Its items.
        values: Distinct ratings or weights, ascending, or the lower edges of `BINS` ranges.
        counts: How often each occurs.
        edges: Whether `values` are lower edges of ranges.
        step: Distance of the scale's steps; None for a scale without.
        times: Earliest and latest time, unix seconds; None without times.
        ties: Share of rows whose user has another at the same time, from 0 to 1.
        per_period: Rows of each period from the first to the last, int64.
        period: `year`, `month`, `day` or `hour`.
    """

    rows: int
    users: Side
    items: Side
    values: NDArray[np.float64]
    counts: NDArray[np.int64]
    edges: bool
    step: float | None
    times: tuple[int, int] | None = None
    ties: float = 0.0
    per_period: NDArray[np.int64] | None = None
    period: str = "year"

    @property
    def density(self) -> float:
        """Share of all pairs of a user and an item that have a rating, from 0 to 1."""
        return self.rows / (self.users.n * self.items.n)


def describe(data: RatingData) -> Statistics:
    """The figures of a data set."""
    ratings = data.ratings
    user = pd.factorize(ratings[USER_ID])[0]
    item = pd.factorize(ratings[ITEM_ID])[0]
    column = ratings[WEIGHT] if WEIGHT in ratings else ratings[RATING]
    kinds, counts = value_counts(column.to_numpy())
    step = _step(kinds)
    edges = len(kinds) > 2 * BINS or (step is None and len(kinds) > BINS)
    values, heights = _binned(kinds, counts, logarithmic=WEIGHT in ratings) if edges else (kinds, counts)
    if TIMESTAMP not in ratings:
        return Statistics(len(ratings), _side(user), _side(item), values, heights, edges, step)
    time = ratings[TIMESTAMP].to_numpy()
    period, per_period = _periods(time)
    times = (int(time.min()), int(time.max()))
    ties = _ties(user, time)
    return Statistics(
        len(ratings), _side(user), _side(item), values, heights, edges, step, times, ties, per_period, period
    )


def _side(codes: NDArray[np.intp]) -> Side:
    counts = np.bincount(codes)
    return Side(len(counts), float(np.median(counts)), int((counts == 1).sum()), int((counts < FEW).sum()))


def _step(kinds: NDArray[np.float64]) -> float | None:
    """The step that all distances between values are multiples of, to a thousandth."""
    if not 2 <= len(kinds) <= MOST_STEPS or kinds[-1] - kinds[0] > LARGEST:
        return None
    gaps = np.round(np.diff(kinds) * 1000).astype(np.int64)
    step = float(np.gcd.reduce(gaps)) / 1000
    return step if step > 0 and step >= (kinds[-1] - kinds[0]) / MOST_STEPS else None


def _binned(
    kinds: NDArray[np.float64], counts: NDArray[np.int64], *, logarithmic: bool
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Lower edges of ranges that are equally wide, or grow by a factor, and the counts within."""
    low, high = float(kinds[0]), float(kinds[-1])
    spaced = np.geomspace if logarithmic and low > 0 else np.linspace
    edges = np.asarray(spaced(low, high, BINS + 1))
    place = np.clip(np.searchsorted(edges, kinds, side="right") - 1, 0, BINS - 1)
    return edges[:-1], np.bincount(place, weights=counts, minlength=BINS).astype(np.int64)


def _ties(user: NDArray[np.intp], time: NDArray[np.int64]) -> float:
    """Share of the rows that have a user and time in common with another row."""
    span = int(time.max()) - int(time.min()) + 1
    key = user.astype(np.int64) * span + (time - time.min())
    key.sort()
    same = key[1:] == key[:-1]
    return float((np.append(same, False) | np.append(False, same)).mean())


def _periods(time: NDArray[np.int64]) -> tuple[str, NDArray[np.int64]]:
    """Rows in each period, of a length that gives a readable number of them."""
    days = (int(time.max()) - int(time.min())) / 86400
    unit, name = (
        ("Y", "year")
        if days > 365 * 5
        else ("M", "month")
        if days > 62
        else ("D", "day")
        if days > 2
        else ("h", "hour")
    )
    periods = time.astype("datetime64[s]").astype(f"datetime64[{unit}]").astype(np.int64)
    return name, np.bincount(periods - periods.min())
