"""Vectors of users as of the moments at which they rated, each from their strictly earlier ratings."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from recsys.bundle import Bundle
from recsys.bundle.factors import UserVector
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
    for piece, vectors in bundle.running_vectors(
        rated.item[past], rated.rating[past], known, bundle.attributes_of(user)
    ):
        yield rows[piece], vectors


def past_of(bundle: Bundle, user: int) -> IndexArray:
    """Rows in `bundle.ratings` of a user's ratings of items with factors, ascending in time."""
    time, entries = bundle.ratings.timestamp, bundle.ratings.slice_of(user)
    assert time is not None
    rows = np.arange(entries.start, entries.stop)[bundle.ratings.item[entries] < bundle.n_items]
    return np.asarray(rows[np.argsort(time[rows], kind="stable")])
