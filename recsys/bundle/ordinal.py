"""Stars as intervals of a latent score: the ordered probit link. NumPy only.

P(star <= levels[k]) = Phi((thresholds_k - linear part) sqrt(noise precision))
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from recsys.bundle.typing import Float32Array

Numbers = NDArray[np.floating[Any]]

# Chebyshev coefficients of log erfc, the highest power first (Press et al., Numerical Recipes, erfcc): the relative
# error is below 1.2e-7 everywhere, also far out in the tails, where what truncated normals need is a ratio.
ERFC = (0.17087277, -0.82215223, 1.48851587, -1.13520398, 0.27886807, -0.18628806, 0.09678418, 0.37409196, 1.00002368,
        -1.26551223)  # fmt: skip
FAR = 1e4  # standard deviations; stands for infinity, of which products with 0 are not numbers
LEAST = 1e-300  # of a probability that is divided by


def normal_cdf(x: Numbers) -> Numbers:
    """The standard normal's distribution function, of any shape, in the type of `x`."""
    z = np.abs(x) * np.asarray(0.5**0.5, x.dtype)
    t = 1 / (1 + z / 2)
    power = np.zeros_like(t)
    for coefficient in ERFC:
        power = power * t + np.asarray(coefficient, x.dtype)
    tail = t * np.exp(power - z * z) / 2
    return np.asarray(np.where(x < 0, tail, 1 - tail))


class Latent(NamedTuple):
    """What a star says of the score behind it."""

    mean: NDArray[np.float64]  # (samples, n)
    variance: NDArray[np.float64]  # (samples, n)


@dataclass(frozen=True, eq=False)
class Ordinal:
    """The link of a model that puts thresholds between neighbouring levels of the scale."""

    levels: Float32Array  # (levels,) stars, ascending
    thresholds: Float32Array  # (samples, levels - 1) in the unit of the linear part, ascending

    def probabilities(self, linear: Float32Array, precision: Float32Array) -> Float32Array:
        """Of each level, the mean over the samples, `(rows, levels)`; the expected star is their product with `levels`.

        Args:
            linear: The linear part, `(rows, samples)`.
            precision: Of the noise around it, `(rows, samples)`.
        """
        rows, (samples, between) = len(linear), self.thresholds.shape
        below = (self.thresholds - linear[:, :, None]) * np.sqrt(precision)[:, :, None]
        cumulative = np.zeros((rows, between + 2), np.float32)
        cumulative[:, 1:-1] = normal_cdf(below).sum(1) / np.float32(samples)
        cumulative[:, -1] = 1
        return np.maximum(np.diff(cumulative, axis=1), 0)  # rounding may make a difference negative

    def latent(self, rating: Float32Array, fit: Numbers, precision: Numbers) -> Latent:
        """Mean and variance of the scores behind stars: normals, truncated to the star's interval.

        Args:
            rating: Stars, `(n,)`; one between two levels counts as the nearest, the lower of two equally near.
            fit: Mean of each score before its star is known, `(samples, n)`.
            precision: And its precision, `(samples, n)`.
        """
        level = np.abs(rating[:, None] - self.levels).argmin(1)
        ends = np.pad(self.thresholds.astype(np.float64), ((0, 0), (1, 1)), constant_values=(-np.inf, np.inf))
        low, high, root = ends[:, level], ends[:, level + 1], np.sqrt(precision.astype(np.float64))
        a, b = ((end - fit) * root for end in (low, high))
        # Seen from the side where the interval is left of the middle: there the difference of tails is exact.
        flipped = a + b > 0
        a, b = np.where(flipped, -b, a).clip(-FAR, FAR), np.where(flipped, -a, b).clip(-FAR, FAR)
        density_a, density_b = np.exp(-a * a / 2) / (2 * np.pi) ** 0.5, np.exp(-b * b / 2) / (2 * np.pi) ** 0.5
        mass = np.maximum(normal_cdf(b) - normal_cdf(a), LEAST)
        shift = (density_a - density_b) / mass
        variance = (1 + (a * density_a - b * density_b) / mass - shift**2).clip(0, 1) / root**2
        mean = fit + np.where(flipped, -shift, shift) / root
        return Latent(mean.clip(low, high), variance)  # a star that is all but impossible lies at its nearer end
