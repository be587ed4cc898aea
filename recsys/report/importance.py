"""Which hyper-parameters decided whether a setting was among the best."""

from __future__ import annotations

import itertools
import math
import statistics
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

FEWEST = 6  # settings; fewer say nothing
ROUGH = 10  # settings for each parameter, below which shares are rough
ENOUGH = 5  # settings that should be among the best, where there are twice as many
BEST = 0.1  # share of settings that are the best, where that is more than ENOUGH
STEPS = 50  # of the grid on which a density of numbers is computed
FEW = 8  # distinct numbers, up to which each is a category of its own, as in a grid search
LEAST_SIGMA = 0.5 / 1.64  # steps: nine tenths of such a kernel are within its own step
TINY = 1e-12  # of a density, so that a ratio of two is finite


def importance(settings: Sequence[Mapping[str, Any]], figures: Sequence[float]) -> dict[str, float] | None:
    """PED-ANOVA: how far the best settings' values of a parameter are from all settings' values.

    For each parameter, the Pearson divergence between the density of its values among the best settings and among all,
    as shares of 1, the highest first. A parameter that some settings do not have (None) is judged among those that
    have it. Numbers get kernels, on a logarithmic axis where that spreads them more evenly; categories, and numbers of
    few values, get counts.

    Source: Watanabe, Bansal & Hutter, "PED-ANOVA: Efficiently Quantifying Hyperparameter Importance in Arbitrary
    Subspaces" (IJCAI 2023, arXiv:2304.10255), for the conditional case arXiv:2601.20800. The arithmetic is that of
    Optuna's `PedAnovaImportanceEvaluator`, and a test compares the two; Optuna's own is not imported because it brings
    scikit-learn and pandas along where they are installed, ten times what the rest of a report takes to start.

    Args:
        settings: Values by parameter, a mapping a setting.
        figures: One a setting, the lower the better.

    Returns:
        None for fewer than 6 settings, where no parameter has two values, or where all settings are equally good.
    """
    if len(settings) < FEWEST:
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
    """Which are the best: a tenth, but at least 5, or half of fewer than 10; ties of the last are in."""
    count = math.ceil(max(BEST * len(figures), min(ENOUGH, len(figures) / 2)))
    limit = sorted(figures)[count - 1]
    return [figure <= limit for figure in figures]


def _divergence(values: Sequence[Any], best: Sequence[bool]) -> float:
    """Pearson divergence of the best from all, weighed by how many of the best, and of all, have the parameter."""
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
    """Step of each value, number of steps, and how a density over them is made."""
    if all(map(is_number, values)) and len(set(values)) > FEW:
        places = [place * (STEPS - 1) for place in _places(values)]
        return [min(max(math.ceil(place - 0.5), 0), STEPS - 1) for place in places], STEPS, _number_density
    numbers = {category: step for step, category in enumerate(dict.fromkeys(map(key_of, values)))}
    return [numbers[key_of(value)] for value in values], len(numbers), _category_density


def _places(values: Sequence[float]) -> list[float]:
    """Numbers from 0 to 1 on the axis, plain or logarithmic, that has their median nearer to its middle.

    As many values are drawn anywhere on the axis that a search was made on; on the other one they crowd at an end, and
    the few at its thin end would seem to matter.
    """
    low, high = min(values), max(values)
    plain = [(value - low) / (high - low) for value in values]
    if low <= 0:
        return plain
    logarithmic = [math.log(value / low) / math.log(high / low) for value in values]
    return min(plain, logarithmic, key=lambda places: abs(statistics.median(places) - 0.5))


def key_of(value: Any) -> Hashable:
    """A value as a key, under which true is not 1."""
    return isinstance(value, bool), value


def _category_density(counts: Counter[int], size: int) -> list[float]:
    """Counts, each of which lends a little to all categories, and one count more that is shared by all."""
    kernels, total = len(counts) + 1, counts.total()
    aside = 1 / kernels
    lent = total * aside / (1 + size * aside)
    return [
        (lent + counts[step] / (1 + size * aside) + 1 / size) / (total + 1) + TINY for step in range(size)
    ]  # fmt: skip


def _number_density(counts: Counter[int], size: int) -> list[float]:
    """A normal kernel at each step, cut off at the ends, and one as wide as the grid in its middle."""
    sigma = max(_scott(counts), LEAST_SIGMA)
    kernels = [(step, sigma, count) for step, count in counts.items()] + [((size - 1) / 2, float(size), 1)]
    density = [TINY] * size
    for middle, width, weight in kernels:
        edges = [_normal((step - 0.5 - middle) / width) for step in range(size + 1)]
        scale = weight / (counts.total() + 1) / (edges[-1] - edges[0])
        density = [value + scale * (b - a) for value, (a, b) in zip(density, itertools.pairwise(edges), strict=True)]
    return density


def _scott(counts: Counter[int]) -> float:
    """Bandwidth in steps by Scott's rule, from the standard deviation or the quartiles, whichever is narrower."""
    steps = sorted(counts)
    total = counts.total()
    mean = sum(step * counts[step] for step in steps) / total
    deviation = math.sqrt(sum(counts[step] * (step - mean) ** 2 for step in steps) / max(1, total - 1))
    below = list(itertools.accumulate(counts[step] for step in steps))
    first = steps[bisect_left(below, total // 4)]
    third = steps[min(bisect_right(below, total * 3 // 4), len(steps) - 1)]
    return 1.059 * min((third - first) / 1.34, deviation) / math.pow(total, 0.2)


def _normal(value: float) -> float:
    """The normal distribution's function."""
    return 0.5 * math.erfc(-value / math.sqrt(2))
