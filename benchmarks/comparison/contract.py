"""What a competitor's class does. Its module imports its library at the top, so that imports are not timed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from benchmarks.comparison.task import Rows, Task

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Run:
    """How one competitor is to run, once."""

    settings: dict[str, Any]
    seed: int
    threads: int
    folder: Path  # empty, for what the library writes
    root: str | None = (
        None  # of the data set's files; only recsys reads them, since its data module is what is measured
    )


class RatingPeer(Protocol):
    """Predicts stars. Each step is timed apart; the prediction is clipped to the scale by whoever measures it."""

    def __init__(self, run: Run) -> None: ...

    def prepare(self, task: Task) -> None:
        """Turn the arrays into the library's own input."""

    def fit(self) -> None: ...

    def predict(self) -> Floats:
        """Stars of the task's test rows, `(test rows,)`."""


class RankingPeer(Protocol):
    """Scores items."""

    def __init__(self, run: Run) -> None: ...

    def prepare(self, task: Task) -> None:
        """Turn the arrays into the library's own input."""

    def fit(self) -> None: ...

    def scores(self, users: Rows) -> Floats:
        """Of every fitted item for fitted users, `(users, fitted_items)`, higher is better."""
