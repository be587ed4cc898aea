"""User and item biases: `r(u, i) = mu + b_u + b_i`."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from recsys.bundle.centring import Side, centred_factors
from recsys.bundle.factors import Factors
from recsys.data.batches import RatingRows
from recsys.evaluation.baselines import fit_biases
from recsys.models.base import SPAN_IN_UNITS, to_float64
from recsys.models.gradient import GradientModel
from recsys.models.penalty import one_per_row
from recsys.models.validation import check_range

START_STD = 0.01  # of the initial biases, on the [0, 1] scale


class BiasModel(GradientModel):
    """`r(u, i) = mu + b_u + b_i`, fitted by Adam (Koren, Bell & Volinsky 2009, equation 3).

    Args:
        n_users: Users the model is fitted on.
        n_items: Items the model is fitted on.
        rating_min: Lowest rating of the scale.
        rating_max: Highest rating of the scale.
        bias_reg_lambda: L2 on the biases, per rating.
        bias_shrinkage: Pseudo-count of a bias of 0: a row with n ratings has the penalty `(bias_reg_lambda n +
            bias_shrinkage) b^2` in the sum over ratings. It shrinks the biases of rows with few ratings, which a
            penalty per rating alone does not.
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
        bias_shrinkage: float = 5.0,
        learning_rate: float = 0.01,
        seed: int = 0,
    ) -> None:
        super().__init__(n_users, n_items, rating_min, rating_max, learning_rate=learning_rate, seed=seed)
        check_range("bias_reg_lambda", bias_reg_lambda, 0.0)
        check_range("bias_shrinkage", bias_shrinkage, 0.0)
        self.save_hyperparameters()
        self.bias_reg_lambda, self.bias_shrinkage = bias_reg_lambda, bias_shrinkage
        self.register_buffer("user_inverse_count", torch.zeros(n_users), persistent=False)  # 1 / number of ratings
        self.register_buffer("item_inverse_count", torch.zeros(n_items), persistent=False)
        self.mu = nn.Parameter(torch.tensor(0.5))
        self.user_bias, self.item_bias = (nn.Parameter(start) for start in self._start())

    def init_from_data(self, rows: RatingRows) -> None:
        """Weight the shrinkage by the number of ratings, and initialize `mu` and the biases at shrunk means."""
        user, item, rating = (column.cpu().numpy() for column in rows.columns)
        self.user_inverse_count, self.item_inverse_count = (
            one_per_row(user, self.n_users),
            one_per_row(item, self.n_items),
        )
        biases = fit_biases(user, item, rating, self.n_users, self.n_items)
        with torch.no_grad():
            self.mu.fill_(biases.mu)
            for bias, start, mean in zip(
                (self.user_bias, self.item_bias), self._start(), (biases.user, biases.item), strict=True
            ):
                bias.copy_(start + torch.from_numpy(mean))

    def _start(self) -> tuple[Tensor, Tensor]:
        """Small random biases of users and items."""
        generator = torch.Generator().manual_seed(self.seed)
        users, items = (START_STD * torch.randn(n, generator=generator) for n in (self.n_users, self.n_items))
        return users, items

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        """Predicted ratings, unclipped, `(batch,)`; a row of -1 counts as the average user or item."""
        b_u = torch.where(user >= 0, self.user_bias[user], self.user_bias.mean())
        b_i = torch.where(item >= 0, self.item_bias[item], self.item_bias.mean())
        return self.stars(self.mu + b_u + b_i)

    def training_terms(self, user: Tensor, item: Tensor) -> tuple[Tensor, Tensor]:
        """Predictions on the [0, 1] scale, `(batch,)`, and the penalty in units squared, a scalar."""
        b_u, b_i = self.user_bias.index_select(0, user), self.item_bias.index_select(0, item)
        squares = torch.zeros_like(b_u)
        for bias, row, side in ((b_u, user, "user"), (b_i, item, "item")):
            inverse = self.get_buffer(f"{side}_inverse_count").index_select(0, row)
            squares = squares + (self.bias_reg_lambda + self.bias_shrinkage * inverse) * bias.square()
        return self.mu + b_u + b_i, SPAN_IN_UNITS**2 * squares.mean()

    @torch.no_grad()
    def factors(self) -> Factors:
        """The model as arrays with zero embeddings; the priors of new users and items follow from the penalty."""
        return centred_factors(float(self.stars(self.mu)), self._side(self.user_bias), self._side(self.item_bias))

    def _side(self, bias: Tensor) -> Side:
        """A side's rows, and the prior of a new one."""
        return Side(
            bias=self.span * to_float64(bias),
            factors=np.zeros((len(bias), 1)),
            prior_mean=np.zeros(2),
            # Of an embedding, and of a bias, per rating; and of a bias, once.
            prior_precision=np.array([[1.0, self.bias_reg_lambda], [0.0, self.bias_shrinkage]]),
            prior_exponent=(1.0, 0.0),
        )
