"""What a version says of a step's ratings before they arrive: predictions one after the other, and lists."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.replay.stream import Stream
from recsys.bundle import TEST, TRAIN, Bundle, UserRatings
from recsys.bundle.factors import UserVector
from recsys.bundle.typing import Float32Array, Int64Array
from recsys.evaluation.prequential import predict_prequential
from recsys.evaluation.ranking import catalogue_metrics

NDCG = "ndcg@10"
PAIRS = 10_000


@dataclass(frozen=True, eq=False)
class Scores:
    """Of one step; arrays have its ratings."""

    predicted: Float32Array  # stars of each, at its moment
    ahead: Float32Array  # the same, all at the beginning of the step
    ndcg: float  # of lists of 10 at the beginning of the step, all that came next being relevant
    user_age: NDArray[np.int32]  # earlier ratings of the same user that `predicted` left out
    item_age: NDArray[np.int32]  # the same of the item


def score(stream: Stream, bundle: Bundle, step: int, cut: int, *, folds_in: bool) -> Scores:
    """Predict the ratings of a step.

    Args:
        stream: The ratings.
        bundle: Of a version made before the step.
        step: Its number.
        cut: How many ratings of the stream the version was made of.
        folds_in: Whether users are folded in from all that they rated earlier; else they stay as they were fitted.
    """
    rows = stream.rows(step)
    known = rows.start if folds_in else cut
    everything = with_stream(bundle, stream, rows)
    user, item = (
        rows_of(ids, column[: rows.stop])
        for ids, column in ((everything.user_ids, stream.user_id), (everything.item_ids, stream.item_id))
    )
    users, place = np.unique(user[rows], return_inverse=True)
    vectors = [folded(everything, one) if folds_in else bundle.factors.user(one) for one in users.tolist()]
    item_row = np.where(item[rows] < bundle.n_items, item[rows], -1)
    ahead = predicted = np.empty(len(item_row), np.float32)
    for number, vector in enumerate(vectors):
        own = np.flatnonzero(place == number)
        ahead[own] = bundle.predictions_for(vector, item_row[own]).mean
    if folds_in:
        in_time = np.lexsort((stream.timestamp[: rows.stop], user))  # the order of the ratings in a bundle
        whole = np.empty(rows.stop, np.float32)
        whole[in_time] = predict_prequential(everything)
        predicted = whole[rows]
    ndcg = catalogue_metrics(
        lambda block: np.stack([bundle.factors.scores(vectors[n]) for n in np.searchsorted(users, block).tolist()]),
        (user[:known], item[:known]),
        (user[rows], item[rows]),
        [NDCG],
    )[NDCG]
    return Scores(
        predicted,
        ahead,
        float(ndcg or 0.0),
        earlier(user, rows, rows.stop if folds_in else cut),
        earlier(item, rows, cut),
    )


def folded(bundle: Bundle, user: int) -> UserVector:
    """A user made of their training ratings."""
    entries = bundle.ratings.slice_of(user)
    item, rating = bundle.ratings.item[entries], bundle.ratings.rating[entries]
    past = (bundle.ratings.part[entries] == TRAIN) & (item < bundle.n_items)
    return bundle.fold_in_rows(item[past].astype(np.int64), rating[past]).vector


def predict_pairs(stream: Stream, bundle: Bundle, cut: int, n: int = PAIRS) -> Float32Array:
    """Stars of pairs of users and items that had come before a cut, the same for all bundles, `(n,)`."""
    random = np.random.default_rng(cut)
    user, item = (
        rows_of(known, random.choice(np.unique(ids[:cut]), n))
        for known, ids in ((bundle.user_ids, stream.user_id), (bundle.item_ids, stream.item_id))
    )
    return bundle.predict_rows(np.where(user < bundle.n_users, user, -1), np.where(item < bundle.n_items, item, -1))


def rms_difference(one: Float32Array, other: Float32Array) -> float:
    """In stars."""
    return round(float(np.sqrt(np.square(one - other, dtype=np.float64).mean())), 5)


def with_stream(bundle: Bundle, stream: Stream, rows: slice) -> Bundle:
    """The bundle with the ratings of the stream up to a step, those of the step as test rows."""
    user_ids = _extended(bundle.user_ids, stream.user_id[: rows.stop])
    item_ids = _extended(bundle.item_ids, stream.item_id[: rows.stop])
    user, item = rows_of(user_ids, stream.user_id[: rows.stop]), rows_of(item_ids, stream.item_id[: rows.stop])
    part = np.full(rows.stop, TRAIN, np.uint8)
    part[rows] = TEST
    order = np.lexsort((stream.timestamp[: rows.stop], user))
    rated = UserRatings(
        np.append(0, np.cumsum(np.bincount(user, minlength=len(user_ids)))),
        item[order].astype(np.int32),
        stream.rating[: rows.stop][order],
        part[order],
        stream.timestamp[: rows.stop][order],
    )
    return Bundle(bundle.manifest, bundle.factors, user_ids, item_ids, rated, [])


def earlier(row: Int64Array, rows: slice, cut: int) -> NDArray[np.int32]:
    """How many earlier ratings of the same row come at or after the cut, for each rating of a step."""
    late = row[cut : rows.stop]
    order = np.argsort(late, kind="stable")
    count = np.empty(len(late), np.int32)
    count[order] = np.arange(len(late)) - np.searchsorted(late[order], late[order])
    return count[rows.start - cut :] if cut < rows.stop else np.zeros(rows.stop - rows.start, np.int32)


def rows_of(known: NDArray[np.int64], ids: NDArray[np.int64]) -> Int64Array:
    """The row of each id; `len(known)` for those that are not among these."""
    order = np.argsort(known, kind="stable")
    place = np.searchsorted(known, ids, sorter=order).clip(max=len(known) - 1)
    return np.where(known[order[place]] == ids, order[place], len(known))


def _extended(known: NDArray[np.int64], ids: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.concatenate([known, np.setdiff1d(ids, known)])
