"""Train, validation and test splits: pure functions of the ratings frame, in exact integer arithmetic.

Within a user, rows are ordered by (timestamp, row in the file). Validation rows are split from the training rows by the
same rule, except for `kfold` and `official`, where they are a random tenth.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from recsys.data.columns import ITEM_ID, TIMESTAMP, USER_ID
from recsys.data.errors import DataError, did_you_mean
from recsys.data.inference.finding import AUTO

Mask: TypeAlias = NDArray[np.bool_]  # (rows,), True for a test row
Integers: TypeAlias = NDArray[np.int64]

SPLITS = ("user_time", "global_time", "random", "kfold", "official", "leave_one_out")
TIMELESS = ("random", "kfold", "official")
FEWEST_RATINGS = 3  # users with fewer have only training rows under user_time and leave_one_out
ML_100K = (100_000, 943, 1682)  # rows, users and items of the release that has official folds
OFFICIAL_FOLDS = 5


@dataclass(frozen=True)
class Split:
    """Row positions in the ratings frame: int64, ascending, disjoint and complete."""

    train: Integers
    val: Integers
    test: Integers


def split_ratings(
    ratings: pd.DataFrame,
    split: str,
    *,
    test_fraction: float = 0.1,
    folds: int = 10,
    fold: int = 0,
    split_seed: int = 0,
) -> Split:
    """Split by rule `split`, one of `SPLITS`.

    Args:
        ratings: The frame of `RatingData`; only ids and timestamps are used.
        split: Name of the rule.
        test_fraction: For `global_time` and `random`: fraction of rows in the test set, in (0, 1), rounded up; also the
            fraction of the remaining rows for validation.
        folds: Number of folds of `kfold`, at least 2.
        fold: The test fold: 0 to folds - 1 for `kfold`, 1 to 5 for `official`.
        split_seed: Seed of `random`, `kfold` and random validation rows, in [0, 2**32).

    Raises:
        ValueError: An argument is outside its range.
        DataError: The ratings do not support the rule.
    """
    if split not in SPLITS:
        raise ValueError(f"split must be one of {', '.join(SPLITS)}, got {split!r}")
    if not len(ratings):
        raise DataError("there are no ratings to split")

    def held_out(frame: pd.DataFrame) -> Mask:
        if split in ("user_time", "leave_one_out"):
            return user_time(frame) if split == "user_time" else leave_one_out(frame)
        if split == "global_time":
            return global_time(frame, test_fraction)
        return random(len(frame), test_fraction if split == "random" else 0.1, split_seed)

    if split == "kfold":
        test = kfold(len(ratings), folds, fold, split_seed)
    else:
        test = official(ratings, fold) if split == "official" else held_out(ratings)
    rest = np.flatnonzero(~test)
    columns = ratings.columns.intersection([USER_ID, TIMESTAMP])
    val = held_out(ratings[columns].iloc[rest]) if len(rest) else np.zeros(0, dtype=bool)
    return Split(rest[~val], rest[val], np.flatnonzero(test))


def check_split(split: str, *, test_fraction: float, folds: int, fold: int, split_seed: int) -> None:
    """Raise a ValueError unless the arguments of `split_ratings` are valid, as far as can be told without ratings."""
    if split not in (*SPLITS, AUTO):
        raise ValueError(
            f"split must be one of {', '.join(SPLITS)} or {AUTO}, got {split!r}{did_you_mean(split, SPLITS)}"
        )
    if split in ("global_time", "random"):
        _share(1, test_fraction)
    if split in ("random", "kfold", "official"):
        _generator(split_seed)
    if split == "kfold":
        _check_kfold(folds, fold)
    if split == "official":
        _check_official(fold)


def _check_kfold(folds: int, fold: int) -> None:
    if folds < 2:
        raise ValueError(f"folds must be >= 2 for kfold, got {folds}")
    if not 0 <= fold < folds:
        raise ValueError(f"fold must be in [0, {folds}) for kfold, got {fold}")


def _check_official(fold: int) -> None:
    if not 1 <= fold <= OFFICIAL_FOLDS:
        raise ValueError(f"fold must be in [1, {OFFICIAL_FOLDS}] for split official, got {fold}")


def user_time(ratings: pd.DataFrame) -> Mask:
    """The last (n + 9) // 10 of each user's n ratings."""
    user, count = _users(ratings)
    return _last_of_users(user, _timestamps(ratings), np.where(count < FEWEST_RATINGS, 0, (count + 9) // 10))


def leave_one_out(ratings: pd.DataFrame) -> Mask:
    """Each user's last rating."""
    user, count = _users(ratings)
    return _last_of_users(user, _timestamps(ratings), (count >= FEWEST_RATINGS).astype(np.int64))


def global_time(ratings: pd.DataFrame, test_fraction: float) -> Mask:
    """The last `test_fraction` of all rows by timestamp; ties are in file order."""
    time = _timestamps(ratings)
    take = _share(len(time), test_fraction)
    cut = np.partition(time, len(time) - take)[len(time) - take]
    mask: Mask = time > cut
    tied = np.flatnonzero(time == cut)
    mask[tied[len(tied) - (take - int(mask.sum())) :]] = True
    return mask


def random(rows: int, test_fraction: float, split_seed: int) -> Mask:
    """Random rows, the same as scikit-learn's `train_test_split(random_state=split_seed)`."""
    mask = np.zeros(rows, dtype=bool)
    mask[_generator(split_seed).permutation(rows)[: _share(rows, test_fraction)]] = True
    return mask


def kfold(rows: int, folds: int, fold: int, split_seed: int) -> Mask:
    """Fold `fold` of scikit-learn's `KFold(folds, shuffle=True, random_state=split_seed)`."""
    if not 2 <= folds <= rows:
        raise ValueError(f"folds must be in [2, {rows}] for {rows} ratings, got {folds}")
    _check_kfold(folds, fold)
    order = np.arange(rows)
    _generator(split_seed).shuffle(order)
    mask = np.zeros(rows, dtype=bool)
    mask[np.array_split(order, folds)[fold]] = True
    return mask


def official(ratings: pd.DataFrame, fold: int) -> Mask:
    """MovieLens 100K's u1 to u5: test rows (fold - 1) * 20000 to fold * 20000 of `u.data`."""
    _check_official(fold)
    shape = (len(ratings), ratings[USER_ID].nunique(), ratings[ITEM_ID].nunique())
    if shape != ML_100K:
        raise DataError(
            "split official needs ml-100k as released: {} ratings by {} users of {} items".format(*ML_100K)
            + ", got {} by {} of {}".format(*shape)
        )
    mask = np.zeros(len(ratings), dtype=bool)
    size = len(ratings) // OFFICIAL_FOLDS
    mask[(fold - 1) * size : fold * size] = True
    return mask


def _users(ratings: pd.DataFrame) -> tuple[Integers, Integers]:
    """The user of each row as a code from 0, and the number of rows of each user."""
    user = np.asarray(ratings[USER_ID].factorize()[0], dtype=np.int64)
    return user, np.bincount(user)


def _timestamps(ratings: pd.DataFrame) -> Integers:
    if TIMESTAMP not in ratings:
        raise DataError(
            "the ratings have no timestamps, which this split needs; without them split must be one of "
            + ", ".join(TIMELESS)
        )
    time: Integers = ratings[TIMESTAMP].to_numpy()
    return time


def _last_of_users(user: Integers, time: Integers, take: Integers) -> Mask:
    """The last `take[u]` rows of each user u, by (timestamp, row).

    One sort of (user, time) packed into integers gives each user's cut; only ties with the cut are then resolved by
    row. This is several times faster than sorting row positions.
    """
    key = _packed(user, time)
    ends = np.cumsum(np.bincount(user))
    in_order = np.sort(key, kind="stable")  # fast for files that are mostly grouped by user
    first_taken = in_order[np.minimum(ends - take, len(key) - 1)]
    first_taken[take == 0] = np.iinfo(np.int64).max
    cut = first_taken[user]
    mask: Mask = key > cut
    tied = np.flatnonzero(key == cut)
    wanted = take - np.bincount(user[mask], minlength=len(take))
    mask[_last_of_tied(tied, user[tied], wanted)] = True
    return mask


def _last_of_tied(rows: Integers, user: Integers, wanted: Integers) -> Integers:
    """The last `wanted[u]` of each user's rows; `rows` are ascending."""
    by_user = np.argsort(user, kind="stable")
    ends = np.cumsum(np.bincount(user, minlength=len(wanted)))
    sorted_user = user[by_user]
    from_end = ends[sorted_user] - np.arange(len(rows))
    last: Integers = rows[by_user[from_end <= wanted[sorted_user]]]
    return last


def _packed(user: Integers, time: Integers) -> Integers:
    """One integer per row that sorts by user, then by time."""
    earliest = int(time.min())
    span = int(time.max()) - earliest + 1
    if span * (int(user.max()) + 1) >= 1 << 62:
        time, earliest = np.unique(time, return_inverse=True)[1], 0
        span = int(time.max()) + 1
    key = user * span
    key += time  # in place: temporary arrays are costly at 25 million rows
    key -= earliest
    return key


def _share(rows: int, test_fraction: float) -> int:
    """`test_fraction` of the rows, rounded up; in decimal, so that 0.1 of 30 rows is 3 and not 4."""
    if not 0 < test_fraction < 1:
        raise ValueError(f"test_fraction must be in (0, 1), got {test_fraction}")
    return math.ceil(Fraction(str(test_fraction)) * rows)


def _generator(split_seed: int) -> Any:
    """NumPy's legacy generator: used by scikit-learn's splits, and stable across versions."""
    if not 0 <= split_seed < 1 << 32:
        raise ValueError(f"split_seed must be in [0, 2**32), got {split_seed}")
    return np.random.RandomState(split_seed)
