"""Biased matrix factorization: `r(u, i) = mu + b_u + b_i + p_u . q_i`."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from recsys.bundle.centring import Side, centred_factors
from recsys.bundle.factors import Factors
from recsys.data.batches import RatingRows, epoch_seed
from recsys.data.datamodule import RatingDataModule
from recsys.evaluation.baselines import fit_biases
from recsys.models import sparse_ops as products
from recsys.models.attribute_effects import AttributeEffects, item_side, user_side, with_biases, with_embeddings
from recsys.models.base import SPAN_IN_UNITS, rows_or_mean, to_float64
from recsys.models.gradient import GradientModel
from recsys.models.penalty import one_per_row, penalty_weights
from recsys.models.validation import check_choice, check_range

UINT16_VALUES, MASK_OFFSETS = 1 << 16, 1 << 18  # dropout: random bits per coordinate; start offsets of a step's masks
PINNED_BIAS_PRECISION = 1e3  # prior precision that pins a bias to zero: large, but harmless in float32


class MatrixFactorization(GradientModel):
    """`r(u, i) = mu + b_u + b_i + p_u . q_i`, fitted by Adam (Koren, Bell & Volinsky 2009).

    The loss, as a mean over the batch, for ratings in units of a quarter of the scale, is
    `(r - r^)^2 + reg_lambda (|p_u|^2 + |q_i|^2) + bias_reg_lambda (b_u^2 + b_i^2)`, with the embeddings before dropout
    and batch norm. The penalty applies per rating, so frequent rows are shrunk in proportion to their count.

    Learned, on the [0, 1] scale: `user_embedding (n_users, embedding_dim)`, `item_embedding (n_items,
    embedding_dim)`, `user_bias (n_users,)`, `item_bias (n_items,)`, `mu ()`.

    Args:
        n_users: Users the model is fitted on.
        n_items: Items the model is fitted on.
        rating_min: Lowest rating of the scale, in stars.
        rating_max: Highest rating of the scale, in stars.
        embedding_dim: Length of `p_u` and `q_i`, at least 1.
        dropout: Probability of zeroing a coordinate of an embedding in training, in [0, 1); rounded to multiples of
            2^-16.
        batch_norm: Normalize each side by BatchNorm1d, after dropout. Its scale is initialized small, since normalized
            embeddings would give the dot product a variance of `embedding_dim`.
        bias: Whether to use `b_u` and `b_i`; `mu` is always used.
        bias_init: `zero`, or `mean` to initialize `mu` and biases at the shrunk means of the training rows.
        embedding_std: Standard deviation of the initial embeddings.
        reg_lambda: L2 penalty on the embeddings, per rating, in these units.
        reg_exponent: The total penalty of a row with n ratings grows as n^reg_exponent. 1 is the loss above. Below 1,
            the penalty per rating is weighted by n^(reg_exponent - 1), scaled to a mean of 1 over the training rows, so
            that frequent rows are shrunk less. In [0, 1].
        bias_reg_lambda: L2 penalty on the biases, per rating, in these units.
        bias_shrinkage: Pseudo-count of a bias of 0: a row with n ratings has the penalty `(bias_reg_lambda n +
            bias_shrinkage) b^2` in the sum over ratings. It shrinks the biases of rows with few ratings, which a
            penalty per rating alone does not.
        attributes: Whether users and items have embeddings and biases of their attributes, if any, added to their own.
        attribute_shrinkage: Pseudo-count of an attribute's embedding and bias of 0: a penalty of that size on their
            squares, once, in the sum over ratings.
        penalty: `mean` as above, or `sum` over the batch, which grows with the batch size.
        learning_rate: Initial learning rate of Adam.
        plateau_factor: Factor on the learning rate when the validation loss stops improving, in (0, 1).
        plateau_patience: Epochs without improvement before that.
        plateau_min_lr: Lower bound on the learning rate of the plateau schedule.
        lr_schedule: `plateau`, `onecycle` or `cosine` (see `GradientModel`).
        seed: Seed of the initial embeddings and dropout.

    Raises:
        ValueError: An argument is outside its range; the message names it.
    """

    name = "mf"

    def __init__(
        self,
        n_users: int,
        n_items: int,
        rating_min: float = 1.0,
        rating_max: float = 5.0,
        *,
        embedding_dim: int = 64,
        dropout: float = 0.0,
        batch_norm: bool = False,
        bias: bool = True,
        bias_init: str = "mean",
        embedding_std: float = 0.05,
        reg_lambda: float = 0.05,
        reg_exponent: float = 1.0,
        bias_reg_lambda: float = 0.01,
        bias_shrinkage: float = 5.0,
        attributes: bool = True,
        attribute_shrinkage: float = 2000.0,
        penalty: str = "mean",
        learning_rate: float = 0.01,
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
        check_range("embedding_std", embedding_std, 0.0)
        check_range("reg_lambda", reg_lambda, 0.0)
        check_range("reg_exponent", reg_exponent, 0.0, 1.0)
        check_range("bias_reg_lambda", bias_reg_lambda, 0.0)
        check_range("bias_shrinkage", bias_shrinkage, 0.0)
        check_range("attribute_shrinkage", attribute_shrinkage, 0.0)
        check_choice("bias_init", bias_init, ("zero", "mean"))
        check_choice("penalty", penalty, ("mean", "sum"))
        self.save_hyperparameters()
        self.bias, self.bias_init, self.penalty = bias, bias_init, penalty
        self.reg_lambda, self.reg_exponent, self.bias_reg_lambda = reg_lambda, reg_exponent, bias_reg_lambda
        self.bias_shrinkage = bias_shrinkage
        self.with_attributes, self.attribute_shrinkage, self.n_ratings = attributes, attribute_shrinkage, 1
        self.keep = 1.0 - dropout
        self._masks, self._shifts, self._shift = torch.empty(0), random.Random(seed), 0
        generator = torch.Generator().manual_seed(seed)
        self.user_embedding = nn.Parameter(torch.randn(n_users, embedding_dim, generator=generator))
        self.item_embedding = nn.Parameter(torch.randn(n_items, embedding_dim, generator=generator))
        with torch.no_grad():
            self.user_embedding.mul_(embedding_std)
            self.item_embedding.mul_(embedding_std)
        self.user_bias = nn.Parameter(torch.zeros(n_users), requires_grad=bias)
        self.item_bias = nn.Parameter(torch.zeros(n_items), requires_grad=bias)
        self.mu = nn.Parameter(torch.tensor(0.5))
        self.register_buffer("user_weight", torch.ones(n_users))  # of each row in the penalty
        self.register_buffer("item_weight", torch.ones(n_items))
        self.register_buffer("single_rating_weight", torch.ones(()))  # of a user with one rating
        self.register_buffer("item_single_rating_weight", torch.ones(()))  # of an item with one
        self.register_buffer("user_inverse_count", torch.zeros(n_users), persistent=False)  # 1 / number of ratings
        self.register_buffer("item_inverse_count", torch.zeros(n_items), persistent=False)
        if penalty == "sum":
            self.register_buffer("batch_rows", torch.ones(()))  # ratings that a penalty is summed over
        self.user_norm = _batch_norm(embedding_dim) if batch_norm else None
        self.item_norm = _batch_norm(embedding_dim) if batch_norm else None
        self.user_attributes: AttributeEffects | None = None
        self.item_attributes: AttributeEffects | None = None

    def setup(self, stage: str) -> None:
        data = getattr(self.trainer, "datamodule", None)
        if stage == "fit" and self.with_attributes and isinstance(data, RatingDataModule):
            dim, users, items = self.user_embedding.shape[1], data.user_attributes(), data.item_attributes()
            self._set_attributes(
                AttributeEffects.of_table(
                    None if users is None else users.take(np.arange(self.n_users)), self.n_users, dim
                ),
                AttributeEffects.of_table(items, self.n_items, dim),
            )
        super().setup(stage)

    def load_state_dict(self, state_dict: Mapping[str, Any], *args: Any, **kwargs: Any) -> Any:
        """Make place for the attributes of the state before loading."""
        self._set_attributes(
            AttributeEffects.of_state(state_dict, "user_attributes.", self.n_users),
            AttributeEffects.of_state(state_dict, "item_attributes.", self.n_items),
        )
        return super().load_state_dict(state_dict, *args, **kwargs)

    def _set_attributes(self, users: AttributeEffects | None, items: AttributeEffects | None) -> None:
        for effects in (users, items):
            if effects is not None:
                effects.to(self.mu.device)
                effects.bias.requires_grad_(self.bias)
        self.user_attributes, self.item_attributes = users, items

    def init_from_data(self, rows: RatingRows) -> None:
        """Weight the penalty by the number of ratings; initialize `mu` and the biases if `bias_init` is `mean`."""
        user, item, rating = (column.cpu().numpy() for column in rows.columns)
        self.n_ratings = max(1, len(rating))
        self.user_weight, self.single_rating_weight = penalty_weights(user, self.n_users, self.reg_exponent)
        self.item_weight, self.item_single_rating_weight = penalty_weights(item, self.n_items, self.reg_exponent)
        self.user_inverse_count, self.item_inverse_count = (
            one_per_row(user, self.n_users),
            one_per_row(item, self.n_items),
        )
        if self.bias_init == "zero":
            return
        biases = fit_biases(user, item, rating, self.n_users, self.n_items)
        with torch.no_grad():
            self.mu.fill_(biases.mu)
            if self.bias:
                self.user_bias.copy_(torch.from_numpy(biases.user))
                self.item_bias.copy_(torch.from_numpy(biases.item))

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        """Predicted stars, unclipped, `(batch,)`; row -1 is treated as the average user or item."""
        p, user_bias = self._rows(
            user, self._user_table(), with_biases(self.user_bias, self.user_attributes), self.user_norm
        )
        q, item_bias = self._rows(
            item,
            with_embeddings(self.item_embedding, self.item_attributes),
            with_biases(self.item_bias, self.item_attributes),
            self.item_norm,
        )
        return self.rating_min + self.span * (self.mu + user_bias + item_bias + (p * q).sum(-1))

    def _user_table(self) -> Tensor:
        """User vectors before dropout and normalization, `(n_users, dim)`."""
        return with_embeddings(self.user_embedding, self.user_attributes)

    def _rows(self, row: Tensor, table: Tensor, bias: Tensor, norm: nn.BatchNorm1d | None) -> tuple[Tensor, Tensor]:
        """Normalised embeddings `(batch, dim)` and biases `(batch,)` as prediction uses them."""
        embedding = rows_or_mean(row, table)
        if norm is not None:
            scale, shift = _affine(norm)
            embedding = embedding * scale + shift
        return embedding, rows_or_mean(row, bias)

    def training_terms(self, user: Tensor, item: Tensor) -> tuple[Tensor, Tensor]:
        """Predictions on the [0, 1] scale, `(batch,)`, and the penalty in units squared, a scalar."""
        user_count, item_count = products.counts(user, self.n_users), products.counts(item, self.n_items)
        weights = user_count * self.get_buffer("user_weight"), item_count * self.get_buffer("item_weight")
        if self.keep == 1.0 and self.user_norm is None:
            dot, squares = self._plain_terms(user, item, *weights)
        else:
            dot = self._noisy_products(user, item)
            squares = products.weighted_squares(self.user_embedding, weights[0])
            squares = squares + products.weighted_squares(self.item_embedding, weights[1])
        predicted = self.mu + dot
        # The scale [0, 1] is 4 units long, and a dot product shares that factor between its two sides.
        penalty = self.reg_lambda * SPAN_IN_UNITS * squares
        if self.bias:
            predicted = predicted + with_biases(self.user_bias, self.user_attributes).index_select(0, user)
            predicted = predicted + with_biases(self.item_bias, self.item_attributes).index_select(0, item)
            for bias, count, inverse in (
                (self.user_bias, user_count, self.get_buffer("user_inverse_count")),
                (self.item_bias, item_count, self.get_buffer("item_inverse_count")),
            ):
                weight = self.bias_reg_lambda + self.bias_shrinkage * inverse
                penalty = penalty + SPAN_IN_UNITS**2 * (bias.square() * count * weight).sum()
        for effects in (self.user_attributes, self.item_attributes):
            if effects is not None:
                squares = (
                    SPAN_IN_UNITS * effects.embedding.square().sum() + SPAN_IN_UNITS**2 * effects.bias.square().sum()
                )
                penalty = penalty + self.attribute_shrinkage * len(user) / self.n_ratings * squares
        if self.penalty == "sum":
            self.get_buffer("batch_rows").fill_(len(user))
            return predicted, penalty
        return predicted, penalty / len(user)

    def _plain_terms(
        self, user: Tensor, item: Tensor, user_weight: Tensor, item_weight: Tensor
    ) -> tuple[Tensor, Tensor]:
        """`p_u . q_i` of a batch, `(batch,)`, and the weighted squares of all embeddings, a scalar."""
        users, items = self._user_table(), with_embeddings(self.item_embedding, self.item_attributes)
        summed_users, summed_items = users is not self.user_embedding, items is not self.item_embedding
        dot, squares = products.dot_and_squares(
            users, items, user, item, None if summed_users else user_weight, None if summed_items else item_weight
        )
        if summed_users:
            squares = squares + products.weighted_squares(self.user_embedding, user_weight)
        if summed_items:
            squares = squares + products.weighted_squares(self.item_embedding, item_weight)
        return dot, squares

    def _noisy_products(self, user: Tensor, item: Tensor) -> Tensor:
        """`p_u . q_i` of a training batch, `(batch,)`, after dropout and batch norm, where there are any."""
        p = self._dropout(products.rows(self._user_table(), user))  # (batch, dim)
        q = self._dropout(
            products.rows(with_embeddings(self.item_embedding, self.item_attributes), item)
        )  # (batch, dim)
        if self.user_norm is not None and self.item_norm is not None:
            p, q = self.user_norm(p), self.item_norm(q)
        return (p * q).sum(-1)  # autocast would have vecdot round to 16 bits

    def _dropout(self, embedding: Tensor) -> Tensor:
        """Apply dropout by a slice of the epoch's masks at a random offset, faster than drawing new masks."""
        if self.keep == 1.0:
            return embedding
        n = embedding.numel()
        if len(self._masks) < n + MASK_OFFSETS:
            self._masks = self._draw_masks(
                n + MASK_OFFSETS + embedding.shape[-1]
            )  # other batches may be one row larger
        # Never the same offset twice in succession: both sides of a rating would lose the same coordinates.
        self._shift = (self._shift + 1 + self._shifts.randrange(MASK_OFFSETS - 1)) % MASK_OFFSETS
        return embedding * self._masks[self._shift : self._shift + n].view_as(embedding).to(embedding.dtype)

    def _draw_masks(self, n: int) -> Tensor:
        """0 or 1 / keep, `(n,)` float32, from 16 random bits each: `bernoulli_` takes many times as long on CPU."""
        kept = max(1, round(self.keep * UINT16_VALUES))
        words = torch.empty(-(-n // 4), dtype=torch.int64, device=self.device)
        bits = words.random_(-(2**63), None, generator=self.generator).view(torch.int16)[:n]
        return (bits <= kept - UINT16_VALUES // 2 - 1).float().mul_(UINT16_VALUES / kept)

    def on_train_epoch_start(self) -> None:
        super().on_train_epoch_start()
        self._masks, self._shift = self._masks[:0], 0
        self._shifts.seed(epoch_seed(self.seed, self.current_epoch, 1 + self.global_rank))

    @torch.no_grad()
    def factors(self) -> Factors:
        """The model as centred arrays in stars, with batch norm folded in.

        The priors of a new user and of a new item with n ratings follow from the loss: `reg_lambda`, scaled by
        n^reg_exponent; `bias_shrinkage`, once; and per rating `bias_reg_lambda` and the L2 penalty equivalent to
        dropout, `(1 / keep^2 - 1) q_d^2` per coordinate (Srivastava et al. 2014, section 9.1), averaged over the other
        side. Without `bias`, the prior pins the bias to 0. With `penalty=sum` the penalty is multiplied by the number
        of ratings in the last training batch.
        """
        users = self._exported(self._user_table(), self.user_norm)
        items = self._exported(with_embeddings(self.item_embedding, self.item_attributes), self.item_norm)
        biases = (with_biases(self.user_bias, self.user_attributes), with_biases(self.item_bias, self.item_attributes))
        side = self._side(items, users, biases[1], "item_single_rating_weight")
        of_items = item_side(side, self.item_attributes, _unit(items, self.span))
        side = self._side(users, items, biases[0], "single_rating_weight")
        of_users = user_side(side, self.user_attributes, _unit(users, self.span))
        implicit = self._implicit_items()
        if implicit is not None:
            shifts = to_float64(implicit * self.span**0.5)
            of_users = replace(of_users, implicit=np.pad(shifts, ((0, len(of_items.bias) - self.n_items), (0, 0))))
        mu = self.rating_min + self.span * float(self.mu)
        return centred_factors(mu, of_users, of_items, fitted_items=self.n_items)

    def _exported(self, table: Tensor, norm: nn.BatchNorm1d | None) -> _Exported:
        """A side's embeddings as prediction uses them, in the root of a star."""
        star = self.span**0.5
        scale, shift = _affine(norm) if norm is not None else (table.new_ones(()), table.new_zeros(()))
        return _Exported((table * scale + shift) * star, scale.expand(table.shape[1]), shift * star)

    def _side(
        self,
        own: _Exported,
        other: _Exported,
        bias: Tensor,
        single: str,
    ) -> Side:
        """A side's rows, and the prior of a new one.

        Args:
            own: Embeddings of the side.
            other: And of the other one.
            bias: On the [0, 1] scale, `(n,)`.
            single: Buffer of the penalty's weight for a row with one rating.
        """
        dim = other.rows.shape[1]
        implied = (self.keep**-2 - 1) * other.rows.square().mean(0)
        times = float(self.get_buffer("batch_rows")) if self.penalty == "sum" else 1.0
        reg_lambda = times * self.reg_lambda * float(self.get_buffer(single)) * self.unit
        bias_reg_lambda = times * self.bias_reg_lambda if self.bias else PINNED_BIAS_PRECISION
        return Side(
            bias=to_float64(bias) * self.span,
            factors=to_float64(own.rows),
            prior_mean=np.append(to_float64(own.shift.expand(dim)), 0.0),
            prior_precision=np.stack(
                [
                    np.append(to_float64(reg_lambda / own.scale.square().clamp_min(1e-6)), 0.0),
                    np.append(to_float64(implied), bias_reg_lambda),
                    np.append(np.zeros(dim), times * self.bias_shrinkage),
                ]
            ),
            prior_exponent=(self.reg_exponent, 1.0, 0.0),
        )

    def _implicit_items(self) -> Tensor | None:
        """Implicit item factors `y_j`, `(n_items, dim)`; None for a model without them."""
        return None


class _Exported(NamedTuple):
    """A side's embeddings in stars: `rows = scale * star * embedding + shift`."""

    rows: Tensor  # (n, dim)
    scale: Tensor  # (dim,)
    shift: Tensor  # (dim,) or ()


def _unit(side: _Exported, span: float) -> NDArray[np.float64]:
    """What 1 is in each coordinate of an embedding and of a bias, in stars, `(dim + 1,)`."""
    return np.append(to_float64(side.scale) * span**0.5, span)


def _batch_norm(dim: int) -> nn.BatchNorm1d:
    """Batch norm whose dot product of two sides starts with a standard deviation of 0.1 (scale [0, 1])."""
    norm = nn.BatchNorm1d(dim)
    nn.init.constant_(norm.weight, (0.01 / dim) ** 0.25)
    return norm


def _affine(norm: nn.BatchNorm1d) -> tuple[Tensor, Tensor]:
    """Scale and shift of batch norm in evaluation mode, each `(dim,)`."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
    return scale, norm.bias - norm.running_mean * scale
