"""Samples of a posterior, and sweeps as data grows: what is chosen and measured, on small data."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import samples, scaling_sweeps
from recsys.bundle.centring import Side, centred_factors
from recsys.bundle.factors import concat_samples
from tests.small_data import random_ratings, small_data


def test_samples_are_evenly_spaced_and_end_with_the_last() -> None:
    assert samples.spaced(128, 1).tolist() == [127]
    assert samples.spaced(128, 4).tolist() == [31, 63, 95, 127]
    assert samples.spaced(5, 5).tolist() == [0, 1, 2, 3, 4]


def test_chosen_samples_predict_as_they_do_among_all() -> None:
    rng = np.random.default_rng(0)
    each = [
        centred_factors(
            3.0,
            *(Side(rng.normal(size=n), rng.normal(size=(n, 2)), np.zeros(3), np.ones((1, 3)), (0.0,)) for n in (4, 5)),
        )
        for _ in range(6)
    ]  # fmt: skip
    user, item = np.arange(4), np.arange(1, 5)
    chosen = samples.of_samples(concat_samples(each), np.array([1, 4]))
    np.testing.assert_array_equal(chosen.predict(user, item), concat_samples([each[1], each[4]]).predict(user, item))


@pytest.mark.parametrize("name", scaling_sweeps.MODELS)
def test_every_sweep_is_timed(name: str) -> None:
    assert len(scaling_sweeps.sweeps(name, small_data(random_ratings(200, 20, 15)), 3)) == 3
