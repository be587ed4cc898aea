"""Rows that repeat a user and item, of which a data set has each pair once."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from recsys.data.columns import ITEM_ID, TIMESTAMP, USER_ID, WEIGHT

logger = logging.getLogger(__name__)

PIECE = 1 << 16  # rows, which fit into the cache of a core

REPEATS = ("latest", "first", "sum")
KEPT = {"latest": "the latest of each is kept", "first": "the first of each is kept", "sum": "their weights are summed"}


def merge_repeats(ratings: pd.DataFrame, place: str, repeats: str = "latest") -> pd.DataFrame:
    """Keep one row of each user and item, in the order of the rows kept.

    Logs the number of rows that were left out and the file, `place`; as a warning unless weights are summed.

    Args:
        ratings: A frame as `RatingData.ratings`, but for repeated pairs.
        place: The file, for the log.
        repeats: `latest` and `first` by timestamp, then by row; `sum`: the latest, with the sum of all weights (a row
            without weights counts 1).
    """
    if repeats not in REPEATS:
        raise ValueError(f"repeats must be one of {', '.join(REPEATS)}, got {repeats!r}")
    if in_order(ratings):
        return ratings
    pair = pairs(ratings)
    if not len(repeated := repeated_pairs(pair)):
        return ratings
    nearest = np.minimum(np.searchsorted(repeated, pair), len(repeated) - 1)  # np.isin would sort all rows
    rows = np.flatnonzero(repeated[nearest] == pair)
    time = ratings[TIMESTAMP].to_numpy()[rows] if TIMESTAMP in ratings else np.zeros(len(rows))
    order = np.lexsort((rows, time, pair[rows]))
    ordered, differs = rows[order], np.diff(pair[rows[order]]) != 0
    keep = np.append(True, differs) if repeats == "first" else np.append(differs, True)
    kept = np.ones(len(ratings), dtype=bool)
    kept[ordered[~keep]] = False
    if repeats == "sum":
        weight = ratings[WEIGHT].to_numpy(np.float64, copy=True) if WEIGHT in ratings else np.ones(len(ratings))
        starts = np.flatnonzero(np.append(True, differs))
        weight[ordered[keep]] = np.add.reduceat(weight[ordered], starts)
        ratings = ratings.assign(**{WEIGHT: weight.astype(np.float32)})
    log = logger.info if repeats == "sum" else logger.warning
    log("%s: %s of %s rows repeat a user and item; %s",
        place, f"{len(ratings) - kept.sum():,}", f"{len(ratings):,}", KEPT[repeats])  # fmt: skip
    return ratings[kept].reset_index(drop=True)


def in_order(ratings: pd.DataFrame) -> bool:
    """Whether rows ascend by user and then by item, as in most releases; then no pair is repeated."""
    if ratings[USER_ID].dtype.kind != "i" or ratings[ITEM_ID].dtype.kind != "i":
        return False
    user, item = ratings[USER_ID].to_numpy(), ratings[ITEM_ID].to_numpy()
    for start in range(0, len(user) - 1, PIECE):
        left, right = slice(start, min(start + PIECE, len(user) - 1)), slice(start + 1, start + PIECE + 1)
        same = user[left] == user[right]
        if not np.where(same, item[left] < item[right], user[left] < user[right]).all():
            return False
    return True


def pairs(ratings: pd.DataFrame) -> NDArray[np.int64]:
    """One integer per row, equal for equal (user, item)."""
    user, n_users = _factorize(ratings[USER_ID])
    item, n_items = _factorize(ratings[ITEM_ID])
    if n_users * n_items >= 1 << 63:
        user, item = ratings[USER_ID].factorize()[0].astype(np.int64), ratings[ITEM_ID].factorize()[0]
        n_items = int(item.max()) + 1
    pair: NDArray[np.int64] = user * n_items
    pair += item
    return pair


def repeated_pairs(pair: NDArray[np.int64]) -> NDArray[np.int64]:
    """The repeated pairs, ascending, once for each repetition."""
    in_order = np.sort(pair)
    return np.asarray(in_order[1:][in_order[1:] == in_order[:-1]])


def _factorize(ids: pd.Series[Any]) -> tuple[NDArray[np.int64], int]:
    """Integer codes from 0 for the ids, and an upper bound on them."""
    if not len(ids):
        return np.zeros(0, dtype=np.int64), 0
    if ids.dtype.kind != "i":
        codes, distinct = ids.factorize()
        return codes.astype(np.int64, copy=False), len(distinct)
    values = ids.to_numpy()
    first = int(values.min())
    return values - first, int(values.max()) - first + 1
