"""SLIT: a regression of the next item on what came before it, in closed form."""

from __future__ import annotations

import torch
from torch import Tensor

from recsys.data.histories import Histories
from recsys.models.item_weights import ItemWeightsModel, gram_matrix, regression
from recsys.models.validation import check_range

HALF_LIVES = 12  # of the longest lag that counts, whose weight of 2^-12 is too small for Z'Z to become indefinite


class SLIT(ItemWeightsModel):
    """Linear item transitions (Choi et al. 2021): `s(u, i) = sum over the history j of u of h_j W[j, i]`.

    At each step t of each history, let `x_t` be the item taken, and `z_t` the history before it, with the weight 1 for
    the latest item, `a = 0.5 ** (1 / history_half_life)` for the one before, then `a^2`, and so on; and let Y be 1 for
    what a user has and 0 elsewhere. W minimizes, with a diagonal of 0,

        |X - Z W|^2 + ease_weight |Y - Y W|^2 + reg_lambda |W|^2:

    what comes next (their SLIT) and, as in EASE, what goes together (with both, their SLIST).

    `Z'X` and `Z'Z` are sums of counts `N_l[j, i]`, how often `i` follows `j` after l steps:
    `Z'X = sum over l of a^(l-1) N_l`, and, as if histories went on, `Z'Z = (S + S' + D) / (1 - a^2)` with `S = a Z'X`
    and the number of rows of each item on the diagonal of D.

    Args:
        n_users: Users the model is fitted on.
        n_items: Items the model is fitted on.
        rating_min: Lowest rating of the scale; ignored.
        rating_max: Highest rating of the scale; ignored.
        reg_lambda: L2 penalty on W, > 0, in steps.
        ease_weight: Weight of the errors of EASE, >= 0.
        history_half_life: Steps after which an item of a history counts half, > 0.
        max_items: The most items for which a matrix is made, >= 1.

    Raises:
        ValueError: An argument is outside its range, or there are more items than `max_items`.
    """

    name = "slit"

    def __init__(
        self,
        n_users: int,
        n_items: int,
        rating_min: float = 0.0,
        rating_max: float = 1.0,
        *,
        reg_lambda: float = 300.0,
        ease_weight: float = 0.2,
        history_half_life: float = 3.0,
        max_items: int = 12_000,
    ) -> None:
        super().__init__(n_users, n_items, rating_min, rating_max, history_half_life, max_items)
        check_range("reg_lambda", reg_lambda, 0, open_low=True)
        check_range("ease_weight", ease_weight, 0.0)
        self.save_hyperparameters()
        self.reg_lambda, self.ease_weight = reg_lambda, ease_weight

    def fit_weights(self, histories: Histories) -> Tensor:
        assert self.history_half_life is not None
        decay = 0.5 ** (1 / self.history_half_life)
        cross = transitions(histories, self.n_items, decay, round(HALF_LIVES * self.history_half_life))
        system = cross + cross.T
        system *= decay
        system.diagonal().add_(torch.bincount(histories.item, minlength=self.n_items))
        system /= 1 - decay**2
        if self.ease_weight:
            together = gram_matrix(histories, self.n_items)
            cross.add_(together, alpha=self.ease_weight)
            system.add_(together, alpha=self.ease_weight)
        return regression(system, cross, self.reg_lambda)


def transitions(histories: Histories, n_items: int, decay: float, longest: int) -> Tensor:
    """`sum over lags l of decay^(l-1)` times how often one item follows another after l steps, `(n_items, n_items)`."""
    counts = torch.zeros(n_items * n_items)
    item, steps = histories.item, histories.steps
    for lag in range(1, min(max(longest, 1), len(item) - 1) + 1):
        pair = (item[:-lag] * n_items + item[lag:])[steps[:-lag] >= lag]  # of the same user
        if not len(pair):
            break
        counts.index_add_(0, pair, torch.full((len(pair),), decay ** (lag - 1)))
    return counts.view(n_items, n_items)
