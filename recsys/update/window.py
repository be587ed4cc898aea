"""The window on which versions are compared: what the newest events changed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys.bundle.typing import IndexArray
from recsys.events.merge import MergedRatings
from recsys.update.rows import entries_of


def changed_ratings(before: MergedRatings, after: MergedRatings) -> IndexArray:
    """Entries of `after` that were not the same before.

    Args:
        before: What counted up to an event.
        after: What counts up to a later one, or an earlier one; common users and items have the same rows.
    """
    users = np.union1d(before.touched_users, after.touched_users)
    n_items = max(len(before.item_ids), len(after.item_ids))

    def columns(merged: MergedRatings) -> tuple[IndexArray, list[NDArray[Any]]]:
        rated = merged.ratings
        there = users[users < len(merged.user_ids)]
        entries = entries_of(rated, there)
        assert rated.timestamp is not None
        user = np.repeat(there, np.diff(rated.indptr)[there])
        return entries, [user * n_items + rated.item[entries], rated.timestamp[entries], rated.rating[entries]]

    (_, old), (entries, new) = columns(before), columns(after)
    if not len(old[0]):
        return entries
    order = np.argsort(old[0])
    place = order[np.searchsorted(old[0], new[0], sorter=order).clip(max=len(order) - 1)]
    same = np.all([earlier[place] == later for earlier, later in zip(old, new, strict=True)], axis=0)
    return np.asarray(entries[~same])


def touched_since(before: MergedRatings, after: MergedRatings) -> MergedRatings:
    """`after` with only those users and items touched whose ratings were added, changed or withdrawn since `before`."""
    pairs = [
        (merged.ratings.user_index()[entries], merged.ratings.item[entries])
        for merged, entries in ((after, changed_ratings(before, after)), (before, changed_ratings(after, before)))
    ]
    users, items = (np.unique(np.concatenate(column)).astype(np.int64) for column in zip(*pairs, strict=True))
    return replace(after, touched_users=users, touched_items=items)
