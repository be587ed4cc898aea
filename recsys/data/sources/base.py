"""RatingData: the ratings of one data set in a fixed form, and what every source of them must do."""

from __future__ import annotations

import hashlib
import logging
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from recsys.data.columns import ITEM_ID, RATING, TIMESTAMP, USER_ID

logger = logging.getLogger(__name__)

RATING_COLUMNS = (USER_ID, ITEM_ID, RATING, TIMESTAMP)


class DataError(ValueError):
    """The ratings cannot be used as they are; the message names file, place, value and what is allowed."""


@dataclass(frozen=True)
class RatingData:
    """One data set as read.

    Attributes:
        name: Name in logs, metrics and manifests, such as `ml-100k`.
        ratings: A row a rating, in the order of the file, with a RangeIndex: `user_id` and `item_id` (both
            int64 or both strings), `rating` (float32, stars), `timestamp` (int64, unix seconds; absent if the
            source has no times). A (user, item) pair occurs once.
        users: `user_id` and the attributes that the source has, numbers or texts; None if it has none.
        items: `item_id`, `title` (string, as in "Toy Story (1995)"), `year` (Int64, missing where unknown)
            and `genres` (one string, separated by "|", empty where unknown), and further attributes if the source
            has them; also of items without a rating. None if the source has none.
        rating_min: Lowest rating of the scale, in stars.
        rating_max: Highest rating of the scale, in stars.
        implicit: Whether the source gives no ratings; every rating is then 1.0.
        sha256: `ratings_sha256(ratings)`.
    """

    name: str
    ratings: pd.DataFrame
    users: pd.DataFrame | None
    items: pd.DataFrame | None
    rating_min: float
    rating_max: float
    implicit: bool
    sha256: str

    @property
    def scale(self) -> tuple[float, float]:
        """Lowest and highest rating; of implicit feedback 0, which stands for what is not there, and 1."""
        return (0.0, 1.0) if self.implicit else (self.rating_min, self.rating_max)


class RatingsSource(ABC):
    """Where ratings come from."""

    name: str

    @abstractmethod
    def prepare(self) -> None:
        """Fetch what `read` needs. Sets no state: it may be called in one process of many, or not at all."""

    @abstractmethod
    def read(self) -> RatingData:
        """Read, check and return the ratings.

        Raises:
            DataError: The files are absent, or something in them cannot be used.
        """


def ratings_sha256(ratings: pd.DataFrame) -> str:
    r"""SHA-256 (hexadecimal) of a canonical ratings frame, so that figures can be traced to their data.

    Hashed are, for `user_id`, `item_id`, `rating` and `timestamp` (where present) in this order: the line
    "<name> <dtype> <rows>\n" in ASCII, dtype being int64, float32 or utf8; then the column's values in
    little-endian bytes; of strings, the rows + 1 offsets in bytes (int64, from 0), then all text in UTF-8.
    """
    digest = hashlib.sha256()
    for name in RATING_COLUMNS:
        if name not in ratings:
            continue
        column = ratings[name]
        dtype = str(column.dtype) if column.dtype.kind in "if" else "utf8"
        digest.update(f"{name} {dtype} {len(column)}\n".encode("ascii"))
        if dtype == "utf8":
            _hash_strings(digest, column)
        else:
            values = column.to_numpy()
            digest.update(np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<")).data)
    return digest.hexdigest()


def _hash_strings(digest: Any, column: pd.Series[Any]) -> None:
    array = pa.concat_arrays(pa.chunked_array(pa.array(column, type=pa.large_string())).chunks)
    offsets = np.frombuffer(array.buffers()[1], dtype="<i8")[array.offset : array.offset + len(array) + 1]
    digest.update(np.ascontiguousarray(offsets - offsets[0], dtype="<i8").data)
    digest.update(memoryview(array.buffers()[2])[offsets[0] : offsets[-1]])


def keep_latest(ratings: pd.DataFrame, place: str) -> pd.DataFrame:
    """Of rows with the same user and item the latest, by timestamp and then by row; the others' order stays.

    A warning says how many were dropped; `place` names the file in it.
    """
    pair = _pairs(ratings)
    if len(pair) < 2 or (pair[1:] > pair[:-1]).all():  # as released files are ordered: nothing to sort
        return ratings
    in_order = np.sort(pair)
    repeated = in_order[1:][in_order[1:] == in_order[:-1]]
    if not len(repeated):
        return ratings
    rows = np.flatnonzero(np.isin(pair, repeated))
    time = ratings[TIMESTAMP].to_numpy()[rows] if TIMESTAMP in ratings else np.zeros(len(rows))
    order = np.lexsort((rows, time, pair[rows]))
    last = np.append(pair[rows[order]][1:] != pair[rows[order]][:-1], True)
    dropped = rows[order[~last]]
    logger.warning(
        "%s: %d of %d ratings repeat a user and item; the latest of each is kept",
        place,
        len(dropped),
        len(ratings),
    )
    kept = np.ones(len(ratings), dtype=bool)
    kept[dropped] = False
    return ratings[kept].reset_index(drop=True)


def _pairs(ratings: pd.DataFrame) -> NDArray[np.int64]:
    """One integer for each row, the same for the same (user, item)."""
    user, n_users = _numbered(ratings[USER_ID])
    item, n_items = _numbered(ratings[ITEM_ID])
    if n_users * n_items >= 1 << 63:
        user, item = ratings[USER_ID].factorize()[0].astype(np.int64), ratings[ITEM_ID].factorize()[0]
        n_items = int(item.max()) + 1
    pair: NDArray[np.int64] = user * n_items
    pair += item
    return pair


def _numbered(ids: pd.Series[Any]) -> tuple[NDArray[np.int64], int]:
    """Integers from 0 that stand for the ids, and a bound on them."""
    if not len(ids):
        return np.zeros(0, dtype=np.int64), 0
    if ids.dtype.kind != "i":
        codes, distinct = ids.factorize()
        return codes.astype(np.int64, copy=False), len(distinct)
    values = ids.to_numpy()
    first = int(values.min())
    return values - first, int(values.max()) - first + 1
