"""Events of a history as an encoder reads them: items, and levels of ratings and times."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from recsys.bundle.typing import Float32Array, IndexArray, Int64Array

__all__ = [
    "KNOTS",
    "MOST_SLOPE",
    "RATING_LEVELS",
    "TIME_LEVELS",
    "Events",
    "events_of",
    "kind_ratings",
    "knot_shares",
    "rating_levels",
    "ratings_of_kinds",
    "slope_at",
    "time_levels",
]

RATING_LEVELS = 10  # of the scale, beside 0 for a rating that is not known
TIME_LEVELS = 40  # of a duration, beside 0 for one that is not known
KNOTS = 11  # of a slope by the number of events, which are 1, 2, 4, ...
MOST_SLOPE = 2.0
TIME_STEPS = 1.3  # levels in which a duration doubles: the last begins at 20 years


class Events(NamedTuple):
    """A history as the encoder reads it, the oldest first."""

    item: IndexArray  # (n,) item rows with factors
    rating: Int64Array  # (n,) levels, 0: not known
    gap: Int64Array  # (n,) level of the time since the event before, 0: there is none, or it is not known
    age: Int64Array  # (n,) level of the time since the first event
    time: Int64Array | None  # (n,) unix seconds
    scaled: NDArray[np.floating] | None  # (n,) ratings on the [0, 1] scale; None: not known

    def part(self, rows: slice) -> Events:
        """Some rows, whose gaps and ages stay those of the whole history."""
        time = None if self.time is None else self.time[rows]
        scaled = None if self.scaled is None else self.scaled[rows]
        return Events(self.item[rows], self.rating[rows], self.gap[rows], self.age[rows], time, scaled)


def rating_levels(rating: NDArray[np.floating]) -> Int64Array:
    """The level of ratings scaled to [0, 1]: 1 to `RATING_LEVELS`."""
    return np.asarray(1 + np.rint((RATING_LEVELS - 1) * np.clip(rating, 0, 1)), np.int64)


def kind_ratings(kinds: Sequence[str]) -> dict[str, float]:
    """Ratings, on the [0, 1] scale, that stand for kinds of events: in equal steps from 0 to 1.

    Up to `RATING_LEVELS` kinds have a level each.
    """
    return dict(zip(kinds, np.linspace(0, 1, len(kinds)).tolist() if len(kinds) > 1 else [1.0], strict=False))


def ratings_of_kinds(place: NDArray[np.integer], kinds: Sequence[str]) -> Float32Array:
    """The ratings that stand for the kinds at these places, `(n,)`."""
    rating = np.array([*kind_ratings(kinds).values()], np.float32)
    return np.asarray(rating[place])


def time_levels(seconds: NDArray[np.integer]) -> Int64Array:
    """The level of durations: 1 for none, then in logarithmic steps."""
    known = np.maximum(seconds, 1).astype(np.float64)
    level = 2 + np.floor(TIME_STEPS * np.log2(known)).astype(np.int64)
    return np.where(seconds > 0, np.minimum(level, TIME_LEVELS), 1)


def knot_shares(events: NDArray[np.integer]) -> NDArray[np.float64]:
    """Shares of the knots in what is between them, for numbers of events, `(n, KNOTS)`: linear in their logarithm."""
    place = np.clip(np.log2(np.maximum(events, 1)), 0, KNOTS - 1)
    return np.asarray(np.maximum(1 - np.abs(place[:, None] - np.arange(KNOTS)), 0), np.float64)


def slope_at(slope: NDArray[np.floating], events: NDArray[np.integer] | int) -> Float32Array:
    """The slope after numbers of events, `(...)`: by the shares of `knot_shares`."""
    return np.asarray(np.interp(np.log2(np.maximum(events, 1)), np.arange(KNOTS), slope), np.float32)


def events_of(
    item: IndexArray, rating: NDArray[np.floating] | None, time: NDArray[np.integer] | None, start: IndexArray
) -> Events:
    """Histories, user after user, as the encoder reads them.

    Args:
        item: Item rows, the oldest of each user first, `(n,)`.
        rating: Scaled to [0, 1], `(n,)`; None: not known.
        time: Unix seconds, ascending for each user, `(n,)`; None: not known.
        start: Where each user's begin, `(users,)` or more, ascending from 0.
    """
    unknown = np.zeros(len(item), np.int64)
    level = unknown if rating is None else rating_levels(rating)
    if time is None:
        return Events(item, level, unknown, unknown, None, rating)
    start = start[start < len(item)]
    gap = time_levels(np.diff(time, prepend=time[:1]))
    gap[start] = 0
    first = np.repeat(start, np.diff(start, append=len(item)))
    return Events(item, level, gap, time_levels(time - time[first]), np.asarray(time, np.int64), rating)
