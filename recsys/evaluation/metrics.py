"""Rating metrics: RMSE and MAE in stars, pooled over rows, for all, warm and cold rows.

Ranking metrics: recall, NDCG and hit rate of lists from the full catalogue.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import Module
from torchmetrics import Metric

GROUPS = ("", "_warm", "_cold")
LENGTHS = (10, 20)  # of the lists that are measured
USERS_AT_ONCE = 512  # whose scores of all items are held
NOTHING = -1  # fills a list that has fewer items than places

Rows = NDArray[np.int64]


class RatingErrors(Metric):
    """RMSE and MAE over all rows, warm rows and cold rows, in one pass.

    A row is cold when its user or its item is absent from the rows that the model was fitted on. Sums are
    kept in float64 and groups are weights rather than selections, so that an update never makes the host wait
    for the device.
    """

    full_state_update = False
    squared: Tensor
    absolute: Tensor
    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name in ("squared", "absolute", "count"):
            self.add_state(name, torch.zeros(3, dtype=torch.float64), dist_reduce_fx="sum")

    def _apply(self, fn: Callable[[Tensor], Tensor], exclude_state: Sequence[str] = ()) -> Module:
        """Follow the model to its device but keep float64: 2048 + 1 is 2048 in half precision."""
        return super()._apply(lambda state: state.to(fn(state).device), exclude_state)

    def update(self, predicted: Tensor, rating: Tensor, warm: Tensor) -> None:
        """Add a batch.

        Args:
            predicted: Predictions in stars, clipped to the scale, `(batch,)`.
            rating: True ratings in stars, `(batch,)`.
            warm: Whether both the user and the item were seen in fitting, bool `(batch,)`.
        """
        error = (predicted.double() - rating.double()).abs()
        groups = torch.stack([torch.ones_like(error), warm.double(), (~warm).double()])  # (3, batch)
        self.squared += groups @ error.square()
        self.absolute += groups @ error
        self.count += groups.sum(1)

    def compute(self) -> dict[str, Tensor]:
        """Figures by name: `rmse`, `mae`, each also `_warm` and `_cold`, and `share_cold`.

        An empty group's are NaN.
        """
        rmse, mae = (self.squared / self.count).sqrt(), self.absolute / self.count
        figures = {f"rmse{group}": value for group, value in zip(GROUPS, rmse, strict=True)}
        figures |= {f"mae{group}": value for group, value in zip(GROUPS, mae, strict=True)}
        return figures | {"share_cold": self.count[2] / self.count[0]}


def rating_figures(predicted: Tensor, rating: Tensor, warm: Tensor) -> dict[str, float | None]:
    """The figures of `RatingErrors` for rows held in memory; `None` for an empty group."""
    errors = RatingErrors()
    errors.update(predicted, rating, warm)
    if not len(rating):
        return dict.fromkeys((*(f"{m}{g}" for m in ("rmse", "mae") for g in GROUPS), "share_cold"))
    return {name: None if value.isnan() else value.item() for name, value in errors.compute().items()}


def catalogue_figures(
    scores: Callable[[Tensor], Tensor],
    fitted: tuple[Tensor, Tensor],
    wanted: tuple[Tensor, Tensor],
    lengths: tuple[int, ...] = LENGTHS,
) -> dict[str, float]:
    """How far up the lists of all items are those that users took, as `ranking_figures` has it.

    A list holds the best items among all that the model was fitted on, without those that the model was fitted on with
    this user.

    Args:
        scores: Gives the scores of every fitted item, `(users, n_items)`, on any device, for user rows, `(users,)`,
            of which there are 512 at most. A model's are `lambda user: user_factors[user] @ item_factors.T`.
        fitted: User and item rows that the model was fitted on, each `(fitted rows,)`.
        wanted: User and item rows held out, each `(held-out rows,)`. Rows of the user -1 are left out, since nobody
            knows whose they are; an item of -1, or past the fitted ones, counts as wanted and is in no list.
        lengths: Of the lists.

    Raises:
        ValueError: There is no held-out row whose user is known.
    """
    user, item = (column[wanted[0] >= 0].cpu() for column in wanted)
    if not len(user):
        raise ValueError("ranking needs held-out rows of users that the model was fitted on, and there are none")
    users = torch.unique(user)
    lists = best_unseen(scores, users, fitted, max(lengths)).cpu().numpy()
    return ranking_figures(lists, users.numpy(), user.numpy(), item.numpy(), lengths)


def best_unseen(scores: Callable[[Tensor], Tensor], users: Tensor, fitted: tuple[Tensor, Tensor], k: int) -> Tensor:
    """The k best items of each user that they were not fitted with, best first, `(users, k)`; see `catalogue_figures`.

    Args:
        scores: Of every fitted item for some users.
        users: Distinct rows, ascending.
        fitted: User and item rows to leave out.
        k: Length of the lists.
    """
    fitted_user, order = fitted[0].cpu().sort()
    fitted_item = fitted[1].cpu()[order]
    lists = []
    for block in torch.split(users, USERS_AT_ONCE):
        first, last = torch.searchsorted(fitted_user, block[0]), torch.searchsorted(fitted_user, block[-1], right=True)
        user, item = fitted_user[first:last], fitted_item[first:last]
        row = torch.searchsorted(block, user)
        seen = block[row] == user
        score = scores(block).clone()  # (block, n_items)
        score[row[seen], item[seen]] = -torch.inf
        lists.append(_top(score, k))
    return torch.cat(lists)


def _top(score: Tensor, k: int) -> Tensor:
    """Columns of the k highest scores of each row, best first, ties by column, `(rows, k)`; `NOTHING` for -inf."""
    length = min(k, score.shape[1])
    highest, column = score.topk(min(k + 1, score.shape[1]))
    # topk puts ties in any order, and of those that share the last place it takes any.
    column = column[:, :length].sort(1).values
    column = column.gather(1, score.gather(1, column).argsort(dim=1, descending=True, stable=True))
    shared = highest[:, length - 1] == highest[:, -1] if highest.shape[1] > length else column.new_zeros(0).bool()
    if shared.any():
        column[shared] = score[shared].argsort(dim=1, descending=True, stable=True)[:, :length]
    column = column.masked_fill(score.gather(1, column).isneginf(), NOTHING)
    return torch.nn.functional.pad(column, (0, k - length), value=NOTHING)


def ranking_figures(
    lists: Rows, users: Rows, test_user: Rows, test_item: Rows, lengths: tuple[int, ...] = LENGTHS
) -> dict[str, float]:
    """Means over users who have test items.

    Args:
        lists: Items, best first, `(users, at least max(lengths))`, filled with `NOTHING`.
        users: Whose lists they are, ascending, `(users,)`.
        test_user: Rows of the answers, `(test rows,)`; each is one of `users`.
        test_item: What the users took, `(test rows,)`; -1 is in no list.
        lengths: At which to measure.

    Returns:
        `recall@k`, `ndcg@k` (gain 1 an item, discount 1 / log2(1 + place), divided by the best possible) and `hr@k`
        (users with at least one test item in their list).
    """
    row = np.searchsorted(users, test_user)
    wanted = np.bincount(row, minlength=len(users))
    catalogue = 1 + max(int(lists.max(initial=0)), int(test_item.max(initial=0)))
    pair = np.where(lists == NOTHING, -1, np.arange(len(users))[:, None] * catalogue + lists)
    hit = np.isin(pair, (row * catalogue + test_item)[test_item >= 0])  # (users, places)
    discount = 1 / np.log2(np.arange(lists.shape[1]) + 2)
    figures: dict[str, float] = {}
    for k in lengths:
        found, gain = hit[:, :k].sum(1), hit[:, :k] @ discount[:k]
        best = np.append(0, np.cumsum(discount[:k]))[np.minimum(wanted, k)]
        asked = wanted > 0
        figures[f"recall@{k}"] = float((found[asked] / wanted[asked]).mean())
        figures[f"ndcg@{k}"] = float((gain[asked] / best[asked]).mean())
        figures[f"hr@{k}"] = float((found[asked] > 0).mean())
    return figures
