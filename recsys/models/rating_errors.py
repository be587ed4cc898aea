"""RMSE and MAE of validation and test rows during training, pooled over batches and devices."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import Module
from torchmetrics import Metric

from recsys.evaluation.registry import SUBSETS


class RatingErrors(Metric):
    """RMSE and MAE over all rows, warm rows and cold rows, in one pass.

    A row is cold if its user or item does not occur in the rows that the model was fitted on. Sums are in float64, and
    groups are weights instead of selections, so that updates do not synchronize with the device.
    """

    full_state_update = False
    squared: Tensor
    absolute: Tensor
    count: Tensor

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        for name in ("squared", "absolute", "count"):
            self.add_state(name, torch.zeros(3, dtype=torch.float64), dist_reduce_fx="sum")

    def _apply(self, fn: Callable[[Tensor], Tensor], exclude_state: Sequence[str] = ()) -> Module:
        """Move to the model's device but keep float64: in half precision 2048 + 1 is 2048."""
        return super()._apply(lambda state: state.to(fn(state).device), exclude_state)

    def update(self, predicted: Tensor, rating: Tensor, warm: Tensor) -> None:
        """Add a batch.

        Args:
            predicted: Predictions in stars, clipped to the scale, `(batch,)`.
            rating: True ratings in stars, `(batch,)`.
            warm: Whether both the user and the item were seen in fitting, bool `(batch,)`.
        """
        error = (predicted.double() - rating.double()).abs()
        groups = torch.stack([torch.ones_like(error), warm.double(), (~warm).double()])  # (3, batch)
        self.squared += groups @ error.square()
        self.absolute += groups @ error
        self.count += groups.sum(1)

    def compute(self) -> dict[str, Tensor]:
        """Metrics by name: `rmse` and `mae`, each also `_warm` and `_cold`, and `share_cold`.

        Those of an empty group are NaN.
        """
        rmse, mae = (self.squared / self.count).sqrt(), self.absolute / self.count
        figures = {f"rmse{group}": value for group, value in zip(SUBSETS, rmse, strict=True)}
        figures |= {f"mae{group}": value for group, value in zip(SUBSETS, mae, strict=True)}
        return figures | {"share_cold": self.count[2] / self.count[0]}
