"""Weighted sums of models against the sums of what the models say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from recsys.bundle.compression import compressed
from recsys.bundle.ensemble import Member, weighted_sum
from recsys.bundle.factors import Factors
from recsys.bundle.fold_in import fold_in
from tests.bundles import random_factors

USERS, ITEMS = 9, 7
NAMES = ["age=1", "age=2", "gender=F"]


def everything(factors: Factors) -> np.ndarray:
    """The linear part of all users, and of nobody, for all items, and for none."""
    user, item = np.divmod(np.arange((USERS + 1) * (ITEMS + 1)), ITEMS + 1)
    item = np.where(item <= len(factors.item_bias), item, 0)
    return factors.predict(user - 1, item - 1)[:, 0].reshape(USERS + 1, ITEMS + 1)


@pytest.fixture
def members() -> list[Member]:
    """A plain one with fewer items, and one that knows all there is to know."""
    plain = random_factors(n_users=USERS, n_items=ITEMS - 1, dim=2, seed=1)
    rich = random_factors(
        n_users=USERS,
        n_items=ITEMS,
        dim=3,
        seed=2,
        implicit=True,
        attributes=3,
        items=True,
        item_attributes=2,
        drift=True,
    )
    return [Member(plain, [], []), Member(rich, NAMES, ["genre=A", "genre=B"])]


def test_the_sum_says_the_sum_of_what_the_members_say(members: list[Member]) -> None:
    one = weighted_sum(members, np.tile([0.3, 0.6], (USERS, 1)), 0.25, 0.9)
    plain, rich = (everything(member.factors) for member in members)
    np.testing.assert_allclose(everything(one), 0.3 * plain + 0.6 * rich + 0.25, atol=1e-5)
    known = np.array([0, 2])
    cold = members[1].factors
    expected = 0.6 * cold.scores(cold.user_from_attributes(known))
    expected[: ITEMS - 1] += 0.3 * members[0].factors.scores(members[0].factors.user(-1))
    expected[ITEMS - 1] += 0.3 * members[0].factors.mu[0]
    np.testing.assert_allclose(one.scores(one.user_from_attributes(known)), expected + 0.25, atol=1e-5)
    assert cold.item_implicit is not None
    assert one.item_implicit is not None
    np.testing.assert_allclose(
        one.item_implicit[:, 0] @ one.design[0].T, 0.6 * cold.item_implicit[:, 0] @ cold.design[0].T, atol=1e-5
    )
    assert one.drift is cold.drift  # it has most of the weight
    both = weighted_sum([members[1], members[1]], np.full((USERS, 2), 0.5), 0.0, 0.9)
    assert both.drift is cold.drift
    assert all(array.dtype == np.float32 for array in vars(one).values() if isinstance(array, np.ndarray))


def test_weights_by_user_are_exact_too(members: list[Member]) -> None:
    weights = np.stack([np.linspace(0.1, 0.9, USERS), np.linspace(0.8, 0.2, USERS)], 1)
    one = weighted_sum(members, weights, 0.0, 0.9)
    whole = np.concatenate([weights.mean(0, keepdims=True), weights])  # the average user comes first
    parts = [everything(member.factors) for member in members]
    np.testing.assert_allclose(everything(one), sum(whole[:, [m]] * parts[m] for m in range(2)), atol=1e-5)
    np.testing.assert_allclose(everything(compressed(one, 50, 0.9)), everything(one), atol=1e-4)


def test_twice_the_same_model_is_that_model(members: list[Member]) -> None:
    """Also to someone new: two equal opinions are no more certain than one."""
    factors = random_factors(n_users=200, n_items=30, dim=2, seed=3)
    one = weighted_sum([Member(factors, [], [])], np.ones((200, 1)), 0.0, 0.9)
    twice = weighted_sum([Member(factors, [], [])] * 2, np.full((200, 2), 0.5), 0.0, 0.9)
    item, rating = np.array([3, 7, 20]), np.array([5, 4, 1], np.float32)
    single, double = (model.scores(fold_in(model, item, rating).vector) for model in (one, twice))
    np.testing.assert_allclose(double, single, atol=0.02)


def test_items_are_folded_in_where_all_members_can(members: list[Member]) -> None:
    rich = members[1]
    assert not weighted_sum(members, np.full((USERS, 2), 0.5), 0.0, 0.9).can_fold_in_items
    one = weighted_sum([rich, rich], np.full((USERS, 2), 0.5), 0.0, 0.9)
    assert one.can_fold_in_items
    cold, mine = rich.factors.mirrored(), one.mirrored()
    known = np.array([1])
    np.testing.assert_allclose(
        mine.scores(mine.user_from_attributes(known)), cold.scores(cold.user_from_attributes(known)), atol=1e-5
    )


def test_what_cannot_be_summed_is_refused(members: list[Member]) -> None:
    several = Member(random_factors(n_users=USERS, samples=2), [], [])
    with pytest.raises(ValueError, match=r"one sample each, got \[1, 2\]"):
        weighted_sum([members[0], several], np.ones((USERS, 2)), 0.0, 0.9)
    for other in (random_factors(n_users=USERS + 1), replace(members[0].factors, unit=np.array([2], np.float32))):
        with pytest.raises(ValueError, match="the same users and the same unit"):
            weighted_sum([members[0], Member(other, [], [])], np.ones((USERS, 2)), 0.0, 0.9)
