from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from recsys.data.columns import ITEM_ID, TIMESTAMP, USER_ID, WEIGHT
from recsys.data.repeats import PIECE, in_order, merge_repeats

Frames = Callable[..., pd.DataFrame]


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
    pd.testing.assert_frame_equal(merge_repeats(frame, "here"), frame.iloc[rows].reset_index(drop=True))


def test_without_equal_pairs_nothing_is_copied(random_ratings: Frames, caplog: pytest.LogCaptureFixture) -> None:
    frame = random_ratings()
    assert merge_repeats(frame, "here") is frame
    shuffled = frame.sample(frac=1, random_state=0, ignore_index=True)
    assert merge_repeats(shuffled, "here") is shuffled
    assert not caplog.records


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("times", [True, False])
def test_the_first_is_kept_or_weights_are_summed(seed: int, times: bool, random_ratings: Frames) -> None:
    frame = random_ratings(seed, rows=300, users=12, times=times)
    rng = np.random.default_rng(seed)
    frame[ITEM_ID], frame[WEIGHT] = rng.integers(0, 20, 300), rng.integers(1, 9, 300).astype(np.float32)
    rows: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for row, (user, item) in enumerate(zip(frame[USER_ID], frame[ITEM_ID], strict=True)):
        rows.setdefault((user, item), []).append((int(frame[TIMESTAMP].iloc[row]) if times else 0, row))
    first = merge_repeats(frame, "here", "first")
    expected = frame.iloc[sorted(min(found)[1] for found in rows.values())].reset_index(drop=True)
    pd.testing.assert_frame_equal(first, expected)
    total = merge_repeats(frame, "here", "sum")
    sums = {max(found)[1]: frame[WEIGHT].iloc[[row for _, row in found]].sum() for found in rows.values()}
    expected = frame.iloc[sorted(sums)].assign(**{WEIGHT: np.float32([sums[row] for row in sorted(sums)])})
    pd.testing.assert_frame_equal(total, expected.reset_index(drop=True))
    assert total[WEIGHT].sum() == frame[WEIGHT].sum()


def test_rows_without_weights_count_one_each(random_ratings: Frames) -> None:
    frame = random_ratings(rows=4).assign(**{ITEM_ID: [1, 1, 2, 1], USER_ID: 5})
    assert sorted(merge_repeats(frame, "here", "sum")[WEIGHT].tolist()) == [1, 3]


def test_an_unknown_rule(random_ratings: Frames) -> None:
    with pytest.raises(ValueError, match="repeats must be one of latest, first, sum, got 'last'"):
        merge_repeats(random_ratings(), "here", "last")


def test_rows_in_order() -> None:
    for rows in (0, 1, 2, PIECE, PIECE + 1, 2 * PIECE + 1):
        frame = pd.DataFrame({USER_ID: np.arange(rows) // 3, ITEM_ID: np.arange(rows) % 3})
        assert in_order(frame)
        for row in {1, PIECE, rows - 1} & set(range(1, rows)):
            repeated = frame.copy()
            repeated.iloc[row] = repeated.iloc[row - 1]
            assert not in_order(repeated)
    assert not in_order(pd.DataFrame({USER_ID: ["a", "b"], ITEM_ID: ["a", "b"]}))
