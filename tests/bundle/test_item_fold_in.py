"""The fold-in of items against brute force, and bundles with items that were not fitted."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from recsys.bundle.factors import Factors
from recsys.bundle.item_fold_in import fold_in_item
from tests.bundles import random_factors

LEVELS = (1.0, 2.0, 3.0, 4.0, 5.0)
KINDS: list[dict[str, Any]] = [
    {},
    {"samples": 3, "exponents": (0.0, 0.5, 1.0)},
    {"samples": 2, "noisy": True, "implicit": True, "item_attributes": 4},
    {"noisy": True, "levels": LEVELS, "implicit": True, "attributes": 3, "drift": True},
]
every_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: " ".join(kind) or "plain")


def rated(n: int, n_users: int = 9, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.permutation(n_users)[:n], rng.integers(1, 6, n).astype(np.float32)


def solved(f: Factors, s: int, user: np.ndarray, rating: np.ndarray, known: list[int]) -> np.ndarray:
    """`[q, b]` in a sample, by weighted ridge regression on the raters' rows."""
    assert f.item_prior_mean is not None
    assert f.item_prior_precision is not None
    assert f.item_prior_exponent is not None
    n, mean = len(user), f.item_prior_mean[s].astype(float)
    if f.item_attribute_effects is not None:
        mean = mean + f.item_attribute_effects[known, s].sum(0)
    if f.user_implicit is not None:
        mean = mean + f.user_implicit[user, s].sum(0) / n**0.5
    offset = 0 if f.item_prior_offset is None else f.item_prior_offset.astype(float)
    precision = np.einsum(
        "v,vde->de", (n + offset) ** f.item_prior_exponent, f.item_prior_precision[:, s].astype(float)
    )
    design = np.hstack([f.user_factors[user, s], np.ones((n, 1))]).astype(float)
    weight = np.ones(n) if f.user_precision is None else f.user_precision[user, s]
    residual = rating - f.mu[s] - f.user_bias[user, s]
    system = (design.T * weight) @ design + precision
    return np.asarray(np.linalg.solve(system, (design.T * weight) @ residual + precision @ mean))


@pytest.mark.parametrize("kind", KINDS[:3], ids=["plain", "samples", "noisy implicit attributes"])
def test_it_is_the_mirrored_ridge_solve(kind: dict[str, Any]) -> None:
    f = random_factors(n_users=9, items=True, **kind)
    known = [0, 3] if "item_attributes" in kind else []
    user, rating = rated(6)
    vector = fold_in_item(f, user, rating, np.array(known, np.int64)).vector
    for s in range(f.samples):
        expected = solved(f, s, user, rating, known)
        np.testing.assert_allclose(np.append(vector.factors[s], vector.bias[s]), expected, atol=1e-3)
