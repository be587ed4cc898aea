"""Cross-fitting: whom a fold leaves out, its items do not know; and what may be a base of stars."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from recsys.bundle import Bundle, BundleError, UserRatings
from recsys.bundle.factors import Factors
from recsys.bundle.fold_in import fold_in
from recsys.data.datamodule import RatingDataModule
from recsys.models.als import ALS
from recsys.models.attention.cross_fitting import AHEAD, FOLDS, Attributes, CrossFitted, cross_fit, load_base
from recsys.models.attention.model import Attention
from recsys.models.bayesian.model import BayesianMF
from recsys.models.mf import MatrixFactorization
from recsys.training.export import make_bundle
from tests.bundles import encoder_bundle, random_factors
from tests.bundles import make_bundle as bundle_of_factors
from tests.small_data import SmallRatings, build, fit, kinds, random_ratings


@cache
def data() -> RatingDataModule:
    """Random stars by 20 users of 15 items, with attributes of both."""
    ratings = random_ratings(150, 20, 15)
    return some_data(ratings)


def some_data(ratings, **arguments) -> RatingDataModule:  # type: ignore[no-untyped-def]
    source = SmallRatings(ratings, **kinds(ratings))
    made = RatingDataModule(source, **{"split": "random", "test_fraction": 0.2, "batch_size": 40} | arguments)
    made.setup()
    return made


@cache
def posterior() -> Bundle:
    """Three samples, with attributes, implicit feedback, and noise of users and items."""
    model = build(BayesianMF, data(), embedding_dim=3, burn_in=3, thin=1)
    fit(model, data(), epochs=6)
    return make_bundle(model, data())


def some_ratings(bundle: Bundle) -> UserRatings:
    """Those that the bundle was fitted on."""
    rated = bundle.ratings
    kept = np.flatnonzero((rated.part == 0) & (rated.item < bundle.fitted_items))
    user = rated.user_index()[kept]
    indptr = np.append(0, np.cumsum(np.bincount(user, minlength=bundle.n_users)))
    return UserRatings(indptr, rated.item[kept], rated.rating[kept], rated.part[kept])


@cache
def base_of_posterior() -> tuple[Factors, Attributes]:
    bundle = posterior()
    known = bundle.user_attributes, bundle.item_attributes
    assert None not in known
    n = bundle.fitted_items
    factors = replace(
        bundle.factors, item_factors=bundle.factors.item_factors[:n], item_bias=bundle.factors.item_bias[:n],
        item_precision=bundle.factors.item_precision[:n], item_implicit=bundle.factors.item_implicit[:n],  # type: ignore[index]
        cold_start_items=bundle.factors.cold_start_items[:n],  # type: ignore[index]
    )  # fmt: skip
    return factors, Attributes(*known)


@cache
def found() -> CrossFitted:
    factors, attributes = base_of_posterior()
    return cross_fit(factors, some_ratings(posterior()), attributes, seed=0)


def test_folds_have_as_many_users_each() -> None:
    counts = np.bincount(found().fold, minlength=FOLDS)
    assert counts.max() - counts.min() <= 1
    factors, attributes = base_of_posterior()
    again = cross_fit(factors, some_ratings(posterior()), attributes, seed=0)
    np.testing.assert_array_equal(again.fold, found().fold)
    np.testing.assert_array_equal(again.item_factors, found().item_factors)
    np.testing.assert_array_equal(again.predicted, found().predicted)
    other = cross_fit(factors, some_ratings(posterior()), attributes, seed=1)
    assert (other.fold != found().fold).any()


def test_items_of_a_fold_do_not_know_its_users() -> None:
    factors, attributes = base_of_posterior()
    ratings = some_ratings(posterior())
    user = 4
    changed = ratings.rating.copy()
    changed[ratings.slice_of(user)] = 6 - changed[ratings.slice_of(user)]
    other = cross_fit(factors, ratings._replace(rating=changed), attributes, seed=0)
    rated = ratings.item[ratings.slice_of(user)]
    for fold in range(FOLDS):
        before, after = (one.item_factors[fold][rated] for one in (found(), other))
        if fold == found().fold[user]:
            np.testing.assert_array_equal(before, after)
        else:
            assert np.abs(before - after).max() > 0.001
    assert np.abs(found().factors.item_factors - other.factors.item_factors).max() > 0.001


def test_next_ratings_are_predicted_by_the_items_that_do_not_know_the_user() -> None:
    ratings, (_, attributes) = some_ratings(posterior()), base_of_posterior()
    assert found().predicted.shape == (len(ratings.item), AHEAD)
    for user in (0, 4, 11):
        rated, fold = ratings.slice_of(user), found().fold[user]
        items = {"item_factors": found().item_factors[fold], "item_bias": found().item_bias[fold]}
        known, n_ratings = replace(found().factors, **items), rated.stop - rated.start
        for n in range(1, n_ratings + 1):
            rows = slice(rated.start, rated.start + n)
            vector = fold_in(known, ratings.item[rows], ratings.rating[rows], attributes.of_user(user)).vector
            expected = known.scores(vector)[ratings.item[rows.stop : rated.stop]]
            np.testing.assert_allclose(found().predicted[rows.stop - 1, : n_ratings - n], expected, atol=1e-4)
            assert not found().predicted[rows.stop - 1, n_ratings - n :].any()
        whole = fold_in(found().factors, ratings.item[rated], ratings.rating[rated], attributes.of_user(user)).vector
        np.testing.assert_allclose(found().factors.user_factors[user], whole.factors, atol=1e-5)
        np.testing.assert_allclose(found().factors.user_bias[user], whole.bias, atol=1e-5)


def test_a_base_is_in_the_rows_of_the_data(tmp_path: Path) -> None:
    posterior().save(tmp_path / "bundle")
    other = data().with_fit_on("train_val")  # in which some users and items come before others
    factors, attributes = load_base(str(tmp_path), other)
    assert factors.user_bias.shape == (len(other.users), 3)
    assert factors.item_bias.shape == (len(other.items), 3)
    given = posterior()
    for user, value in enumerate(other.users.values.tolist()):
        row = given.user_row[value]
        wanted = given.factors.user_factors[row] if row < given.n_users else np.zeros((3, 3))
        np.testing.assert_array_equal(factors.user_factors[user], wanted)
        found_attributes, own = attributes.of_user(user), given.attributes_of(row)
        assert (found_attributes is None) == (own is None)
        if own is not None:
            np.testing.assert_array_equal(found_attributes, own)
    for item, value in enumerate(other.items.values.tolist()):
        row = given.item_row[value]
        wanted = given.factors.item_factors[row] if row < given.fitted_items else np.zeros((3, 3))
        np.testing.assert_array_equal(factors.item_factors[item], wanted)


@pytest.mark.parametrize("base", [BayesianMF, MatrixFactorization, ALS], ids=["bayesian_mf", "mf", "als"])
def test_stars_add_to_a_bundle(base: type, tmp_path: Path) -> None:
    model = build(base, data(), embedding_dim=3)
    fit(model, data(), epochs=4)
    make_bundle(model, data()).save(tmp_path / "run" / "bundle")
    arguments = {"task": "rating", "embedding_dim": 8, "heads": 1, "learning_rate": 0.01}
    stars = build(Attention, data(), base=str(tmp_path / "run"), **arguments)
    fit(stars, data(), epochs=3)
    bundle = make_bundle(stars, data())
    bundle.save(tmp_path / "bundle")
    again = Bundle.load(tmp_path / "bundle")
    assert bundle.factors.samples == model.factors().samples
    for user in (0, 3, 7):
        entries = np.arange(*again.ratings.slice_of(user).indices(len(again.ratings.item)))
        entries = entries[(again.ratings.part[entries] == 0) & (again.ratings.item[entries] < again.n_items)]
        folded = again.fold_in_entries(user, entries)
        row = again.vector(user)
        np.testing.assert_allclose(folded.vector.factors, row.factors, atol=1e-4)
        np.testing.assert_allclose(folded.vector.bias, row.bias, atol=1e-4)
        assert np.abs(folded.vector.factors - folded.solved.vector.factors).max() > 1e-3  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"split_seed": 3}, "must hold out the test rows of this split, random, and does not"),
        ({"split": "user_time"}, "must hold out the test rows of this split, user_time, and does not"),
    ],
)
def test_a_base_must_hold_out_the_same_rows(other: dict[str, object], message: str, tmp_path: Path) -> None:
    posterior().save(tmp_path / "bundle")
    with pytest.raises(ValueError, match=message):
        load_base(str(tmp_path), some_data(random_ratings(150, 20, 15), **other))


def test_what_cannot_be_a_base_is_named(tmp_path: Path) -> None:
    factors = random_factors(n_users=3, n_items=4)
    made = {
        "a ranking model's rows": bundle_of_factors(factors, [1, 2, 3], [1, 2, 3, 4], task="ranking"),
        "its bundle has no prior": bundle_of_factors(factors, [1, 2, 3], [1, 2, 3, 4]),
        "it is of attention itself": encoder_bundle(),
    }
    for number, (message, bundle) in enumerate(made.items()):
        bundle.save(tmp_path / str(number))
        with pytest.raises(ValueError, match=f"model.base: .*{message}"):
            load_base(str(tmp_path / str(number)), data())
    posterior().save(tmp_path / "bundle")
    with pytest.raises(ValueError, match="was not fitted on these data: small has the SHA-256"):
        load_base(str(tmp_path), some_data(random_ratings(151, 20, 15)))
    with pytest.raises(BundleError):
        load_base(str(tmp_path / "missing"), data())
    everything = replace(posterior(), manifest=posterior().manifest | {"fit_on": "all"})
    everything.save(tmp_path / "all")
    with pytest.raises(ValueError, match="must hold out the test rows"):
        load_base(str(tmp_path / "all"), data())


def test_a_base_that_knows_validation_rows_is_told_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    later = replace(posterior(), manifest=posterior().manifest | {"fit_on": "train_val"})
    later.save(tmp_path / "bundle")
    load_base(str(tmp_path), data().with_fit_on("train_val"))
    assert not caplog.messages
    load_base(str(tmp_path), data())
    assert "fitted on validation rows too" in caplog.text


@pytest.mark.parametrize("precision", ["64-true", "bf16-mixed"])
def test_a_state_is_loaded_in_the_precision_of_the_model(precision: str) -> None:
    stars = build(Attention, data(), task="rating", embedding_dim=8, heads=1)
    fit(stars, data(), epochs=1, precision=precision)
    user, item = torch.arange(10), torch.arange(10)
    with torch.no_grad():
        before = stars.eval()(user, item)
        stars.load_state_dict(stars.state_dict())
        torch.testing.assert_close(stars(user, item), before)


def test_only_what_is_read_is_learned() -> None:
    for times in (True, False):
        stars = build(Attention, data(), task="rating", embedding_dim=8, heads=1, times=times)
        fit(stars, data(), epochs=1)
        assert (stars.gap.requires_grad, stars.age.requires_grad) == (times, times)


def test_a_base_is_of_stars_alone() -> None:
    with pytest.raises(ValueError, match="base must be null with task=ranking, got 'x'"):
        Attention(3, 4, base="x")
    with pytest.raises(ValueError, match="query_time must be false with times=false, got true"):
        Attention(3, 4, times=False, query_time=True)
