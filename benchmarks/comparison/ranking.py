"""Rankings over the full catalogue: lists of unseen items, measured by `recsys.evaluation.metrics`. NumPy alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from benchmarks.comparison.task import Rows, Task

USERS_AT_ONCE = 512
NOTHING = -1  # fills a list that has fewer items than places


def best_unseen(scores: Callable[[Rows], NDArray[np.floating]], task: Task, k: int) -> Rows:
    """The k best items that a user has no training rating of, best first, `(test users, k)`.

    An item or user that training does not know cannot be scored: such an item is in no list, and such a user's list is
    empty.
    """
    lists = np.full((len(task.test_user), k), NOTHING)
    order = np.argsort(task.train_user, kind="stable")
    item, ends = task.train_item[order], np.cumsum(np.bincount(task.train_user, minlength=task.n_users))
    fitted = np.flatnonzero(task.test_user < task.fitted_users)
    for places in np.split(fitted, range(USERS_AT_ONCE, len(fitted), USERS_AT_ONCE)):
        users = task.test_user[places]
        score = np.array(scores(users), np.float64)  # (users, fitted items)
        for row, user in enumerate(users):
            score[row, item[ends[user - 1] if user else 0 : ends[user]]] = -np.inf
        lists[places, : min(k, score.shape[1])] = top(score, k)
    return lists


def top(score: NDArray[np.float64], k: int) -> Rows:
    """Columns of the k highest scores of each row, best first, ties by column; `NOTHING` where a score is -inf."""
    best = np.argsort(-score, axis=1, kind="stable")[:, :k]
    return np.where(np.isneginf(np.take_along_axis(score, best, 1)), NOTHING, best)
