"""Compression against the SVD of the whole matrix, which only a test can afford."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from recsys.bundle import Bundle
from recsys.bundle.compression import check_compress, compressed, compressed_bundle
from recsys.bundle.factors import Factors
from recsys.bundle.fold_in import fold_in
from recsys.bundle.item_fold_in import fold_in_item
from tests.bundles import make_bundle, random_factors

LEVELS = (1.0, 2.0, 3.0, 4.0, 5.0)


def linear(f: Factors) -> np.ndarray:
    """The mean linear part of all users, and of nobody, for all items, and for none."""
    users, items = len(f.user_bias), len(f.item_bias)
    user, item = np.divmod(np.arange((users + 1) * (items + 1)), items + 1)
    return f.predict(user - 1, item - 1).mean(1).reshape(users + 1, items + 1)


def assert_same_prior(one: Factors, before: Factors, atol: float) -> None:
    """Attributes, and what a user rated, say the same of them."""
    known = np.array([0, 2])
    np.testing.assert_allclose(
        one.scores(one.user_from_attributes(known)), before.scores(before.user_from_attributes(known)), atol=atol
    )
    assert before.item_implicit is not None
    assert one.item_implicit is not None
    implied = np.einsum("isd,jsd->ij", before.item_implicit, before.design.transpose(1, 0, 2)) / before.samples
    np.testing.assert_allclose(one.item_implicit[:, 0] @ one.design[0].T, implied, atol=atol)


@pytest.mark.parametrize("samples", [1, 5])
@pytest.mark.parametrize("shape", [(60, 40), (40, 60), (9, 60), (60, 9)], ids=str)
def test_all_coordinates_reproduce_the_mean_linear_part(samples: int, shape: tuple[int, int]) -> None:
    f = random_factors(n_users=shape[0], n_items=shape[1], samples=samples, dim=3)
    for dim in (3 * samples, 500):
        one = compressed(f, dim, noise=0.9)
        assert one.samples == 1
        assert one.item_factors.shape[2] <= 3 * samples
        np.testing.assert_allclose(linear(one), linear(f), atol=1e-4)
        assert all(array.dtype == np.float32 for array in vars(one).values() if isinstance(array, np.ndarray))


@pytest.mark.parametrize("dim", [1, 4, 11])
def test_fewer_are_the_best_of_that_rank(dim: int) -> None:
    f = random_factors(n_users=150, n_items=90, samples=10, dim=4)
    one = compressed(f, dim, noise=0.9)
    product = np.einsum("usd,isd->ui", f.user_factors, f.item_factors) / 10
    singular = np.linalg.svd(product, compute_uv=False)
    error = np.linalg.norm(product - one.user_factors[:, 0] @ one.item_factors[:, 0].T)
    assert error <= 1.002 * np.linalg.norm(singular[dim:])
    np.testing.assert_allclose(np.linalg.norm(one.item_factors[:, 0], axis=0) ** 2, singular[:dim], rtol=0.02)
    np.testing.assert_allclose(one.user_bias[:, 0], f.user_bias.mean(1), rtol=1e-5)


def test_attributes_and_rated_items_say_the_same_of_a_user() -> None:
    f = random_factors(n_users=60, n_items=40, samples=4, implicit=True, attributes=3)
    assert_same_prior(compressed(f, 12, noise=0.9), f, atol=1e-4)


def test_attributes_and_raters_say_the_same_of_an_item() -> None:
    f = random_factors(n_users=60, n_items=40, samples=4, implicit=True, items=True, item_attributes=3)
    assert_same_prior(compressed(f, 12, noise=0.9).mirrored(), f.mirrored(), atol=1e-3)
    assert not compressed(random_factors(samples=2), 3, noise=0.9).can_fold_in_items


def test_a_new_item_is_folded_in_as_well_or_nearly() -> None:
    f = random_factors(n_users=120, n_items=400, samples=3, exponents=(0.0,), items=True)
    spread = np.eye(4, dtype=np.float32) / 0.4**2 * 0.25
    f = replace(
        f, item_prior_mean=0 * f.prior_mean, item_prior_precision=np.tile(spread, (1, 3, 1, 1)),
        item_prior_exponent=np.zeros(1, np.float32), item_prior_offset=None,
    )  # fmt: skip
    one, rng, errors = compressed(f, 9, noise=0.5), np.random.default_rng(3), []
    for _ in range(40):
        new = np.einsum("usd,sd->u", f.user_factors, rng.normal(0, 0.4, (3, 3))) / 3 + f.user_bias.mean(1) + f.mu.mean()
        new += rng.normal(0, 0.4)
        user = rng.permutation(120)[:40]
        rating = (new[user] + rng.normal(0, 0.5, 40)).astype(np.float32)
        models = [(model.mirrored(), fold_in_item(model, user, rating).vector) for model in (one, f)]
        found = [mirrored.scores(vector) for mirrored, vector in models]
        average = f.mirrored().scores(f.mirrored().user(-1))
        errors.append([np.mean((scores - new) ** 2) for scores in (*found, average)])
    ours, full, average = np.mean(errors, 0)
    assert ours < 0.35 * average
    assert ours < 1.5 * full


def test_a_newcomer_is_folded_in_as_well_or_nearly() -> None:
    """Someone drawn like the users: the compressed fold-in predicts them far better than as the average."""
    f = random_factors(n_users=400, n_items=120, samples=3, exponents=(0.0,))
    spread = np.eye(4, dtype=np.float32) / 0.4**2 * 0.25  # what random_factors draws from, in units of the noise
    f = replace(f, prior_mean=f.prior_mean * 0, prior_precision=np.tile(spread, (1, 3, 1, 1)))
    one = compressed(f, 9, noise=0.5)
    rng = np.random.default_rng(3)
    errors = []
    for _ in range(40):
        new = np.einsum("isd,sd->i", f.item_factors, rng.normal(0, 0.4, (3, 3))) / 3 + f.item_bias.mean(1) + f.mu.mean()
        new += rng.normal(0, 0.4)
        item = rng.permutation(120)[:40]
        rating = (new[item] + rng.normal(0, 0.5, 40)).astype(np.float32)
        found = [one.scores(fold_in(one, item, rating).vector), f.scores(fold_in(f, item, rating).vector)]
        errors.append([np.mean((scores - new) ** 2) for scores in (*found, f.scores(f.user(-1)))])
    ours, full, average = np.mean(errors, 0)
    assert ours < 0.35 * average
    assert ours < 1.5 * full


@pytest.mark.parametrize("kind", [{}, {"noisy": True}, {"noisy": True, "levels": LEVELS}], ids=str)
def test_the_bundle_is_whole(tmp_path: Any, kind: dict[str, Any]) -> None:
    f = random_factors(n_users=60, n_items=40, samples=6, dim=4, attributes=2, **kind)
    names = {"attributes": ["gender=F", "gender=M"], "link": "ordinal" if "levels" in kind else "identity"}
    before = make_bundle(f, list(range(60)), list(range(40)), noise=0.9, samples=6, **names)
    before.manifest["noise"] = None  # as a posterior has it, which says its own
    compressed_bundle(before, 24, 0.9).save(tmp_path / "bundle")
    after = Bundle.load(tmp_path / "bundle")
    assert after.manifest["compressed"] == {"samples": 6, "dim": 4}
    assert after.manifest["samples"] == after.factors.samples == 1
    users, items = np.arange(60).repeat(40).tolist(), list(range(40)) * 60
    mean, std = after.predict(users, items, return_std=True)
    assert (
        np.abs(mean - before.predict(users, items)).mean() < 0.12
    )  # the mean of what is linked is not the link of the mean
    if "levels" not in kind:
        np.testing.assert_allclose(std, 0.9)  # a point estimate's
    assert np.isfinite(after.predict(after.fold_in({3: 5.0}, {"gender": "F"}), [7])).all()


def test_what_cannot_be_compressed_is_named() -> None:
    with pytest.raises(ValueError, match="dim must be >= 1, got 0"):
        compressed(random_factors(), 0, noise=1.0)
    with pytest.raises(ValueError, match="noise must be given"):
        compressed(random_factors(), 2)
    for wrong in (0, -1, 2.5, "8", True):
        with pytest.raises(ValueError, match="compress must be null or an integer >= 1"):
            check_compress(wrong)
    check_compress(None)
    check_compress(64)
