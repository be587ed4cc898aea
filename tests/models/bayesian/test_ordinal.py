"""The ordered probit likelihood on numbers whose thresholds are known."""

from __future__ import annotations

import pytest
import torch

from recsys.models.bayesian.ordinal import Latent, expected_level, midpoints

LEVELS = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0])
THRESHOLDS = torch.tensor([1.5, 2.2, 3.4, 4.5])


def rated(mean: torch.Tensor, root: float, seed: int = 0) -> torch.Tensor:
    latent = mean + torch.randn(mean.shape, generator=torch.Generator().manual_seed(seed)) / root
    return LEVELS[torch.bucketize(latent, THRESHOLDS)]


def test_thresholds_begin_half_way_between_the_levels() -> None:
    assert midpoints(torch.tensor([0.5, 1.0, 3.0])).tolist() == [0.75, 2.0]


def test_the_expected_level_is_the_mean_of_what_is_rated() -> None:
    for mean in (0.0, 2.9, 4.4, 9.0):
        many = torch.full((50_000,), mean)
        expected = expected_level(many[:1], torch.tensor(1.3), LEVELS, THRESHOLDS).item()
        assert rated(many, 1.3).mean().item() == pytest.approx(expected, abs=0.02)


def test_latent_numbers_lie_where_their_ratings_say_and_are_normal_there() -> None:
    mean = torch.tensor([3.0, -20.0, 30.0]).repeat(20_000)
    rating = torch.tensor([4.0, 5.0, 1.0]).repeat(20_000)
    latent, root = Latent(rating, LEVELS), 2.5
    share = torch.rand(mean.shape, generator=torch.Generator().manual_seed(0))
    drawn = latent.draw(mean, torch.tensor(root), THRESHOLDS, share).view(-1, 3)
    assert drawn.isfinite().all()
    assert ((drawn[:, 0] >= 3.4) & (drawn[:, 0] <= 4.5)).all()
    assert (drawn[:, 1] >= 4.5).all()  # however unlikely
    assert (drawn[:, 2] <= 1.5).all()
    grid = torch.linspace(3.4, 4.5, 2001, dtype=torch.float64)
    density = torch.exp(-((root * (grid - 3)) ** 2) / 2)
    expected = ((grid * density).sum() / density.sum()).item()
    assert drawn[:, 0].mean().item() == pytest.approx(expected, abs=0.01)


def test_steps_find_the_thresholds_and_leave_the_outer_ones() -> None:
    generator = torch.Generator().manual_seed(1)
    mean = 3 + torch.randn(4000, generator=generator)
    latent, root = Latent(rated(mean, 1.5), LEVELS), torch.full((4000,), 1.5)
    thresholds, kept = midpoints(LEVELS), []
    for step in range(120):
        thresholds, _ = latent.step(mean, root, thresholds, torch.full((4,), 0.05), generator)
        if step >= 40:
            kept.append(thresholds)
    found = torch.stack(kept).mean(0)
    assert found[[0, 3]].tolist() == [1.5, 4.5]
    assert found.tolist() == pytest.approx(THRESHOLDS.tolist(), abs=0.08)
    assert (thresholds.diff() > 0).all()
