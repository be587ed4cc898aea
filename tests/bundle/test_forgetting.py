from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from recsys.bundle import Bundle, BundleError
from recsys.bundle.attributes import RowAttributes
from recsys.bundle.forgetting import without_users
from tests.bundles import make_bundle, random_factors

USERS = [11, 12, 13, 14, 15, 16]  # of whom the model was fitted on four
RATED = [
    (0, 1, 4.0, 0), (0, 2, 2.0, 2), (1, 0, 5.0, 1), (2, 5, 1.0, 0), (2, 6, 3.0, 0), (3, 7, 2.0, 1), (4, 3, 4.0, 2),
    (5, 4, 5.0, 2),
]  # fmt: skip


def whole() -> Bundle:
    """Users with attributes and noise of their own, several samples, times and counts."""
    factors = random_factors(n_users=4, samples=3, noisy=True, attributes=2)
    counts = {"users": 4, "items": 12, "ratings": 8, "fitted_ratings": 5, "test_ratings": 3}
    bundle = make_bundle(
        factors, USERS, list(range(12)), RATED, times=list(range(8)), attributes=["a=b", "a=c"], counts=counts,
        fit_on="train_val", noise=0.8,
    )  # fmt: skip
    known = RowAttributes(np.array([0, 1, 1, 2, 3, 4, 5]), np.array([0, 1, 0, 1, 0]))
    return replace(bundle, user_attributes=known)


@pytest.mark.parametrize("gone", [[0], [2], [3], [5], [1, 4], [0, 1, 2]])
def test_all_others_get_the_same(gone: list[int]) -> None:
    before = whole()
    after = without_users(before, gone)
    after.check()
    left = [user for row, user in enumerate(USERS) if row not in gone]
    assert after.user_ids.tolist() == left
    assert after.n_users == sum(row not in gone for row in range(4))
    for user in left:
        assert after.recommend(user, 12) == before.recommend(user, 12)
        rows = before.row_of_user(user), after.row_of_user(user)
        assert after.seen(rows[1]).tolist() == before.seen(rows[0]).tolist()
        assert np.array_equal(after.fold_in_user(rows[1]).vector.factors, before.fold_in_user(rows[0]).vector.factors)
    assert np.array_equal(before.predict(left, range(len(left))), after.predict(left, range(len(left))))
    fitted = left[: after.n_users]  # how far others may be off is known from all users that were fitted
    spreads = [bundle.predict(fitted, range(len(fitted)), return_std=True)[1] for bundle in (before, after)]
    assert np.array_equal(*spreads)
    assert len(after.ratings.item) == sum(user not in gone for user, *_ in RATED)
    assert after.ratings.timestamp is not None
    assert after.ratings.timestamp.tolist() == [time for time, (user, *_) in enumerate(RATED) if user not in gone]


def test_nothing_of_them_is_left() -> None:
    after = without_users(whole(), [0])
    assert 11 not in after.user_row
    assert after.row_of_user(11) == -1
    assert after.manifest["counts"] == {"users": 3, "items": 12, "ratings": 6, "fitted_ratings": 4, "test_ratings": 2}
    assert after.sha256 is None


def test_attributes_that_only_they_had_are_gone() -> None:
    bundle = replace(
        whole(),
        factors=random_factors(n_users=4, samples=3, noisy=True, attributes=3),
        manifest=whole().manifest | {"attributes": ["a=b", "email=ann@example.org", "a=c"]},
        user_attributes=RowAttributes(np.array([0, 2, 2, 3, 4, 5, 6]), np.array([0, 1, 2, 0, 2, 0], np.int32)),
    )
    bundle.check()
    after = without_users(bundle, [0])
    after.check()
    assert after.attributes == ["a=b", "a=c"]
    for user in USERS[1:]:
        assert after.recommend(user, 12) == bundle.recommend(user, 12)
    for known in ({"a": "b"}, {"a": "c"}):
        for rated in ({}, {3: 4.0}):
            vectors = [one.fold_in(rated, known).vector.factors for one in (bundle, after)]
            assert np.array_equal(*vectors)
    assert without_users(bundle, [2]).attributes == bundle.attributes


def test_the_last_attribute_may_be_gone() -> None:
    known = RowAttributes(np.array([0, 2, 2, 2, 2, 2, 2]), np.array([0, 1], np.int32))
    bundle = replace(whole(), user_attributes=known)
    after = without_users(bundle, [0])
    after.check()
    assert after.attributes == []
    assert after.recommend(USERS[1], 12) == bundle.recommend(USERS[1], 12)
    assert np.array_equal(after.fold_in({3: 4.0}).vector.factors, bundle.fold_in({3: 4.0}).vector.factors)


def test_somebody_must_be_left() -> None:
    with pytest.raises(BundleError, match="none other would be left"):
        without_users(whole(), [0, 1, 2, 3])
