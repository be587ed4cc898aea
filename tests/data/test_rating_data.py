from __future__ import annotations

import hashlib
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from recsys.bundle.ids import MAX_ID_LENGTH
from recsys.data.columns import ITEM_ID, RATING, TIMESTAMP, USER_ID
from recsys.data.errors import DataError
from recsys.data.rating_data import RatingData, ratings_sha256

Frames = Callable[..., pd.DataFrame]


def test_sha256_is_that_of_the_documented_bytes(random_ratings: Frames) -> None:
    frame = random_ratings(rows=3)
    digest = hashlib.sha256()
    for name, dtype in ((USER_ID, "int64"), (ITEM_ID, "int64"), (RATING, "float32"), (TIMESTAMP, "int64")):
        digest.update(f"{name} {dtype} 3\n".encode())
        digest.update(frame[name].to_numpy().astype(np.dtype(dtype).newbyteorder("<")).tobytes())
    assert ratings_sha256(frame) == digest.hexdigest()


def test_sha256_of_strings_is_that_of_the_documented_bytes() -> None:
    frame = pd.DataFrame({USER_ID: ["a", "é"], ITEM_ID: ["bc", ""], RATING: np.float32([1, 2])})
    digest = hashlib.sha256(b"user_id utf8 2\n" + np.array([0, 1, 3], "<i8").tobytes() + "aé".encode())
    digest.update(b"item_id utf8 2\n" + np.array([0, 2, 2], "<i8").tobytes() + b"bc")
    digest.update(b"rating float32 2\n" + np.array([1, 2], "<f4").tobytes())
    assert ratings_sha256(frame) == digest.hexdigest()
    assert ratings_sha256(frame.astype({USER_ID: object, ITEM_ID: object})) == digest.hexdigest()


def test_sha256_does_not_depend_on_how_strings_lie_in_memory() -> None:
    frame = pd.DataFrame({USER_ID: list("abcd"), ITEM_ID: list("efgh"), RATING: np.float32(1)})
    assert ratings_sha256(frame.iloc[1:3]) == ratings_sha256(frame.iloc[1:3].copy(deep=True))
    joined = pd.concat([frame.iloc[:2], frame.iloc[2:]])
    assert ratings_sha256(joined) == ratings_sha256(frame)


@pytest.mark.parametrize("column", [USER_ID, ITEM_ID, RATING, TIMESTAMP])
def test_sha256_changes_with_every_column(column: str, random_ratings: Frames) -> None:
    frame = random_ratings()
    changed = frame.copy()
    changed.loc[0, column] += 1
    assert ratings_sha256(frame) != ratings_sha256(changed)
    assert ratings_sha256(frame) != ratings_sha256(frame.iloc[::-1])
    assert ratings_sha256(frame) != ratings_sha256(frame.drop(columns=TIMESTAMP))


def valid(**changes: object) -> dict[str, object]:
    """Arguments of a RatingData with two ratings."""
    ratings = pd.DataFrame({USER_ID: [1, 1], ITEM_ID: [1, 2], RATING: np.float32([1, 5]), TIMESTAMP: [3, 4]})
    return {"name": "small", "ratings": ratings, "rating_min": 1.0, "rating_max": 5.0} | changes


def changed(**columns: object) -> pd.DataFrame:
    return valid()["ratings"].assign(**columns)  # type: ignore[attr-defined, no-any-return]


def test_weights_are_hashed() -> None:
    weighted = changed(weight=np.float32([1, 2]))
    assert RatingData(**valid(ratings=weighted, implicit=True)).sha256 != ratings_sha256(changed())  # type: ignore[arg-type]


def test_the_hash_is_computed_if_it_is_not_given() -> None:
    assert RatingData(**valid()).sha256 == ratings_sha256(changed())  # type: ignore[arg-type]
    assert RatingData(**valid(sha256="0" * 64)).sha256 == "0" * 64  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ratings": changed(rating=[1.0, 5.0])}, "rating must be float32, got float64"),
        ({"ratings": changed(timestamp=[0.5, 1.0])}, "timestamp must be int64, got float64"),
        ({"ratings": changed(user_id=[0.5, 1.0])}, "user_id must be int64 or strings, got float64"),
        ({"ratings": changed(user_id=["a", "b"])}, "user_id and item_id must both be"),
        ({"ratings": changed(item_id=[7, 7])}, r"once, got \(1, 7\) again"),
        ({"ratings": changed(rating=np.float32([1, 5.5]))}, r"in \[1, 5\], got 5.5 in row 1"),
        ({"ratings": changed(rating=np.float32([1, np.nan]))}, "got nan in row 1"),
        ({"ratings": changed(extra=0)}, "no column but .*, got \\['extra'\\]"),
        ({"ratings": changed().drop(columns=RATING)}, "must have the columns"),
        ({"ratings": changed().iloc[1:]}, "RangeIndex"),
        ({"ratings": changed(weight=np.float32([1, 2]))}, "no column weight beside ratings"),
        (
            {"ratings": changed(weight=np.float32([1, 0])), "implicit": True},
            "> 0 and finite, got 0 in row 1",
        ),
        ({"ratings": changed(weight=[1, 2]), "implicit": True}, "weight must be float32, got int64"),
        ({"ratings": changed(event=np.int32([0, 1])), "implicit": True}, "if and only if there are kinds of events"),
        ({"events": ("view", "cart"), "implicit": True}, "if and only if there are kinds of events"),
        (
            {"ratings": changed(event=np.int32([0, 2])), "implicit": True, "events": ("view", "cart")},
            r"event must be in \[0, 1\]",
        ),
        (
            {"ratings": changed(event=[0, 1]), "implicit": True, "events": ("view", "cart")},
            "event must be int32, got int64",
        ),
        (
            {"ratings": changed(event=np.int32([0, 1])), "implicit": True, "events": ("view", "")},
            "a kind of event must have 1 to 64 characters without control characters, got ''",
        ),
        ({"ratings": changed(event=np.int32([0, 1])), "events": ("view", "cart")}, "are of implicit feedback"),
        ({"rating_min": 6.0}, "rating_max must be >= rating_min = 6.0, got 5.0"),
        ({"sha256": "abc"}, "sha256 must be 64 hexadecimal digits or empty, got 'abc'"),
        ({"users": pd.DataFrame({"id": [1]})}, "users must have the column user_id"),
        ({"items": pd.DataFrame({ITEM_ID: ["1"]})}, "item_id must have the type of the ratings, int64"),
    ],
)
def test_a_source_s_mistake_shows_when_the_data_is_made(changes: dict[str, object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        RatingData(**valid(**changes))  # type: ignore[arg-type]


@pytest.mark.parametrize("column", [USER_ID, ITEM_ID])
@pytest.mark.parametrize("wrong", ["", "x" * (MAX_ID_LENGTH + 1), None], ids=["empty", "long", "missing"])
def test_an_id_that_no_service_can_be_asked_for_is_refused(column: str, wrong: str | None) -> None:
    names = {USER_ID: ["a", "b"], ITEM_ID: ["é" * MAX_ID_LENGTH, "🎬"]}
    RatingData(**valid(ratings=changed(**names)))  # type: ignore[arg-type]
    odd = names | {column: ["c", wrong]}
    with pytest.raises(DataError, match=rf"small: ratings.{column} must have 1 to 2,048 characters, got .* in row 1"):
        RatingData(**valid(ratings=changed(**odd)))  # type: ignore[arg-type]
    items = pd.DataFrame({ITEM_ID: ["c", wrong]})
    with pytest.raises(DataError, match=r"items.item_id must have 1 to 2,048 characters"):
        RatingData(**valid(ratings=changed(**names), items=items))  # type: ignore[arg-type]
