"""Rating errors by subset, and ranked lists of the full catalogue, measured by the metrics of the registry."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys.bundle.typing import Float64Array, Int64Array
from recsys.evaluation.outcomes import PADDING, RankedLists
from recsys.evaluation.registry import SUBSETS, in_group, measure
from recsys.progress import track

LIST_LENGTH = 20  # the longest cut-off of a ranking metric
USER_BLOCK = 512  # users whose scores of all items are held at once

Scores = NDArray[np.floating[Any]]
Metrics = dict[str, float | None]  # by name; None where there is nothing to measure


def rating_metrics(predicted: Scores, rating: Scores, warm: NDArray[np.bool_]) -> Metrics:
    """Every rating metric, pooled over all, warm and cold rows.

    Args:
        predicted: Predictions in stars, clipped to the scale, `(rows,)`.
        rating: True ratings in stars, `(rows,)`.
        warm: Whether both the user and the item were seen in fitting, `(rows,)`.

    Returns:
        `rmse`, `rmse_warm`, `rmse_cold`, `mae`, ... and `share_cold`; None for a subset without rows.
    """
    error = predicted.astype(np.float64) - rating
    subsets = dict(zip(SUBSETS, (error, error[warm], error[~warm]), strict=True))
    by_subset = {suffix: measure("rating", rows) for suffix, rows in subsets.items() if len(rows)}
    found: Metrics = {
        metric.name + suffix: by_subset.get(suffix, {}).get(metric.name)
        for metric in in_group("rating")
        for suffix in SUBSETS
    }
    return found | {"share_cold": float((~warm).mean()) if len(warm) else None}


def catalogue_metrics(
    scores: Callable[[Int64Array], Scores],
    fitted: tuple[Int64Array, Int64Array],
    held_out: tuple[Int64Array, Int64Array],
    names: Iterable[str] | None = None,
) -> Metrics:
    """Ranking metrics of lists from the full catalogue; see `ranking_metrics`.

    A list holds the best of all items that the model scores, except those that it was fitted on with this user.

    Args:
        scores: Gives the scores of every item, `(users, n_items)`, for user rows, `(users,)`, at most `USER_BLOCK` of
            them.
        fitted: User and item rows that the model was fitted on, each `(fitted rows,)`.
        held_out: User and item rows, each `(held-out rows,)`. Rows of the user -1 are left out, since nobody knows
            whose they are; an item of -1, or beyond the catalogue, is relevant and in no list.
        names: Of the metrics; all of the group by default.

    Raises:
        ValueError: There is no held-out row of a known user.
    """
    user, item = (column[held_out[0] >= 0] for column in held_out)
    if not len(user):
        raise ValueError("ranking needs held-out rows of users that the model was fitted on, and there are none")
    users = np.unique(user)
    lists, n_items = top_unseen(scores, users, fitted, LIST_LENGTH)
    raters = np.bincount(fitted[1], minlength=n_items)[:n_items]
    popularity = np.maximum(raters, 1) / max(1, len(np.unique(fitted[0])))
    return ranking_metrics(lists, users, user, item, popularity, names)


def ranking_metrics(
    lists: Int64Array,
    users: Int64Array,
    test_user: Int64Array,
    test_item: Int64Array,
    popularity: Float64Array,
    names: Iterable[str] | None = None,
) -> Metrics:
    """Ranking metrics of given lists; all held-out items are relevant, whatever their rating.

    Args:
        lists: Items, best first, `(users, places)`, filled with `PADDING`.
        users: Whose lists they are, ascending, `(users,)`. Those without test rows are left out.
        test_user: Users of the held-out rows, `(test rows,)`; each is one of `users`.
        test_item: Their items, `(test rows,)`; -1 is in no list.
        popularity: Share of the fitted users who have rated each item of the catalogue, `(n_items,)`, above 0.
        names: Of the metrics; all of the group by default.
    """
    row = np.searchsorted(users, test_user)
    relevant = np.bincount(row, minlength=len(users))
    catalogue = 1 + max(int(lists.max(initial=0)), int(test_item.max(initial=0)))
    pair = np.where(lists == PADDING, -1, np.arange(len(users))[:, None] * catalogue + lists)
    hits = np.isin(pair, (row * catalogue + test_item)[test_item >= 0])
    some = relevant > 0
    return measure("ranking", RankedLists(lists[some], hits[some], relevant[some], popularity), names)


def top_unseen(
    scores: Callable[[Int64Array], Scores], users: Int64Array, fitted: tuple[Int64Array, Int64Array], k: int
) -> tuple[Int64Array, int]:
    """The k best items of each user that they were not fitted with, best first, `(users, k)`, and the number of items.

    Args:
        scores: Of every item for some users; see `catalogue_metrics`.
        users: Distinct rows, ascending.
        fitted: User and item rows to leave out.
        k: Length of the lists.
    """
    order = np.argsort(fitted[0], kind="stable")
    fitted_user, fitted_item = fitted[0][order], fitted[1][order]
    lists, n_items = [], 0
    for start in track(range(0, len(users), USER_BLOCK), "ranking the catalogue"):
        block = users[start : start + USER_BLOCK]
        rows = slice(*np.searchsorted(fitted_user, [block[0], block[-1] + 1]))
        place = np.searchsorted(block, fitted_user[rows])
        seen = block[place] == fitted_user[rows]
        score = np.array(scores(block))  # (block, n_items); a copy, for it is written into
        score[place[seen], fitted_item[rows][seen]] = -np.inf
        lists.append(_top(score, k))
        n_items = score.shape[1]
    return np.concatenate(lists), n_items


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
