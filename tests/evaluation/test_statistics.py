from __future__ import annotations

import pytest

from recsys.evaluation.statistics import Difference, mean, paired_difference, standard_error, t_bound


@pytest.mark.parametrize(
    ("freedom", "bound"),  # 97.5% quantiles as printed in tables (NIST/SEMATECH handbook, 1.3.6.7.2)
    [(1, 12.706), (2, 4.303), (3, 3.182), (4, 2.776), (5, 2.571), (9, 2.262), (10, 2.228), (29, 2.045), (100, 1.984)],
)
def test_bounds_of_students_t(freedom: int, bound: float) -> None:
    assert t_bound(freedom) == pytest.approx(bound, abs=6e-4)


def test_bounds_are_exact_where_there_is_a_closed_form() -> None:
    import math

    assert t_bound(1) == pytest.approx(math.tan(0.475 * math.pi), rel=1e-13)
    assert t_bound(2) == pytest.approx(0.95 * math.sqrt(2 / (1 - 0.95**2)), rel=1e-13)
    assert t_bound(10_000) == pytest.approx(1.959964, rel=1e-3)  # nearly the normal distribution's


@pytest.mark.parametrize(
    ("freedom", "bound"),  # scipy.stats.t.ppf(0.975, freedom) of SciPy 1.17
    [
        (3, 3.1824463052837078), (4, 2.7764451051977934), (5, 2.5705818356363146), (7, 2.364624251592784),
        (10, 2.228138851986274), (15, 2.131449545559776), (20, 2.085963447265864), (29, 2.045229642132703),
        (30, 2.0422724563012378), (31, 2.039513446396408), (59, 2.000995378088267),
    ],
)  # fmt: skip
def test_bounds_equal_scipys(freedom: int, bound: float) -> None:
    assert t_bound(freedom) == pytest.approx(bound, rel=1e-12)


def test_no_degree_of_freedom_is_refused() -> None:
    with pytest.raises(ValueError, match="freedom must be >= 1, got 0"):
        t_bound(0)


def test_mean_and_standard_error() -> None:
    assert mean([1.0, 2.0, 6.0]) == 3.0
    assert standard_error([1.0, 2.0, 6.0]) == pytest.approx((7 / 3) ** 0.5)  # variance 7 with n - 1, by n
    assert (mean([]), standard_error([]), standard_error([4.0])) == (None, None, None)


def test_what_repeats_have_in_common_drops_out_of_their_difference() -> None:
    best = {(0, None): 0.90, (1, None): 0.80, (2, None): 0.70, (9, None): 0.1}
    other = {(0, None): 0.91, (1, None): 0.82, (2, None): 0.73, (8, None): 9.9}
    found = paired_difference(other, best)
    assert found is not None
    assert (found.n, found.mean) == (3, pytest.approx(0.02))
    reach = 4.302653 * 0.01 / 3**0.5
    assert (found.low, found.high) == (pytest.approx(0.02 - reach), pytest.approx(0.02 + reach))
    assert found.above_zero is False
    assert paired_difference({0: 1.0, 1: 1.1}, {0: 0.5, 1: 0.6}).above_zero is True  # type: ignore[union-attr]


def test_one_pair_has_no_interval_and_none_no_difference() -> None:
    alone = paired_difference({0: 1.0, 1: 2.0}, {0: 0.75})
    assert alone == Difference(0.25, None, None, 1)
    assert alone.above_zero is None
    assert paired_difference({0: 1.0}, {1: 1.0}) is None
