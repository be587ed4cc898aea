"""Users as of the moments at which they rated: vectors from their strictly earlier ratings, scores from a history."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from recsys.bundle import Bundle
from recsys.bundle.factors import UserVector
from recsys.bundle.typing import Float32Array, IndexArray
from recsys.evaluation.cases import Cases
from recsys.progress import track

CASE_BLOCK = 512  # cases whose scores of all items are held at once, or few more


def vectors_before(bundle: Bundle, user: int, rows: IndexArray) -> Iterator[tuple[IndexArray, UserVector]]:
    """A user's vector before each of some of their ratings, from their strictly earlier ones.

    Args:
        bundle: With timestamps.
        user: The user's row.
        rows: Rows of their ratings in `bundle.ratings`.

    Yields:
        Some of the rows, and a vector: one for all of them, or with a first axis one for each.
    """
    rated, time, past = bundle.ratings, bundle.ratings.timestamp, past_of(bundle, user)
    assert time is not None
    rows = rows[np.argsort(time[rows], kind="stable")]
    known = np.searchsorted(time[past], time[rows])  # number of `past` ratings that are strictly earlier
    for piece, vectors in bundle.running_vectors(
        rated.item[past], rated.rating[past], known, bundle.attributes_of(user), time[past], time[rows]
    ):
        yield rows[piece], vectors


def past_of(bundle: Bundle, user: int) -> IndexArray:
    """Rows in `bundle.ratings` of a user's ratings of items with factors, ascending in time."""
    time, entries = bundle.ratings.timestamp, bundle.ratings.slice_of(user)
    assert time is not None
    rows = np.arange(entries.start, entries.stop)[bundle.ratings.item[entries] < bundle.n_items]
    return np.asarray(rows[np.argsort(time[rows], kind="stable")])


def scores_of_histories(bundle: Bundle, cases: Cases) -> Iterator[tuple[slice, Float32Array]]:
    """Blocks of a bundle's cases, and the scores of every item for each, `(cases, n_items)`.

    A case's user is the fold-in of its history, in the order of the ratings; without one, as the model has new users.
    """
    done, scores = 0, list[Float32Array]()
    for block in _scores_of_users(bundle, cases):
        scores.append(block)
        if (n := sum(map(len, scores))) >= CASE_BLOCK:
            yield slice(done, done + n), np.concatenate(scores)
            done, scores = done + n, []
    if scores:
        yield slice(done, len(cases)), np.concatenate(scores)


def _scores_of_users(bundle: Bundle, cases: Cases) -> Iterator[Float32Array]:
    """The scores of consecutive cases."""
    rated, rows = bundle.ratings, cases.rows
    assert rows is not None
    users, first = np.unique(cases.user, return_index=True)
    ranges = zip(users.tolist(), first.tolist(), [*first[1:].tolist(), len(cases)], strict=True)
    for user, begin, end in track(list(ranges), "ranking in time order"):
        start, stop = cases.start[begin], cases.stop[begin:end]
        past = rows[start : stop[-1]]
        has_factors = rated.item[past] < bundle.n_items
        known = np.append(0, np.cumsum(has_factors))[stop - start]
        past, attributes = past[has_factors], bundle.attributes_of(user)
        time = None if rated.timestamp is None else rated.timestamp[past]
        asked = None if cases.time is None else cases.time[begin:end]
        for piece, vectors in bundle.running_vectors(
            rated.item[past], rated.rating[past], known, attributes, time, asked
        ):
            scores = bundle.scores_for(vectors)
            yield np.broadcast_to(scores, (piece.stop - piece.start, scores.shape[1]))
