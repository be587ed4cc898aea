"""Effects against the dense posterior, by eigenvectors of either side and by conjugate gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from recsys.models.bayesian.side_information import RATE, SHAPE, Effects

PRECISION, EFFECT_PRECISION = torch.tensor([2.0, 0.5]), torch.tensor([3.0, 1.0])
SHAPES = {"few features": (40, 6), "many features": (6, 15)}
WAYS = {"eigenvectors": 100, "gradients": 0}
DRAWS = 3000


def draw_many(block: Effects, rows: torch.Tensor, effect_precision: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Predictions of `DRAWS` draws of the effects, `(DRAWS, n, 2)`, and their precisions, `(DRAWS, 2)`.

    All at once: a draw of many coordinates is as many draws of one.
    """
    effects, precision = block.draw(
        rows.repeat(1, DRAWS), PRECISION.repeat(DRAWS), effect_precision.repeat(DRAWS), torch.Generator().manual_seed(0)
    )
    predicted = block.predict(effects).view(len(rows), DRAWS, 2).transpose(0, 1)
    return predicted.double(), precision.view(DRAWS, 2).double()


def features(n: int, k: int, seed: int = 0) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    return torch.from_numpy((rng.random((n, k)) < 0.4) * rng.normal(size=(n, k))).float()


@pytest.mark.parametrize("dense", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_predictions_have_the_mean_and_the_covariance_of_the_posterior(shape: tuple[int, int], dense: int) -> None:
    table = features(*shape)
    rows = torch.randn(shape[0], 2, generator=torch.Generator().manual_seed(1))
    predicted, _ = draw_many(Effects(table.to_sparse_csr(), dense), rows, EFFECT_PRECISION)
    for c in range(2):
        wide = table.double()
        system = wide.T @ wide * PRECISION[c] + EFFECT_PRECISION[c] * torch.eye(shape[1], dtype=torch.float64)
        covariance = wide @ torch.linalg.inv(system) @ wide.T
        expected = wide @ torch.linalg.solve(system, wide.T @ rows[:, c].double()) * PRECISION[c]
        spread = covariance.diagonal().clamp_min(1e-12).sqrt()
        assert ((predicted[:, :, c].mean(0) - expected).abs() < 5 * spread / DRAWS**0.5 + 1e-4).all()
        torch.testing.assert_close(torch.cov(predicted[:, :, c].T), covariance, atol=0.05, rtol=0.1)


@pytest.mark.parametrize("dense", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_the_precision_of_the_effects_is_drawn_given_all_of_them(shape: tuple[int, int], dense: int) -> None:
    """Also given those that no row shows, which the short way does not return."""
    table, rows = features(*shape), torch.zeros(shape[0], 2)
    effect_precision = torch.tensor([50.0, 5.0])
    _, drawn = draw_many(Effects(table.to_sparse_csr(), dense), rows, effect_precision)
    # E[precision] = E[shape / (rate + squares / 2)], and the squares, of rows that are all 0, are those of a normal.
    shape_given, wide = SHAPE + shape[1] / 2, table.double()
    normal = torch.randn(20_000, shape[1], generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    for c in range(2):
        system = wide.T @ wide * PRECISION[c] + effect_precision[c] * torch.eye(shape[1], dtype=torch.float64)
        squares = normal.square() @ (1 / torch.linalg.eigvalsh(system))
        expected = (shape_given / (RATE + squares / 2)).mean().item()
        assert drawn[:, c].mean().item() == pytest.approx(expected, abs=5 * drawn[:, c].std().item() / DRAWS**0.5)


def test_the_same_generator_gives_the_same_effects() -> None:
    block = Effects(features(8, 3).to_sparse_csr())
    rows: Any = torch.ones(8, 2)
    first, second = (
        block.draw(rows, PRECISION, EFFECT_PRECISION, torch.Generator().manual_seed(5))[0] for _ in range(2)
    )
    assert torch.equal(first, second)
