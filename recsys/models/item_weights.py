"""Item-item models: a dense matrix of weights, from each item of a history to each item that is scored."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import embedding_bag

from recsys.bundle.factors import Factors
from recsys.bundle.history import LEAST
from recsys.data.histories import Histories
from recsys.models.one_pass import OnePassModel, item_bias_factors
from recsys.models.validation import check_range

TIES = 1e-3  # of the items' shares in a score
COPIES = 3  # of the matrix that a fit holds at a time
COLUMNS = 512  # of the Gram matrix that are summed at a time
GRAM_ELEMENTS = 1 << 24  # of the user-item matrix that are dense at a time: 64 MiB


class ItemWeightsModel(OnePassModel):
    """Scores `s(u, i) = b_i + sum over the history j of u of h_j W[j, i]`, `h_j = 0.5 ** (steps / history_half_life)`.

    The steps are from the latest item of the history, which has 0. So a new user, or one more item, needs no training.
    `b_i`, a thousandth of the share of the rows that are of item `i`, orders what the history leaves alike: all items,
    for someone without any.

    Args:
        n_users: Users the model is fitted on.
        n_items: Items the model is fitted on.
        rating_min: Lowest rating of the scale; ignored.
        rating_max: Highest rating of the scale; ignored.
        history_half_life: Steps after which an item of a history counts half, > 0; None: all count alike.
        max_items: The most items for which a matrix is made, >= 1.

    Raises:
        ValueError: An argument is outside its range, or there are more items than `max_items`.
    """

    sized_by_state: ClassVar[tuple[str, ...]] = ("history_item",)

    def __init__(
        self,
        n_users: int,
        n_items: int,
        rating_min: float,
        rating_max: float,
        history_half_life: float | None,
        max_items: int,
    ) -> None:
        super().__init__(n_users, n_items, rating_min, rating_max)
        if history_half_life is not None:
            check_range("history_half_life", history_half_life, 0, open_low=True)
        check_range("max_items", max_items, 1)
        if n_items > max_items:
            size = 4 * n_items**2 / 2**30
            raise ValueError(
                f"max_items must be >= the number of items, {n_items}, for model={self.name}, got {max_items}: its "
                f"matrix of item pairs needs {size:.1f} GiB when served, and {COPIES * size:.1f} GiB when fitted"
            )
        self.history_half_life = history_half_life
        self.weights = nn.Parameter(torch.zeros(n_items, n_items), requires_grad=False)  # W
        self.bias = nn.Parameter(torch.zeros(n_items), requires_grad=False)  # b
        self.register_buffer("history_start", torch.zeros(n_users + 1, dtype=torch.int64))
        self.register_buffer("history_item", torch.zeros(0, dtype=torch.int32))  # oldest first

    @abstractmethod
    def fit_weights(self, histories: Histories) -> Tensor:
        """The matrix W, `(n_items, n_items)`."""

    def fit_rows(self, histories: Histories) -> None:
        self.weights.copy_(self.fit_weights(histories))
        self.bias.copy_(TIES / len(histories.item) * torch.bincount(histories.item, minlength=self.n_items))
        self.history_start = histories.start.to(self.device)
        self.history_item = histories.item.int().to(self.device)

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        """Scores, `(batch,)`; user -1 has no history, and item -1 the mean bias and no weights."""
        known, row = torch.unique(user, return_inverse=True)
        scores = torch.where(user >= 0, self.scores(known.clamp(min=0))[row, item], self.bias[item])
        return torch.where(item >= 0, scores, self.bias.mean())

    def scores(self, user: Tensor) -> Tensor:
        """Scores of every fitted item, `(users, n_items)`."""
        start = self.history_start[user]
        length = self.history_start[user + 1] - start
        row = torch.repeat_interleave(torch.arange(len(user), device=user.device), length)
        place = torch.arange(len(row), device=user.device) - (length.cumsum(0) - length)[row]
        steps = (length[row] - 1 - place).to(self.weights.dtype)
        item = self.history_item[start[row] + place].long()
        h = torch.ones_like(steps) if self.history_half_life is None else torch.exp2(-steps / self.history_half_life)
        counts = h > LEAST  # the others are below rounding error next to the latest's
        stop = torch.bincount(row[counts], minlength=len(user)).cumsum(0)
        first = torch.cat([stop.new_zeros(1), stop[:-1]])
        sums = embedding_bag(item[counts], self.weights, first, mode="sum", per_sample_weights=h[counts])
        return self.bias + sums

    @torch.no_grad()
    def factors(self) -> Factors:
        """The weights, and item biases; users' rows are 0, as their histories are all that a score knows of them."""
        half_life = None if self.history_half_life is None else np.array([self.history_half_life], np.float32)
        weights = self.weights.float().cpu().numpy()
        return replace(item_bias_factors(self.bias, self.n_users), item_weights=weights, history_half_life=half_life)


def gram_matrix(histories: Histories, n_items: int) -> Tensor:
    """How many users have both of two items, `(n_items, n_items)`; on the diagonal, one."""
    gram = torch.zeros(n_items, n_items)
    users_at_once = max(1, GRAM_ELEMENTS // n_items)
    n_users = len(histories.start) - 1
    for first in range(0, n_users, users_at_once):
        last = min(first + users_at_once, n_users)
        rows = slice(int(histories.start[first]), int(histories.start[last]))
        block = torch.zeros(last - first, n_items)
        block[histories.user[rows] - first, histories.item[rows]] = 1
        for column in range(0, n_items, COLUMNS):  # the lower triangle, and a little of the upper
            gram[column:, column : column + COLUMNS].addmm_(block[:, column:].T, block[:, column : column + COLUMNS])
    return gram.tril_() + gram.tril(-1).T


def penalized_inverse(gram: Tensor, reg_lambda: float) -> Tensor:
    """`(gram + reg_lambda I)^-1` of a positive semidefinite matrix, which is overwritten."""
    gram.diagonal().add_(reg_lambda)
    root, failed = torch.linalg.cholesky_ex(gram)
    if failed:
        raise ValueError(
            f"reg_lambda must be larger for {len(gram)} items: their matrix is not positive definite in float32, got "
            f"{reg_lambda:g}"
        )
    return torch.cholesky_inverse(root)


def regression(system: Tensor, cross: Tensor, reg_lambda: float) -> Tensor:
    """W that minimizes `tr(W' (system + reg_lambda I) W) - 2 tr(W' cross)` with a diagonal of 0; overwrites `system`.

    Without the condition it would be `P cross`, with `P = (system + reg_lambda I)^-1`; the Lagrange multiplier of each
    column subtracts the multiple of P's that makes its diagonal 0, as for EASE (Steck 2019).
    """
    inverse = penalized_inverse(system, reg_lambda)
    weights = inverse @ cross
    inverse *= weights.diagonal() / inverse.diagonal()
    weights -= inverse
    weights.diagonal().zero_()  # but for rounding
    return weights
