"""One formula of drift, for all residuals at once and as running sums."""

from __future__ import annotations

import numpy as np
import pytest

from recsys.bundle.drift import Drift


@pytest.mark.parametrize("drift", [Drift(3.0, 2.0), Drift(0.5, 0.0), Drift(1000.0, 7.0)])
def test_running_sums_give_the_weighted_mean_of_every_first_n(drift: Drift) -> None:
    error = np.random.default_rng(0).normal(size=(9, 2)).astype(np.float32)
    sums = drift.discounted_sums(error, 8)
    assert sums.shape == (9, 2)
    n = np.arange(1, 9)
    running = sums[n] / drift.total_weight(n)[:, None]
    np.testing.assert_allclose(running, [drift.weights(k) @ error[:k] for k in n], rtol=1e-5, atol=1e-7)


def test_weights_by_hand() -> None:
    latest, before = 1.0, np.exp(-1 / 3)
    np.testing.assert_allclose(Drift(3.0, 2.0).weights(2), np.array([before, latest]) / (latest + before + 2))
