"""Popularity: the same list for everyone, the items that most users have; of all times or recently."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn

from recsys.bundle.factors import Factors
from recsys.data.histories import Histories
from recsys.models.one_pass import OnePassModel, item_bias_factors
from recsys.models.validation import check_range

DAY = 86_400  # seconds


class PopularityModel(OnePassModel):
    """Scores `s(u, i)` = the share of the users who have item `i`, in [0, 1].

    A user counts once, whatever the ratings or weights. The personal part is 0, for everyone.

    Args:
        n_users: Users the model is fitted on.
        n_items: Items the model is fitted on.
        rating_min: Lowest rating of the scale; ignored.
        rating_max: Highest rating of the scale; ignored.
    """

    name = "popularity"

    def __init__(self, n_users: int, n_items: int, rating_min: float = 0.0, rating_max: float = 1.0) -> None:
        super().__init__(n_users, n_items, rating_min, rating_max)
        self.save_hyperparameters()
        self.fold_in_target = 1.0
        self.share = nn.Parameter(torch.zeros(n_items), requires_grad=False)

    def fit_rows(self, histories: Histories) -> None:
        self.share.copy_(self.shares(histories))

    def shares(self, histories: Histories) -> Tensor:
        """The share of the users who have each item, `(n_items,)`."""
        return torch.bincount(histories.item, minlength=self.n_items) / self.n_users

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        """Scores, `(batch,)`; item -1 is the average item, and all users are alike."""
        return torch.where(item >= 0, self.share[item], self.share.mean())

    def scores(self, user: Tensor) -> Tensor:
        """Scores of every fitted item, `(users, n_items)`."""
        return self.share.expand(len(user), -1)

    @torch.no_grad()
    def factors(self) -> Factors:
        """Item biases alone."""
        return item_bias_factors(self.share, self.n_users)


class TimedPopularity(PopularityModel):
    """Recent popularity: shares of the users, each with a weight for how recent the rating is.

    Where two items have the same share, that of all times decides: at most `tie` of a rating is added.
    """

    tie: ClassVar[float]

    @abstractmethod
    def weights(self, age: Tensor) -> Tensor:
        """The weights `(rows,)` of rows that are so many days older than the latest, `(rows,)`."""

    def shares(self, histories: Histories) -> Tensor:
        if histories.time is None:
            raise ValueError(
                f"model={self.name} counts days, and the ratings have no times; model=popularity needs none"
            )
        weight = self.weights((histories.time.max() - histories.time).double() / DAY)
        of_users = torch.zeros(self.n_users, dtype=torch.float64).scatter_reduce_(0, histories.user, weight, "amax")
        counts = torch.bincount(histories.item, weight, minlength=self.n_items)
        ties = self.tie * torch.bincount(histories.item, minlength=self.n_items) / self.n_users
        shares: Tensor = (counts + ties) / of_users.sum()
        return shares.float()


class RecentPopularity(TimedPopularity):
    """Scores `s(u, i)` = the share of the users of the last days who took item `i` in these days.

    Args:
        n_users: Users the model is fitted on.
        n_items: Items the model is fitted on.
        rating_min: Lowest rating of the scale; ignored.
        rating_max: Highest rating of the scale; ignored.
        window: Days before the latest of the fitted rows that count, > 0.

    Raises:
        ValueError: An argument is outside its range, or the data have no times.
    """

    name = "recent_popularity"
    tie = 0.5  # shares differ by whole ratings

    def __init__(
        self, n_users: int, n_items: int, rating_min: float = 0.0, rating_max: float = 1.0, *, window: float = 30.0
    ) -> None:
        super().__init__(n_users, n_items, rating_min, rating_max)
        check_range("window", window, 0, open_low=True)
        self.save_hyperparameters()
        self.window = window

    def weights(self, age: Tensor) -> Tensor:
        return (age <= self.window).double()


class DecayedPopularity(TimedPopularity):
    """Scores `s(u, i)` = the share of the users who have item `i`, a rating counting half after each half-life.

    A user weighs as much as their latest rating.

    Args:
        n_users: Users the model is fitted on.
        n_items: Items the model is fitted on.
        rating_min: Lowest rating of the scale; ignored.
        rating_max: Highest rating of the scale; ignored.
        half_life: Days after which a rating counts half, > 0.

    Raises:
        ValueError: An argument is outside its range, or the data have no times.
    """

    name = "decayed_popularity"
    tie = 1e-6  # and here by what is left of them

    def __init__(
        self, n_users: int, n_items: int, rating_min: float = 0.0, rating_max: float = 1.0, *, half_life: float = 30.0
    ) -> None:
        super().__init__(n_users, n_items, rating_min, rating_max)
        check_range("half_life", half_life, 0, open_low=True)
        self.save_hyperparameters()
        self.half_life = half_life

    def weights(self, age: Tensor) -> Tensor:
        return torch.exp2(-age / self.half_life)
