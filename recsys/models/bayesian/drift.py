"""Drift: how far a user's latest ratings lie above or below their predictions."""

from __future__ import annotations

import torch
from torch import Tensor


class Drift:
    """`sum_k w_k e_k / (sum_k w_k + shrinkage)` over a user's errors, `w_k = exp(-(later ratings) / ratings)`.

    People rate in sessions and moods: what their last ratings had above the prediction, the next ones tend to have.

    Args:
        ratings: Later ratings that lower an error's weight by a factor e; 0: there is no drift.
        shrinkage: Ratings that a drift of 0 is worth.
    """

    def __init__(self, ratings: float, shrinkage: float) -> None:
        self.ratings, self.shrinkage = ratings, shrinkage
        self.weight = self.level = torch.empty(0)

    def observe(self, user: Tensor, time: Tensor | None, n_users: int) -> None:
        """Weigh the ratings of users `(n,)` given at times `(n,)`, or in their order where times are not known."""
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
        """Each user's drift, `(n_users,)`, from the errors of the ratings observed, `(n,)`."""
        return torch.bincount(user, self.weight * error, minlength=len(self.level)) / self.level.clamp_min(1e-9)
