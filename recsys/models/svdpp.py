"""SVD++: matrix factorization with implicit feedback (which items a user has rated)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from recsys.data.batches import RatingRows
from recsys.models import sparse_ops as products
from recsys.models.base import SPAN_IN_UNITS
from recsys.models.mf import MatrixFactorization
from recsys.models.validation import check_range


class SVDPlusPlus(MatrixFactorization):
    """`r(u, i) = mu + b_u + b_i + (p_u + |N(u)|^-1/2 sum_{j in N(u)} y_j) . q_i` (Koren 2008, equation 15).

    N(u) are the items that u has rated in the rows the model is fitted on. The loss is that of `MatrixFactorization`
    plus `implicit_reg_lambda |y_j|^2` for each rating of item j. Also learned: `item_implicit (n_items,
    embedding_dim)`, initialized at zero. `factors()` adds the sum to `p_u`, so that serving fitted users needs no `y`.

    The prior mean of a new user is the sum over their rated items. The dropout term of the fold-in penalty is then an
    approximation: dropout shrinks the whole vector, including the sum, while the ridge shrinks the deviation from it.

    Args:
        n_users: Users the model is fitted on.
        n_items: Items the model is fitted on.
        rating_min: Lowest rating of the scale, in stars.
        rating_max: Highest rating of the scale, in stars.
        embedding_dim: Length of `p_u`, `q_i` and `y_j`, at least 1.
        dropout: Probability of zeroing a coordinate of a user's or item's vector in training, in [0, 1).
        bias: Whether to use `b_u` and `b_i`; `mu` is always used.
        bias_init: `zero`, or `mean` to initialize `mu` and biases at the shrunk means of the training rows.
        embedding_std: Standard deviation of the initial `p_u` and `q_i`.
        reg_lambda: L2 penalty on `p_u` and `q_i`, per rating, in units of a quarter of the scale.
        reg_exponent: The total penalty of a row with n ratings grows as n^reg_exponent. In [0, 1].
        bias_reg_lambda: L2 penalty on the biases, per rating, in the same units.
        bias_shrinkage: Pseudo-count of a bias of 0 (see `MatrixFactorization`).
        attributes: Whether users and items have embeddings and biases of their attributes, if any.
        attribute_shrinkage: Pseudo-count of an attribute's embedding and bias of 0 (see `MatrixFactorization`).
        implicit_reg_lambda: L2 penalty on `y_j`, per rating, in the same units.
        implicit_lr_factor: Learning rate of `y_j` relative to the others. All users who rated an item move its `y_j`,
            so that full Adam steps would be too large. In (0, 1].
        learning_rate: Initial learning rate of Adam.
        plateau_factor: Factor on the learning rate when the validation loss stops improving, in (0, 1).
        plateau_patience: Epochs without improvement before that.
        plateau_min_lr: Lower bound on the learning rate of the plateau schedule.
        lr_schedule: `plateau`, `onecycle` or `cosine` (see `GradientModel`).
        seed: Seed of the initial embeddings and dropout.

    Raises:
        ValueError: An argument is outside its range; the message names it.
    """

    name = "svdpp"
    sized_by_state: ClassVar[tuple[str, ...]] = ("rated_item",)

    def __init__(
        self,
        n_users: int,
        n_items: int,
        rating_min: float = 1.0,
        rating_max: float = 5.0,
        *,
        embedding_dim: int = 64,
        dropout: float = 0.0,
        bias: bool = True,
        bias_init: str = "mean",
        embedding_std: float = 0.05,
        reg_lambda: float = 0.15,
        reg_exponent: float = 0.5,
        bias_reg_lambda: float = 0.01,
        bias_shrinkage: float = 5.0,
        attributes: bool = True,
        attribute_shrinkage: float = 2000.0,
        implicit_reg_lambda: float = 0.01,
        implicit_lr_factor: float = 0.05,
        learning_rate: float = 0.01,
        plateau_factor: float = 0.2,
        plateau_patience: int = 3,
        plateau_min_lr: float = 1e-6,
        lr_schedule: str = "plateau",
        seed: int = 0,
    ) -> None:
        super().__init__(
            n_users, n_items, rating_min, rating_max, embedding_dim=embedding_dim, dropout=dropout, bias=bias,
            bias_init=bias_init, embedding_std=embedding_std, reg_lambda=reg_lambda,
            reg_exponent=reg_exponent, bias_reg_lambda=bias_reg_lambda, bias_shrinkage=bias_shrinkage,
            attributes=attributes, attribute_shrinkage=attribute_shrinkage, learning_rate=learning_rate,
            plateau_factor=plateau_factor, plateau_patience=plateau_patience, plateau_min_lr=plateau_min_lr,
            lr_schedule=lr_schedule, seed=seed,
        )  # fmt: skip
        check_range("implicit_reg_lambda", implicit_reg_lambda, 0.0)
        check_range("implicit_lr_factor", implicit_lr_factor, 0, 1, open_low=True)
        for absent in ("batch_norm", "penalty"):  # the base class saved its own arguments, too
            self.hparams.pop(absent, None)
        self.implicit_reg_lambda, self.implicit_lr_factor = implicit_reg_lambda, implicit_lr_factor
        self.item_implicit = nn.Parameter(torch.zeros(n_items, embedding_dim))
        self.register_buffer("item_share", torch.zeros(n_items))  # of the training ratings
        # N(u) in compressed rows; in the state, so that a checkpoint predicts without the ratings.
        self.register_buffer("rated_indptr", torch.zeros(n_users + 1, dtype=torch.int32))
        self.register_buffer("rated_item", torch.zeros(0, dtype=torch.int32))
        self._matrices: tuple[Tensor, Tensor] | None = None

    def init_from_data(self, rows: RatingRows) -> None:
        """Also store the distinct rated pairs."""
        super().init_from_data(rows)
        user, item = rows.columns.user, rows.columns.item
        self.item_share = torch.bincount(item, minlength=self.n_items) / len(item)
        pairs = torch.unique(user * self.n_items + item)  # sorted by user, then item
        counts = torch.bincount(pairs // self.n_items, minlength=self.n_users)
        self.rated_indptr = nn.functional.pad(counts.cumsum(0), (1, 0)).int()
        self.rated_item = (pairs % self.n_items).int()
        self._matrices = None

    def load_state_dict(self, state_dict: Mapping[str, Any], *args: Any, **kwargs: Any) -> Any:
        """Forget the matrices of other ratings."""
        self._matrices = None
        return super().load_state_dict(state_dict, *args, **kwargs)

    def training_terms(self, user: Tensor, item: Tensor) -> tuple[Tensor, Tensor]:
        """Predictions on the [0, 1] scale, `(batch,)`, and the penalty in units squared, a scalar."""
        predicted, penalty = super().training_terms(user, item)
        squares = self.item_implicit.square().sum(1) @ self.get_buffer("item_share")
        return predicted, penalty + self.implicit_reg_lambda * SPAN_IN_UNITS * squares

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Parameter groups: `item_implicit` has its own learning rate."""
        others = [p for p in self.parameters() if p is not self.item_implicit]
        return [
            {"params": others, "lr_factor": 1.0},
            {"params": [self.item_implicit], "lr_factor": self.implicit_lr_factor},
        ]

    def implicit(self) -> Tensor:
        """`|N(u)|^-1/2 sum_{j in N(u)} y_j` of every fitted user, `(n_users, dim)`."""
        if self._matrices is None or self._matrices[0].device != self.item_implicit.device:
            self._matrices = self._rated_matrices()
        return products.product(self.item_implicit, *self._matrices)

    def _user_table(self) -> Tensor:
        return super()._user_table() + self.implicit().to(self.user_embedding.dtype)

    def _implicit_items(self) -> Tensor:
        return self.item_implicit

    @torch.inference_mode(False)
    def _rated_matrices(self) -> tuple[Tensor, Tensor]:
        """Sparse matrix with `|N(u)|^-1/2` at each rated pair, `(n_users, n_items)`, and its transpose."""
        indptr, item = self.get_buffer("rated_indptr"), self.get_buffer("rated_item")
        counts = indptr.diff()
        user = torch.repeat_interleave(counts)  # of every rated item
        value = counts.clamp(min=1).float().rsqrt()[user]
        by_item = torch.argsort(item, stable=True)
        starts = torch.bincount(item, minlength=self.n_items).cumsum(0)
        item_indptr = nn.functional.pad(starts, (1, 0)).int()
        shape = (self.n_users, self.n_items)
        return (
            torch.sparse_csr_tensor(indptr, item, value, shape, check_invariants=True),
            torch.sparse_csr_tensor(
                item_indptr, user[by_item].int(), value[by_item], shape[::-1], check_invariants=True
            ),
        )
