"""The figure of validation rows that chooses a run's epochs, and by which runs are compared."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class Monitor(NamedTuple):
    name: str  # as it is logged, and in metrics.json
    mode: str  # min or max: the better direction
    test: str  # the same figure of the test rows

    @property
    def label(self) -> str:
        """As people call it: RMSE, NDCG@10."""
        return self.name.rpartition("/")[2].upper()

    def loss(self, value: float) -> float:
        """The figure, negative where more is better: what sweepers minimise."""
        return value if self.mode == "min" else -value


RMSE = Monitor("val/rmse", "min", "test/rmse")
NDCG = Monitor("val/ndcg@10", "max", "ranking/ndcg@10")
MONITORS = {monitor.name: monitor for monitor in (RMSE, NDCG)}


def monitor_of(figures: Mapping[str, Any]) -> Monitor:
    """What chose a run, from the figures that it left."""
    return NDCG if NDCG.name in figures else RMSE


def loss_of(figures: Mapping[str, Any]) -> float:
    """A run's validation figure such that lower is better."""
    monitor = monitor_of(figures)
    return monitor.loss(float(figures[monitor.name]))
