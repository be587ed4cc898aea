"""Vectors of users as of the moments at which they rated, each from their strictly earlier ratings."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from recsys.bundle import Bundle
from recsys.bundle.factors import UserVector
from recsys.bundle.fold_in import running_fold_ins
from recsys.bundle.typing import IndexArray


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
    attributes = bundle.attributes_of(user)
    # Without earlier ratings, and for an ordinal link, whose iteration is not linear in the ratings: plain fold-ins.
    plain = len(rows) if bundle.factors.ordinal is not None else int(np.searchsorted(known, 1))
    for n in np.unique(known[:plain]).tolist():
        folded = bundle.fold_in_rows(rated.item[past[:n]], rated.rating[past[:n]], attributes)
        yield rows[:plain][known[:plain] == n], folded.vector
    rows, known = rows[plain:], known[plain:]
    for piece, vectors in running_fold_ins(bundle.factors, rated.item[past], rated.rating[past], known, attributes):
        yield rows[piece], vectors


def past_of(bundle: Bundle, user: int) -> IndexArray:
    """Rows in `bundle.ratings` of a user's ratings of items with factors, ascending in time."""
    time, entries = bundle.ratings.timestamp, bundle.ratings.slice_of(user)
    assert time is not None
    rows = np.arange(entries.start, entries.stop)[bundle.ratings.item[entries] < bundle.n_items]
    return np.asarray(rows[np.argsort(time[rows], kind="stable")])
