"""Rankings over the full catalogue: lists of unseen items, and recall, NDCG and hit rate. NumPy alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from benchmarks.peers.task import Rows, Task

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


def ranking_figures(
    lists: Rows, users: Rows, test_user: Rows, test_item: Rows, ks: tuple[int, ...]
) -> dict[str, float]:
    """Means over users who have test items.

    Args:
        lists: Items, best first, `(users, at least max(ks))`.
        users: Whose lists they are, ascending, `(users,)`.
        test_user: Rows of the answers, `(test rows,)`; each is one of `users`.
        test_item: What the users took, `(test rows,)`.
        ks: Lengths at which to measure.

    Returns:
        `recall@k`, `ndcg@k` (gain 1 an item, discount 1 / log2(1 + place), divided by the best possible) and `hr@k`
        (users with at least one test item in their list).
    """
    row = np.searchsorted(users, test_user)
    wanted = np.bincount(row, minlength=len(users))
    catalogue = 1 + max(int(lists.max(initial=0)), int(test_item.max(initial=0)))
    pair = np.where(lists == NOTHING, -1, np.arange(len(users))[:, None] * catalogue + lists)
    hit = np.isin(pair, row * catalogue + test_item)  # (users, places)
    discount = 1 / np.log2(np.arange(lists.shape[1]) + 2)
    figures: dict[str, float] = {}
    for k in ks:
        found, gain = hit[:, :k].sum(1), hit[:, :k] @ discount[:k]
        best = np.append(0, np.cumsum(discount[:k]))[np.minimum(wanted, k)]
        asked = wanted > 0
        figures[f"recall@{k}"] = float((found[asked] / wanted[asked]).mean())
        figures[f"ndcg@{k}"] = float((gain[asked] / best[asked]).mean())
        figures[f"hr@{k}"] = float((found[asked] > 0).mean())
    return figures
