"""The arithmetic against direct solutions and by construction."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from recsys.bundle.centring import Side, centred_factors
from recsys.bundle.factors import Factors
from recsys.bundle.fold_in import fold_in
from recsys.bundle.item_fold_in import fold_in_item
from recsys.bundle.noise import RatingNoise
from tests.bundles import random_factors


@pytest.fixture
def centring() -> tuple[Side, Side, Factors]:
    rng = np.random.default_rng(2)
    users, items = (
        Side(
            bias=rng.normal(level, 1, n),
            factors=rng.normal(mean, 1, (n, 3)),
            prior_mean=rng.normal(size=4),
            prior_precision=rng.uniform(0.5, 2, (2, 4)),
            prior_exponent=exponent,
            implicit=rng.normal(0.2, 1, (n_other, 3)),
            attribute_effects=rng.normal(size=(2, 4)),
            cold_start_mean=rng.normal(size=4),
        )
        for n, n_other, level, mean, exponent in ((6, 5, 1, 0.7, (0.5, 1.0)), (5, 6, -2, -0.4, (0.25, 0.75)))
    )
    return users, items, centred_factors(3.3, users, items)


def test_centring_keeps_predictions_and_centres_both_sides(centring: tuple[Side, Side, Factors]) -> None:
    users, items, after = centring
    user, item = np.divmod(np.arange(30), 5)
    wanted = 3.3 + users.bias[user] + items.bias[item] + (users.factors[user] * items.factors[item]).sum(1)
    np.testing.assert_allclose(after.predict(user, item)[:, 0], wanted, atol=1e-5)
    for name in ("user_bias", "item_bias", "user_factors", "item_factors"):
        np.testing.assert_allclose(getattr(after, name).mean(0), 0, atol=1e-6)
    np.testing.assert_allclose(after.mu, wanted.mean(), atol=1e-5)
    assert after.user_factors.shape == (6, 1, 3)


@pytest.mark.parametrize("side", [0, 1], ids=["users", "items"])
def test_centring_carries_the_prior_along(centring: tuple[Side, Side, Factors], side: int) -> None:
    """The penalty of a row `[p, b]`, around what its ratings and attributes imply, is the same in both coordinates."""
    before, f = centring[side], centring[2]
    after = f.mirrored() if side else f
    rated = [0, 3, 4]
    assert before.implicit is not None
    assert before.attribute_effects is not None
    implied = np.append(before.implicit[rated].sum(0) / 3**0.5, 0) + before.attribute_effects[1]
    far_old = np.hstack([before.factors, before.bias[:, None]]) - before.prior_mean - implied
    new = np.hstack([after.user_factors[:, 0], after.user_bias])
    assert after.item_implicit is not None
    assert after.attribute_effects is not None
    implied = after.item_implicit[rated, 0].sum(0) / 3**0.5 + after.attribute_effects[1, 0]
    far_new = new - after.prior_mean[0] - implied
    np.testing.assert_array_equal(after.prior_exponent, np.array(before.prior_exponent, np.float32))
    for diagonal, precision in zip(before.prior_precision, after.prior_precision[:, 0], strict=True):
        wanted = (far_old**2 * diagonal).sum(1)
        np.testing.assert_allclose(np.einsum("nd,de,ne->n", far_new, precision, far_new), wanted, rtol=1e-4)


def test_predictions_in_bulk_one_by_one_and_as_scores_are_the_same() -> None:
    f = random_factors(samples=3)
    users, items = np.arange(4).repeat(12), np.tile(np.arange(12), 4)
    linear = f.predict(users, items)
    assert linear.shape == (48, 3)
    assert linear.dtype == np.float32
    one_by_one = [f.predict_for(f.user(u), i) for u, i in zip(users.tolist(), items.tolist(), strict=True)]
    np.testing.assert_allclose(one_by_one, linear, atol=1e-6)
    for user in range(4):
        rows = slice(12 * user, 12 * user + 12)
        np.testing.assert_array_equal(f.predict_rows_for(f.user(user), np.arange(12)), linear[rows])
    np.testing.assert_allclose([f.scores(f.user(u)) for u in range(4)], linear.mean(1).reshape(4, 12), atol=1e-6)


@pytest.mark.parametrize(("user", "item"), [(-1, 2), (2, -1), (-1, -1), (4, 2), (2, 12)])
def test_a_row_outside_the_fitted_is_the_average(user: int, item: int) -> None:
    f = random_factors(samples=2)
    known_user, known_item = 0 <= user < 4, 0 <= item < 12
    wanted = f.mu + f.user_bias[user] * known_user if known_user else f.mu
    wanted = wanted + f.item_bias[item] if known_item else wanted
    np.testing.assert_allclose(f.predict_for(f.user(user), item), wanted, atol=1e-6)


def test_noise_is_that_of_the_user_and_of_the_item() -> None:
    f = random_factors(samples=2, noisy=True)
    assert f.precision is not None
    assert f.user_precision is not None
    assert f.item_precision is not None
    users, items = np.array([0, 3, -1, -1, 2]), np.array([5, -1, 7, -1, 11])
    found = RatingNoise(f).precision(users, items)
    wanted = [
        f.precision * (f.user_precision[u] if u >= 0 else 1) * (f.item_precision[i] if i >= 0 else 1)
        for u, i in zip(users, items, strict=True)
    ]
    for row in (2, 3):  # someone without ratings is one of many, who differ
        wanted[row] = 1 / (1 / wanted[row] + f.predict(np.arange(4), np.full(4, items[row])).var(0))
    np.testing.assert_allclose(found, wanted, rtol=1e-5)
    for row, (user, item) in enumerate(zip(users.tolist(), items, strict=True)):
        alone = RatingNoise(f).precision_for(f.user(user), np.array([item]))
        np.testing.assert_allclose(alone, wanted[row : row + 1], rtol=1e-5)
    same = RatingNoise(replace(f, user_precision=None, item_precision=None)).precision(users[:2], items[:2])
    np.testing.assert_allclose(same, np.broadcast_to(f.precision, (2, 2)))
    assert RatingNoise(random_factors()).precision(users, items) is None


def test_what_is_asked_of_a_model_does_not_change_it() -> None:
    levels = (1, 2, 3, 4, 5)
    f = random_factors(
        implicit=True, noisy=True, levels=levels, attributes=3, drift=True, items=True, item_attributes=2
    )
    f = replace(f, prior_offset=np.array([3], np.float32), unit=np.array([1.25], np.float32))
    f = replace(f, item_weights=np.eye(12, dtype=np.float32), history_half_life=np.ones(1, np.float32))
    before = {name: getattr(f, name).copy() for name in Factors.__dataclass_fields__}
    f.scores(f.user(0))[:] = 0
    f.predict_for(f.user(0), 0)[:] = 0
    f.similar(0)[:] = 0
    f.user_from_attributes(np.array([1])).factors[:] = 0
    folded = fold_in(f, np.array([1, 2]), np.array([4, 2], np.float32), np.array([0, 2]))
    assert np.isfinite(folded.vector.factors).all()
    folded.contributions(np.array([0, 1]))
    fold_in_item(f, np.array([1, 2]), np.array([4, 2], np.float32), np.array([0])).vector.factors[:] = 0
    for name, array in before.items():
        np.testing.assert_array_equal(getattr(f, name), array)
    assert f.scores(f.user(0)).any()
    assert {f, folded, f} == {f, folded}  # can be a key; arrays are not compared


def test_similarity_is_the_cosine_but_for_short_vectors() -> None:
    f = random_factors(n_items=300, samples=2, dim=4)
    vectors = f.item_factors.reshape(300, 8).astype(np.float64)
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors /= np.maximum(norms, np.median(norms))
    for item in range(300):
        found = f.similar(item)
        np.testing.assert_allclose(found, vectors @ vectors[item], atol=1e-6)
        assert found.min() >= -1
        assert found.max() <= 1
    still = replace(f, item_factors=np.zeros_like(f.item_factors))
    np.testing.assert_array_equal(still.similar(0), np.zeros(300))


def rated_by(n: int, n_items: int = 12, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.permutation(n_items)[:n], rng.integers(1, 6, n).astype(np.float32)


def loss(f: Factors, sample: int, item: np.ndarray, rating: np.ndarray, solution: np.ndarray) -> float:
    """What `Factors` documents, of `[p, b]` in one sample."""
    n = len(item)
    mean = f.prior_mean[sample].astype(float)
    if f.item_implicit is not None:
        mean = mean + f.item_implicit[item, sample].astype(float).sum(0) / n**0.5
    predicted = f.mu[sample] + f.item_bias[item, sample] + f.item_factors[item, sample] @ solution[:-1] + solution[-1]
    far = solution - mean
    terms = zip(f.prior_exponent.tolist(), f.prior_precision[:, sample].astype(float), strict=True)
    return float(((rating - predicted) ** 2).sum() + sum(n**exponent * far @ term @ far for exponent, term in terms))


every_prior = pytest.mark.parametrize(
    ("exponents", "implicit"),
    [((1.0,), False), ((0.0,), True), ((0.0, 0.5, 1.0), False), ((0.5, 1.0), True)],
)


@every_prior
@pytest.mark.parametrize("n", [1, 2, 9])
@pytest.mark.parametrize("samples", [1, 3])
def test_fold_in_is_the_direct_solution(n: int, samples: int, exponents: tuple, implicit: bool) -> None:
    """Of the normal equations, each sample by itself, with n below and above the number of coordinates."""
    f = random_factors(samples=samples, exponents=exponents, implicit=implicit)
    item, rating = rated_by(n)
    vector = fold_in(f, item, rating).vector
    assert vector.bias.shape == (samples,)
    assert vector.factors.shape == (samples, 3)
    assert vector.bias.dtype == vector.factors.dtype == np.float32
    for s in range(samples):
        design = np.hstack([f.item_factors[item, s], np.ones((n, 1))]).astype(float)
        penalty = sum(n**e * f.prior_precision[t, s].astype(float) for t, e in enumerate(exponents))
        mean = f.prior_mean[s].astype(float)
        if f.item_implicit is not None:
            mean = mean + f.item_implicit[item, s].sum(0) / np.sqrt(n)
        residual = rating - f.mu[s] - f.item_bias[item, s]
        wanted = np.linalg.inv(design.T @ design + penalty) @ (design.T @ residual + penalty @ mean)
        np.testing.assert_allclose(np.append(vector.factors[s], vector.bias[s]), wanted, atol=1e-3)


@every_prior
@pytest.mark.parametrize("n", [2, 9])
def test_fold_in_minimises_the_documented_loss(n: int, exponents: tuple, implicit: bool) -> None:
    f = random_factors(samples=2, exponents=exponents, implicit=implicit)
    item, rating = rated_by(n)
    vector = fold_in(f, item, rating).vector
    rng = np.random.default_rng(0)
    for s in range(2):
        solution = np.append(vector.factors[s], vector.bias[s]).astype(float)
        least = loss(f, s, item, rating, solution)
        for size in (0.02, 0.1, 2):
            for _ in range(50):
                assert loss(f, s, item, rating, solution + rng.normal(0, size, 4)) > least
        steps = 1e-4 * np.eye(4)
        slope = [loss(f, s, item, rating, solution + d) - loss(f, s, item, rating, solution - d) for d in steps]
        np.testing.assert_allclose(np.array(slope) / 2e-4, 0, atol=1e-3)  # a star of error has 2


@pytest.mark.parametrize("n", [1, 3, 10])
@pytest.mark.parametrize("terms", [0, 1])
def test_without_a_penalty_it_is_the_least_squares_solution_nearest_to_the_prior_mean(n: int, terms: int) -> None:
    f = random_factors(exponents=(1.0,) * terms)
    f = replace(f, prior_precision=f.prior_precision * 0)
    item, rating = rated_by(n)
    vector = fold_in(f, item, rating).vector
    design = np.hstack([f.item_factors[item, 0], np.ones((n, 1))]).astype(float)
    residual = rating - f.mu[0] - f.item_bias[item, 0] - design @ f.prior_mean[0]
    wanted = f.prior_mean[0] + np.linalg.lstsq(design, residual, rcond=None)[0]
    np.testing.assert_allclose(np.append(vector.factors[0], vector.bias[0]), wanted, atol=0.01)


@pytest.mark.parametrize("n", [5, 50])
def test_without_a_penalty_rounding_does_not_swamp_many_coordinates(n: int) -> None:
    """What float32 rounds off meets the directions that no rating speaks of, where only the added diagonal holds."""
    f = random_factors(n_items=1000, dim=128, exponents=())
    item, rating = rated_by(n, n_items=1000)
    design = np.hstack([f.item_factors[:, 0], np.ones((1000, 1))]).astype(float)
    residual = rating - f.mu[0] - f.item_bias[item, 0] - design[item] @ f.prior_mean[0]
    wanted = design @ (f.prior_mean[0] + np.linalg.lstsq(design[item], residual, rcond=None)[0])
    vector = fold_in(f, item, rating).vector
    found = design @ np.append(vector.factors[0], vector.bias[0])
    assert np.sqrt(np.mean((found - wanted) ** 2)) < 0.1  # of scores that spread over five stars


@pytest.mark.parametrize("implicit", [False, True])
def test_fold_in_of_nothing_is_the_average_user(implicit: bool) -> None:
    f = random_factors(samples=2, exponents=(0.0, 1.0), implicit=implicit)
    folded = fold_in(f, np.zeros(0, np.int64), np.zeros(0, np.float32))
    assert not folded.vector.bias.any()
    assert not folded.vector.factors.any()
    base, parts = folded.contributions(np.array([3, 4]))
    np.testing.assert_allclose(base, f.predict(np.array([-1, -1]), np.array([3, 4])).mean(1), atol=1e-6)
    assert parts.shape == (2, 0)
    assert parts.dtype == base.dtype == np.float32


def test_an_item_rated_twice_is_two_ratings_but_was_rated_once() -> None:
    """As in training: SVD++ takes each pair of N(u) once, while each rating has its own error and penalty."""
    f = random_factors(exponents=(0.5, 1.0), implicit=True)
    once = fold_in(f, np.array([2, 5]), np.array([4, 1], np.float32))
    twice = fold_in(f, np.array([2, 5, 2]), np.array([4, 1, 4], np.float32))
    assert once.implicit is not None
    assert twice.implicit is not None
    np.testing.assert_allclose(twice.shares @ twice.implicit, once.shares @ once.implicit, atol=1e-6)
    base, parts = twice.contributions(np.array([0]))
    np.testing.assert_allclose(base + parts.sum(1), f.scores(twice.vector)[[0]], atol=1e-5)


def test_the_order_of_ratings_is_of_no_account() -> None:
    f = random_factors(exponents=(0.5,), implicit=True)
    item, rating = rated_by(7)
    there, back = fold_in(f, item, rating).vector, fold_in(f, item[::-1], rating[::-1]).vector
    np.testing.assert_allclose(there.factors, back.factors, atol=1e-6)


@every_prior
@pytest.mark.parametrize("n", [1, 9])
@pytest.mark.parametrize("samples", [1, 3])
def test_the_parts_of_a_score_add_up(n: int, samples: int, exponents: tuple, implicit: bool) -> None:
    f = random_factors(samples=samples, exponents=exponents, implicit=implicit)
    folded = fold_in(f, *rated_by(n))
    targets = np.array([0, 7, 7, 11])
    base, parts = folded.contributions(targets)
    assert base.shape == (4,)
    assert parts.shape == (4, n)
    np.testing.assert_allclose(base + parts.sum(1), f.scores(folded.vector)[targets], atol=1e-5)
    other_base, _ = fold_in(f, *rated_by(4, seed=9)).contributions(targets)
    np.testing.assert_allclose(base, other_base, atol=1e-6)  # it knows nothing of the ratings


@every_prior
def test_a_star_more_moves_the_score_as_its_part(exponents: tuple, implicit: bool) -> None:
    """The parts are linear in the stars, and each depends on its own rating's stars alone."""
    f = random_factors(samples=2, exponents=exponents, implicit=implicit)
    item, rating = rated_by(6)
    targets = np.arange(12)
    before = fold_in(f, item, rating)
    for changed in range(6):
        slopes = []
        for stars in (1.0, 2.0):
            after = fold_in(f, item, rating + stars * (np.arange(6) == changed).astype(np.float32))
            moved = f.scores(after.vector) - f.scores(before.vector)
            difference = after.contributions(targets)[1] - before.contributions(targets)[1]
            np.testing.assert_allclose(difference[:, changed], moved, atol=1e-5)
            np.testing.assert_allclose(np.delete(difference, changed, 1), 0, atol=1e-6)
            slopes.append(moved / stars)
        np.testing.assert_allclose(slopes[0], slopes[1], atol=1e-5)
        assert np.abs(slopes[0]).max() > 1e-3


@pytest.mark.parametrize("samples", [1, 3])
def test_scores_of_many_users_are_those_of_each_and_of_the_average_user(samples: int) -> None:
    f = random_factors(samples=samples)
    users = np.array([2, -1, 0, 4])  # 4 is past the fitted
    expected = [f.scores(f.user(user)) for user in users]
    np.testing.assert_allclose(f.scores_of(users), expected, rtol=1e-6)
    assert f.scores_of(users).dtype == np.float32


def test_a_model_without_biases_folds_in_as_one_that_never_had_them() -> None:
    """However many ratings, and although all is centred: the same scores as ridge regression on the raw factors."""
    rng = np.random.default_rng(0)
    users, items = rng.normal(0.3, 0.3, (5, 8)), rng.normal(0.2, 0.3, (400, 8))
    prior: dict[str, Any] = {
        "prior_mean": np.zeros(9),
        "prior_precision": np.full((1, 9), 2.0),
        "prior_exponent": (0.5,),
        "prior_offset": (7.0,),
        "no_bias": 1e6,
    }
    f = centred_factors(0.0, Side(np.zeros(5), users, **prior), Side(np.zeros(400), items, **prior))
    assert f.prior_exponent.tolist() == [0.5, 1, 1]
    assert f.prior_offset is not None
    assert f.prior_offset.tolist() == [7, 0, 0]
    for n in (1, 20, 400):
        rating = rng.uniform(0.5, 2, n).astype(np.float32)
        system = items[:n].T @ items[:n] + 2 * (n + 7) ** 0.5 * np.eye(8)
        wanted = items @ np.linalg.solve(system, items[:n].T @ rating)
        np.testing.assert_allclose(f.scores(fold_in(f, np.arange(n), rating).vector), wanted, atol=2e-5)
