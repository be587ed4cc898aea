"""The prior of one side's rows: a mean, a precision of each coordinate, and what features say."""

from __future__ import annotations

import torch
from torch import Tensor

from recsys.models.bayesian.conjugate import normal_gamma
from recsys.models.bayesian.side_information import Effects
from recsys.models.normal_equations import Prior

FIRST_PRECISION = 10.0  # of a coordinate, before it is first drawn
FIRST_EFFECTS = 100.0  # precision of an effect, before it is first drawn


class RowPrior:
    """`row ~ N(mean + sum over blocks of features of F B, diag(precision)^-1)`, all of it drawn.

    Args:
        n: Rows.
        width: Coordinates `e` of a row.
        blocks: Features by name, such as `attributes` and `implicit`, each with effects of its own precision.
        unit: Of each coordinate, `(e,)`, on the device and of the type wanted: what priors call one.
    """

    def __init__(self, n: int, width: int, blocks: dict[str, Effects], unit: Tensor) -> None:
        self.n, self.blocks, self.unit = n, blocks, unit
        self.state = {"mean": unit.new_zeros(width), "precision": FIRST_PRECISION / unit.square()}
        for name, block in blocks.items():
            self.state[name] = unit.new_zeros(block.k, width)
            self.state[f"{name}_precision"] = FIRST_EFFECTS / unit.square()
        self._feature_means: dict[str, Tensor] = {}  # by the features of each block of each row, (n, e)

    def load(self, state: dict[str, Tensor]) -> None:
        """Go on from a state."""
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
        """Effects, then mean and precision, given the rows `(n, e)`."""
        state, left = self.state, rows - self.means()
        for name, block in self.blocks.items():
            left = left + self.feature_mean(name)
            effects, precision = block.draw(left, state["precision"], state[f"{name}_precision"], generator, self.unit)
            state[name], state[f"{name}_precision"] = effects, precision
            del self._feature_means[name]
            left = left - self.feature_mean(name)
        state["mean"], state["precision"] = normal_gamma(left + state["mean"], self.unit, generator)

    def prior(self) -> Prior:
        """As the normal equations take it."""
        precision = self.state["precision"]
        return Prior(precision.diag(), rhs=(precision * self.means()).expand(self.n, -1))
