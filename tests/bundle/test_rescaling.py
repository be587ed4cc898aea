"""Rescaling: on another scale a model predicts and folds in the same ratings."""

from __future__ import annotations

import numpy as np
import pytest

from recsys.bundle.fold_in import fold_in
from recsys.bundle.rescaling import rescaled
from tests.bundles import random_factors

STARS = np.array([5.0, 2.0, 4.0, 1.0], np.float32)


@pytest.mark.parametrize("attributes", [None, np.array([1])])
def test_a_rescaled_model_predicts_rescaled_ratings(attributes: np.ndarray | None) -> None:
    before = random_factors(
        n_users=6, n_items=12, samples=2, implicit=True, noisy=True, attributes=3, drift=True, items=True
    )
    low, unit = 3.0, 20.0
    after = rescaled(before, low, unit)
    user, item = (rows.ravel() for rows in np.meshgrid(np.arange(-1, 6), np.arange(12)))
    np.testing.assert_allclose(after.predict(user, item), (before.predict(user, item) - low) / unit, atol=1e-5)
    rows = np.array([0, 3, 5, 1])
    for ours, theirs, known in ((after, before, attributes), (after.mirrored(), before.mirrored(), None)):
        vector = fold_in(ours, rows, ((STARS - low) / unit).astype(np.float32), known).vector
        other = fold_in(theirs, rows, STARS, known).vector
        wanted = (theirs.linear_parts(other) - low) / unit
        np.testing.assert_allclose(ours.linear_parts(vector), wanted, atol=1e-4)
    again = rescaled(after, -low / unit, 1 / unit)
    np.testing.assert_allclose(again.prior_precision, before.prior_precision, rtol=1e-5)
    np.testing.assert_allclose(again.predict(user, item), before.predict(user, item), atol=1e-5)
