"""Alternating least squares (ALS)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from recsys.bundle.centring import Side, centred_factors
from recsys.bundle.factors import Factors
from recsys.data.batches import RatingRows
from recsys.models.base import to_float64
from recsys.models.closed_form import SweepModel, design_of
from recsys.models.normal_equations import NormalEquations
from recsys.models.padded_rows import Prior
from recsys.models.penalty import penalty_weights
from recsys.models.validation import check_range


class ALS(SweepModel):
    """`r(u, i) = mu + b_u + b_i + p_u . q_i` by alternating ridge regressions (Zhou et al. 2008, ALS-WR).

    Each sweep solves for all items given the users, then for all users given the items, so the loss never increases.
    The loss is that of `MatrixFactorization`, for ratings in units of a quarter of the scale:
    `mean over ratings of (r - r^)^2 + reg_lambda (|p_u|^2 + |q_i|^2) + bias_reg_lambda (b_u^2 + b_i^2)`.

    Args:
        n_users: Users the model is fitted on.
        n_items: Items the model is fitted on.
        rating_min: Lowest rating of the scale, in stars.
        rating_max: Highest rating of the scale, in stars.
        embedding_dim: Length of `p_u` and `q_i`, at least 1.
        reg_lambda: L2 penalty on the embeddings, per rating, in these units.
        reg_exponent: The total penalty of a row with n ratings grows as n^reg_exponent. 1 is the loss above (ALS-WR).
            Below 1, the penalty per rating is weighted by n^(reg_exponent - 1), scaled to a mean of 1 over the training
            rows, so that frequent rows are shrunk less. In [0, 1].
        bias_reg_lambda: L2 penalty on the biases, per rating, weighted likewise.
        bias_shrinkage: Pseudo-count of a bias of 0: a row with n ratings has the penalty `(bias_reg_lambda n +
            bias_shrinkage) b^2` in the sum over ratings. It shrinks the biases of rows with few ratings, which a
            penalty per rating alone does not.
        warm_start: Folder of a bundle whose factors initialize rows with the same ids; None: random initialization.
        seed: Seed of the initialization.

    Raises:
        ValueError: An argument is outside its range; the message names it.
    """

    name = "als"

    def __init__(
        self,
        n_users: int,
        n_items: int,
        rating_min: float = 1.0,
        rating_max: float = 5.0,
        *,
        embedding_dim: int = 32,
        reg_lambda: float = 0.15,
        reg_exponent: float = 0.5,
        bias_reg_lambda: float = 0.01,
        bias_shrinkage: float = 5.0,
        warm_start: str | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(n_users, n_items, rating_min, rating_max, embedding_dim, warm_start, seed)
        check_range("reg_lambda", reg_lambda, 0.0)
        check_range("reg_exponent", reg_exponent, 0.0, 1.0)
        check_range("bias_reg_lambda", bias_reg_lambda, 0.0)
        check_range("bias_shrinkage", bias_shrinkage, 0.0)
        self.save_hyperparameters()
        self.reg_lambda, self.reg_exponent, self.bias_reg_lambda = reg_lambda, reg_exponent, bias_reg_lambda
        self.bias_shrinkage = bias_shrinkage
        self.register_buffer("user_penalty", torch.ones(n_users))  # n^reg_exponent, scaled
        self.register_buffer("item_penalty", torch.ones(n_items))
        self.register_buffer("single_rating_weight", torch.ones(()))  # of a user with one rating
        self.register_buffer("item_single_rating_weight", torch.ones(()))  # of an item with one

    def init_from_data(self, rows: RatingRows) -> None:
        """Weight the penalties by the number of ratings, and initialize `mu` and the biases at shrunk means."""
        user, item, _ = (column.cpu().numpy() for column in rows.columns)
        for name, row, n in (("user_penalty", user, self.n_users), ("item_penalty", item, self.n_items)):
            weight, of_one = penalty_weights(row, n, self.reg_exponent)
            getattr(self, name).copy_(weight * torch.from_numpy(np.bincount(row, minlength=n)))
            single = "single_rating_weight" if name == "user_penalty" else "item_single_rating_weight"
            self.get_buffer(single).fill_(float(of_one))
        self.start_from_means(rows)

    def sweep(self, users: NormalEquations, items: NormalEquations) -> Tensor:
        """Solve for items, then users; users last, so that they equal the fold-in of their ratings."""
        self.item_rows.copy_(self._solved(items, self.user_rows, self.get_buffer("item_penalty")))
        errors = torch.empty_like(users.known)
        self.user_rows.copy_(self._solved(users, self.item_rows, self.get_buffer("user_penalty"), errors))
        return users.total(errors.square()) / users.ratings

    def _solved(self, side: NormalEquations, others: Tensor, penalty: Tensor, errors: Tensor | None = None) -> Tensor:
        design, biases = design_of(others)
        diagonal = penalty[:, None] * self._reg(design)
        diagonal[:, -1] += self.bias_shrinkage
        prior = Prior(design.new_zeros(()), diagonal)
        return side.solve(design, side.known, prior, offset=self.mu + biases, residual=errors)

    def _reg(self, like: Tensor) -> Tensor:
        """Penalty of each coordinate in stars, `(e,)`: `|p|^2` grows with the scale, the loss with its square."""
        reg = like.new_full((self.width,), self.reg_lambda * self.unit)
        reg[-1] = self.bias_reg_lambda
        return reg

    @torch.no_grad()
    def factors(self) -> Factors:
        """The model as centred arrays; the priors of new users and items follow from the loss."""
        return centred_factors(
            float(self.mu),
            self._side(self.user_rows, "single_rating_weight"),
            self._side(self.item_rows, "item_single_rating_weight"),
        )

    def _side(self, rows: Tensor, single: str) -> Side:
        """A side's rows, and the prior of a new one.

        Args:
            rows: `(rows, e)`.
            single: Buffer of the penalty's weight for a row with one rating.
        """
        values = to_float64(rows)
        per_rating = float(self.get_buffer(single)) * to_float64(self._reg(self.mu))
        return Side(
            bias=values[:, -1],
            factors=values[:, :-1],
            prior_mean=np.zeros(self.width),
            prior_precision=np.stack([per_rating, np.append(np.zeros(self.width - 1), self.bias_shrinkage)]),
            prior_exponent=(self.reg_exponent, 0.0),
        )
