from __future__ import annotations

import hashlib
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from recsys.data.columns import ITEM_ID, RATING, TIMESTAMP, USER_ID
from recsys.data.sources.base import keep_latest, ratings_sha256

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


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("times", [True, False])
@pytest.mark.parametrize("kind", [int, str])
def test_of_equal_pairs_the_latest_is_kept(seed: int, times: bool, kind: type, random_ratings: Frames) -> None:
    frame = random_ratings(seed, rows=300, users=12, times=times)
    frame[ITEM_ID] = np.random.default_rng(seed).integers(0, 20, 300)
    frame = frame.astype({USER_ID: kind, ITEM_ID: kind})
    latest: dict[tuple[object, object], tuple[int, int]] = {}
    for row, (user, item) in enumerate(zip(frame[USER_ID], frame[ITEM_ID], strict=True)):
        when = (int(frame[TIMESTAMP].iloc[row]) if times else 0, row)
        latest[user, item] = max(latest.get((user, item), when), when)
    rows = sorted(row for _, row in latest.values())
    pd.testing.assert_frame_equal(keep_latest(frame, "here"), frame.iloc[rows].reset_index(drop=True))


def test_without_equal_pairs_nothing_is_copied(random_ratings: Frames, caplog: pytest.LogCaptureFixture) -> None:
    frame = random_ratings()
    assert keep_latest(frame, "here") is frame
    shuffled = frame.sample(frac=1, random_state=0, ignore_index=True)
    assert keep_latest(shuffled, "here") is shuffled
    assert not caplog.records
