"""Ranking models that one pass over the ratings fits: from counts, or in closed form."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from recsys.bundle.centring import Side, centred_factors
from recsys.bundle.factors import Factors
from recsys.data.batches import Batch
from recsys.data.datamodule import RatingDataModule
from recsys.data.histories import Histories, histories_of
from recsys.models.base import to_float64
from recsys.models.closed_form import FullBatchModel
from recsys.models.ranking import RankingModel

PINNED_PRECISION = 1e6  # prior precision that holds the rows of new users at the average's


class OnePassModel(RankingModel, FullBatchModel):
    """A ranking model without epochs: the first fits it, and more would change nothing."""

    one_epoch: ClassVar[bool] = True

    def __init__(self, n_users: int, n_items: int, rating_min: float, rating_max: float) -> None:
        super().__init__(n_users, n_items, rating_min, rating_max, seed=0)  # nothing is drawn
        self.histories: Histories | None = None  # of the rows to fit

    @abstractmethod
    def fit_rows(self, histories: Histories) -> None:
        """Fit the model."""

    def setup(self, stage: str) -> None:
        super().setup(stage)
        data = getattr(self.trainer, "datamodule", None)
        if stage == "fit" and isinstance(data, RatingDataModule):
            self.histories = histories_of(data.fit_data, data.fit_times, len(data.users))

    @torch.no_grad()
    def training_step(self, batch: Batch, batch_idx: int) -> None:
        if self.current_epoch == 0:
            assert self.histories is not None
            self.fit_rows(self.histories)
        self.count_step()


def item_bias_factors(bias: Tensor, n_users: int) -> Factors:
    """Item biases `(n_items,)` alone, as centred arrays: users' rows, also those of new ones, are 0.

    Items have no prior: an item's count does not follow from its users' rows.
    """
    users, items = (
        Side(values, np.zeros((len(values), 1)), np.zeros(2), np.full((1, 2), PINNED_PRECISION), prior_exponent=(0.0,))
        for values in (np.zeros(n_users), to_float64(bias))
    )
    factors = centred_factors(0.0, users, items)
    return replace(factors, item_prior_mean=None, item_prior_precision=None, item_prior_exponent=None)
