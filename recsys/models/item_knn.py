"""Item neighbours: each item is scored by the most similar ones in a user's history."""

from __future__ import annotations

import torch
from torch import Tensor

from recsys.data.histories import Histories
from recsys.models.item_weights import ItemWeightsModel, gram_matrix
from recsys.models.validation import check_range


class ItemKNN(ItemWeightsModel):
    """Scores `s(u, i) = sum over the history j of u of h_j W[j, i]` (Sarwar et al. 2001; Deshpande & Karypis 2004).

    W[j, i] is the shrunk cosine `n_ji / (sqrt(n_j n_i) + shrinkage)` of the users who have both items, if `j` is among
    the `neighbours` items most similar to `i`, and 0 otherwise.

    Args:
        n_users: Users the model is fitted on.
        n_items: Items the model is fitted on.
        rating_min: Lowest rating of the scale; ignored.
        rating_max: Highest rating of the scale; ignored.
        neighbours: Of each item, >= 1.
        shrinkage: Users added to the denominator, >= 0: few users in common say little.
        history_half_life: Steps after which an item of a history counts half, > 0; None: all count alike.
        max_items: The most items for which a matrix is made, >= 1.

    Raises:
        ValueError: An argument is outside its range, or there are more items than `max_items`.
    """

    name = "item_knn"

    def __init__(
        self,
        n_users: int,
        n_items: int,
        rating_min: float = 0.0,
        rating_max: float = 1.0,
        *,
        neighbours: int = 100,
        shrinkage: float = 10.0,
        history_half_life: float | None = 3.0,
        max_items: int = 12_000,
    ) -> None:
        super().__init__(n_users, n_items, rating_min, rating_max, history_half_life, max_items)
        check_range("neighbours", neighbours, 1)
        check_range("shrinkage", shrinkage, 0.0)
        self.save_hyperparameters()
        self.neighbours, self.shrinkage = neighbours, shrinkage

    def fit_weights(self, histories: Histories) -> Tensor:
        both = gram_matrix(histories, self.n_items)
        root = both.diagonal().sqrt()
        cosine = both / (torch.outer(root, root) + self.shrinkage)
        cosine.diagonal().zero_()
        if self.neighbours >= self.n_items:
            return cosine
        best, item = cosine.topk(self.neighbours, dim=0)
        return torch.zeros_like(cosine).scatter_(0, item, best)
