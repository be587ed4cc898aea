"""EASE: a regression of each item on all others of a user, in closed form."""

from __future__ import annotations

from torch import Tensor

from recsys.data.histories import Histories
from recsys.models.item_weights import ItemWeightsModel, gram_matrix, penalized_inverse
from recsys.models.validation import check_range


class EASE(ItemWeightsModel):
    """Embarrassingly shallow autoencoder (Steck 2019): `s(u, i) = sum over the history j of u of h_j W[j, i]`.

    W minimizes `|X - X W|^2 + reg_lambda |W|^2` with a diagonal of 0, where X is 1 for what a user has and 0 elsewhere:

        W[j, i] = -P[j, i] / P[i, i]  with  P = (X'X + reg_lambda I)^-1.

    The weights `h_j = 0.5 ** (steps / history_half_life)` are an addition: what comes next depends most on the latest.

    Args:
        n_users: Users the model is fitted on.
        n_items: Items the model is fitted on.
        rating_min: Lowest rating of the scale; ignored.
        rating_max: Highest rating of the scale; ignored.
        reg_lambda: L2 penalty on W, > 0, in users who have an item.
        history_half_life: Steps after which an item of a history counts half, > 0; None: all count alike.
        max_items: The most items for which a matrix is made, >= 1.

    Raises:
        ValueError: An argument is outside its range, or there are more items than `max_items`.
    """

    name = "ease"

    def __init__(
        self,
        n_users: int,
        n_items: int,
        rating_min: float = 0.0,
        rating_max: float = 1.0,
        *,
        reg_lambda: float = 500.0,
        history_half_life: float | None = 3.0,
        max_items: int = 12_000,
    ) -> None:
        super().__init__(n_users, n_items, rating_min, rating_max, history_half_life, max_items)
        check_range("reg_lambda", reg_lambda, 0, open_low=True)
        self.save_hyperparameters()
        self.reg_lambda = reg_lambda

    def fit_weights(self, histories: Histories) -> Tensor:
        weights = penalized_inverse(gram_matrix(histories, self.n_items), self.reg_lambda)
        weights /= -weights.diagonal().clone()
        weights.diagonal().zero_()
        return weights
