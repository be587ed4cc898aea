"""Centring: a model whose rows have changed predicts the same after it, and its averages are the zero vector."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from recsys.bundle.centring import recentred
from recsys.bundle.fold_in import fold_in
from tests.bundles import random_factors

ITEM, STARS = np.array([0, 3, 5, 7]), np.array([5.0, 2.0, 4.0, 1.0], np.float32)


def test_a_model_that_is_moved_predicts_and_folds_in_as_before() -> None:
    rng = np.random.default_rng(0)
    before = random_factors(
        n_users=6, n_items=12, samples=2, implicit=True, noisy=True, attributes=3, drift=True, items=True
    )
    changed = {
        name: (getattr(before, name) + rng.normal(1, 0.3, getattr(before, name).shape)).astype(np.float32)
        for name in ("user_factors", "item_factors", "user_bias", "item_bias")
    }
    before = replace(before, **changed)
    after = recentred(before)
    for name in changed:
        np.testing.assert_allclose(getattr(after, name).mean(0), 0, atol=1e-5)
        assert np.abs(getattr(before, name).mean(0)).max() > 0.5
    user, item = (rows.ravel() for rows in np.meshgrid(np.arange(6), np.arange(12)))
    np.testing.assert_allclose(after.predict(user, item), before.predict(user, item), atol=1e-4)
    for attributes in (None, np.array([1])):
        ours, theirs = (fold_in(model, ITEM, STARS, attributes).vector for model in (after, before))
        predicted, wanted = (model.linear_parts(one) for model, one in ((after, ours), (before, theirs)))
        np.testing.assert_allclose(predicted, wanted, atol=1e-3)
    cold = [model.linear_parts(model.user_from_attributes(np.array([2]))) for model in (after, before)]
    np.testing.assert_allclose(*cold, atol=1e-4)
    nobody = [model.linear_parts(model.user(-1)) for model in (after, before)]
    np.testing.assert_allclose(*nobody, atol=1e-4)
    assert not after.can_fold_in_items
