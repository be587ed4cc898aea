"""What every campaign is: a module with `SUMMARY`, `run` and `rows`, named in `CAMPAIGNS`.

SUMMARY = "SIGKILL at random moments of training"
def run(*, short: bool) -> Figures: ...        # seconds if short, and minutes if not; seeded
def rows(figures: Figures) -> list[Row]: ...   # what the documentation's table says of the figures
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, NamedTuple, cast

Figures = dict[str, Any]  # what JSON can hold
CAMPAIGNS: tuple[str, ...] = (  # modules of this package
    "overload",
    "connections",
    "access_cost",
    "bundle_bombs",
    "data_bombs",
    "flips",
    "fuzz",
    "growth",
    "hot_swaps",
    "kills",
    "log_reader",
    "payloads",
)


class Row(NamedTuple):
    """A row of the table.

    Attributes:
        what: What was done, with its numbers.
        found: What came of it, in figures.
        holds: Whether it is what is promised; the command fails if not.
    """

    what: str
    found: str
    holds: bool


class Campaign(NamedTuple):
    name: str
    summary: str
    run: Callable[..., Figures]
    rows: Callable[[Figures], list[Row]]


def campaign(name: str) -> Campaign:
    module = importlib.import_module(f"benchmarks.chaos.{name}")
    return Campaign(name, cast(str, module.SUMMARY), module.run, module.rows)
