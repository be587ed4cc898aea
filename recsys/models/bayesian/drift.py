"""Temporal drift of user biases: exponentially weighted residuals of a user's latest ratings."""

from __future__ import annotations

import torch
from torch import Tensor


class Drift:
    """`sum_k w_k e_k / (sum_k w_k + shrinkage)` over a user's residuals, `w_k = exp(-(later ratings) / ratings)`.

    Users rate in sessions and moods, so residuals of successive ratings are correlated.

    Args:
        ratings: Decay: number of later ratings that reduce the weight of a residual by a factor e; 0: no drift.
        shrinkage: Pseudo-count of a drift of 0.
    """

    def __init__(self, ratings: float, shrinkage: float) -> None:
        self.ratings, self.shrinkage = ratings, shrinkage
        self.weight = self.level = torch.empty(0)

    def observe(self, user: Tensor, time: Tensor | None, n_users: int) -> None:
        """Compute the weights of ratings by users `(n,)` at times `(n,)`; without times, in their order."""
        order = torch.arange(len(user), device=user.device)
        if time is not None:
            order = torch.argsort(time.to(user.device), stable=True)
        order = order[torch.argsort(user[order], stable=True)]
        count = torch.bincount(user, minlength=n_users)
        position = torch.arange(len(user), device=user.device)
        later = torch.empty_like(position)
        later[order] = count.cumsum(0)[user[order]] - 1 - position
        self.weight = torch.exp(-later / self.ratings)
        self.level = torch.bincount(user, self.weight, minlength=n_users) + self.shrinkage

    def of(self, user: Tensor, error: Tensor) -> Tensor:
        """The drift of each user, `(n_users,)`, from the residuals of the observed ratings, `(n,)`."""
        return torch.bincount(user, self.weight * error, minlength=len(self.level)) / self.level.clamp_min(1e-9)
