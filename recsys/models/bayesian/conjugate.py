"""Draws from the conditional distributions of precisions and means, of every coordinate by itself."""

from __future__ import annotations

import torch
from torch import Tensor

SHAPE, RATE = 1.0, 1.0  # of the gamma prior of a precision; a rate is in the squared unit of what varies
COUNT = 2.0  # rows that the prior of a mean, 0, is worth


def gamma(shape: Tensor | float, rate: Tensor, generator: torch.Generator) -> Tensor:
    """Draws of `Gamma(shape, rate)`, as many as there are rates; the quotient in double precision."""
    wanted = torch.as_tensor(shape, dtype=torch.float64, device=rate.device).expand(rate.shape).contiguous()
    drawn: Tensor = (
        torch._standard_gamma(wanted, generator=generator) / rate.double()
    )  # the public way takes no generator
    return drawn.to(rate.dtype)


def normal(mean: Tensor, precision: Tensor, generator: torch.Generator) -> Tensor:
    """Draws of `N(mean, 1 / precision)`, as many as there are means."""
    noise = torch.randn(mean.shape, generator=generator, device=mean.device, dtype=mean.dtype)
    return mean + noise * precision.rsqrt()


def normal_gamma(rows: Tensor, unit: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Mean and precision, `(e,)` each, that rows `(n, e)` are drawn with (Murphy 2007, section 3).

    Args:
        rows: Draws of one distribution.
        unit: Of each coordinate, `(e,)`.
        generator: Of the device of the rows.
    """
    n, mean = len(rows), rows.mean(0)
    spread = (rows - mean).square().sum(0) + COUNT * n / (COUNT + n) * mean.square()
    precision = gamma(SHAPE + n / 2, RATE * unit.square() + spread / 2, generator)
    return normal(n * mean / (COUNT + n), (COUNT + n) * precision, generator), precision
