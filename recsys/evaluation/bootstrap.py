"""Bootstrap intervals of paired differences between rankings of the same cases."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from recsys.bundle.typing import Float64Array
from recsys.evaluation.statistics import LEVEL, Difference

RESAMPLES = 1000
BLOCK = 1 << 22  # numbers of users drawn at a time, or one resample


def bootstrap_differences(
    user: NDArray[np.integer], differences: Sequence[NDArray[np.floating]], seed: int = 0
) -> list[Difference]:
    """The mean of each row of differences over the cases, with its 95% percentile bootstrap interval.

    Users are drawn with replacement, each with all of their cases, since these are not independent (the cluster
    bootstrap); where everybody has one case, that is the bootstrap over the cases. All rows share the draws (Efron &
    Tibshirani 1993, "An Introduction to the Bootstrap", chapter 13).

    Args:
        user: The user of each case, `(cases,)`; at least one.
        differences: For each case, `(cases,)`.
        seed: Of the draws.

    Returns:
        A difference each, whose `n` is the number of users; without an interval if there is one user.
    """
    place = np.unique(user, return_inverse=True)[1]
    n, cases = int(place.max()) + 1, np.bincount(place).astype(np.float64)
    sums = np.stack([np.bincount(place, values, n) for values in differences], 1)  # (users, differences)
    means = sums.sum(0) / cases.sum()
    if n < 2:
        return [Difference(float(mean), None, None, n) for mean in means]
    resampled = np.concatenate([weights @ sums / (weights @ cases)[:, None] for weights in _draws(n, seed)])
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(resampled, [tail, 1 - tail], axis=0)
    return [
        Difference(float(mean), float(least), float(most), n)
        for mean, least, most in zip(means, low, high, strict=True)
    ]


def _draws(n: int, seed: int) -> Iterator[Float64Array]:
    """How often each user is drawn in each resample, `(resamples, n)`, in blocks."""
    generator, at_once = np.random.default_rng(seed), max(1, BLOCK // n)
    for start in range(0, RESAMPLES, at_once):
        rows = min(at_once, RESAMPLES - start)
        drawn = generator.integers(n, size=(rows, n)) + n * np.arange(rows)[:, None]
        yield np.bincount(drawn.ravel(), minlength=rows * n).reshape(rows, n).astype(np.float64)
