"""Draws against the distributions that they are drawn from."""

from __future__ import annotations

import pytest
import torch

from recsys.models.bayesian.conjugate import COUNT, RATE, SHAPE, gamma, normal, normal_gamma

DRAWS = 20_000


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("shape", [0.7, 3.0, 5000.5])
def test_gamma_has_its_mean_and_its_variance(shape: float) -> None:
    drawn = gamma(shape, torch.full((DRAWS,), 2.0), generator())
    assert drawn.dtype == torch.float32
    assert (drawn > 0).all()
    assert drawn.mean().item() == pytest.approx(shape / 2, rel=5 / (DRAWS * shape) ** 0.5)
    assert drawn.var().item() == pytest.approx(shape / 4, rel=0.1)


def test_every_gamma_has_its_own_shape() -> None:
    drawn = gamma(torch.tensor([10.0, 1e6]).repeat(100), torch.ones(200), generator()).view(100, 2)
    assert drawn.mean(0).tolist() == pytest.approx([10, 1e6], rel=0.1)


def test_normal_has_its_mean_and_its_precision() -> None:
    drawn = normal(torch.full((DRAWS,), 3.0), torch.tensor(4.0), generator())
    assert drawn.mean().item() == pytest.approx(3, abs=5 * 0.5 / DRAWS**0.5)
    assert drawn.std().item() == pytest.approx(0.5, rel=0.05)


def test_normal_gamma_is_the_posterior_of_the_rows() -> None:
    """The posterior's mean of the precision, mean and variance of the mean, by the formulas of the conjugate prior."""
    rows = torch.tensor([[1.0], [2.0], [4.0], [5.0]]).expand(-1, DRAWS)  # every coordinate is a draw by itself
    mean, precision = (drawn.double() for drawn in normal_gamma(rows, torch.ones(()), generator()))
    rate = RATE + 10 / 2 + 0.5 * COUNT * 4 / (COUNT + 4) * 3**2
    assert precision.mean().item() == pytest.approx((SHAPE + 2) / rate, rel=0.02)
    assert mean.mean().item() == pytest.approx(4 * 3 / (COUNT + 4), abs=0.04)
    assert mean.var().item() == pytest.approx(rate / (SHAPE + 1) / (COUNT + 4), rel=0.08)


def test_many_rows_outweigh_the_prior() -> None:
    rows = 7 + 0.5 * torch.randn(DRAWS, 3, generator=generator(1))
    mean, precision = normal_gamma(rows, torch.ones(()), generator())
    assert mean.tolist() == pytest.approx([7] * 3, rel=0.01)
    assert precision.tolist() == pytest.approx([4] * 3, rel=0.05)
