"""iALS: implicit-feedback matrix factorization by alternating least squares over all user-item pairs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from recsys.bundle import Bundle
from recsys.bundle.centring import Side, centred_factors
from recsys.bundle.factors import Factors
from recsys.data.batches import Batch
from recsys.data.datamodule import RatingDataModule
from recsys.models.base import rows_or_mean, to_float64
from recsys.models.closed_form import SweepModel
from recsys.models.conjugate_gradient import Common, Systems, conjugate_gradient
from recsys.models.normal_equations import NormalEquations
from recsys.models.padded_rows import Prior
from recsys.models.ranking import RankingModel
from recsys.models.validation import check_choice, check_range

SOLVERS = ("conjugate_gradient", "cholesky")
PINNED_BIAS_PRECISION = 1e6  # prior precision that pins the bias of new users to zero


class ImplicitALS(RankingModel, SweepModel):
    """Scores `s(u, i) = p_u . q_i`, near 1 for observed pairs (any rating) and near 0 for unobserved pairs.

    Hu, Koren & Volinsky (2008), with the weights and penalties of Rendle et al. (2021). Each sweep solves for all items
    given the users, then for all users given the items, exactly or by conjugate gradients from where they are, so it
    never increases the loss

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
        solver: `conjugate_gradient` improves the rows' last values by a few steps a sweep; `cholesky` solves exactly,
            which takes several times as long.
        cg_steps: Steps of `conjugate_gradient` on each side a sweep, at least 1.
        warm_start: Folder of a bundle whose factors initialize rows with the same ids; None: small random embeddings.
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
        solver: str = "conjugate_gradient",
        cg_steps: int = 2,
        warm_start: str | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(n_users, n_items, rating_min, rating_max, embedding_dim, warm_start, seed)
        check_range("unobserved_weight", unobserved_weight, 0, 1, open_low=True, open_high=True)
        check_range("reg_lambda", reg_lambda, 0.0)
        check_range("reg_exponent", reg_exponent, 0.0, 1.0)
        check_choice("solver", solver, SOLVERS)
        check_range("cg_steps", cg_steps, 1)
        self.save_hyperparameters()
        self.unobserved_weight, self.reg_lambda, self.reg_exponent = unobserved_weight, reg_lambda, reg_exponent
        self.solver, self.cg_steps = solver, cg_steps
        self.fold_in_target = 1 / (1 - unobserved_weight)
        self.confidence: Tensor | None = None  # v of each rating, (ratings,)
        self.mu.zero_()

    def setup(self, stage: str) -> None:
        super().setup(stage)
        data = getattr(self.trainer, "datamodule", None)
        if stage == "fit" and isinstance(data, RatingDataModule):
            self.confidence = data.fit_weights

    def _start_from(self, bundle: Bundle, data: RatingDataModule) -> None:
        """Copy the rows as before centring, without biases."""
        factors = bundle.factors
        users, items = factors.user_factors - factors.prior_mean[:, :-1], factors.item_factors
        if factors.item_prior_mean is not None:
            items = items - factors.item_prior_mean[:, :-1]
        super()._start_from(replace(bundle, factors=replace(factors, user_factors=users, item_factors=items)), data)
        self.user_rows[:, -1], self.item_rows[:, -1] = 0, 0

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        """Scores, `(batch,)`; row -1 is treated as the average user or item."""
        return (rows_or_mean(user, self.user_rows) * rows_or_mean(item, self.item_rows)).sum(-1)

    def known(self, batch: Batch) -> Tensor | None:
        """The confidence `v` of each rating, `(ratings,)`; None where all are alike."""
        return None if self.confidence is None else self.confidence.to(self.mu)

    def sweep(self, users: NormalEquations, items: NormalEquations) -> Tensor:
        """Solve for items, then users. Returns the loss without penalties, per rating."""
        solve = self._cholesky if self.solver == "cholesky" else self._conjugate_gradient
        p, q = self.user_rows[:, :-1], self.item_rows[:, :-1]  # views
        solve(items, users, q, p)
        score = self.mu.new_empty(len(users.other))
        solve(users, items, p, q, score)
        everywhere = (users.gram(p) * items.gram(q)).sum()
        taken = self._taken(self._confidence(users))
        observed = users.total(taken * (1 - score).square() - self.unobserved_weight * score.square())
        return (observed + self.unobserved_weight * everywhere) / users.ratings

    def _confidence(self, side: NormalEquations) -> Tensor:
        """Of each rating in the side's order, `(ratings,)`, or `()` where all are alike."""
        return self.mu.new_ones(()) if side.value is None else side.value

    def _cholesky(
        self, side: NormalEquations, other: NormalEquations, rows: Tensor, others: Tensor, score: Tensor | None = None
    ) -> None:
        """Solve for a side exactly.

        Args:
            side: The normal equations of the side.
            other: Those of the other side.
            rows: The side's embeddings, `(n, e)`; overwritten.
            others: The other side's embeddings, `(n_other, e)`.
            score: Output for the score of each rating, `(ratings,)` in the side's order.
        """
        v = self._confidence(side)
        taken, penalty = self._taken(v), self._penalty(side)[:, None].expand(-1, others.shape[1])
        rows[:] = side.solve(
            others, taken.expand(len(side.other)), Prior(self._shared(other, others), penalty),
            gram_scale=1 - self.unobserved_weight, gram_weight=v if v.ndim else None, residual=score,
        )  # fmt: skip
        if score is not None:
            torch.sub(taken, score, out=score)

    def _conjugate_gradient(
        self, side: NormalEquations, other: NormalEquations, rows: Tensor, others: Tensor, score: Tensor | None = None
    ) -> None:
        """Improve a side; arguments as of `_cholesky`."""
        v, penalty = self._confidence(side), self._penalty(side)
        share = 1 - self.unobserved_weight
        weight, taken, total = share * v, self._taken(v), share * side.weight.to(v)
        added = other.gram(others, share * other.weight.to(v))
        common = Common(others, self._shared(other, others), added, total.sum(), len(rows))
        found = []
        for block in side.blocks:
            mine = slice(block.first, block.stop)
            of_ratings = (part if not part.ndim else block.of(part) for part in (weight, taken))
            systems = Systems(common, block.pairs, penalty[mine], total[mine], *of_ratings)
            of_score = None if score is None else block.of(score)
            found.append(conjugate_gradient(systems, rows[mine], self.cg_steps, of_score))
        rows[:] = side.rows(found)

    def _taken(self, v: Tensor) -> Tensor:
        """Weight in the loss of ratings with confidence `v`."""
        return self.unobserved_weight + (1 - self.unobserved_weight) * v

    def _shared(self, other: NormalEquations, others: Tensor) -> Tensor:
        """What all pairs of a row add to its matrix, rated or not, `(e, e)`."""
        return self.unobserved_weight * other.gram(others)

    def _penalty(self, side: NormalEquations) -> Tensor:
        """Penalty of each row, `(n,)`."""
        weight = side.weight + self.unobserved_weight * side.n_other
        return (self.reg_lambda * weight**self.reg_exponent).to(self.mu)

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
