"""iALS: implicit-feedback matrix factorization by alternating least squares over all user-item pairs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from recsys.bundle import Bundle
from recsys.bundle.centring import Side, centred_factors
from recsys.bundle.factors import Factors
from recsys.data.datamodule import RatingDataModule
from recsys.models.base import to_float64
from recsys.models.closed_form import SweepModel
from recsys.models.normal_equations import NormalEquations, Prior
from recsys.models.ranking import RankingModel
from recsys.models.validation import check_range

PINNED_BIAS_PRECISION = 1e6  # prior precision that pins the bias of new users to zero


class ImplicitALS(RankingModel, SweepModel):
    """Scores `s(u, i) = p_u . q_i`, near 1 for observed pairs (any rating) and near 0 for unobserved pairs.

    Hu, Koren & Volinsky (2008), with the weights and penalties of Rendle et al. (2021). Each sweep solves for all items
    given the users, then for all users given the items, so it never increases the loss

        sum over rated (1 - s)^2 + unobserved_weight * sum over not rated s^2
            + reg_lambda * (sum over users (n_u + unobserved_weight * n_items)^reg_exponent |p_u|^2 + items likewise)

    whose sum over all pairs needs only a Gram matrix. A confidence c for observed pairs, as in other implementations,
    corresponds to an `unobserved_weight` of 1 / c, their `reg_lambda` / c, and a `reg_exponent` of 0.

    Where the data have weights (plays, hours, kinds of events), an observed pair weighs

        unobserved_weight + (1 - unobserved_weight) * v

    instead of 1, with v its weight over the mean weight, so that the weights' unit does not matter: Hu, Koren &
    Volinsky's confidence 1 + alpha r, divided by that of an average pair. In penalties, n_u is the sum of v.

    Args:
        n_users: Users the model is fitted on.
        n_items: Items the model is fitted on.
        rating_min: Lowest rating of the scale; ignored.
        rating_max: Highest rating of the scale; ignored.
        embedding_dim: Length of `p_u` and `q_i`, at least 1.
        unobserved_weight: Weight of unobserved pairs, in (0, 1); observed pairs have weight 1, on average.
        reg_lambda: L2 penalty on the embeddings.
        reg_exponent: The penalty of a row grows with its weight in the loss to this power, in [0, 1].
        warm_start: Folder of a bundle whose user factors initialize users with the same ids; None: small random
            embeddings.
        seed: Seed of the initialization.

    Raises:
        ValueError: An argument is outside its range; the message names it.
    """

    name = "ials"

    def __init__(
        self,
        n_users: int,
        n_items: int,
        rating_min: float = 0.0,
        rating_max: float = 1.0,
        *,
        embedding_dim: int = 64,
        unobserved_weight: float = 0.1,
        reg_lambda: float = 0.003,
        reg_exponent: float = 1.0,
        warm_start: str | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(n_users, n_items, rating_min, rating_max, embedding_dim, warm_start, seed)
        check_range("unobserved_weight", unobserved_weight, 0, 1, open_low=True, open_high=True)
        check_range("reg_lambda", reg_lambda, 0.0)
        check_range("reg_exponent", reg_exponent, 0.0, 1.0)
        self.save_hyperparameters()
        self.unobserved_weight, self.reg_lambda, self.reg_exponent = unobserved_weight, reg_lambda, reg_exponent
        self.fold_in_target = 1 / (1 - unobserved_weight)
        self.confidence: Tensor | None = None  # v of each rating, (ratings,)
        self.mu.zero_()

    def setup(self, stage: str) -> None:
        super().setup(stage)
        data = getattr(self.trainer, "datamodule", None)
        if stage == "fit" and isinstance(data, RatingDataModule):
            self.confidence = data.fit_weights

    def _start_from(self, bundle: Bundle, data: RatingDataModule) -> None:
        """Copy the users' rows as before centring, without biases; the first sweep solves for the items."""
        factors = bundle.factors
        uncentred = factors.user_factors - factors.prior_mean[:, :-1]
        super()._start_from(replace(bundle, factors=replace(factors, user_factors=uncentred)), data)
        self.user_rows[:, -1], self.item_rows[:, -1] = 0, 0

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        """Scores, `(batch,)`; row -1 is treated as the average user or item."""
        p, q = (
            torch.where((row >= 0)[:, None], table[row.clamp(min=0)], table.mean(0))
            for row, table in ((user, self.user_rows), (item, self.item_rows))
        )
        return (p * q).sum(-1)

    def sweep(self, users: NormalEquations, items: NormalEquations, rating: Tensor) -> Tensor:
        """Solve for items, then users. Returns the loss without penalties, per rating."""
        v = None if self.confidence is None else self.confidence.to(rating)
        taken = torch.ones_like(rating) if v is None else self.unobserved_weight + (1 - self.unobserved_weight) * v
        errors = torch.empty_like(rating)
        self.item_rows[:, :-1] = self._solved(items, users.other, self.user_rows[:, :-1], taken, v)
        self.user_rows[:, :-1] = self._solved(users, items.other, self.item_rows[:, :-1], taken, v, errors)
        others = ((self.user_rows.T @ self.user_rows) * (self.item_rows.T @ self.item_rows)).sum()
        missing = errors - (taken - 1)  # 1 - s
        observed = (taken * missing.square() - self.unobserved_weight * (1 - missing).square()).sum()
        return (observed + self.unobserved_weight * others) / len(rating)

    def _solved(
        self,
        side: NormalEquations,
        row: Tensor,
        others: Tensor,
        taken: Tensor,
        v: Tensor | None,
        errors: Tensor | None = None,
    ) -> Tensor:
        """Rows of a side given the others'.

        Args:
            side: The normal equations of the side.
            row: The side's row of each rating, `(ratings,)`.
            others: The other side's embeddings, `(n_other, e)`.
            taken: Weight of each rating in the loss, `(ratings,)`.
            v: Its confidence, `(ratings,)`; None: 1.
            errors: Output for `taken - s` of each rating, `(ratings,)`.
        """
        weight = self.unobserved_weight
        count = side.count if v is None else torch.zeros_like(side.count, dtype=v.dtype).index_add_(0, row, v)
        penalty = self.reg_lambda * (count + weight * side.n_other) ** self.reg_exponent
        prior = Prior(weight * others.T @ others, penalty[:, None].expand(-1, others.shape[1]).to(others.dtype))
        return side.solve(others, taken, prior, gram_scale=1 - weight, gram_weight=v, residual=errors)

    def scores(self, user: Tensor) -> Tensor:
        """Scores of every fitted item, `(users, n_items)`."""
        return self.user_rows[user] @ self.item_rows.T

    @torch.no_grad()
    def factors(self) -> Factors:
        """The model as centred arrays; the priors of new users and items contain the other terms of the loss.

        With `w` the unobserved weight, a user's loss is, up to a constant,
        `(1 - w) * sum over rated (s - 1 / (1 - w))^2 + w * sum over all s^2`, plus the penalty. A fold-in minimizes the
        first sum divided by `1 - w`; hence `fold_in_target`, and the other terms divided by `1 - w` as the prior. An
        item's loss is the same with the sides swapped.
        """
        return centred_factors(
            0.0, self._side(self.user_rows, self.item_rows), self._side(self.item_rows, self.user_rows)
        )

    def _side(self, rows: Tensor, others: Tensor) -> Side:
        """A side's rows, and the prior of a new one, given the rows of the other side."""
        values, design, weight = to_float64(rows), to_float64(others), self.unobserved_weight
        all_cells, penalty = weight * design.T @ design, self.reg_lambda * np.eye(self.width)
        return Side(
            bias=values[:, -1],
            factors=values[:, :-1],
            prior_mean=np.zeros(self.width),
            prior_precision=np.stack([all_cells, penalty]) / (1 - weight),
            prior_exponent=(0.0, self.reg_exponent),
            prior_offset=(0.0, weight * len(design)),
            no_bias=PINNED_BIAS_PRECISION,
        )
