"""Fold-ins with attributes, noise that differs and levels, against brute force; the plain ones are in test_factors."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from recsys.bundle import fold_in as module
from recsys.bundle.factors import Factors
from recsys.bundle.fold_in import fold_in
from tests.bundles import random_factors

LEVELS = (1.0, 2.0, 3.0, 4.0, 5.0)
KINDS: list[dict[str, Any]] = [
    {"attributes": 5},
    {"noisy": True},
    {"levels": LEVELS},
    {"drift": True},
    {"noisy": True, "levels": LEVELS, "attributes": 5, "implicit": True, "exponents": (0.0, 0.5), "drift": True},
]
every_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: " ".join(kind))


def rated_by(n: int, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.permutation(12)[:n], rng.integers(1, 6, n).astype(np.float32)


def prior(f: Factors, sample: int, item: np.ndarray, known: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Mean and precision, in units of the noise, of `[p, b]`."""
    mean = f.prior_mean[sample].astype(float)
    if f.attribute_effects is not None:
        mean = mean + f.attribute_effects[known, sample].sum(0)
    if f.item_implicit is not None:
        mean = mean + f.item_implicit[item, sample].sum(0) / len(item) ** 0.5
    offset = np.zeros(len(f.prior_exponent)) if f.prior_offset is None else f.prior_offset
    terms = zip((len(item) + offset) ** f.prior_exponent, f.prior_precision[:, sample].astype(float), strict=True)
    return mean, sum(power * term for power, term in terms)


@pytest.mark.parametrize("samples", [1, 3])
def test_attributes_shift_the_prior_mean(samples: int) -> None:
    f = random_factors(samples=samples, attributes=5)
    item, rating = rated_by(6)
    vector = fold_in(f, item, rating, np.array([1, 4])).vector
    for s in range(samples):
        mean, precision = prior(f, s, item, [1, 4])
        design = np.hstack([f.item_factors[item, s], np.ones((6, 1))]).astype(float)
        residual = rating - f.mu[s] - f.item_bias[item, s]
        wanted = np.linalg.solve(design.T @ design + precision, design.T @ residual + precision @ mean)
        np.testing.assert_allclose(np.append(vector.factors[s], vector.bias[s]), wanted, atol=1e-3)
    none = fold_in(f, item, rating, np.zeros(0, np.int64)).vector
    np.testing.assert_array_equal(none.factors, fold_in(f, item, rating).vector.factors)


def test_attributes_alone_are_a_new_user_s_mean_and_nothing_at_all_is_the_average() -> None:
    f = random_factors(samples=2, attributes=5)
    nothing = np.zeros(0, np.int64), np.zeros(0, np.float32)
    folded = fold_in(f, *nothing, np.array([0, 2]))
    wanted = f.cold_start_mean + f.cold_start_effects[[0, 2]].sum(0)  # type: ignore[index,operator]
    np.testing.assert_allclose(np.hstack([folded.vector.factors, folded.vector.bias[:, None]]), wanted, rtol=1e-6)
    base, parts = folded.contributions(np.array([3]))
    np.testing.assert_allclose(base, f.scores(folded.vector)[[3]])
    assert parts.shape == (1, 0)
    assert not fold_in(f, *nothing, np.zeros(0, np.int64)).vector.bias.any()
    with pytest.raises(ValueError, match="this model knows no attributes of users"):
        fold_in(random_factors(), *nothing, np.array([0]))


def test_ratings_of_divisive_items_weigh_less() -> None:
    """It is weighted ridge regression."""
    f = random_factors(samples=2, noisy=True)
    item, rating = rated_by(7)
    vector = fold_in(f, item, rating).vector
    assert vector.precision is None
    for s in range(2):
        mean, precision = prior(f, s, item, [])
        design = np.hstack([f.item_factors[item, s], np.ones((7, 1))]).astype(float)
        pulled = design.T * f.item_precision[item, s]  # type: ignore[index]
        residual = rating - f.mu[s] - f.item_bias[item, s]
        wanted = np.linalg.solve(pulled @ design + precision, pulled @ residual + precision @ mean)
        np.testing.assert_allclose(np.append(vector.factors[s], vector.bias[s]), wanted, atol=1e-3)


def test_equal_weights_are_no_weights() -> None:
    f = random_factors(samples=2)
    same = replace(f, precision=np.ones(2, np.float32), item_precision=np.ones_like(f.item_bias))
    np.testing.assert_allclose(
        fold_in(same, *rated_by(6)).vector.factors, fold_in(f, *rated_by(6)).vector.factors, atol=1e-5
    )


def test_the_latest_ratings_move_the_bias() -> None:
    f = random_factors(samples=2, drift=True)
    item, rating = rated_by(6)
    drifted, settled = fold_in(f, item, rating).vector, fold_in(replace(f, drift=None), item, rating).vector
    np.testing.assert_array_equal(drifted.factors, settled.factors)
    for s in range(2):
        error = rating - f.mu[s] - f.item_bias[item, s] - settled.bias[s] - f.item_factors[item, s] @ settled.factors[s]
        weight = np.exp(-np.arange(5, -1, -1) / 3)
        np.testing.assert_allclose(drifted.bias[s], settled.bias[s] + weight @ error / (weight.sum() + 2), atol=1e-4)
    order = np.array([5, 0, 1, 2, 3, 4])
    assert abs(fold_in(f, item[order], rating[order]).vector.bias - drifted.bias).max() > 1e-3
    assert not fold_in(f, item[:0], rating[:0]).vector.bias.any()


def log_posterior(f: Factors, s: int, item: np.ndarray, rating: np.ndarray, solution: np.ndarray) -> float:
    """Of `[p, b]` behind an ordinal link, up to a constant."""
    from math import erfc, log

    mean, precision = prior(f, s, item, [])
    noise = float(f.precision[s])  # type: ignore[index]
    linear = f.mu[s] + f.item_bias[item, s] + f.item_factors[item, s] @ solution[:-1] + solution[-1]
    ends = np.concatenate([[-1e3], f.thresholds[s], [1e3]]).astype(float)  # type: ignore[index]
    total = -noise * (solution - mean) @ precision @ (solution - mean) / 2
    for star, score in zip(rating.tolist(), linear.tolist(), strict=True):
        a, b = ((ends[int(star) - 1 + side] - score) * (noise / 2) ** 0.5 for side in (0, 1))
        total += log((erfc(-b) - erfc(-a)) / 2)
    return float(total)


@pytest.mark.parametrize("n", [1, 4, 12])
def test_behind_an_ordinal_link_it_is_the_mode(n: int) -> None:
    f = random_factors(samples=2, levels=LEVELS)
    item, rating = rated_by(n)
    vector = fold_in(f, item, rating).vector
    for s in range(2):
        solution = np.append(vector.factors[s], vector.bias[s]).astype(float)
        steps = 1e-3 * np.eye(4)
        slope = [
            log_posterior(f, s, item, rating, solution + d) - log_posterior(f, s, item, rating, solution - d)
            for d in steps
        ]
        np.testing.assert_allclose(np.array(slope) / 2e-3, 0, atol=0.05)  # half a star away it is several
        assert log_posterior(f, s, item, rating, solution) > log_posterior(f, s, item, rating, solution + 0.3)


@every_kind
@pytest.mark.parametrize("n", [1, 8])
def test_the_parts_of_a_score_add_up(kind: dict[str, Any], n: int) -> None:
    f = random_factors(samples=3, **kind)
    known = np.array([0, 3]) if "attributes" in kind else None
    folded = fold_in(f, *rated_by(n), known)
    targets = np.array([0, 7, 7, 11])
    base, parts = folded.contributions(targets)
    assert parts.shape == (4, n)
    assert parts.dtype == base.dtype == np.float32
    np.testing.assert_allclose(base + parts.sum(1), f.scores(folded.vector)[targets], atol=1e-4)
    other_base, _ = fold_in(f, *rated_by(4, seed=9), known).contributions(targets)
    np.testing.assert_allclose(base, other_base, atol=1e-6)  # it knows nothing of the ratings


@pytest.mark.parametrize("most", [1, 7, 36, 100])
def test_contributions_in_pieces_are_those_of_the_whole(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand explained items of a user with tens of thousands of ratings would take gigabytes."""
    f = random_factors(samples=3, noisy=True, attributes=5, implicit=True, drift=True)
    folded = fold_in(f, *rated_by(6), np.array([1, 4]))
    base, parts = folded.contributions(np.arange(12))
    monkeypatch.setattr(module, "CONTRIBUTIONS", most)
    again = folded.contributions(np.arange(12))
    np.testing.assert_allclose(again[0], base, atol=1e-5)
    np.testing.assert_allclose(again[1], parts, atol=1e-5)


@every_kind
def test_samples_are_folded_in_each_by_itself(kind: dict[str, Any]) -> None:
    f = random_factors(samples=3, **kind)
    item, rating = rated_by(5)
    vector = fold_in(f, item, rating).vector
    sliced = {"prior_precision": f.prior_precision[:, 1:2], "levels": f.levels, "prior_exponent": f.prior_exponent,
              "drift": f.drift}  # fmt: skip
    for name in ("mu", "prior_mean", "precision", "thresholds"):
        sliced[name] = None if getattr(f, name) is None else getattr(f, name)[1:2]
    for name in ("user_bias", "item_bias", "user_factors", "item_factors", "item_implicit", "user_precision",
                 "item_precision", "attribute_effects"):  # fmt: skip
        sliced[name] = None if getattr(f, name) is None else getattr(f, name)[:, 1:2]
    alone = fold_in(Factors(**sliced), item, rating).vector  # type: ignore[arg-type]
    np.testing.assert_allclose(alone.factors[0], vector.factors[1], atol=1e-5)


@pytest.mark.parametrize("n", [1, 6])
def test_a_prior_may_count_more_than_a_user_s_own_ratings(n: int) -> None:
    f = replace(random_factors(exponents=(0.0, 0.5, 1.0)), prior_offset=np.array([9, 4, 2.5], np.float32))
    item, rating = rated_by(n)
    vector = fold_in(f, item, rating).vector
    mean, precision = prior(f, 0, item, [])
    design = np.hstack([f.item_factors[item, 0], np.ones((n, 1))]).astype(float)
    residual = rating - f.mu[0] - f.item_bias[item, 0]
    wanted = np.linalg.solve(design.T @ design + precision, design.T @ residual + precision @ mean)
    np.testing.assert_allclose(np.append(vector.factors[0], vector.bias[0]), wanted, atol=1e-3)


def test_without_a_penalty_the_shortest_solution_is_the_same_on_every_scale() -> None:
    """With fewer ratings than coordinates, what makes the system regular chooses among the solutions."""
    f = random_factors(dim=6, n_items=12)
    f = replace(f, prior_precision=np.zeros_like(f.prior_precision), prior_mean=np.zeros_like(f.prior_mean))
    root = np.float32(20**0.5)
    wide = replace(
        f, mu=20 * f.mu - 7, item_bias=20 * f.item_bias, item_factors=root * f.item_factors,
        unit=np.array([20], np.float32),
    )  # fmt: skip
    item, rating = rated_by(3)
    expected = f.scores(fold_in(f, item, rating).vector)
    found, without = (
        (model.scores(fold_in(model, item, 20 * rating - 7).vector) + 7) / 20
        for model in (wide, replace(wide, unit=None))
    )
    np.testing.assert_allclose(found, expected, atol=0.02)  # the system is nearly singular in float32
    assert np.abs(without - expected).max() > 0.1


def test_what_overflows_is_an_error_and_no_number() -> None:
    weak = fold_in(random_factors(), *rated_by(2))
    weak = replace(weak, system=1e-30 * weak.system, residual=np.full_like(weak.residual, 1e15))
    with np.errstate(all="ignore"):
        with pytest.raises(ArithmeticError, match="no finite answer"):
            _ = weak.vector
        with pytest.raises(ArithmeticError, match="no finite answer"):
            weak.contributions(np.arange(12))
