"""Rows solved together are those that the fold-in of each gives."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from recsys.bundle.fold_in import fold_in
from recsys.bundle.item_fold_in import fold_in_item
from recsys.update import rows
from recsys.update.rows import by_item, by_user, late_residuals, prior_means, solved_rows
from recsys.update.solve import one_sample
from tests.update.small import STARS, both_sides, bundle_of

OPTIONS: list[dict[str, Any]] = [
    {},
    {"exponents": (1.0, 0.5, 0.0)},
    {"implicit": True},
    {"attributes": 3},
    {"noisy": True},
    {"levels": STARS},
    {"levels": STARS, "noisy": True, "implicit": True},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_users_are_their_fold_ins(options: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "RATINGS", 16)  # several chunks
    monkeypatch.setattr(rows, "LATENT_ITERATIONS", 60)
    monkeypatch.setattr("recsys.bundle.fold_in.LATENT_ITERATIONS", 60)
    factors = both_sides(**options)
    if factors.user_precision is not None:
        factors = replace(factors, user_precision=np.ones_like(factors.user_precision))
    bundle = bundle_of(factors, link="ordinal" if "levels" in options else "identity")
    rated = by_user(bundle.ratings, np.arange(3, 12))
    known = [np.arange(user % 3) for user in range(3, 12)] if options.get("attributes") else None
    solved = solved_rows(factors, rated, prior_means(factors, rated, known))
    for k, user in enumerate(rated.user.tolist()):
        entries = bundle.ratings.slice_of(user)
        item, rating = bundle.ratings.item[entries], bundle.ratings.rating[entries]
        vector = fold_in(factors, item, rating, None if known is None else known[k]).vector
        np.testing.assert_allclose(solved[k], np.append(vector.factors[0], vector.bias[0]), rtol=1e-4, atol=1e-4)


def test_items_are_their_fold_ins() -> None:
    factors = both_sides()
    bundle = bundle_of(factors)
    rated = by_item(bundle.ratings, np.array([1, 4, 8]), 9)
    mirrored = factors.mirrored()
    solved = solved_rows(mirrored, rated, prior_means(mirrored, rated, None))
    users = bundle.ratings.user_index()
    for k, item in enumerate(rated.user.tolist()):
        entries = np.flatnonzero(bundle.ratings.item == item)
        vector = fold_in_item(factors, users[entries], bundle.ratings.rating[entries]).vector
        np.testing.assert_allclose(solved[k], np.append(vector.factors[0], vector.bias[0]), rtol=1e-4, atol=1e-5)


def test_a_users_own_noise_counts() -> None:
    factors = one_sample(both_sides(noisy=True, samples=2), 1)
    assert factors.user_precision is not None
    rated = by_user(bundle_of(factors).ratings, np.array([5]))
    mean = prior_means(factors, rated, None)
    louder = replace(factors, user_precision=factors.user_precision * np.float32(1e-4))
    assert np.abs(solved_rows(louder, rated, mean) - mean).max() < 0.1  # next to nothing is known
    assert np.abs(solved_rows(factors, rated, mean) - mean).max() > 0.1


@pytest.mark.parametrize("options", [{"noisy": True}, {"levels": STARS}], ids=str)
def test_draws_are_those_of_a_sampler(options: dict[str, Any]) -> None:
    """Around the solution, with the covariance that a fold-in's posterior has."""
    factors = both_sides(**options)
    assert factors.precision is not None
    if factors.user_precision is not None:
        factors = replace(factors, user_precision=np.ones_like(factors.user_precision))
    bundle = bundle_of(factors)
    rated = by_user(bundle.ratings, np.full(2000, 5))
    mean, generator = prior_means(factors, rated, None), np.random.default_rng(3)
    solved, drawn = solved_rows(factors, rated, mean), solved_rows(factors, rated, mean, generator)
    entries = bundle.ratings.slice_of(5)
    posterior = fold_in(factors, bundle.ratings.item[entries], bundle.ratings.rating[entries]).vector.posterior
    assert posterior is not None
    covariance = posterior.covariance[0] / factors.precision[0]
    np.testing.assert_allclose(drawn.mean(0), solved[0], atol=4 * np.sqrt(covariance.diagonal().max() / 2000))
    np.testing.assert_allclose(np.cov(drawn.T), covariance, atol=0.1 * covariance.diagonal().max())


def test_late_residuals_give_the_drift_of_a_fold_in() -> None:
    factors = both_sides(drift=True)
    bundle = bundle_of(factors)
    rated = by_user(bundle.ratings, np.arange(12))
    solved = solved_rows(factors, rated, prior_means(factors, rated, None))
    flat = replace(factors, user_factors=solved[:, None, :-1], user_bias=solved[:, -1:])
    total, weight = late_residuals(flat, rated)
    rule = factors.drift_rule
    assert rule is not None
    for user in range(12):
        entries = bundle.ratings.slice_of(user)
        vector = fold_in(factors, bundle.ratings.item[entries], bundle.ratings.rating[entries]).vector
        drift = total[user] / (weight[user] + rule.shrinkage)
        assert solved[user, -1] + drift == pytest.approx(float(vector.bias[0]), abs=1e-5)


@pytest.mark.filterwarnings("ignore:invalid value")
def test_a_row_that_is_not_finite_is_an_error() -> None:
    factors = both_sides()
    rated = by_user(bundle_of(factors).ratings, np.arange(2))
    with pytest.raises(ArithmeticError, match="no finite answer"):
        solved_rows(factors, rated, np.full((2, 4), np.inf, np.float32))
