import numpy as np
import pytest

from recsys.evaluation.baselines import fit_biases, fit_item_means, running_user_biases

USER = np.array([0, 0, 1, 2])
ITEM = np.array([0, 1, 0, 0])
RATING = np.array([5, 2, 4, 1], np.float32)  # mean 3


def test_item_means_and_the_global_mean_for_an_item_without_ratings() -> None:
    means = fit_item_means(ITEM, RATING, 4, 3)
    assert means.mu == 3
    np.testing.assert_allclose(means.mu + means.item, [10 / 3, 2, 3])
    assert not means.user.any()
    np.testing.assert_allclose(means.predict(np.array([0, 2, -1, 1]), np.array([0, 0, 1, -1])), [10 / 3, 10 / 3, 2, 3])


def test_one_sweep_of_biases_by_hand() -> None:
    biases = fit_biases(USER, ITEM, RATING, 3, 2, sweeps=1, user_prior=2, item_prior=1)
    item = np.array([(2 + 1 - 2) / (3 + 1), -1 / (1 + 1)])
    user = np.array([(2 - item[0] + -1 - item[1]) / (2 + 2), (1 - item[0]) / 3, (-2 - item[0]) / 3])
    np.testing.assert_allclose(biases.item, item)
    np.testing.assert_allclose(biases.user, user)
    np.testing.assert_allclose(biases.predict(np.array([2]), np.array([0])), 3 + user[2] + item[0])


def test_the_sweeps_solve_the_ridge_problem() -> None:
    rng = np.random.default_rng(0)
    user, item, rating = rng.integers(0, 6, 40), rng.integers(0, 5, 40), rng.uniform(1, 5, 40)
    found = fit_biases(user, item, rating, 6, 5, sweeps=200, user_prior=3, item_prior=2)
    rows = np.hstack([np.eye(6)[user], np.eye(5)[item]])
    wanted = np.linalg.solve(rows.T @ rows + np.diag([3.0] * 6 + [2.0] * 5), rows.T @ (rating - rating.mean()))
    np.testing.assert_allclose(np.concatenate([found.user, found.item]), wanted, atol=1e-10)


def test_without_a_prior_an_additive_table_is_recovered() -> None:
    user, item = np.divmod(np.arange(12), 4)
    rating = 3 + np.array([1, 0, -1.0])[user] + np.array([0.5, 0.25, -0.25, -0.5])[item]
    exact = fit_biases(user, item, rating, 3, 4, user_prior=0, item_prior=0)
    np.testing.assert_allclose(exact.predict(user, item), rating)
    shrunk = fit_biases(user, item, rating, 3, 4, user_prior=4, item_prior=0)
    np.testing.assert_allclose(shrunk.user, [0.5, 0, -0.5], atol=1e-12)  # 4 ratings against a prior of 4


def test_rows_never_seen_count_as_bias_0() -> None:
    biases = fit_biases(USER, ITEM, RATING, 5, 4)
    assert biases.user.shape == (5,)
    assert biases.item.shape == (4,)
    assert not biases.user[3:].any()
    assert not biases.item[2:].any()
    user, item = np.array([-1, -1, 0, 4]), np.array([-1, 0, -1, 3])
    wanted = 3 + np.array([0, biases.item[0], biases.user[0], 0])
    np.testing.assert_allclose(biases.predict(user, item), wanted)


def test_a_million_float32_ratings_lose_nothing_in_the_mean() -> None:
    rating = np.full(1 << 20, 3.3, np.float32)
    rows = np.zeros(1 << 20, np.int64)
    means = fit_item_means(rows, rating, 1, 1)
    assert means.mu == pytest.approx(float(np.float32(3.3)), abs=1e-12)
    assert means.item[0] == pytest.approx(0, abs=1e-12)


def test_running_biases_by_hand_and_ties_know_nothing_of_each_other() -> None:
    user = np.array([1, 0, 1, 1, 1, 0])
    time = np.array([9, 5, 3, 9, -1, 5])
    surprise = np.array([4.0, 1.0, 0.5, -4.0, 2.0, 1.0])
    known = (2 + 0.5) / (3 + 2)  # before time 9
    expected = [known, 0, 2 / (3 + 1), known, 0, 0]
    np.testing.assert_allclose(running_user_biases(user, time, surprise, prior=3), expected)
    assert running_user_biases(user[:0], time[:0], surprise[:0]).shape == (0,)
