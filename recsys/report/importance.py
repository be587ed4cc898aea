"""Hyper-parameter importance by PED-ANOVA."""

from __future__ import annotations

import itertools
import math
import statistics
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

MIN_SETTINGS = 6  # no importance is computed for fewer
MIN_PER_PARAMETER = 10  # settings per parameter below which the result is marked as rough
MIN_BEST = 5  # smallest number of best settings, if there are twice as many
BEST_FRACTION = 0.1  # of the settings that count as the best
GRID_STEPS = 50  # of the grid on which densities of numbers are evaluated
MAX_CATEGORIES = 8  # up to this many distinct numbers are treated as categories, as in a grid search
MIN_SIGMA = 0.5 / 1.64  # grid steps: 90% of such a kernel lie within its own step
EPSILON = 1e-12  # added to densities, so that their ratios are finite


def importance(settings: Sequence[Mapping[str, Any]], figures: Sequence[float]) -> dict[str, float] | None:
    """Hyper-parameter importance by PED-ANOVA.

    The importance of a parameter is the Pearson divergence between the density of its values among the best settings
    and among all settings, normalized to sum to 1, highest first. A parameter that some settings lack (None) is
    evaluated among those that have it. Densities are kernel estimates for numbers, on a logarithmic axis where that
    spreads them more evenly, and counts for categories and for numbers with few distinct values.

    Source: Watanabe, Bansal & Hutter, "PED-ANOVA: Efficiently Quantifying Hyperparameter Importance in Arbitrary
    Subspaces" (IJCAI 2023, arXiv:2304.10255), for the conditional case arXiv:2601.20800. The arithmetic is that of
    Optuna's `PedAnovaImportanceEvaluator`, and a test compares the two. Optuna's own evaluator is not used because it
    imports scikit-learn and pandas if installed, which takes ten times as long as starting the rest of a report.

    Args:
        settings: One mapping per setting, from parameter to value.
        figures: One metric value per setting, lower being better.

    Returns:
        Importance by parameter; None with fewer than 6 settings, if no parameter has two values, or if all settings are
        equally good.
    """
    if len(settings) < MIN_SETTINGS:
        return None
    best = best_of(figures)
    shares = {}
    for name in dict.fromkeys(name for setting in settings for name in setting):
        values = [setting.get(name) for setting in settings]
        if len({key_of(value) for value in values if value is not None}) > 1:
            shares[name] = _divergence(values, best)
    total = sum(shares.values())
    if not total > 0:
        return None
    return {name: share / total for name, share in sorted(shares.items(), key=lambda pair: -pair[1])}


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def best_of(figures: Sequence[float]) -> list[bool]:
    """Whether each is among the best: a tenth, but at least 5 (or half if fewer than 10), and ties with the last."""
    count = math.ceil(max(BEST_FRACTION * len(figures), min(MIN_BEST, len(figures) / 2)))
    limit = sorted(figures)[count - 1]
    return [figure <= limit for figure in figures]


def _divergence(values: Sequence[Any], best: Sequence[bool]) -> float:
    """Pearson divergence of the best from all, weighted by the shares of best and of all that have the parameter."""
    present = [value for value in values if value is not None]
    steps, size, density = _on_grid(present)
    top = [is_best for value, is_best in zip(values, best, strict=True) if value is not None]
    if not any(top):
        return 0.0
    of_best = density(Counter(itertools.compress(steps, top)), size)
    of_all = density(Counter(steps), size)
    divergence = sum(every * (among / every - 1) ** 2 for among, every in zip(of_best, of_all, strict=True))
    return (sum(top) / sum(best)) ** 2 / (len(present) / len(values)) * divergence


def _on_grid(values: Sequence[Any]) -> tuple[list[int], int, Callable[[Counter[int], int], list[float]]]:
    """The grid step of each value, the number of steps, and the density estimator for them."""
    if all(map(is_number, values)) and len(set(values)) > MAX_CATEGORIES:
        places = [place * (GRID_STEPS - 1) for place in _places(values)]
        return [min(max(math.ceil(place - 0.5), 0), GRID_STEPS - 1) for place in places], GRID_STEPS, _number_density
    numbers = {category: step for step, category in enumerate(dict.fromkeys(map(key_of, values)))}
    return [numbers[key_of(value)] for value in values], len(numbers), _category_density


def _places(values: Sequence[float]) -> list[float]:
    """Values scaled to [0, 1] on the axis, linear or logarithmic, on which their median is closer to the middle.

    A search samples evenly on its own axis; on the other one values crowd at one end, and the few at the other end
    would look important.
    """
    low, high = min(values), max(values)
    plain = [(value - low) / (high - low) for value in values]
    if low <= 0:
        return plain
    logarithmic = [math.log(value / low) / math.log(high / low) for value in values]
    return min(plain, logarithmic, key=lambda places: abs(statistics.median(places) - 0.5))


def key_of(value: Any) -> Hashable:
    """A hashable key for a value that tells True from 1."""
    return isinstance(value, bool), value


def _category_density(counts: Counter[int], size: int) -> list[float]:
    """Smoothed counts: each gives a small share to all categories, plus one count shared by all."""
    kernels, total = len(counts) + 1, counts.total()
    aside = 1 / kernels
    lent = total * aside / (1 + size * aside)
    return [
        (lent + counts[step] / (1 + size * aside) + 1 / size) / (total + 1) + EPSILON for step in range(size)
    ]  # fmt: skip


def _number_density(counts: Counter[int], size: int) -> list[float]:
    """A truncated normal kernel at each step, plus a prior kernel in the middle as wide as the grid."""
    sigma = max(_scott(counts), MIN_SIGMA)
    kernels = [(step, sigma, count) for step, count in counts.items()] + [((size - 1) / 2, float(size), 1)]
    density = [EPSILON] * size
    for middle, width, weight in kernels:
        edges = [_normal((step - 0.5 - middle) / width) for step in range(size + 1)]
        scale = weight / (counts.total() + 1) / (edges[-1] - edges[0])
        density = [value + scale * (b - a) for value, (a, b) in zip(density, itertools.pairwise(edges), strict=True)]
    return density


def _scott(counts: Counter[int]) -> float:
    """Bandwidth in grid steps by Scott's rule, from the standard deviation or the quartiles, whichever is smaller."""
    steps = sorted(counts)
    total = counts.total()
    mean = sum(step * counts[step] for step in steps) / total
    deviation = math.sqrt(sum(counts[step] * (step - mean) ** 2 for step in steps) / max(1, total - 1))
    below = list(itertools.accumulate(counts[step] for step in steps))
    first = steps[bisect_left(below, total // 4)]
    third = steps[min(bisect_right(below, total * 3 // 4), len(steps) - 1)]
    return 1.059 * min((third - first) / 1.34, deviation) / math.pow(total, 0.2)


def _normal(value: float) -> float:
    """The standard normal CDF."""
    return 0.5 * math.erfc(-value / math.sqrt(2))
