"""Draws from the conjugate conditional distributions of precisions and means, independently by coordinate."""

from __future__ import annotations

import torch
from torch import Tensor

SHAPE, RATE = 1.0, 1.0  # of the gamma prior of a precision; the rate is relative to the squared unit
COUNT = 2.0  # pseudo-count of the prior of a mean, which is 0


def gamma(shape: Tensor | float, rate: Tensor, generator: torch.Generator) -> Tensor:
    """Draw from `Gamma(shape, rate)`, one for each rate; the division is in double precision."""
    wanted = torch.as_tensor(shape, dtype=torch.float64, device=rate.device).expand(rate.shape).contiguous()
    drawn: Tensor = (
        torch._standard_gamma(wanted, generator=generator) / rate.double()
    )  # the public API takes no generator
    return drawn.to(rate.dtype)


def normal(mean: Tensor, precision: Tensor, generator: torch.Generator) -> Tensor:
    """Draw from `N(mean, 1 / precision)`, one for each mean."""
    noise = torch.randn(mean.shape, generator=generator, device=mean.device, dtype=mean.dtype)
    return mean + noise * precision.rsqrt()


def normal_gamma(rows: Tensor, unit: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw mean and precision, `(e,)` each, given normal rows `(n, e)` (Murphy 2007, section 3).

    Args:
        rows: The rows.
        unit: Unit of each coordinate, `(e,)`.
        generator: On the device of the rows.
    """
    n, mean = len(rows), rows.mean(0)
    spread = (rows - mean).square().sum(0) + COUNT * n / (COUNT + n) * mean.square()
    precision = gamma(SHAPE + n / 2, RATE * unit.square() + spread / 2, generator)
    return normal(n * mean / (COUNT + n), (COUNT + n) * precision, generator), precision
