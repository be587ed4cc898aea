"""Running fold-ins are the fold-ins of the first n ratings, one at a time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from recsys.bundle.factors import Factors
from recsys.bundle.fold_in import fold_in
from recsys.bundle.running_fold_ins import BLOCK, running_fold_ins
from tests.bundles import random_factors

N = 3 * BLOCK  # ratings
PRIORS = {"constant": (0.0,), "of several terms": (0.0, 0.0), "growing": (0.0, 0.5)}
KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "noise": {"noisy": True},
    "implicit": {"implicit": True},
    "drift": {"drift": True},
    "all": {"noisy": True, "implicit": True, "drift": True, "attributes": 5, "samples": 3},
}


def largest_difference(f: Factors, known: np.ndarray, item: np.ndarray, attributes: np.ndarray | None = None) -> float:
    rating = np.random.default_rng(2).integers(1, 6, len(item)).astype(np.float32)
    differences = []
    seen = []
    for piece, found in running_fold_ins(f, item, rating, known, attributes):
        seen.append(known[piece])
        for n, factors, bias in zip(known[piece], found.factors, found.bias, strict=True):
            alone = fold_in(f, item[:n], rating[:n], attributes).vector
            differences += [np.abs(factors - alone.factors).max(), np.abs(bias - alone.bias).max()]
    np.testing.assert_array_equal(np.concatenate(seen), known)
    return float(max(differences))


@pytest.mark.parametrize("exponents", PRIORS.values(), ids=PRIORS)
@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize(
    "known",
    [range(1, N + 1), [1, 2, 2, 2, BLOCK, BLOCK + 1, 2 * BLOCK, N, N], [N - 1], [BLOCK + 1, BLOCK + 3]],
    ids=["all", "some", "one", "late"],
)
def test_they_are_the_fold_ins_of_the_first_ratings(
    exponents: tuple[float, ...], kind: dict[str, Any], known: Any
) -> None:
    f = random_factors(n_items=N, exponents=exponents, **kind)
    item = np.random.default_rng(1).integers(0, N, N)  # some of them twice
    attributes = np.array([1, 3]) if "attributes" in kind else None
    assert largest_difference(f, np.array(known), item, attributes) < 2e-5


def test_a_prior_is_about_constant_if_no_penalty_grows() -> None:
    assert random_factors(exponents=(0.0, 0.0)).prior.is_about_constant
    assert not random_factors(exponents=(0.0, 0.5)).prior.is_about_constant


def test_a_prior_of_the_ridge_alone_is_not_constant() -> None:
    f = random_factors(n_items=N, exponents=(0.0,))
    f = replace(f, prior_precision=np.zeros_like(f.prior_precision))
    assert not f.prior.is_about_constant
    assert largest_difference(f, np.arange(1, N + 1), np.arange(N)) < 2e-3


def test_item_precisions_of_any_size_have_finite_answers() -> None:
    f = random_factors(n_items=N, exponents=(0.0,), noisy=True)
    for seed in range(10):
        exponent = np.random.default_rng(seed).uniform(-9, 9, (N, 1))
        g = replace(f, item_precision=(10**exponent).astype(np.float32))
        for _, found in running_fold_ins(g, np.arange(N), np.full(N, 4, np.float32), np.arange(1, N + 1)):
            assert np.isfinite(found.factors).all()


def test_of_no_number_there_is_none() -> None:
    assert list(running_fold_ins(random_factors(), np.arange(3), np.ones(3, np.float32), np.zeros(0, np.int64))) == []
