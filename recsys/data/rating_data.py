"""RatingData, a data set in a fixed form, checked when it is made."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from recsys.bundle.ids import KIND, KIND_RULE, MAX_ID_LENGTH
from recsys.data.columns import EVENT, ITEM_ID, RATING, TIMESTAMP, USER_ID, WEIGHT
from recsys.data.errors import DataError
from recsys.data.inference.finding import Finding
from recsys.data.readers.format import RowCounts
from recsys.data.repeats import in_order, pairs, repeated_pairs

RATING_COLUMNS = (USER_ID, ITEM_ID, RATING, TIMESTAMP, WEIGHT, EVENT)


@dataclass(frozen=True)
class RatingData:
    """One data set; validated on construction, so that errors of a source show before training.

    Attributes:
        name: Name in logs, metrics and manifests, such as `ml-100k`.
        ratings: One row per rating, in the order of the file, with a RangeIndex: `user_id` and `item_id` (both
            int64, or both strings of 1 to `MAX_ID_LENGTH` characters), `rating` (float32, stars), `timestamp` (int64,
            unix seconds; absent if the source has no times), and for implicit feedback `weight` (float32, > 0, in any
            unit: how much a row says, as plays or hours; absent if all rows say the same) and `event` (int32, the place
            of its kind among `events`; absent without). (user, item) pairs are distinct (see `merge_repeats`).
        rating_min: Lowest rating of the scale, in stars.
        rating_max: Highest rating of the scale, in stars.
        users: `user_id` and attributes, numbers or texts; None if the source has none.
        items: `item_id`, `title` (string, such as "Toy Story (1995)"), `year` (Int64, missing if unknown), `genres`
            (one string, separated by "|", empty if unknown) and further attributes; may include items without ratings.
            None if the source has none.
        implicit: Whether the source has no ratings (implicit feedback); every rating is then 1.0.
        events: Kinds of events of implicit feedback, such as view and purchase, from the one that weighs least; empty
            if they are not known.
        sha256: `ratings_sha256(ratings)`; computed by default.
        counts: What became of the rows of the files; None if the source does not count.
        findings: Options of the source that were inferred.
        settled: Values of the source's other options that were left open, such as the encoding of most files.
        notes: What reading them showed, such as the share of items that the items file knows; said in each run.
        warnings: The same for what a person should look into.

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
    events: tuple[str, ...] = ()
    sha256: str = ""
    counts: RowCounts | None = None
    findings: tuple[Finding, ...] = ()
    settled: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

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
    for name, dtype in ((RATING, "float32"), (TIMESTAMP, "int64"), (WEIGHT, "float32"), (EVENT, "int32")):
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
    if WEIGHT in ratings:
        _check_weights(place, ratings[WEIGHT], implicit=data.implicit)
    if (EVENT in ratings) != bool(data.events):
        raise DataError(f"{place} must have the column {EVENT} if and only if there are kinds of {EVENT}s")
    if wrong := [kind for kind in data.events if not KIND.fullmatch(kind)]:
        raise DataError(f"{data.name}: a kind of event must have {KIND_RULE}, got {wrong[0]!r:.80}")
    if data.events and not data.implicit:
        raise DataError(f"{data.name}: kinds of events are of implicit feedback, which this is not")
    if data.events and not ratings[EVENT].between(0, len(data.events) - 1).all():
        raise DataError(f"{place}.{EVENT} must be in [0, {len(data.events) - 1}]")
    _check_unique(place, ratings)


def _check_weights(place: str, weight: pd.Series[Any], *, implicit: bool) -> None:
    if not implicit:
        raise DataError(f"{place} must have no column {WEIGHT} beside ratings, which weigh the same")
    if not (valid := (weight.to_numpy() > 0) & np.isfinite(weight.to_numpy())).all():
        row = int((~valid).argmax())
        raise DataError(f"{place}.{WEIGHT} must be > 0 and finite, got {weight[row]:g} in row {row}")


def _check_unique(place: str, ratings: pd.DataFrame) -> None:
    if in_order(ratings):
        return
    pair = pairs(ratings)
    if len(repeated := repeated_pairs(pair)):
        user, item = ratings.loc[int((pair == repeated[0]).argmax()), [USER_ID, ITEM_ID]]
        raise DataError(f"{place} must have each user and item once, got ({user}, {item}) again; use merge_repeats")


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
        _check_lengths(place, ids)
        return "str"
    raise DataError(f"{place} must be int64 or strings, got {ids.dtype}")


def _check_lengths(place: str, ids: pd.Series[Any]) -> None:
    """Check that a service can be asked for each id."""
    if not len(ids):
        return
    length = pd.Series(pc.utf8_length(pa.array(ids, type=pa.large_string())).to_numpy(zero_copy_only=False))
    wrong = ~length.between(1, MAX_ID_LENGTH).to_numpy()  # True for a missing id, too
    if wrong.any():
        row = int(wrong.argmax())
        found = "none" if pd.isna(ids.iloc[row]) else f"{int(length[row]):,}: {ids.iloc[row][:40]!r}"
        raise DataError(f"{place} must have 1 to {MAX_ID_LENGTH:,} characters, got {found} in row {row}")


def ratings_sha256(ratings: pd.DataFrame) -> str:
    r"""SHA-256 (hexadecimal) of a ratings frame, so that results can be traced to their data.

    The hash covers, for `user_id`, `item_id`, `rating`, `timestamp`, `weight` and `event` (if present) in this order:
    the line "<name> <dtype> <rows>\n" in ASCII, where dtype is int64, float32, int32 or utf8; then the column's values
    in little-endian bytes; for strings, the rows + 1 byte offsets (int64, from 0), then all text in UTF-8.
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
