"""The prior of users' rows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from recsys.bundle.prior import is_first
from tests.bundles import random_factors


def test_draws_have_the_prior_precision_as_their_covariance() -> None:
    """With terms that grow with the number of ratings, of which one is of the bias alone."""
    factors = random_factors(samples=2)
    bias = np.zeros_like(factors.prior_precision[:1])
    bias[..., -1, -1] = 3
    prior = replace(
        factors,
        prior_precision=np.concatenate([factors.prior_precision, bias]),
        prior_exponent=np.append(factors.prior_exponent, np.float32(0.5)),
        prior_offset=None,
    ).prior
    for n in (1, 9):
        drawn = prior.drawn(np.full(40_000, n), np.random.default_rng(0))
        wanted = prior.precision_given(n)
        for sample in range(2):
            found = np.cov(drawn[:, sample].T)
            np.testing.assert_allclose(found, wanted[sample], atol=0.04 * np.abs(wanted[sample]).max())
            np.testing.assert_allclose(drawn[:, sample].mean(0), 0, atol=0.03 * np.sqrt(found.max()))


def test_an_item_is_first_once() -> None:
    assert is_first(np.array([3, 1, 3, 3, 2])).tolist() == [True, True, False, False, True]
