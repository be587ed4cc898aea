"""The gate: a candidate takes the champion's place unless it predicts worse what came after both were made."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recsys.bundle import Bundle
from recsys.bundle.typing import Float64Array, IndexArray
from recsys.events.merge import MergedRatings
from recsys.update.threads import in_threads
from recsys.update.window import changed_ratings

LEVEL = 0.95  # of the interval
RESAMPLES = 2000  # of the users, for the interval
FEWEST_USERS = 5  # of which an interval says something


@dataclass(frozen=True)
class Verdict:
    """What the comparison came to.

    A rating's loss is the square of its error in stars. A ranking model's is the share of the items not chosen before
    that it puts above the chosen one.
    """

    ratings: int  # in the window
    users: int
    champion: float  # mean loss
    candidate: float
    low: float | None  # interval of the mean difference, candidate - champion; None for fewer than five users
    high: float | None

    @property
    def passed(self) -> bool:
        """Whether the candidate is not worse: all of the interval above 0 is."""
        return bool(np.isfinite(self.candidate)) and (self.low is None or self.low <= 0)

    def metrics(self) -> dict[str, float | int | None]:
        """As metrics of the version."""
        return {f"gate/{name}": value for name, value in vars(self).items()}

    def __str__(self) -> str:
        if not self.ratings:
            return "nothing to compare on"
        difference = f"{self.candidate - self.champion:+.5f}"
        interval = "too few users for an interval" if self.low is None else f"95% {self.low:+.5f} to {self.high:+.5f}"
        return (
            f"mean loss {self.candidate:.5f} against the champion's {self.champion:.5f} on {self.ratings:,} ratings of "
            f"{self.users:,} users: {difference} ({interval})"
        )


NOTHING = Verdict(0, 0, 0.0, 0.0, None, None)


def compare(champion: Bundle, candidate: Bundle, known: MergedRatings, after: MergedRatings) -> Verdict:
    """Compare two versions prequentially: each rating of the window is predicted from its user's earlier ones.

    Args:
        champion: Whose ratings `known` and `after` go on from.
        candidate: Fitted on `known`.
        known: What counted before the window.
        after: What counts at its end.
    """
    window = changed_ratings(known, after)
    user = after.ratings.user_index()[window]
    if not len(user):
        return NOTHING
    losses = [_losses(bundle, after, window) for bundle in (champion, candidate)]
    users, place = np.unique(user, return_inverse=True)
    low, high = _interval(losses[1] - losses[0], place, len(users))
    return Verdict(len(user), len(users), float(losses[0].mean()), float(losses[1].mean()), low, high)


def _interval(difference: Float64Array, user: IndexArray, n_users: int) -> tuple[float | None, float | None]:
    """A 95% interval of the mean difference, by resampling users, whose ratings are not independent."""
    if n_users < FEWEST_USERS:
        return None, None
    total, count = np.bincount(user, difference, n_users), np.bincount(user, minlength=n_users)
    drawn = np.random.default_rng(0).multinomial(n_users, np.full(n_users, 1 / n_users), RESAMPLES)
    low, high = np.quantile((drawn @ total) / (drawn @ count), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def _losses(bundle: Bundle, merged: MergedRatings, window: IndexArray) -> Float64Array:
    """The loss of each entry of the window, `(window,)`."""
    rated = merged.ratings
    item_row = np.array([bundle.item_row.get(item, -1) for item in merged.item_ids.tolist()], np.int64)
    item_row[item_row >= bundle.n_items] = -1
    losses = np.full(len(rated.item), np.nan)
    user_ids, in_window = merged.user_ids.tolist(), np.zeros(len(rated.item), bool)
    in_window[window] = True

    def of_user(user: int) -> list[tuple[IndexArray, Float64Array]]:
        entries = np.arange(rated.indptr[user], rated.indptr[user + 1])
        attributes = bundle.attributes_of(bundle.user_row.get(user_ids[user], -1))
        return list(_losses_of_user(bundle, merged, entries, in_window[entries], item_row, attributes))

    for pieces in in_threads(of_user, np.unique(rated.user_index()[window]).tolist()):
        for rows, loss in pieces:
            losses[rows] = loss
    return losses[window]


def _losses_of_user(
    bundle: Bundle,
    merged: MergedRatings,
    entries: IndexArray,
    wanted: NDArray[np.bool_],
    item_row: IndexArray,
    attributes: IndexArray | None,
) -> Iterator[tuple[IndexArray, Float64Array]]:
    """Entries of a user in the window, and their losses, piece by piece."""
    rated = merged.ratings
    assert rated.timestamp is not None
    time, item, rating = rated.timestamp[entries], item_row[rated.item[entries]], rated.rating[entries]
    past, test = np.flatnonzero(item >= 0), np.flatnonzero(wanted)
    known = np.searchsorted(time[past], time[test])  # of these were strictly earlier
    for piece, vectors in bundle.running_vectors(item[past], rating[past], known, attributes, time[past], time[test]):
        rows = test[piece]
        if bundle.is_ranking:
            scores = np.repeat(bundle.scores_for(vectors), len(rows) if vectors.bias.ndim == 1 else 1, axis=0)
            for n, score in zip(known[piece].tolist(), scores, strict=True):
                score[item[past[:n]]] = -np.inf
            yield entries[rows], _shares_above(scores, item[rows])
        else:
            stars = bundle.stars_for(vectors, item[rows])
            yield entries[rows], np.square(stars.astype(np.float64) - rating[rows])


def _shares_above(scores: NDArray[np.float32], item: IndexArray) -> Float64Array:
    """The share of the other items with a finite score that is above each row's item; half for one without factors.

    Args:
        scores: Of every item, for each row, `(rows, n_items)`.
        item: Item rows, `(rows,)`.
    """
    own = scores[np.arange(len(item)), item][:, None]
    above = (scores > own).sum(1)
    others = (scores > -np.inf).sum(1) - 1
    return np.where(item < 0, 0.5, above / np.maximum(1, others))
