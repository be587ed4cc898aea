"""Prior of the rows of one side: mean, precision by coordinate, and effects of features."""

from __future__ import annotations

import torch
from torch import Tensor

from recsys.models.bayesian.conjugate import normal_gamma
from recsys.models.bayesian.side_information import Effects
from recsys.models.padded_rows import Prior

INITIAL_PRECISION = 10.0  # of a coordinate
INITIAL_EFFECT_PRECISION = 100.0


class RowPrior:
    """`row ~ N(mean + sum over feature blocks of F B, diag(precision)^-1)`, with all parameters sampled.

    Args:
        n: Number of rows.
        width: Dimension `e` of a row.
        blocks: Effects of features by name, such as `attributes` and `implicit`, each with its own precision.
        unit: Unit of each coordinate, `(e,)`, with the target device and dtype.
    """

    def __init__(self, n: int, width: int, blocks: dict[str, Effects], unit: Tensor) -> None:
        self.n, self.blocks, self.unit = n, blocks, unit
        self.state = {"mean": unit.new_zeros(width), "precision": INITIAL_PRECISION / unit.square()}
        for name, block in blocks.items():
            self.state[name] = unit.new_zeros(block.k, width)
            self.state[f"{name}_precision"] = INITIAL_EFFECT_PRECISION / unit.square()
        self._feature_means: dict[str, Tensor] = {}  # cached predictions of each block, (n, e)

    def load(self, state: dict[str, Tensor]) -> None:
        """Restore a state."""
        self.state, self._feature_means = {name: value.to(self.state["mean"]) for name, value in state.items()}, {}

    def feature_mean(self, name: str) -> Tensor:
        """Part of each row's prior mean that a block of features predicts, `(n, e)`."""
        if name not in self._feature_means:
            self._feature_means[name] = self.blocks[name].predict(self.state[name])
        return self._feature_means[name]

    def means(self) -> Tensor:
        """The prior mean of each row, `(n, e)`, or `(1, e)` without features."""
        mean = self.state["mean"][None]
        for name in self.blocks:
            mean = mean + self.feature_mean(name)
        return mean

    def draw(self, rows: Tensor, generator: torch.Generator) -> None:
        """Draw effects, then mean and precision, given the rows `(n, e)`."""
        state, left = self.state, rows - self.means()
        for name, block in self.blocks.items():
            left = left + self.feature_mean(name)
            effects, precision = block.draw(left, state["precision"], state[f"{name}_precision"], generator, self.unit)
            state[name], state[f"{name}_precision"] = effects, precision
            del self._feature_means[name]
            left = left - self.feature_mean(name)
        state["mean"], state["precision"] = normal_gamma(left + state["mean"], self.unit, generator)

    def prior(self) -> Prior:
        """The prior in the form used by the normal equations."""
        precision = self.state["precision"]
        return Prior(precision.diag(), rhs=(precision * self.means()).expand(self.n, -1))
