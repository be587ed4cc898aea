"""Weights against what the rows were made of."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from recsys.ensemble.stacking import Form, Rows, choose_form, cross_validated, fit_stack, losses, rmse

N = 4000
LEVELS = np.arange(1.0, 6.0)


def made(weights: list[float], *, seed: int = 0, slope: float = 0.0, noise: float = 0.3) -> Rows:
    """Rows whose rating is the weighted sum of the members, plus noise; the last member is noise alone."""
    random = np.random.default_rng(seed)
    linear = 3 + random.normal(0, 1, (N, len(weights)))
    user_ratings = random.integers(5, 500, N)
    log = np.log1p(user_ratings)
    by_user = np.array(weights) + slope * ((log - log.mean()) / log.std())[:, None]
    return Rows(linear, (by_user * linear).sum(1) + 0.4 + random.normal(0, noise, N), user_ratings, (-20.0, 20.0), None)


def in_levels(rows: Rows) -> Rows:
    """The same as stars of a scale from 1 to 5, with ends that hold more than others."""
    place = np.searchsorted([2.4, 3.0, 3.6, 4.2], rows.rating)
    return replace(rows, rating=LEVELS[place], scale=(1.0, 5.0), levels=LEVELS)


def test_ridge_finds_the_weights() -> None:
    stack = fit_stack(made([0.7, 0.3]), Form())
    np.testing.assert_allclose(stack.weights, [0.7, 0.3], atol=0.02)
    assert stack.intercept == pytest.approx(0.4, abs=0.1)
    assert stack.noise == 0
    heavy = fit_stack(made([0.7, 0.3]), Form(penalty=1e6))
    np.testing.assert_allclose(heavy.weights, [0.5, 0.5], atol=1e-3)


def test_weights_follow_activity_within_what_was_seen() -> None:
    rows = made([0.7, 0.3], slope=0.2)
    stack = fit_stack(rows, Form(by_activity=True))
    np.testing.assert_allclose(stack.slopes, [0.2, 0.2], atol=0.02)
    few, least, most, many = stack.weights_of(np.array([0, 5, 499, 10**6]))
    np.testing.assert_allclose(few, least)
    np.testing.assert_allclose(most, many, atol=1e-2)
    assert most[0] > least[0] + 0.5


@pytest.mark.parametrize("link", ["identity", "ordinal"])
def test_a_member_of_negative_weight_is_left_out_if_asked(link: str) -> None:
    rows = in_levels(made([1.0, -0.3]))
    assert fit_stack(rows, Form(link)).weights[1] < -0.1
    stack = fit_stack(rows, Form(link, non_negative=True))
    assert stack.weights[1] == 0 < stack.weights[0]


def test_ordered_probit_finds_weights_and_thresholds_in_stars() -> None:
    rows = in_levels(made([0.7, 0.3], noise=0.5))
    stack = fit_stack(rows, Form("ordinal"))
    np.testing.assert_allclose(stack.weights, [0.7, 0.3], atol=0.03)
    assert stack.weights.sum() == pytest.approx(1)
    assert stack.thresholds is not None
    np.testing.assert_allclose(stack.thresholds, [2.0, 2.6, 3.2, 3.8], atol=0.1)  # 0.4 below: there is no intercept
    assert stack.noise == pytest.approx(0.5, abs=0.05)
    predicted = stack.predict(rows)
    assert 1 <= predicted.min() < predicted.max() <= 5
    assert predicted.mean() == pytest.approx(rows.rating.mean(), abs=0.01)


def test_the_form_is_chosen_by_rows_that_its_weights_were_not_fitted_on() -> None:
    form, figure = choose_form(made([0.7, 0.3]), ("identity",), None, None)
    assert not form.by_activity
    assert figure == pytest.approx(0.3, abs=0.01)
    assert choose_form(made([0.7, 0.3], slope=0.2), ("identity",), None, None)[0].by_activity
    assert not choose_form(made([0.7, 0.3], slope=0.2), ("identity",), False, None)[0].by_activity
    ordinal, better = choose_form(in_levels(made([0.7, 0.3])), ("identity", "ordinal"), False, None)
    assert ordinal.link == "ordinal"
    assert better < choose_form(in_levels(made([0.7, 0.3])), ("identity",), False, None)[1]
    assert choose_form(made([1.0, -0.3]), ("identity",), False, None)[0].non_negative is False
    assert choose_form(made([1.0, -0.003], seed=2), ("identity",), False, None)[0].non_negative is True


def test_cross_validation_is_no_flattery() -> None:
    """Two hundred members of noise fit eighty rows perfectly, and predict nothing."""
    random = np.random.default_rng(0)
    rows = Rows(random.normal(0, 1, (80, 200)), random.normal(0, 1, 80), np.full(80, 9), (-9.0, 9.0), None)
    form = Form(penalty=1e-6)
    assert rmse(rows, fit_stack(rows, form).predict(rows)) < 0.01
    assert rmse(rows, cross_validated(rows, form)) > 0.8


def test_what_leaving_a_member_out_loses() -> None:
    first, second, nothing = losses(made([0.7, 0.3, 0.0]), Form())
    assert first is not None
    assert second is not None
    assert nothing is not None
    assert first > second > 0.05 > abs(nothing)
