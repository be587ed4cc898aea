"""The context of a run: its name for trackers, and the group of runs that it belongs to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class RunContext:
    name: str = "run"  # for trackers
    group: str | None = None  # name of the sweep, or of the setting that it repeats
    in_sweep: bool = False  # then terminal output is one line
    says_first: Callable[[str], bool] = bool  # whether a text about the data is new in the group
    is_best: Callable[[Mapping[str, Any]], bool] = bool  # whether metrics are the best so far in the group


SINGLE_RUN = RunContext()
