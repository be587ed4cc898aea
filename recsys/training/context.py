"""The surroundings of a run: how trackers name it, and the runs it belongs to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class RunContext:
    name: str = "run"  # for trackers
    group: str | None = None  # the sweep, or the setting that it repeats
    in_sweep: bool = False  # its terminal output is one line
    is_best: Callable[[Mapping[str, Any]], bool] = bool  # of its metrics: so far, in its group


SINGLE_RUN = RunContext()
