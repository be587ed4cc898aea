"""Ranked lists from the full catalogue for cases, measured by the ranking metrics of the registry."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys.bundle.typing import Float64Array, IndexArray, Int64Array
from recsys.evaluation.cases import Cases, held_out_cases
from recsys.evaluation.outcomes import PADDING, RankedLists, hits_of
from recsys.evaluation.registry import Metrics, in_group, measure
from recsys.progress import track

LIST_LENGTH = 20  # the longest cut-off of a ranking metric
USER_BLOCK = 512  # cases whose scores of all items are held at once

Scores = NDArray[np.floating[Any]]


def catalogue_metrics(
    scores: Callable[[Int64Array], Scores],
    fitted: tuple[Int64Array, Int64Array],
    held_out: tuple[Int64Array, Int64Array],
    names: Iterable[str] | None = None,
    *,
    one_of: bool = False,
) -> Metrics:
    """Ranking metrics of lists from the full catalogue for the users of held-out rows; see `ranked`.

    A list holds the best of all items that the model scores, except those that it was fitted on with this user.

    Args:
        scores: Gives the scores of every item, `(users, n_items)`, for user rows, `(users,)`, at most `USER_BLOCK` of
            them.
        fitted: User and item rows that the model was fitted on, each `(fitted rows,)`.
        held_out: User and item rows, each `(held-out rows,)`. Rows of the user -1 are left out, since nobody knows
            whose they are; an item of -1, or beyond the catalogue, is relevant and in no list.
        names: Of the metrics; all of the group by default.
        one_of: Whether only one of a user's held-out rows is the target, and nobody knows which.

    Raises:
        ValueError: There is no held-out row of a known user.
    """
    user, item = (column[held_out[0] >= 0] for column in held_out)
    if not len(user):
        raise ValueError("ranking needs held-out rows of users that the model was fitted on, and there are none")
    cases = held_out_cases(fitted, (user, item), one_of=one_of)
    found = ranked(cases, in_blocks(cases, scores), popularity_of(fitted))
    return measure("ranking", found.lists(), names)


def popularity_of(fitted: tuple[IndexArray, IndexArray]) -> Callable[[int], Float64Array]:
    """For a number of items, the share of the fitted users who have rated each, above 0."""
    n_users = max(1, len(np.unique(fitted[0])))
    return lambda n_items: np.maximum(np.bincount(fitted[1], minlength=n_items)[:n_items], 1) / n_users


def in_blocks(cases: Cases, scores: Callable[[Int64Array], Scores]) -> Iterator[tuple[slice, Scores]]:
    """The cases block by block, and the scores of their users, from a function of user rows."""
    for start in track(range(0, len(cases), USER_BLOCK), "ranking the catalogue"):
        block = slice(start, min(start + USER_BLOCK, len(cases)))
        yield block, scores(cases.user[block])


def ranked(
    cases: Cases, scored: Iterable[tuple[slice, Scores]], popularity: Callable[[int], Float64Array]
) -> RankedCases:
    """The lists of cases, from the full catalogue except the items of their histories; ties go by item row.

    Args:
        cases: At least one.
        scored: Consecutive cases, and the scores of every item for each, `(cases, n_items)`.
        popularity: From the number of items to the share of the fitted users who have rated each.
    """
    places = LIST_LENGTH + (int(cases.count.max()) - 1 if cases.one_of else 0)
    lists, n_items = [], 0
    for block, score in scored:
        score = np.array(score)  # a copy, for it is written into
        n_items = score.shape[1]
        place, item = cases.seen(block)
        known = item < n_items
        score[place[known], item[known]] = -np.inf
        lists.append(_top(score, places))
    every = np.concatenate(lists)
    counts, n_targets = popularity(n_items), len(cases.case)
    if not cases.one_of:
        return RankedCases(cases, every, np.arange(len(cases)), cases.case, counts)
    return RankedCases(cases, _of_each_target(cases, every), cases.case, np.arange(n_targets), counts)


def _of_each_target(cases: Cases, lists: Int64Array) -> Int64Array:
    """A list for each target, `(targets, places)`: its case's, from which the case's other targets are taken."""
    of_target = lists[cases.case]
    other = hits_of(lists, cases.case, cases.item)[cases.case] & (of_target != cases.item[:, None])
    order = np.argsort(other, axis=1, kind="stable")[:, :LIST_LENGTH]
    return np.take_along_axis(np.where(other, PADDING, of_target), order, 1)


@dataclass(frozen=True, eq=False)
class RankedCases:
    """Lists with what they should have: one for each case, or one for each target where it is one of several."""

    cases: Cases
    every: Int64Array  # (lists, places) items, best first, filled with `PADDING`
    case: Int64Array  # (lists,) whose list it is
    row: Int64Array  # (targets,) the list that should have it
    popularity: Float64Array  # (n_items,)

    def lists(self, targets: NDArray[np.bool_] | None = None) -> RankedLists:
        """The lists that should have some of the targets, and these; all targets by default."""
        chosen = np.ones(len(self.row), bool) if targets is None else targets
        weight = 1 / self.cases.count[self.case] if self.cases.one_of else None
        return RankedLists.of(self.every, self.row[chosen], self.cases.item[chosen], self.popularity, weight)

    def values(self) -> dict[str, Float64Array]:
        """By name, those metrics of each case, `(cases,)`, whose mean is a metric that reports show."""
        lists = self.lists()
        weight = 1.0 if lists.weight is None else lists.weight
        shown = {metric.name: metric.function(lists) for metric in in_group("ranking") if metric.display == "column"}
        found = {name: value * weight for name, value in shown.items() if not isinstance(value, float)}
        return {
            name: np.asarray(np.bincount(self.case, value, len(self.cases)), np.float64)
            for name, value in found.items()
        }


def _top(score: Scores, k: int) -> Int64Array:
    """Columns of the k highest scores of each row, best first, ties by column, `(rows, k)`; `PADDING` for -inf."""
    n = score.shape[1]
    if n <= k:
        column = np.argsort(-score, axis=1, kind="stable")
    else:
        column = np.sort(np.argpartition(score, n - k, axis=1)[:, n - k :], axis=1)
        best = np.take_along_axis(score, column, 1)
        # Of those that tie for the last place, argpartition takes any.
        tied = (score >= best.min(1, keepdims=True)).sum(1) > k
        column = np.take_along_axis(column, np.argsort(-best, axis=1, kind="stable"), 1)
        column[tied] = np.argsort(-score[tied], axis=1, kind="stable")[:, :k]
    column = np.where(np.isneginf(np.take_along_axis(score, column, 1)), PADDING, column)
    return np.pad(column, ((0, 0), (0, max(0, k - n))), constant_values=PADDING)
