"""The ordinal link against sums over draws, numerical integrals and `math.erfc`."""

from __future__ import annotations

import math

import numpy as np
import pytest

from recsys.bundle.ordinal import Ordinal, normal_cdf

LEVELS = np.array([1, 2, 3.5, 5], np.float32)
LINK = Ordinal(LEVELS, np.array([[1.5, 2.7, 4.1], [1.2, 2.9, 4.4]], np.float32))


def test_the_distribution_function_is_exact_in_the_middle_and_by_ratio_in_the_tails() -> None:
    x = np.linspace(-30, 8, 500)
    exact = np.array([math.erfc(-value / 2**0.5) / 2 for value in x])
    np.testing.assert_allclose(normal_cdf(x), exact, rtol=3e-7)
    single = normal_cdf(x[x > -8].astype(np.float32))
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, exact[x > -8], rtol=1e-4, atol=3e-7)
    np.testing.assert_array_equal(normal_cdf(np.array([-np.inf, np.inf])), [0, 1])


def test_probabilities_are_shares_of_draws_and_the_expected_star_is_their_mean() -> None:
    rng = np.random.default_rng(0)
    linear = np.array([[2.0, 2.2], [4.8, 5.1], [-3, 0.5]], np.float32)
    precision = np.array([[1.5, 0.8], [2, 2], [1, 9]], np.float32)
    probabilities = LINK.probabilities(linear, precision)
    assert probabilities.shape == (3, 4)
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-6)
    # As the bundle's formula has it: levels[0] + sum over k of (levels[k + 1] - levels[k]) P(star > levels[k]).
    above = np.vectorize(lambda x: math.erfc(x / 2**0.5) / 2)(
        (LINK.thresholds - linear[:, :, None]) * precision[:, :, None] ** 0.5
    )
    expected = LEVELS[0] + above @ np.diff(LEVELS)
    np.testing.assert_allclose(probabilities @ LEVELS, expected.mean(1), atol=1e-5)
    for row in range(3):
        level = []
        for sample in range(2):
            drawn = linear[row, sample] + rng.normal(size=200_000) / precision[row, sample] ** 0.5
            level.append(np.searchsorted(LINK.thresholds[sample], drawn))
            assert LEVELS[level[-1]].mean() == pytest.approx(expected[row, sample], abs=0.02)
        shares = np.bincount(np.concatenate(level), minlength=4) / 400_000
        np.testing.assert_allclose(probabilities[row], shares, atol=0.005)


def test_the_score_behind_a_star_is_a_truncated_normal_s() -> None:
    rating = np.array([1, 2, 3.5, 5, 3, 4.1], np.float32)  # 3 counts as 3.5, 4.1 too
    fit = np.array([np.linspace(-2, 6, 6), np.full(6, 3.1)])
    precision = np.array([np.full(6, 1.7), np.linspace(0.5, 4, 6)])
    found = LINK.latent(rating, fit, precision)
    for sample in range(2):
        ends = np.concatenate([[-40], LINK.thresholds[sample], [40]])
        for j, level in enumerate([0, 1, 2, 3, 2, 2]):
            x = np.linspace(ends[level], ends[level + 1], 400_001)
            weight = np.exp(-precision[sample, j] * (x - fit[sample, j]) ** 2 / 2)
            mean = (x * weight).sum() / weight.sum()
            assert found.mean[sample, j] == pytest.approx(mean, abs=1e-3)
            assert found.variance[sample, j] == pytest.approx(((x - mean) ** 2 * weight).sum() / weight.sum(), abs=1e-3)


@pytest.mark.parametrize("fit", [-1e3, -60.0, 60.0, 1e3])
def test_a_star_that_is_all_but_impossible_is_a_finite_score_in_its_interval(fit: float) -> None:
    found = LINK.latent(LEVELS, np.full((2, 4), fit), np.full((2, 4), 25.0))
    ends = np.pad(LINK.thresholds, ((0, 0), (1, 1)), constant_values=(-np.inf, np.inf))
    assert np.isfinite(found.mean).all()
    assert (found.mean >= ends[:, :-1]).all()
    assert (found.mean <= ends[:, 1:]).all()
    assert ((found.variance >= 0) & (found.variance <= 1 / 25)).all()
