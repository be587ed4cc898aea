"""User and item biases: `r(u, i) = mu + b_u + b_i`."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from recsys.bundle.centring import centred_factors
from recsys.bundle.factors import Factors
from recsys.models.base import SPAN_IN_UNITS, to_float64
from recsys.models.gradient import GradientModel
from recsys.models.validation import check_range


class BiasModel(GradientModel):
    """`r(u, i) = mu + b_u + b_i`, fitted by Adam (Koren, Bell & Volinsky 2009, equation 3).

    Args:
        n_users: Users the model is fitted on.
        n_items: Items the model is fitted on.
        rating_min: Lowest rating of the scale.
        rating_max: Highest rating of the scale.
        bias_reg_lambda: L2 on the biases, per rating.
        learning_rate: Initial learning rate of Adam.
        seed: Seed of the initial biases.
    """

    name = "biases"

    def __init__(
        self,
        n_users: int,
        n_items: int,
        rating_min: float = 1.0,
        rating_max: float = 5.0,
        *,
        bias_reg_lambda: float = 0.01,
        learning_rate: float = 0.01,
        seed: int = 0,
    ) -> None:
        super().__init__(n_users, n_items, rating_min, rating_max, learning_rate=learning_rate, seed=seed)
        check_range("bias_reg_lambda", bias_reg_lambda, 0.0)
        self.save_hyperparameters()
        self.bias_reg_lambda = bias_reg_lambda
        generator = torch.Generator().manual_seed(seed)
        self.mu = nn.Parameter(torch.tensor(0.5))
        self.user_bias = nn.Parameter(0.01 * torch.randn(n_users, generator=generator))
        self.item_bias = nn.Parameter(0.01 * torch.randn(n_items, generator=generator))

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        """Predicted ratings, unclipped, `(batch,)`; a row of -1 counts as the average user or item."""
        b_u = torch.where(user >= 0, self.user_bias[user], self.user_bias.mean())
        b_i = torch.where(item >= 0, self.item_bias[item], self.item_bias.mean())
        return self.stars(self.mu + b_u + b_i)

    def training_terms(self, user: Tensor, item: Tensor) -> tuple[Tensor, Tensor]:
        """Predictions on the [0, 1] scale, `(batch,)`, and the penalty in units squared, a scalar."""
        b_u, b_i = self.user_bias.index_select(0, user), self.item_bias.index_select(0, item)
        squares = (b_u.square() + b_i.square()).mean()
        return self.mu + b_u + b_i, self.bias_reg_lambda * SPAN_IN_UNITS**2 * squares

    @torch.no_grad()
    def factors(self) -> Factors:
        """The model as arrays with zero embeddings; the prior of new users follows from the penalty."""
        return centred_factors(
            mu=float(self.stars(self.mu)),
            user_bias=self.span * to_float64(self.user_bias),
            item_bias=self.span * to_float64(self.item_bias),
            user_factors=np.zeros((self.n_users, 1)),
            item_factors=np.zeros((self.n_items, 1)),
            prior_mean=np.zeros(2),
            prior_precision=np.array([[1.0, self.bias_reg_lambda]]),  # of an embedding, and of a bias, per rating
            prior_exponent=(1.0,),
        )
