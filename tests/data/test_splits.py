from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from recsys.data.columns import ITEM_ID, RATING, TIMESTAMP, USER_ID
from recsys.data.errors import DataError
from recsys.data.splits import SPLITS, Split, global_time, leave_one_out, split_ratings, user_time

Frames = Callable[..., pd.DataFrame]
ANY_ROWS = tuple(split for split in SPLITS if split != "official")


def by_time(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows in the order that DESIGN.md fixes, found the slow way."""
    return frame.assign(row=np.arange(len(frame))).sort_values([TIMESTAMP, "row"])


@pytest.mark.parametrize("split", ANY_ROWS)
@pytest.mark.parametrize("seed", range(5))
def test_parts_are_disjoint_complete_and_ascending(split: str, seed: int, random_ratings: Frames) -> None:
    frame = random_ratings(seed, rows=50 + 97 * seed)
    parts = split_ratings(frame, split)
    together = np.concatenate(list(vars(parts).values()))
    assert np.array_equal(np.sort(together), np.arange(len(frame)))
    for part in (parts.train, parts.val, parts.test):
        assert part.dtype == np.int64
        assert (np.diff(part) > 0).all()
        assert len(part)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("split", "count"), [("user_time", lambda n: (n + 9) // 10), ("leave_one_out", lambda n: 1)])
def test_test_rows_are_each_users_last(
    seed: int, split: str, count: Callable[[int], int], random_ratings: Frames
) -> None:
    frame = random_ratings(seed, users=60)
    expected: list[int] = []
    for _, rows in by_time(frame).groupby(USER_ID):
        expected += rows["row"].tolist()[-count(len(rows)) :] if len(rows) >= 3 else []
    assert split_ratings(frame, split).test.tolist() == sorted(expected)


@pytest.mark.parametrize("split", ["user_time", "leave_one_out"])
def test_no_held_out_row_is_earlier_than_the_users_training(split: str, random_ratings: Frames) -> None:
    frame = random_ratings(3)
    parts = split_ratings(frame, split)
    for earlier, later in ((parts.train, parts.val), (parts.train, parts.test), (parts.val, parts.test)):
        last = frame.iloc[earlier].groupby(USER_ID)[TIMESTAMP].max()
        first = frame.iloc[later].groupby(USER_ID)[TIMESTAMP].min()
        both = last.index.intersection(first.index)
        assert len(both)
        assert (last[both] <= first[both]).all()


@pytest.mark.parametrize("rule", [user_time, leave_one_out])
@pytest.mark.parametrize(("rows", "taken"), [(1, 0), (2, 0), (3, 1)])
def test_users_with_fewer_than_three_ratings_stay_in_training(
    rule: Callable[[pd.DataFrame], np.ndarray], rows: int, taken: int
) -> None:
    frame = pd.DataFrame({USER_ID: [8] * rows + [9] * 5, TIMESTAMP: np.arange(rows + 5)})
    assert rule(frame)[:rows].sum() == taken


def test_equal_times_go_by_row() -> None:
    frame = pd.DataFrame({USER_ID: [1, 2] * 15, TIMESTAMP: [7] * 30})
    assert np.flatnonzero(user_time(frame)).tolist() == [26, 27, 28, 29]
    assert np.flatnonzero(global_time(frame, 0.1)).tolist() == [27, 28, 29]


def test_times_too_far_apart_to_pack_with_the_user() -> None:
    frame = pd.DataFrame({USER_ID: [5, 6] * 3, TIMESTAMP: [2**61, 0, 3, 2**61 - 1, 2, 1]})
    assert np.flatnonzero(leave_one_out(frame)).tolist() == [0, 3]


def test_string_ids(random_ratings: Frames) -> None:
    frame = random_ratings(1)
    named = frame.assign(**{USER_ID: "u" + frame[USER_ID].astype(str)})
    assert split_ratings(named, "user_time").test.tolist() == split_ratings(frame, "user_time").test.tolist()


@pytest.mark.parametrize("test_fraction", [0.1, 0.2, 0.25])
def test_global_time_is_one_cut(test_fraction: float, random_ratings: Frames) -> None:
    frame = random_ratings(2)
    parts = split_ratings(frame, "global_time", test_fraction=test_fraction)
    order = by_time(frame)["row"].to_numpy()
    count = int(len(frame) * test_fraction)
    assert parts.test.tolist() == sorted(order[-count:])
    rest = len(frame) - count
    val = -int(-rest * test_fraction // 1)
    assert parts.val.tolist() == sorted(order[rest - val : rest])


def digest(rows: Sequence[int]) -> str:
    return hashlib.sha256(np.array(rows, dtype="<i8").tobytes()).hexdigest()[:16]


@pytest.mark.parametrize(
    ("rows", "fold", "first", "all_of_it"),  # of KFold(10, shuffle=True, random_state=4).split(np.zeros(rows))
    [
        (500, 0, [8, 11, 18, 25], "50fedccda54541b6"),
        (500, 3, [1, 12, 38, 42], "98ccc16e7c75cf67"),
        (500, 9, [0, 21, 30, 44], "4b9e19a18f998f25"),
        (503, 0, [8, 11, 25, 47], "4f46b6d39e6589c1"),
        (503, 3, [1, 12, 38, 42], "b65abbf158cdac2b"),
        (503, 9, [0, 21, 30, 44], "267a53cb7a2903aa"),
    ],
)
def test_kfold_has_the_rows_of_scikit_learn(
    rows: int, fold: int, first: list[int], all_of_it: str, random_ratings: Frames
) -> None:
    parts = split_ratings(random_ratings(rows=rows), "kfold", folds=10, fold=fold, split_seed=4)
    assert parts.test[:4].tolist() == first
    assert digest(parts.test) == all_of_it
    assert len(parts.val) == -(-(rows - len(parts.test)) // 10)


def test_random_has_the_rows_of_scikit_learn(random_ratings: Frames) -> None:
    parts = split_ratings(random_ratings(), "random", test_fraction=0.2, split_seed=3)
    # train_test_split(np.arange(500), test_size=0.2, random_state=3)[1], sorted
    assert parts.test[:4].tolist() == [14, 15, 16, 27]
    assert digest(parts.test) == "8fa082a70c8eb3d4"


def test_random_follows_the_seed_alone(random_ratings: Frames) -> None:
    def test_rows(frame: pd.DataFrame, seed: int) -> list[int]:
        rows: list[int] = split_ratings(frame, "random", split_seed=seed).test.tolist()
        return rows

    assert test_rows(random_ratings(0), 1) == test_rows(random_ratings(5), 1)
    assert test_rows(random_ratings(0), 1) != test_rows(random_ratings(0), 2)


def test_a_share_is_taken_in_decimal(random_ratings: Frames) -> None:
    """0.1 * 30 is a little more than 3 in binary: rounding that up would take 4 rows."""
    assert len(split_ratings(random_ratings(rows=30), "random", test_fraction=0.1).test) == 3


def hundred_thousand() -> pd.DataFrame:
    rows = np.arange(100_000)
    return pd.DataFrame({USER_ID: rows % 943, ITEM_ID: rows % 1682, RATING: np.float32(3)})


def test_official_folds_are_runs_of_rows() -> None:
    assert split_ratings(hundred_thousand(), "official", fold=2).test.tolist() == list(range(20_000, 40_000))


def test_official_is_for_ml_100k_only(random_ratings: Frames) -> None:
    with pytest.raises(DataError, match=r"needs ml-100k as released: 100000 ratings .* got 500 by 40 of 500"):
        split_ratings(random_ratings(), "official", fold=1)


@pytest.mark.parametrize("fold", [1, 2, 3, 4, 5])
def test_official_equals_the_released_folds(fold: int, shared: Callable[[str], Path]) -> None:
    folder = shared("ml-100k")
    names = [USER_ID, ITEM_ID, RATING, TIMESTAMP]
    frame = pd.read_csv(folder / "u.data", sep="\t", names=names)
    released = pd.read_csv(folder / f"u{fold}.test", sep="\t", names=names)
    rows = frame.iloc[split_ratings(frame, "official", fold=fold).test]
    pairs = [set(zip(part[USER_ID], part[ITEM_ID], strict=True)) for part in (rows, released)]
    assert pairs[0] == pairs[1]


def test_no_timestamp(random_ratings: Frames) -> None:
    frame = random_ratings(times=False)
    for split in ("user_time", "global_time", "leave_one_out"):
        with pytest.raises(DataError, match=r"no timestamp.*must be one of random, kfold, official, held_out_users"):
            split_ratings(frame, split)
    for split in ("random", "kfold"):
        assert isinstance(split_ratings(frame, split), Split)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split": "temporal"}, "split must be one of user_time, .*, got 'temporal'"),
        ({"split": "random", "test_fraction": 2}, r"test_fraction must be in \(0, 1\), got 2"),
        ({"split": "global_time", "test_fraction": 0.0}, r"test_fraction must be in \(0, 1\), got 0.0"),
        ({"split": "random", "test_fraction": float("nan")}, r"test_fraction must be in \(0, 1\), got nan"),
        ({"split": "random", "split_seed": -1}, r"split_seed must be in \[0, 2\*\*32\), got -1"),
        ({"split": "kfold", "folds": 1}, r"folds must be in \[2, 500\] for 500 ratings, got 1"),
        ({"split": "kfold", "fold": 10}, r"fold must be in \[0, 10\) for kfold, got 10"),
        ({"split": "user_time", "ties": "first"}, "ties must be one of file, shuffled, group, got 'first'"),
        ({"split": "user_time", "ties": "group"}, "ties=group needs split leave_one_out, got user_time"),
        ({"split": "random", "ties": "shuffled"}, "ties=shuffled needs a split in time, got random"),
        ({"split": "held_out_users", "test_fraction": 1.0}, r"test_fraction must be in \(0, 1\), got 1.0"),
        ({"split": "official", "fold": 0}, r"fold must be in \[1, 5\] for split official, got 0"),
    ],
)
def test_arguments_out_of_range(arguments: dict[str, float], message: str, random_ratings: Frames) -> None:
    with pytest.raises(ValueError, match=message):
        split_ratings(random_ratings(), **arguments)  # type: ignore[arg-type]


def test_ties_are_shuffled_by_the_seed_and_nothing_else_is(random_ratings: Frames) -> None:
    frame = random_ratings(4)  # with many equal times
    for split in ("user_time", "global_time", "leave_one_out"):
        file, one, same, other = (
            split_ratings(frame, split, ties=ties, split_seed=seed).test.tolist()
            for ties, seed in (("file", 0), ("shuffled", 1), ("shuffled", 1), ("shuffled", 2))
        )
        assert one == same != other
        assert file != one
        keys = [USER_ID, TIMESTAMP] if split != "global_time" else [TIMESTAMP]
        chosen = [sorted(map(tuple, frame.loc[rows, keys].to_numpy().tolist())) for rows in (file, one)]
        assert chosen[0] == chosen[1]
    texts = frame.assign(**{USER_ID: "u" + frame[USER_ID].astype(str)})
    people = [
        set(texts[USER_ID].iloc[split_ratings(texts, "held_out_users", test_fraction=0.3, ties=ties).test])
        for ties in ("file", "shuffled")
    ]
    assert people[0] == people[1]
    apart = frame.assign(**{TIMESTAMP: np.random.default_rng(0).permutation(len(frame))})
    parts = [split_ratings(apart, "leave_one_out", ties=ties) for ties in ("file", "shuffled", "group")]
    assert parts[0].test.tolist() == parts[1].test.tolist() == parts[2].test.tolist()
    assert parts[0].val.tolist() == parts[1].val.tolist() == parts[2].val.tolist()


def test_a_group_is_all_rows_of_the_last_time() -> None:
    """User 1 has two last rows, and two before; user 2 nothing but one time; user 3 too few rows to be asked."""
    times = {1: [1, 4, 3, 4, 3, 1], 2: [5, 5, 5], 3: [1, 2], 4: [3, 3, 4]}
    users = [user for user, rows in times.items() for _ in rows]
    frame = pd.DataFrame({USER_ID: users, TIMESTAMP: [time for rows in times.values() for time in rows]})
    parts = split_ratings(frame, "leave_one_out", ties="group")
    assert parts.test.tolist() == [1, 3, 13]
    assert parts.val.tolist() == [2, 4]


@pytest.mark.parametrize("times", [True, False])
def test_held_out_users_are_held_out_whole(times: bool, random_ratings: Frames) -> None:
    frame = random_ratings(5, rows=2000, users=50, times=times)
    parts = split_ratings(frame, "held_out_users", test_fraction=0.2)
    users = {name: set(frame.loc[rows, USER_ID]) for name, rows in vars(parts).items()}
    assert users["test"] == users["test_history"]
    assert users["val"] == users["val_history"]
    assert not users["test"] & users["val"] | (users["test"] | users["val"]) & users["train"]
    assert (len(users["test"]), len(users["val"])) == (10, 8)
    for user in users["test"]:
        asked, known = (frame.loc[rows][frame.loc[rows, USER_ID] == user] for rows in (parts.test, parts.test_history))
        assert len(asked) == -(-(len(asked) + len(known)) // 5)
        if times:
            assert known[TIMESTAMP].max() <= asked[TIMESTAMP].min()
    again = split_ratings(frame, "held_out_users", test_fraction=0.2)
    other = split_ratings(frame, "held_out_users", test_fraction=0.2, split_seed=1)
    assert again.test.tolist() == parts.test.tolist() != other.test.tolist()


def test_users_with_few_ratings_are_not_held_out() -> None:
    frame = pd.DataFrame({USER_ID: [1, 1, 2, 2, 2], TIMESTAMP: [1, 2, 3, 3, 2]})
    parts = split_ratings(frame, "held_out_users", test_fraction=0.9)
    assert (parts.train.tolist(), parts.test.tolist(), parts.test_history.tolist()) == ([0, 1], [3], [2, 4])


def test_nothing_to_split(random_ratings: Frames) -> None:
    with pytest.raises(DataError, match=r"no ratings to split"):
        split_ratings(random_ratings(rows=0), "random")


def test_the_frame_is_left_as_it_was(random_ratings: Frames) -> None:
    frame = random_ratings()
    before = frame.copy(deep=True)
    for split in ANY_ROWS:
        split_ratings(frame, split)
    pd.testing.assert_frame_equal(frame, before)
