"""Optuna distributions from Hydra's sweep grammar."""

from __future__ import annotations

import math
from typing import Any, cast

from hydra.core.override_parser.types import (
    ChoiceSweep,
    IntervalSweep,
    Override,
    Quote,
    QuotedString,
    RangeSweep,
    Sweep,
)
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution


def distribution(override: Override) -> BaseDistribution:
    """The Optuna distribution of a sweep override.

    Raises:
        ValueError: The sweep is not choice(), range() or interval().
    """
    sweep = override.value()
    key = override.get_key_element()
    if isinstance(sweep, ChoiceSweep):
        return CategoricalDistribution([_plain(choice) for choice in sweep.list])
    if isinstance(sweep, RangeSweep):
        start, stop, step = cast("tuple[float, float, float]", (sweep.start, sweep.stop, sweep.step))
        steps = math.ceil((stop - start) / step - 1e-9) - 1 if step > 0 else -1  # Hydra's ranges exclude their end
        if steps < 0:
            raise ValueError(f"{key}: range() must be ascending and not empty, got {override.input_line}")
        return _numbers(start, start + steps * step, step=step, log=_log(sweep))
    if isinstance(sweep, IntervalSweep):
        return _numbers(sweep.start, sweep.end, log=_log(sweep))
    raise ValueError(f"{key} must be a choice(), range() or interval() in a study, got {override.input_line}")


def _numbers(low: Any, high: Any, **options: Any) -> BaseDistribution:
    whole = all(isinstance(end, int) for end in (low, high))
    return IntDistribution(low, high, **options) if whole else FloatDistribution(low, high, **options)


def _log(sweep: Sweep) -> bool:
    return "log" in sweep.tags


def _plain(choice: Any) -> Any:
    """A choice as a number, None or text."""
    if isinstance(choice, QuotedString):
        return choice.text
    return choice if isinstance(choice, bool | int | float | type(None)) else str(choice)


def to_override(value: Any) -> str:
    """A value in Hydra's override grammar."""
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    return str(value) if isinstance(value, int | float) else str(QuotedString(value, Quote.single).with_quotes())
