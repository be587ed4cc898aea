"""AutoRec: an autoencoder of items, whose output layer is a factorization."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from recsys.bundle.centring import Side, centred_factors
from recsys.bundle.compression import empirical_precision
from recsys.bundle.factors import Factors
from recsys.data.batches import RatingRows
from recsys.evaluation.baselines import USER_PRIOR, fit_biases
from recsys.models import sparse_ops as products
from recsys.models.base import SPAN_IN_UNITS, rows_or_mean, to_float64
from recsys.models.gradient import GradientModel
from recsys.models.side_matrices import compressed_rows
from recsys.models.validation import check_range

INPUT_SCALE = 0.125  # of a rating's deviation by one unit, so that weights of the order of 1 encode many raters
RATED = 2.0  # what "has rated" is, in these units
START_STD = 0.2  # of the initial weights
HIDDEN_AT_A_TIME = 1 << 10  # items encoded at a time outside training


class AutoRec(GradientModel):
    """`r(u, i) = mu + b_u + b_i + c_u + w_u . h_i` with `h_i = sigmoid(a + sum of x_vi V_v + Y_v over v)`.

    An item is encoded from its raters v and their ratings: `x_vi` is a rating less the shrunk means `mu + b_v + b_i`,
    which stay as they are. Every user has an output `w_u, c_u`. That is I-AutoRec (Sedhain et al. 2015) with a second
    input, who has rated the item; its linear output layer makes it a factorization with `p_u = w_u` and `q_i = h_i`.
    Inputs are scaled by `INPUT_SCALE`, and `h_i` by `2 / sqrt(embedding_dim)`. The loss of a batch, all ratings of some
    items, is the mean of `(r - r^)^2` in units of a quarter of the scale, plus `reg_lambda (|V|^2 + |Y|^2 + |w|^2)`
    divided by the number of all ratings.

    Learned: `rating_encoder (n_users, embedding_dim)`, `rated_encoder (n_users, embedding_dim)`, `hidden_bias
    (embedding_dim,)`, `decoder (n_users, embedding_dim)`, `decoder_bias (n_users,)`.

    Args:
        n_users: Users the model is fitted on.
        n_items: Items the model is fitted on.
        rating_min: Lowest rating of the scale, in stars.
        rating_max: Highest rating of the scale, in stars.
        embedding_dim: Length of `h_i` and `w_u`, at least 1.
        dropout: Probability of leaving a rating out of an item's input, and of zeroing a coordinate of `h_i`, in
            training, in [0, 1).
        reg_lambda: Pseudo-count of weights of 0: a penalty of that size on their squares, once, in the sum over
            ratings.
        learning_rate: Initial learning rate of Adam.
        plateau_factor: Factor on the learning rate when the validation loss stops improving, in (0, 1).
        plateau_patience: Epochs without improvement before that.
        plateau_min_lr: Lower bound on the learning rate of the plateau schedule.
        lr_schedule: `plateau`, `onecycle` or `cosine` (see `GradientModel`).
        seed: Seed of the initial weights and dropout.

    Raises:
        ValueError: An argument is outside its range; the message names it.
    """

    name = "autorec"
    sized_by_state: ClassVar[tuple[str, ...]] = ("rater", "deviation")
    batches_of_items: ClassVar[bool] = True

    def __init__(
        self,
        n_users: int,
        n_items: int,
        rating_min: float = 1.0,
        rating_max: float = 5.0,
        *,
        embedding_dim: int = 256,
        dropout: float = 0.1,
        reg_lambda: float = 1.0,
        learning_rate: float = 0.008,
        plateau_factor: float = 0.2,
        plateau_patience: int = 3,
        plateau_min_lr: float = 1e-6,
        lr_schedule: str = "plateau",
        seed: int = 0,
    ) -> None:
        super().__init__(
            n_users, n_items, rating_min, rating_max, learning_rate=learning_rate, seed=seed, lr_schedule=lr_schedule,
            plateau_factor=plateau_factor, plateau_patience=plateau_patience, plateau_min_lr=plateau_min_lr,
        )  # fmt: skip
        check_range("embedding_dim", embedding_dim, 1)
        check_range("dropout", dropout, 0.0, 1.0, open_high=True)
        check_range("reg_lambda", reg_lambda, 0.0)
        self.save_hyperparameters()
        self.reg_lambda, self.keep, self.n_ratings = reg_lambda, 1.0 - dropout, 1
        generator = torch.Generator().manual_seed(seed)
        self.rating_encoder, self.rated_encoder, self.decoder = (
            nn.Parameter(START_STD * torch.randn(n_users, embedding_dim, generator=generator)) for _ in range(3)
        )
        self.hidden_bias = nn.Parameter(torch.zeros(embedding_dim))
        self.decoder_bias = nn.Parameter(torch.zeros(n_users))
        self.user_bias = nn.Parameter(torch.zeros(n_users), requires_grad=False)
        self.item_bias = nn.Parameter(torch.zeros(n_items), requires_grad=False)
        self.mu = nn.Parameter(torch.tensor(0.5), requires_grad=False)
        # The input in compressed rows; in the state, so that a checkpoint predicts without the ratings.
        self.register_buffer("rater_indptr", torch.zeros(n_items + 1, dtype=torch.int64))
        self.register_buffer("rater", torch.zeros(0, dtype=torch.int32))
        self.register_buffer("deviation", torch.zeros(0))  # of each of these ratings from the biases, in units
        self._hidden: Tensor | None = None  # of every item, outside training

    def init_from_data(self, rows: RatingRows) -> None:
        """Fit the biases, and store the ratings as input."""
        user, item, rating = (column.cpu().numpy() for column in rows.columns)
        biases = fit_biases(user, item, rating, self.n_users, self.n_items)
        self.n_ratings = max(1, len(rating))
        with torch.no_grad():
            self.mu.fill_(biases.mu)
            self.user_bias.copy_(torch.from_numpy(biases.user))
            self.item_bias.copy_(torch.from_numpy(biases.item))
        left = SPAN_IN_UNITS * (rating - (biases.mu + biases.user[user] + biases.item[item]))
        by_item = np.lexsort((user, item))
        starts = np.append(0, np.cumsum(np.bincount(item, minlength=self.n_items)))
        device = self.decoder.device
        self.rater_indptr = torch.from_numpy(starts).to(device)
        self.rater = torch.from_numpy(user[by_item].astype(np.int32)).to(device)
        self.deviation = torch.from_numpy(left[by_item].astype(np.float32)).to(self.decoder)
        self._hidden = None

    def load_state_dict(self, state_dict: Mapping[str, Any], *args: Any, **kwargs: Any) -> Any:
        """Forget the encoded items."""
        self._hidden = None
        return super().load_state_dict(state_dict, *args, **kwargs)

    def _apply(self, *args: Any, **kwargs: Any) -> AutoRec:
        """Forget the encoded items when the module moves to another device or type."""
        self._hidden = None
        return super()._apply(*args, **kwargs)  # type: ignore[no-any-return, no-untyped-call]

    def train(self, mode: bool = True) -> AutoRec:
        """Forget the encoded items, whose weights training changes."""
        self._hidden = None
        return super().train(mode)

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        """Predicted stars, unclipped, `(batch,)`; row -1 is treated as the average user or item."""
        hidden = self.hidden()
        dot = (rows_or_mean(user, self.decoder) * rows_or_mean(item, hidden)).sum(-1) / SPAN_IN_UNITS
        biases = rows_or_mean(user, self._user_level()) + rows_or_mean(item, self.item_bias)
        return self.rating_min + self.span * (self.mu + biases + dot)

    def hidden(self) -> Tensor:
        """`h_i` of every item, `(n_items, embedding_dim)`."""
        if self.training or self._hidden is None:
            items = torch.split(torch.arange(self.n_items, device=self.decoder.device), HIDDEN_AT_A_TIME)
            self._hidden = torch.cat([self._encoded(rows) for rows in items])
        return self._hidden

    def _user_level(self) -> Tensor:
        """`b_u + c_u` on the [0, 1] scale, `(n_users,)`."""
        return self.user_bias + self.decoder_bias / SPAN_IN_UNITS

    def _encoded(self, items: Tensor, keep: float = 1.0) -> Tensor:
        """`h_i` of some items, `(items, embedding_dim)`; with a part of their raters if `keep` is below 1."""
        indptr, rater, deviation = (self.get_buffer(name) for name in ("rater_indptr", "rater", "deviation"))
        start, count = indptr[items], indptr[items + 1] - indptr[items]
        ends = count.cumsum(0)
        place = torch.arange(int(ends[-1]) if len(ends) else 0, device=items.device)
        place += torch.repeat_interleave(start - ends + count, count)
        rater, value = rater[place].long(), deviation[place]
        value, rated = INPUT_SCALE * value, torch.full_like(value, INPUT_SCALE * RATED)
        if keep < 1:
            kept = self._mask(value.shape, keep, value)
            value, rated = value * kept, rated * kept
        indptr = nn.functional.pad(ends, (1, 0))
        by_rater = products.order(rater, self.n_users)
        row = torch.repeat_interleave(count)[by_rater]
        starts = nn.functional.pad(torch.bincount(rater, minlength=self.n_users).cumsum(0), (1, 0))
        total: Tensor = self.hidden_bias
        for table, values in ((self.rating_encoder, value), (self.rated_encoder, rated)):
            values = values.to(torch.float32)
            matrix = compressed_rows(indptr, rater, values, self.n_users)
            total = total + products.product(table, matrix, compressed_rows(starts, row, values[by_rater], len(items)))
        return torch.sigmoid(total) * float(2 / total.shape[1] ** 0.5)

    def _mask(self, shape: torch.Size, keep: float, like: Tensor) -> Tensor:
        """0 or 1 / keep."""
        drawn = torch.rand(shape, generator=self.generator, device=like.device)
        return (drawn < keep).to(like.dtype) / keep

    def training_terms(self, user: Tensor, item: Tensor) -> tuple[Tensor, Tensor]:
        """Predictions on the [0, 1] scale, `(batch,)`, and the penalty in units squared, a scalar."""
        items, place = torch.unique(item, return_inverse=True)
        hidden = self._encoded(items, self.keep)
        if self.keep < 1:
            hidden = hidden * self._mask(hidden.shape, self.keep, hidden)
        dot, squares = products.dot_and_squares(
            self.decoder, hidden.to(self.decoder.dtype), user, place, self.decoder.new_ones(self.n_users)
        )
        squares = squares + self.rating_encoder.square().sum() + self.rated_encoder.square().sum()
        predicted = self.mu + self._user_level()[user] + self.item_bias[item]
        return predicted + dot / SPAN_IN_UNITS, self.reg_lambda / self.n_ratings * squares

    @torch.no_grad()
    def factors(self) -> Factors:
        """The model as centred arrays in stars.

        The prior of a new user follows from the loss: `reg_lambda`, once, the L2 penalty equivalent to dropout, per
        rating (Srivastava et al. 2014, section 9.1), and the pseudo-count of the biases. A new item, which an encoder
        of its raters would need their weights for, has that of the fitted items' covariance.
        """
        root = self.unit**0.5  # so that both sides are in the root of a star
        hidden = root * to_float64(self.hidden())
        dim = hidden.shape[1]
        users = Side(
            bias=to_float64(self._user_level()) * self.span,
            factors=root * to_float64(self.decoder),
            prior_mean=np.zeros(dim + 1),
            prior_precision=np.stack(
                [
                    np.append(np.full(dim, self.reg_lambda * self.unit), USER_PRIOR),
                    np.append((1 / self.keep - 1) * np.square(hidden).mean(0), 0.0),
                ]
            ),
            prior_exponent=(0.0, 1.0),
        )
        rows = np.column_stack([hidden, to_float64(self.item_bias) * self.span])  # (n_items, dim + 1)
        items = Side(
            bias=rows[:, -1],
            factors=hidden,
            prior_mean=rows.mean(0),
            prior_precision=empirical_precision(rows, self._noise(), np.array([self.unit])).astype(np.float64)[None],
            prior_exponent=(0.0,),
        )
        return centred_factors(self.rating_min + self.span * float(self.mu), users, items)

    @torch.no_grad()
    def _noise(self) -> float:
        """The variance of the fitted ratings around the predictions, in stars squared."""
        item = torch.repeat_interleave(self.get_buffer("rater_indptr").diff())
        user, hidden = self.get_buffer("rater").long(), self.hidden()
        parts = zip(torch.split(user, 1 << 16), torch.split(item, 1 << 16), strict=True)
        predicted = torch.cat([(self.decoder[u] * hidden[i]).sum(-1) + self.decoder_bias[u] for u, i in parts])
        return float((self.get_buffer("deviation") - predicted).square().mean()) * self.unit**2
