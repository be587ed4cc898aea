"""Everything that a person sets is free of the rating scale: ratings r as `factor r + shift` change nothing else."""

from __future__ import annotations

from dataclasses import replace
from functools import cache, partial

import numpy as np
import pytest
from lightning.pytorch.callbacks import EarlyStopping

from recsys.bundle import Bundle
from recsys.bundle.compression import compressed_bundle
from recsys.data.datamodule import RatingDataModule
from recsys.evaluation.baselines import fit_biases, running_user_biases
from recsys.evaluation.evaluate import evaluate
from recsys.evaluation.holdout import predict_test_set
from recsys.evaluation.prequential import prequential
from recsys.models.als import ALS
from recsys.models.bayesian.model import BayesianMF
from recsys.models.mf import MatrixFactorization
from recsys.training.export import make_bundle
from recsys.training.trainer import build_callbacks
from tests.commands import run_config
from tests.models.test_contract import RATING_MODELS, Make, small
from tests.small_data import SmallRatings, fit, kinds, random_ratings

pytestmark = pytest.mark.long

Scale = tuple[float, float]  # factor and shift

WIDE: Scale = (20.0, -7.0)
SCALES = {"13 to 93": WIDE, "0 to 2": (0.5, -0.5), "1 to 10": (2.25, -1.25), "-10 to 10": (5.0, -15.0)}
MODELS: dict[str, Make] = RATING_MODELS | {
    "mf-sum": partial(MatrixFactorization, penalty="sum", dropout=0.2, batch_norm=True),
    "als-exponent": partial(ALS, reg_lambda=0.1, reg_exponent=0.5),
    "bayesian_mf-drift": partial(BayesianMF, likelihood="ordinal", drift=5.0),
}
EPOCHS = 8


@cache
def ratings_on(scale: Scale) -> RatingDataModule:
    """Whole stars from 1 to 5 by 20 users of 15 items, with attributes, on another scale."""
    factor, shift = scale
    ratings = random_ratings(150, 20, 15)
    ratings = ratings[(ratings.user_id > 103) | (ratings.timestamp > 110)]  # these users are in the test rows only
    moved = ratings.assign(rating=(factor * ratings.rating.astype(np.float64) + shift).astype(np.float32))
    source = SmallRatings(moved, factor + shift, 5 * factor + shift, **kinds(ratings))
    data = RatingDataModule(source, split="global_time", test_fraction=0.3, batch_size=40)
    data.setup()
    return data


@cache
def trained(name: str, scale: Scale) -> Bundle:
    data = ratings_on(scale)
    model = small(MODELS[name], data, seed=3)
    fit(model, data, epochs=EPOCHS)
    return make_bundle(model, data, noise=0.9 * scale[0])


def answers(bundle: Bundle, scale: Scale) -> dict[str, np.ndarray]:
    """What a bundle says, by name, in stars of the scale from 1 to 5."""
    factor, shift = scale
    low, high = bundle.scale
    user, item = np.divmod(np.arange((bundle.n_users + 1) * (bundle.n_items + 1)), bundle.n_items + 1)
    fitted = bundle.predictions(user - 1, item - 1, std=True)
    rated = np.array([3, 0, 5])
    folded = bundle.fold_in_rows(rated, np.array([low, high, (low + high) / 2], np.float32))
    by_folded = bundle.predictions_for(folded.vector, np.arange(bundle.n_items), std=True)
    base, parts = folded.contributions(np.arange(bundle.n_items))
    assert fitted.std is not None
    assert by_folded.std is not None
    found = {
        "predictions": (fitted.mean - shift) / factor,
        "deviations": fitted.std / factor,
        "of one folded in": (by_folded.mean - shift) / factor,
        "deviations of one folded in": by_folded.std / factor,
        "base of an explanation": (base - shift) / factor,
        "contributions": parts / factor,
    }
    if fitted.probabilities is not None:
        found["probabilities"] = fitted.probabilities
    return found


def figures(bundle: Bundle, factor: float) -> dict[str, float]:
    """Metrics of the test rows by name, on the scale from 1 to 5."""
    test = predict_test_set(bundle)
    found = evaluate(bundle, test) | prequential(bundle, test)
    free = ("share_cold", "share_unseen", "inside_50", "inside_90")
    return {key: value / (1.0 if key.endswith(free) else factor) for key, value in found.items() if value is not None}


@pytest.mark.parametrize("to", SCALES.values(), ids=SCALES)
@pytest.mark.parametrize("name", MODELS)
def test_another_scale_changes_nothing_else(name: str, to: Scale) -> None:
    before, after = trained(name, (1.0, 0.0)), trained(name, to)
    expected, found = answers(before, (1.0, 0.0)), answers(after, to)
    assert expected["predictions"].std() > 0.01
    for key, values in expected.items():
        np.testing.assert_allclose(found[key], values, atol=1e-4, rtol=0, err_msg=key)


@pytest.mark.parametrize("name", MODELS)
def test_metrics_are_a_multiple(name: str) -> None:
    expected, found = figures(trained(name, (1.0, 0.0)), 1.0), figures(trained(name, WIDE), 20.0)
    assert {"test/rmse", "test/rmse_cold", "baseline/biases", "prequential/rmse"} <= found.keys()
    assert found == pytest.approx(expected, abs=1e-5, rel=0)


@pytest.mark.parametrize("name", ["bayesian_mf", "bayesian_mf-ordinal", "svdpp"])
def test_a_compressed_bundle_is_free_of_the_scale(name: str) -> None:
    expected, found = (answers(compressed_bundle(trained(name, s), 3, 0.9 * s[0]), s) for s in ((1.0, 0.0), WIDE))
    for key, values in expected.items():
        np.testing.assert_allclose(found[key], values, atol=1e-4, rtol=0, err_msg=key)


@pytest.mark.parametrize("name", ["als", "bayesian_mf"])
def test_a_bundle_without_its_unit_is_on_a_scale_from_1_to_5_as_old_ones_are(name: str) -> None:
    wide = trained(name, WIDE)
    assert trained(name, (1.0, 0.0)).factors.unit is None
    assert wide.factors.unit is not None
    assert wide.factors.unit.tolist() == [20.0]
    old = replace(wide.factors, unit=None)
    np.testing.assert_array_equal(old.precision_units, 1.0)


@pytest.mark.parametrize("to", SCALES.values(), ids=SCALES)
def test_the_baselines_are_free_of_the_scale(to: Scale) -> None:
    factor, shift = to
    rng = np.random.default_rng(0)
    user, item, stars = rng.integers(0, 20, 150), rng.integers(0, 15, 150), rng.integers(1, 6, 150).astype(np.float32)
    expected, found = fit_biases(user, item, stars, 20, 15), fit_biases(user, item, factor * stars + shift, 20, 15)
    assert found.mu == pytest.approx(factor * expected.mu + shift)
    np.testing.assert_allclose(found.user, factor * expected.user, atol=1e-9)
    np.testing.assert_allclose(found.item, factor * expected.item, atol=1e-9)
    times, surprise = np.arange(150), stars - 3.0
    running = running_user_biases(user, times, factor * surprise)
    np.testing.assert_allclose(running, factor * running_user_biases(user, times, surprise), atol=1e-9)


@pytest.mark.parametrize("scale", [(0.55, -3.55), (0.7, 0.0), (0.15, -0.05)], ids=str)
def test_levels_are_within_a_scale_that_float32_does_not_hold(scale: Scale) -> None:
    bundle = trained("bayesian_mf-ordinal", scale)
    bundle.check()
    assert bundle.factors.levels is not None
    assert len(bundle.factors.levels) == 5


@pytest.mark.parametrize(
    ("monitor", "power"), [("val/rmse", 1), ("val/mae", 1), ("val/loss", 2), ("epoch", 0), (None, 1)]
)
def test_thresholds_of_early_stopping_are_in_quarters_of_the_scale(monitor: str | None, power: int) -> None:
    cfg = run_config(
        "data=ml_100k", "model=als", "run_dir=nowhere", "callbacks.early_stopping.min_delta=0.01",
        "+callbacks.early_stopping.stopping_threshold=0.5",
        *([f"callbacks.early_stopping.monitor={monitor}"] if monitor else []),
    )  # fmt: skip
    for (low, high), unit in (((1.0, 5.0), 1.0), ((13.0, 93.0), 20.0), ((0.0, 2.0), 0.5)):
        (stopping,) = (c for c in build_callbacks(cfg, ALS(3, 3, low, high)) if isinstance(c, EarlyStopping))
        assert abs(stopping.min_delta) == pytest.approx(0.01 * unit**power)
        assert stopping.stopping_threshold == pytest.approx(0.5 * unit**power)
        assert stopping.divergence_threshold is None
