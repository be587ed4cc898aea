"""Train, validation and test splits: pure functions of the ratings frame, in exact integer arithmetic.

Within a user, rows are ordered by (timestamp, row in the file), or at random where timestamps are equal (`ties`).
Validation rows are split from the training rows by the same rule, except for `kfold` and `official`, where they are a
random tenth.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
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

SPLITS = ("user_time", "global_time", "random", "kfold", "official", "leave_one_out", "held_out_users")
TIMELESS = ("random", "kfold", "official", "held_out_users")
TIES = ("file", "shuffled", "group")
FEWEST_RATINGS = 3  # users with fewer have only training rows under user_time, leave_one_out and held_out_users
RELEVANT = 5  # of a held-out user's rows, one in so many is relevant; the others are folded in
ML_100K = (100_000, 943, 1682)  # rows, users and items of the release that has official folds
OFFICIAL_FOLDS = 5
PIECE = 1 << 16  # rows


@dataclass(frozen=True)
class Split:
    """Row positions in the ratings frame: int64, ascending, disjoint and complete."""

    train: Integers
    val: Integers
    test: Integers
    val_history: Integers = field(default_factory=lambda: np.zeros(0, np.int64))  # rows of held-out users to fold in
    test_history: Integers = field(default_factory=lambda: np.zeros(0, np.int64))  # before `test` is asked for


def split_ratings(
    ratings: pd.DataFrame,
    split: str,
    *,
    test_fraction: float = 0.1,
    folds: int = 10,
    fold: int = 0,
    split_seed: int = 0,
    ties: str = "file",
) -> Split:
    """Split by rule `split`, one of `SPLITS`.

    Args:
        ratings: The frame of `RatingData`; only ids and timestamps are used.
        split: Name of the rule.
        test_fraction: For `global_time` and `random`: fraction of rows in the test set, in (0, 1), rounded up; also the
            fraction of the remaining rows for validation. For `held_out_users` of users.
        folds: Number of folds of `kfold`, at least 2.
        fold: The test fold: 0 to folds - 1 for `kfold`, 1 to 5 for `official`.
        split_seed: Seed of `random`, `kfold`, `held_out_users`, random validation rows and shuffled ties, in
            [0, 2**32).
        ties: Order of a user's rows with equal times, for splits in time: that of the `file`; `shuffled`; or, for
            `leave_one_out`, none: the `group` of all rows that share a user's last time is held out.

    Raises:
        ValueError: An argument is outside its range.
        DataError: The ratings do not support the rule.
    """
    if split not in SPLITS:
        raise ValueError(f"split must be one of {', '.join(SPLITS)}, got {split!r}")
    if not len(ratings):
        raise DataError("there are no ratings to split")
    _check_ties(ties, split)
    if ties == "shuffled" and TIMESTAMP in ratings:
        codes = _users(ratings)  # those of the file, whatever the order
        order = _generator(split_seed).permutation(len(ratings))
        arguments: dict[str, Any] = {"test_fraction": test_fraction, "split_seed": split_seed}
        frame = pd.DataFrame({USER_ID: codes, TIMESTAMP: ratings[TIMESTAMP].to_numpy()}).iloc[order]
        shuffled = split_ratings(frame, split, **arguments)
        return Split(*(np.sort(order[rows]) for rows in vars(shuffled).values()))

    if split == "held_out_users":
        return held_out_users(ratings, test_fraction, split_seed)
    if split in BY_USER:
        test, val = _last_of_users(ratings, BY_USER[split], whole_moments=ties == "group")
        return Split(np.flatnonzero(~(test | val)), np.flatnonzero(val), np.flatnonzero(test))

    def held_out(frame: pd.DataFrame) -> Mask:
        if split == "global_time":
            return global_time(frame, test_fraction)
        return random(len(frame), test_fraction if split == "random" else 0.1, split_seed)

    if split == "kfold":
        test = kfold(len(ratings), folds, fold, split_seed)
    else:
        test = official(ratings, fold) if split == "official" else held_out(ratings)
    rest = np.flatnonzero(~test)
    columns = ratings.columns.intersection([TIMESTAMP])
    val = held_out(ratings[columns].iloc[rest]) if len(rest) else np.zeros(0, dtype=bool)
    return Split(rest[~val], rest[val], np.flatnonzero(test))


def check_split(
    split: str, *, test_fraction: float, folds: int, fold: int, split_seed: int, ties: str = "file"
) -> None:
    """Raise a ValueError unless the arguments of `split_ratings` are valid, as far as can be told without ratings."""
    if split not in (*SPLITS, AUTO):
        raise ValueError(
            f"split must be one of {', '.join(SPLITS)} or {AUTO}, got {split!r}{did_you_mean(split, SPLITS)}"
        )
    if split in ("global_time", "random", "held_out_users"):
        _share(1, test_fraction)
    _check_ties(ties, split)
    if split in TIMELESS or ties == "shuffled":
        _generator(split_seed)
    if split == "kfold":
        _check_kfold(folds, fold)
    if split == "official":
        _check_official(fold)


def _check_ties(ties: str, split: str) -> None:
    if ties not in TIES:
        raise ValueError(f"ties must be one of {', '.join(TIES)}, got {ties!r}{did_you_mean(str(ties), TIES)}")
    if ties == "group" and split != "leave_one_out":
        raise ValueError(f"ties=group needs split leave_one_out, got {split}")
    if ties == "shuffled" and split in ("random", "kfold", "official"):
        raise ValueError(f"ties=shuffled needs a split in time, got {split}")


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
    return _last_of_users(ratings, _tenth)[0]


def leave_one_out(ratings: pd.DataFrame) -> Mask:
    """Each user's last rating."""
    return _last_of_users(ratings, _one)[0]


def _tenth(count: Integers) -> Integers:
    return np.where(count < FEWEST_RATINGS, 0, (count + 9) // 10)


def _one(count: Integers) -> Integers:
    return (count >= FEWEST_RATINGS).astype(np.int64)


BY_USER: dict[str, Callable[[Integers], Integers]] = {
    "user_time": _tenth,
    "leave_one_out": _one,
}  # rows of n to hold out


def global_time(ratings: pd.DataFrame, test_fraction: float) -> Mask:
    """The last `test_fraction` of all rows by timestamp; ties are in file order."""
    time = _timestamps(ratings)
    take = _share(len(time), test_fraction)
    cut = np.partition(time, len(time) - take)[len(time) - take]
    mask: Mask = time > cut
    tied = np.flatnonzero(time == cut)
    mask[tied[len(tied) - (take - int(mask.sum())) :]] = True
    return mask


def held_out_users(ratings: pd.DataFrame, test_fraction: float, split_seed: int) -> Split:
    """Random users, held out with all their rows: the strong generalisation of Marlin (2004).

    Of a held-out user's n rows, (n + 4) // 5 are relevant, the last ones, or random ones where there are no times; the
    others are to be folded in before these are asked for. Users with fewer than three rows are all training.
    """
    user = _users(ratings)
    generator, count = _generator(split_seed), np.bincount(user).astype(np.int64)
    eligible = generator.permutation(np.flatnonzero(count >= FEWEST_RATINGS))
    n_test = _share(len(eligible), test_fraction)
    n_val = _share(len(eligible) - n_test, test_fraction)
    part = np.zeros(len(count), np.int8)  # of each user
    part[eligible[:n_test]], part[eligible[n_test : n_test + n_val]] = 1, 2
    time = ratings[TIMESTAMP].to_numpy() if TIMESTAMP in ratings else generator.permutation(len(user))
    relevant = _Keys(user, time).last(np.where(part > 0, (count + RELEVANT - 1) // RELEVANT, 0))
    is_test, is_val = part[user] == 1, part[user] == 2
    masks = (~(is_test | is_val), is_val & relevant, is_test & relevant, is_val & ~relevant, is_test & ~relevant)
    return Split(*map(np.flatnonzero, masks))


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


def _users(ratings: pd.DataFrame) -> NDArray[np.integer[Any]]:
    """The user of each row as a code from 0; not every code needs to have rows."""
    ids = ratings[USER_ID]
    if ids.dtype.kind == "i" and len(ids):
        first, span = int(ids.min()), int(ids.max()) - int(ids.min()) + 1
        if span <= min(4 * len(ids), np.iinfo(np.int32).max):
            codes: NDArray[np.integer[Any]] = np.subtract(ids.to_numpy(), first, dtype=np.int64).astype(np.int32)
            return codes
    return np.asarray(ids.factorize()[0], dtype=np.int64)


def _timestamps(ratings: pd.DataFrame) -> Integers:
    if TIMESTAMP not in ratings:
        raise DataError(
            "the ratings have no timestamps, which this split needs; without them split must be one of "
            + ", ".join(TIMELESS)
        )
    time: Integers = ratings[TIMESTAMP].to_numpy()
    return time


def _last_of_users(
    ratings: pd.DataFrame, rule: Callable[[Integers], Integers], *, whole_moments: bool = False
) -> tuple[Mask, Mask]:
    """Test rows, the last of each user by (timestamp, row), and validation rows, the last of those before.

    One sort of (user, time) packed into integers gives each user's cuts; only ties with a cut are then resolved by row.
    This is several times faster than sorting row positions.

    Args:
        ratings: Ids of users and timestamps.
        rule: The number of rows to hold out of n.
        whole_moments: Hold out all rows that share a user's last time instead, unless these are all rows.
    """
    user, time = _users(ratings), _timestamps(ratings)
    keys = _Keys(user, time)
    count = np.bincount(user).astype(np.int64)

    def wanted(left: Integers) -> Integers:
        if not whole_moments:
            return rule(left)
        together = keys.at_last_time(count - left)
        return np.where((rule(left) > 0) & (together < left), together, 0)

    for_test = wanted(count)
    test = keys.last(for_test)
    return test, keys.last(for_test + wanted(count - for_test)) & ~test


class _Keys:
    """Rows in the order of (user, time), by one integer a row."""

    def __init__(self, user: NDArray[np.integer[Any]], time: Integers) -> None:
        self.user, self.time, self.earliest = user, time, int(time.min())
        self.span = int(time.max()) - self.earliest + 1
        if self.span * (int(user.max()) + 1) >= 1 << 62:
            self.time, self.earliest = np.unique(time, return_inverse=True)[1], 0
            self.span = int(self.time.max()) + 1
        self.in_order = self._packed(slice(None))
        self.in_order.sort()  # the fastest kind: equal keys are alike
        self.ends = np.cumsum(np.bincount(user))

    def last(self, take: Integers) -> Mask:
        """The last `take[u]` rows of each user u, by (time, row)."""
        cuts = self.in_order[np.minimum(self.ends - take, len(self.in_order) - 1)]
        cuts[take == 0] = np.iinfo(np.int64).max
        mask: Mask = np.empty(len(self.user), dtype=bool)
        tied = []
        for start in range(0, len(mask), PIECE):  # a piece fits into the cache of a core
            piece = slice(start, start + PIECE)
            key, cut = self._packed(piece), cuts[self.user[piece]]
            np.greater(key, cut, out=mask[piece])
            tied.append(start + np.flatnonzero(key == cut))
        rows = np.concatenate(tied)
        after_cut = self.ends - np.searchsorted(self.in_order, cuts, side="right")
        mask[_last_of_tied(rows, self.user[rows], np.where(take, take - after_cut, 0))] = True
        return mask

    def at_last_time(self, skip: Integers) -> Integers:
        """How many rows of each user share the last time, without the `skip[u]` last rows.

        It means nothing for users without more rows than these.
        """
        ends = np.maximum(self.ends - skip, 1)
        together: Integers = ends - np.searchsorted(self.in_order, self.in_order[ends - 1])
        return together

    def _packed(self, rows: slice) -> Integers:
        key: Integers = self.user[rows].astype(np.int64)
        key *= self.span  # in place: temporary arrays are costly at 25 million rows
        key += self.time[rows]
        key -= self.earliest
        return key


def _last_of_tied(rows: Integers, user: NDArray[np.integer[Any]], wanted: Integers) -> Integers:
    """The last `wanted[u]` of each user's rows; `rows` are ascending."""
    by_user = np.argsort(user, kind="stable")
    ends = np.cumsum(np.bincount(user, minlength=len(wanted)))
    sorted_user = user[by_user]
    from_end = ends[sorted_user] - np.arange(len(rows))
    last: Integers = rows[by_user[from_end <= wanted[sorted_user]]]
    return last


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
