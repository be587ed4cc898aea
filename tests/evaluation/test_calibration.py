"""Calibration, on ratings that are drawn from the very distribution that the model states."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from recsys.bundle import TEST, TRAIN, Bundle
from recsys.evaluation.calibration import calibration_metrics, format_coverage, in_ordinal_interval
from recsys.evaluation.evaluate import evaluate
from recsys.evaluation.holdout import TestSet, predict_test_set
from tests.bundles import make_bundle, random_factors

LEVELS = (1.0, 2.0, 3.0, 4.0, 5.0)


def drawn(scale: list[float], **kind: Any) -> Bundle:
    """A bundle of 60 users and 80 items, half of all pairs are test rows without a rating yet."""
    rng = np.random.default_rng(0)
    cells = np.sort(rng.choice(4800, 2400, replace=False))
    rated = [(c // 80, c % 80, 3.0, TEST if n else TRAIN) for n, c in enumerate(cells.tolist())]
    manifest = {key: kind.pop(key) for key in ("noise", "link", "task") if key in kind}
    factors = random_factors(n_users=60, n_items=80, **kind)
    return make_bundle(
        factors, list(range(60)), list(range(80)), rated, fit_on="train_val", rating_scale=scale, **manifest
    )


def rated_as(bundle: Bundle, rating: np.ndarray) -> TestSet:
    return replace(predict_test_set(bundle), rating=rating)


@pytest.mark.parametrize("honest", [True, False])
@pytest.mark.parametrize("kind", [{"noise": 0.8}, {"noisy": True}], ids=str)
def test_honest_intervals_hold_what_they_should(kind: dict[str, Any], honest: bool) -> None:
    bundle = drawn([-50.0, 50.0], **kind)
    test = predict_test_set(bundle)
    mean, std, _ = bundle.predictions(test.user, test.item, std=True)
    assert std is not None
    noise = np.random.default_rng(1).normal(size=len(mean))
    found = calibration_metrics(bundle, rated_as(bundle, mean + (1 if honest else 2) * std * noise))
    assert found["mean_std"] == pytest.approx(std.mean(), rel=1e-6)
    wanted = (0.5, 0.9) if honest else (0.264, 0.589)
    assert (found["inside_50"], found["inside_90"]) == pytest.approx(wanted, abs=0.03)


@pytest.mark.parametrize("samples", [1, 3])
def test_honest_levels_are_inside_as_often_as_they_should(samples: int) -> None:
    bundle = drawn([1.0, 5.0], noisy=True, levels=LEVELS, link="ordinal", samples=samples)
    test = predict_test_set(bundle)
    shares = bundle.predictions(test.user, test.item).probabilities
    assert shares is not None
    uniform = np.random.default_rng(1).random((len(shares), 1))
    stars = 1.0 + (uniform > shares.cumsum(1)).sum(1).clip(0, 4)
    found = calibration_metrics(bundle, rated_as(bundle, stars))
    assert (found["inside_50"], found["inside_90"]) == pytest.approx((0.5, 0.9), abs=0.03)
    std = bundle.predictions(test.user, test.item, std=True).std
    assert std is not None
    assert found["mean_std"] == pytest.approx(std.mean(), rel=1e-4)


def test_a_level_counts_by_its_part_in_the_interval() -> None:
    shares = np.array([[0.1, 0.2, 0.4, 0.2, 0.1]] * 5)
    found = in_ordinal_interval(np.array(LEVELS), shares, np.array(LEVELS), 0.5)
    np.testing.assert_allclose(
        found, [0, 0.25, 1, 0.25, 0]
    )  # from 0.25 to 0.75: a quarter of what lies from 0.1 to 0.3
    np.testing.assert_allclose(found @ shares[0], 0.5)
    np.testing.assert_allclose(in_ordinal_interval(np.array(LEVELS), shares, np.array(LEVELS), 0.9) @ shares[0], 0.9)
    certain = np.array([[0.0, 0, 1, 0, 0]] * 2)
    np.testing.assert_allclose(in_ordinal_interval(np.array([3.0, 4.0]), certain, np.array(LEVELS), 0.5), [0.5, 0])


@pytest.mark.parametrize("kind", [{"noisy": True}, {"levels": LEVELS, "link": "ordinal"}], ids=str)
def test_chunks_change_nothing(kind: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = drawn([1.0, 5.0], samples=2, **kind)
    whole = calibration_metrics(bundle, predict_test_set(bundle))
    monkeypatch.setattr("recsys.evaluation.calibration.ROW_BLOCK", 100)
    assert calibration_metrics(bundle, predict_test_set(bundle)) == pytest.approx(whole, rel=1e-5)


def test_who_states_no_spread_has_no_figures() -> None:
    bundle = drawn([1.0, 5.0])
    assert calibration_metrics(bundle, predict_test_set(bundle)) == {}
    assert format_coverage(evaluate(bundle)) is None
    ranking = replace(bundle, manifest=bundle.manifest | {"task": "ranking", "noise": 1.0})
    assert calibration_metrics(ranking, predict_test_set(bundle)) == {}


def test_evaluate_has_them_and_they_are_said() -> None:
    figures = evaluate(drawn([1.0, 5.0], noise=0.9))
    assert figures["test/mean_std"] == pytest.approx(0.9)
    said = format_coverage({"test/inside_50": 0.512, "test/inside_90": 0.897})
    assert said == "50% intervals hold 51.2% of test ratings, 90% intervals 89.7%"
