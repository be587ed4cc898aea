"""Means, their standard errors, and differences between repeats of the same seed and fold."""

from __future__ import annotations

import functools
import math
import statistics
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

Key = TypeVar("Key", bound=Hashable)

LEVEL = 0.95  # of the intervals


@dataclass(frozen=True)
class Difference:
    """Mean of paired differences with its interval, which one pair alone does not have."""

    mean: float
    low: float | None
    high: float | None
    n: int  # pairs

    @property
    def above_zero(self) -> bool | None:
        """Whether all of the interval is; None where there is none."""
        return None if self.low is None else self.low > 0


def mean(values: Sequence[float]) -> float | None:
    return statistics.fmean(values) if values else None


def standard_error(values: Sequence[float]) -> float | None:
    """Of the mean: the sample's standard deviation (n - 1) by the root of n; None for fewer than two values."""
    return statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else None


def paired_difference(values: Mapping[Key, float], others: Mapping[Key, float]) -> Difference | None:
    """`values` - `others` over the keys that both have, with a 95% interval of Student's t; None without such keys.

    Pairing takes out what a seed or a fold does to both alike. Folds share most of their training rows, so an interval
    over folds is somewhat too narrow (Nadeau & Bengio 2003, Machine Learning 52).
    """
    both = [values[key] - others[key] for key in values if key in others]
    if not both:
        return None
    centre, error = statistics.fmean(both), standard_error(both)
    if error is None:
        return Difference(centre, None, None, 1)
    reach = t_bound(len(both) - 1) * error
    return Difference(centre, centre - reach, centre + reach, len(both))


@functools.cache
def t_bound(freedom: int) -> float:
    """The t with P(|T| < t) = 0.95 for `freedom` degrees of freedom.

    With t = sqrt(freedom) tan(angle) that probability is a finite sum of cosines (Abramowitz & Stegun 26.7.3, 26.7.4),
    and it grows with the angle, so bisection finds it to the last bits.
    """
    if freedom < 1:
        raise ValueError(f"freedom must be >= 1, got {freedom}")
    low, high = 0.0, math.pi / 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _within(middle, freedom) < LEVEL else (low, middle)
    return math.sqrt(freedom) * math.tan((low + high) / 2)


def _within(angle: float, freedom: int) -> float:
    """P(|T| < sqrt(freedom) tan(angle))."""
    odd = freedom % 2
    term = math.cos(angle) if odd else 1.0
    total = 0.0
    for power in range(1 + odd, freedom, 2):
        total += term
        term *= math.cos(angle) ** 2 * power / (power + 1)
    if odd:
        return 2 / math.pi * (angle + math.sin(angle) * total)
    return math.sin(angle) * total
