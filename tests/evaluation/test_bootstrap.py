from __future__ import annotations

import numpy as np
import pytest

from recsys.evaluation.bootstrap import bootstrap_differences


def test_the_interval_of_one_case_a_user_is_that_of_a_mean() -> None:
    values = np.random.default_rng(0).normal(0.1, 1, 2000)
    (found,) = bootstrap_differences(np.arange(2000), [values])
    assert found.mean == pytest.approx(values.mean())
    assert found.n == 2000
    reach = 1.96 * values.std() / 2000**0.5
    assert found.low == pytest.approx(values.mean() - reach, abs=0.1 * reach)
    assert found.high == pytest.approx(values.mean() + reach, abs=0.1 * reach)
    assert bootstrap_differences(np.arange(2000), [values]) == [found]  # seeded


def test_cases_of_a_user_are_drawn_together() -> None:
    """Each of 50 users has 40 equal cases: so there are 50 independent values, and not 2,000."""
    rng = np.random.default_rng(1)
    of_user, user = rng.normal(size=50), np.repeat(np.arange(50) * 7, 40)
    (one,), (many,) = (
        bootstrap_differences(who, [values]) for who, values in ((np.arange(50), of_user), (user, of_user.repeat(40)))
    )
    assert many.n == 50
    assert (many.mean, many.low, many.high) == pytest.approx((one.mean, one.low, one.high))


def test_a_user_counts_as_often_as_they_have_cases() -> None:
    (found,) = bootstrap_differences(np.array([0, 0, 0, 1]), [np.array([1.0, 1.0, 1.0, 0.0])])
    assert (found.mean, found.low, found.high, found.n) == (0.75, 0, 1, 2)


def test_one_user_has_no_interval() -> None:
    (found,) = bootstrap_differences(np.zeros(5, int), [np.arange(5.0)])
    assert (found.mean, found.low, found.high) == (2, None, None)
