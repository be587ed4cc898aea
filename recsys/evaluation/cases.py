"""Cases: what a recommender is asked in an evaluation of lists, a user with a history and the items that are relevant.

    targets   a user's cases                          history                        relevant
    all       one                                     the fitted rows                all test rows
    next      one for each test row                   all rows strictly before it    this row
    last      one for their last test row             all rows strictly before it    this row

The rows before a target may be test rows: they are known when the question comes, and in no fit.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from recsys.bundle import HISTORY, Bundle
from recsys.bundle.typing import IndexArray, Int64Array
from recsys.evaluation.holdout import test_rows
from recsys.evaluation.protocol import TIME_SPLITS
from recsys.evaluation.registry import TARGETS

SIDES: tuple[Literal["left"], Literal["right"]] = ("left", "right")


@dataclass(frozen=True, eq=False)
class Cases:
    """Users, what is known of them, and the items that a list should have; by user, and in order of time.

    Histories of one user are parts of one another, so they are ranges of one array.
    """

    user: Int64Array  # (cases,) rows of users, ascending
    history: IndexArray  # (history rows,) item rows, by user; a list has none of its case's history
    start: Int64Array  # (cases,) a case's history is `history[start:stop]`
    stop: Int64Array  # (cases,)
    case: Int64Array  # (targets,) ascending; each case has at least one
    item: Int64Array  # (targets,) item rows; one of -1, or beyond the catalogue, is in no list
    rows: IndexArray | None = None  # (history rows,) where the history is in the ratings of the bundle
    one_of: bool = False  # whether the target is any one of a case's items, as likely as the others
    tied: NDArray[np.bool_] | None = None  # (cases,) whether the order of equal times decides what the target is
    time: Int64Array | None = None  # (cases,) unix seconds of the question: of the first target; None: not known

    def __len__(self) -> int:
        return len(self.user)

    @property
    def count(self) -> Int64Array:
        """Number of targets, `(cases,)`."""
        return np.bincount(self.case, minlength=len(self))

    def seen(self, cases: slice) -> tuple[Int64Array, IndexArray]:
        """The histories of some cases as pairs: positions among these cases, and item rows."""
        start, length = self.start[cases], self.stop[cases] - self.start[cases]
        place = np.repeat(np.arange(len(length)), length)
        before = np.cumsum(length) - length
        return place, self.history[np.arange(len(place)) + np.repeat(start - before, length)]


def held_out_cases(
    known: tuple[IndexArray, IndexArray], held_out: tuple[IndexArray, IndexArray], *, one_of: bool = False
) -> Cases:
    """One case for each user who has held-out rows.

    Args:
        known: User and item rows of the histories, each `(known rows,)`.
        held_out: User and item rows, each `(held-out rows,)`, of users of at least 0.
        one_of: Whether only one of a user's held-out rows is the target, and nobody knows which.
    """
    by_user, of_target = (np.argsort(rows[0], kind="stable") for rows in (known, held_out))
    known_user = known[0][by_user]
    users, case = np.unique(held_out[0][of_target], return_inverse=True)
    start, stop = (np.searchsorted(known_user, users, side) for side in SIDES)
    item = np.asarray(held_out[1][of_target], np.int64)
    return Cases(users.astype(np.int64), known[1][by_user], start, stop, case, item, one_of=one_of)


def cases_of(bundle: Bundle, targets: str = "all") -> Cases:
    """The cases of a bundle's test rows.

    Args:
        bundle: The model; with timestamps, and split in time, for other targets than `all`.
        targets: One of `TARGETS`. With `last`, the target is any one of the test rows that share the user's last time,
            so that the order of equal times does not matter.

    Raises:
        ValueError: The model was fitted on the test rows, or there are none; or the targets are not possible with this
            bundle.
    """
    test, fitted = test_rows(bundle)
    rated, user, item = bundle.ratings, bundle.ratings.user_index(), bundle.ratings.item.astype(np.int64)
    begins = None if rated.timestamp is None else _moments(user, rated.timestamp)
    if targets == "all":
        known = fitted | (rated.part == HISTORY)
        one_of = bundle.manifest.get("ties") == "group"
        cases = held_out_cases((user[known], item[known]), (user[test], item[test]), one_of=one_of)
        tied = None if begins is None else _tied(cases, test, begins)
        return replace(cases, rows=np.flatnonzero(known), tied=tied, time=_asked(bundle, cases, test))
    check_targets(targets, bundle.manifest.get("split"))
    if not bundle.can_fold_in or begins is None:
        lacks = "a model that can fold in" if begins is not None else "timestamps"
        raise ValueError(f"targets={targets} needs {lacks}, and this bundle of {bundle.manifest.get('model')} has none")
    first = rated.indptr[:-1].astype(np.int64)
    if targets == "next":
        cases = Cases(user[test], item, first[user[test]], begins[test], np.arange(len(test)), item[test])
    else:
        ends = np.searchsorted(user[test], np.unique(user[test]), "right") - 1  # a user's last test row
        test = test[np.isin(begins[test], begins[test[ends]])]
        users, at, case = np.unique(user[test], return_index=True, return_inverse=True)
        cases = Cases(users, item, first[users], begins[test[at]], case, item[test], one_of=True)
    tied, asked = _tied(cases, test, begins), _asked(bundle, cases, test)
    return replace(cases, rows=np.arange(len(item)), tied=tied, time=asked)


def _asked(bundle: Bundle, cases: Cases, rows: Int64Array) -> Int64Array | None:
    """When each case is asked, `(cases,)`: at the time of its first target; `rows` of the targets are in order."""
    time = bundle.ratings.timestamp
    return None if time is None else time[rows][np.searchsorted(cases.case, np.arange(len(cases)))]


def _moments(user: Int64Array, time: Int64Array) -> Int64Array:
    """For each row, the first row of the same user and time, `(rows,)`, of rows by user and time."""
    new = (np.diff(user, prepend=-1) != 0) | (np.diff(time, prepend=time[:1]) != 0)
    return np.maximum.accumulate(np.where(new, np.arange(len(user)), 0))


def _tied(cases: Cases, rows: Int64Array, begins: Int64Array) -> NDArray[np.bool_]:
    """Whether the order of rows with equal times decides what the target is, `(cases,)`.

    That is so if a target shares its time with another row of the user that is no target of the case, or if it is any
    one of several.

    Args:
        cases: The cases.
        rows: Row of each target, `(targets,)`.
        begins: As `_moments` gives it.
    """
    moment = begins[rows]
    together = np.bincount(moment)[moment] if len(cases) < len(rows) else 1  # targets of the case at this time
    tied = np.bincount(begins)[moment] > together
    return (np.bincount(cases.case, tied, len(cases)) > 0) | (cases.one_of & (cases.count > 1))


def check_targets(targets: str, split: str | None = None) -> None:
    """Raise a ValueError unless they are one of `TARGETS`, and possible with that split (None: not known yet)."""
    if targets not in TARGETS:
        raise ValueError(f"targets must be one of {', '.join(TARGETS)}, got {targets!r}")
    if targets != "all" and split not in (None, *TIME_SPLITS):
        raise ValueError(
            f"targets={targets} needs a split in time ({', '.join(TIME_SPLITS)}), got {split}, where a model was "
            "fitted on ratings that a target's user gave later"
        )
