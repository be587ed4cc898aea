"""The ordinal (ordered probit) likelihood: ratings are intervals of a latent normal variable.

    P(rating <= levels[k]) = Phi((thresholds[k] - mean) * root)        root = square root of the noise precision

The first and last thresholds are fixed half-way between levels, so that latent values are approximately in stars.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

EPSILON = 1e-6  # probabilities are clamped to [EPSILON, 1 - EPSILON], for float32


def midpoints(levels: Tensor) -> Tensor:
    """Thresholds half-way between levels, `(levels - 1,)`."""
    return (levels[1:] + levels[:-1]) / 2


def expected_level(mean: Tensor, root: Tensor | float, levels: Tensor, thresholds: Tensor) -> Tensor:
    """The expected rating, in the shape of `mean`."""
    expected = levels[0].expand(mean.shape)
    for step, threshold in zip(levels.diff(), thresholds, strict=True):
        expected = expected + step * torch.special.ndtr((mean - threshold) * root)
    return expected


class Latent:
    """Ratings of an ordinal scale, by level.

    Args:
        rating: Stars, `(ratings,)`.
        levels: The distinct ratings, ascending, `(levels,)`.
        total: Adds up values of these ratings, and those that other processes have of theirs; a scalar.
    """

    def __init__(self, rating: Tensor, levels: Tensor, total: Callable[[Tensor], Tensor] = torch.sum) -> None:
        self.total = total
        self.level = torch.bucketize(rating, midpoints(levels))  # (ratings,)
        self.of_level = [torch.nonzero(self.level == k)[:, 0] for k in range(len(levels))]

    def draw(self, mean: Tensor, root: Tensor, thresholds: Tensor, share: Tensor) -> Tensor:
        """Latent values given the ratings, `(ratings,)`: truncated normal with mean `mean`, by uniform numbers."""
        edges = torch.nn.functional.pad(thresholds, (1, 1))
        edges[0], edges[-1] = -torch.inf, torch.inf
        low = torch.special.ndtr((edges[self.level] - mean) * root)
        high = torch.special.ndtr((edges[self.level + 1] - mean) * root)
        drawn = torch.special.ndtri((low + (high - low) * share).clamp(EPSILON, 1 - EPSILON))
        # Guard against rounding beyond the thresholds.
        return torch.minimum(torch.maximum(mean + drawn / root, edges[self.level]), edges[self.level + 1])

    def step(
        self, mean: Tensor, root: Tensor, thresholds: Tensor, size: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """A Metropolis step for each inner threshold, with latent values integrated out (Cowles 1996).

        Args:
            mean: Mean of the latent values, `(ratings,)`.
            root: Square root of their precision, `(ratings,)`.
            thresholds: The thresholds, `(levels - 1,)`.
            size: Standard deviation of each proposal, `(levels - 1,)`.
            generator: On the device of `mean`.

        Returns:
            The thresholds, and whether each was accepted.
        """
        moved = torch.zeros_like(thresholds, dtype=torch.bool)
        for k in range(1, len(thresholds) - 1):
            noise, chance = torch.rand(2, generator=generator, device=mean.device, dtype=mean.dtype)
            proposed = thresholds.clone()
            proposed[k] += size[k] * torch.special.ndtri(noise.clamp(EPSILON, 1 - EPSILON))
            if not thresholds[k - 1] < proposed[k] < thresholds[k + 1]:
                continue
            gain = self._likelihood(mean, root, proposed, k) - self._likelihood(mean, root, thresholds, k)
            if chance.double().log() < gain:
                thresholds, moved[k] = proposed, True
        return thresholds, moved

    def _likelihood(self, mean: Tensor, root: Tensor, thresholds: Tensor, k: int) -> Tensor:
        """Log-likelihood of the ratings on either side of threshold k, a scalar in double precision."""
        edges = torch.nn.functional.pad(thresholds, (1, 1))
        edges[0], edges[-1] = -torch.inf, torch.inf
        logs = torch.zeros(len(mean), dtype=torch.float64, device=mean.device)
        for level in (k, k + 1):
            rows = self.of_level[level]
            at, scale = mean[rows], root[rows]
            share = torch.special.ndtr((edges[level + 1] - at) * scale) - torch.special.ndtr(
                (edges[level] - at) * scale
            )
            logs[rows] = share.clamp_min(EPSILON).log().double()
        return self.total(logs)
