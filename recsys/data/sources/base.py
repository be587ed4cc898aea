"""RatingData, a data set in a fixed form, and RatingsSource, the interface of all sources."""

from __future__ import annotations

import hashlib
import logging
import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from recsys.data.columns import ITEM_ID, RATING, TIMESTAMP, USER_ID
from recsys.data.errors import DataError

logger = logging.getLogger(__name__)

RATING_COLUMNS = (USER_ID, ITEM_ID, RATING, TIMESTAMP)


@dataclass(frozen=True)
class RatingData:
    """One data set; validated on construction, so that errors of a source show before training.

    Attributes:
        name: Name in logs, metrics and manifests, such as `ml-100k`.
        ratings: One row per rating, in the order of the file, with a RangeIndex: `user_id` and `item_id` (both
            int64 or both strings), `rating` (float32, stars), `timestamp` (int64, unix seconds; absent if the
            source has no times). (user, item) pairs are distinct (see `drop_duplicates`).
        rating_min: Lowest rating of the scale, in stars.
        rating_max: Highest rating of the scale, in stars.
        users: `user_id` and attributes, numbers or texts; None if the source has none.
        items: `item_id`, `title` (string, such as "Toy Story (1995)"), `year` (Int64, missing if unknown), `genres`
            (one string, separated by "|", empty if unknown) and further attributes; may include items without ratings.
            None if the source has none.
        implicit: Whether the source has no ratings (implicit feedback); every rating is then 1.0.
        sha256: `ratings_sha256(ratings)`; computed by default.

    Raises:
        DataError: A frame is not as described; the message names frame, column, value and allowed values.
    """

    name: str
    ratings: pd.DataFrame
    rating_min: float
    rating_max: float
    users: pd.DataFrame | None = None
    items: pd.DataFrame | None = None
    implicit: bool = False
    sha256: str = ""

    def __post_init__(self) -> None:
        _check_ratings(self)
        for side, frame, column in (("users", self.users, USER_ID), ("items", self.items, ITEM_ID)):
            if frame is not None:
                _check_side_table(f"{self.name}: {side}", frame, column, self.ratings[column])
        if not self.sha256:
            object.__setattr__(self, "sha256", ratings_sha256(self.ratings))
        elif not re.fullmatch("[0-9a-f]{64}", self.sha256):
            raise DataError(f"{self.name}: sha256 must be 64 hexadecimal digits or empty, got {self.sha256!r}")

    @property
    def scale(self) -> tuple[float, float]:
        """Lowest and highest rating; for implicit feedback 0 (unobserved) and 1."""
        return (0.0, 1.0) if self.implicit else (self.rating_min, self.rating_max)


class RatingsSource(ABC):
    """A source of ratings."""

    name: str

    @abstractmethod
    def prepare(self) -> None:
        """Download files needed by `read`. Sets no state: may be called in only one of several processes."""

    @abstractmethod
    def read(self) -> RatingData:
        """Read, validate and return the ratings.

        Raises:
            DataError: A file is missing or has invalid content.
        """


def _check_ratings(data: RatingData) -> None:
    ratings, place = data.ratings, f"{data.name}: ratings"
    for name in (USER_ID, ITEM_ID, RATING):
        if name not in ratings:
            raise DataError(f"{place} must have the columns {', '.join(RATING_COLUMNS)}, got {list(ratings.columns)}")
    if unexpected := [name for name in ratings if name not in RATING_COLUMNS]:
        raise DataError(f"{place} must have no column but {', '.join(RATING_COLUMNS)}, got {unexpected}")
    if not isinstance(ratings.index, pd.RangeIndex) or (ratings.index.start, ratings.index.step) != (0, 1):
        raise DataError(f"{place} must have a RangeIndex from 0, got {ratings.index!r}; use reset_index(drop=True)")
    kinds = {_id_kind(f"{place}.{name}", ratings[name]) for name in (USER_ID, ITEM_ID)}
    if len(kinds) > 1:
        raise DataError(f"{place}: {USER_ID} and {ITEM_ID} must both be int64 or both strings")
    for name, dtype in ((RATING, "float32"), (TIMESTAMP, "int64")):
        if name in ratings and ratings[name].dtype != dtype:
            raise DataError(f"{place}.{name} must be {dtype}, got {ratings[name].dtype}")
    if not data.rating_min <= data.rating_max:
        raise DataError(f"{data.name}: rating_max must be >= rating_min = {data.rating_min}, got {data.rating_max}")
    outside = ~ratings[RATING].between(np.float32(data.rating_min), np.float32(data.rating_max)).to_numpy()
    if outside.any():
        row = int(outside.argmax())
        raise DataError(
            f"{place}.{RATING} must be in [{data.rating_min:g}, {data.rating_max:g}], "
            f"got {ratings[RATING][row]:g} in row {row}"
        )
    _check_unique(place, ratings)


def _check_unique(place: str, ratings: pd.DataFrame) -> None:
    pair = _pairs(ratings)
    if len(repeated := _repeated(pair)):
        user, item = ratings.loc[int((pair == repeated[0]).argmax()), [USER_ID, ITEM_ID]]
        raise DataError(f"{place} must have each user and item once, got ({user}, {item}) again; use drop_duplicates")


def _check_side_table(place: str, frame: pd.DataFrame, column: str, ids: pd.Series[Any]) -> None:
    if column not in frame:
        raise DataError(f"{place} must have the column {column}, got {list(frame.columns)}")
    kind = _id_kind(f"{place}.{column}", frame[column])
    if len(frame) and len(ids) and kind != _id_kind(column, ids):
        raise DataError(f"{place}.{column} must have the type of the ratings, {ids.dtype}, got {frame[column].dtype}")


def _id_kind(place: str, ids: pd.Series[Any]) -> str:
    if ids.dtype == "int64":
        return "int"
    if pd.api.types.is_string_dtype(ids) or not len(ids):
        return "str"
    raise DataError(f"{place} must be int64 or strings, got {ids.dtype}")


def ratings_sha256(ratings: pd.DataFrame) -> str:
    r"""SHA-256 (hexadecimal) of a ratings frame, so that results can be traced to their data.

    The hash covers, for `user_id`, `item_id`, `rating` and `timestamp` (if present) in this order: the line
    "<name> <dtype> <rows>\n" in ASCII, where dtype is int64, float32 or utf8; then the column's values in little-endian
    bytes; for strings, the rows + 1 byte offsets (int64, from 0), then all text in UTF-8.
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


def drop_duplicates(ratings: pd.DataFrame, place: str) -> pd.DataFrame:
    """Keep the latest rating of each user and item, by timestamp and then by row; preserves the order.

    Logs a warning with the number of dropped rows and the file, `place`.
    """
    pair = _pairs(ratings)
    if not len(repeated := _repeated(pair)):
        return ratings
    rows = np.flatnonzero(np.isin(pair, repeated))
    time = ratings[TIMESTAMP].to_numpy()[rows] if TIMESTAMP in ratings else np.zeros(len(rows))
    order = np.lexsort((rows, time, pair[rows]))
    last = np.append(pair[rows[order]][1:] != pair[rows[order]][:-1], True)
    dropped = rows[order[~last]]
    logger.warning(
        "%s: dropping %d of %d ratings that repeat a user and item; the latest of each is kept",
        place,
        len(dropped),
        len(ratings),
    )
    kept = np.ones(len(ratings), dtype=bool)
    kept[dropped] = False
    return ratings[kept].reset_index(drop=True)


def _pairs(ratings: pd.DataFrame) -> NDArray[np.int64]:
    """One integer per row, equal for equal (user, item)."""
    user, n_users = _factorize(ratings[USER_ID])
    item, n_items = _factorize(ratings[ITEM_ID])
    if n_users * n_items >= 1 << 63:
        user, item = ratings[USER_ID].factorize()[0].astype(np.int64), ratings[ITEM_ID].factorize()[0]
        n_items = int(item.max()) + 1
    pair: NDArray[np.int64] = user * n_items
    pair += item
    return pair


def _repeated(pair: NDArray[np.int64]) -> NDArray[np.int64]:
    """The repeated pairs, ascending, once for each repetition."""
    if len(pair) < 2 or (pair[1:] > pair[:-1]).all():  # sorted and distinct, as in most releases
        return pair[:0]
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
