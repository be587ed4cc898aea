"""A bundle after new events."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from recsys.bundle import Bundle
from recsys.bundle.attributes import RowAttributes
from recsys.events.merge import merge_ratings
from recsys.models.als import ALS
from recsys.training.export import make_bundle
from recsys.update.distance import measured_distance
from recsys.update.known import Known
from recsys.update.solve import default_sweeps, follow_counts, one_sample, touched_rows, updated, why_not
from tests.small_data import build, fit, random_ratings, small_data
from tests.update.small import STARS, both_sides, bundle_of, events


def fitted(sweeps: int, n: int = 400, **options: Any) -> Bundle:
    """ALS on the first of 500 ratings."""
    data = small_data(random_ratings(500, 30, 24).head(n)).with_fit_on("all")
    model = build(ALS, data, **{"embedding_dim": 3, "reg_lambda": 0.5} | options)
    fit(model, data, sweeps)
    return make_bundle(model, data)


def test_without_events_a_bundle_is_as_it_was() -> None:
    bundle = bundle_of(both_sides())
    new = updated(bundle, merge_ratings(bundle, []), sweeps=0, cut=7)
    for name, array in bundle.factor_arrays().items():
        np.testing.assert_array_equal(array, new.factor_arrays()[name], err_msg=name)
    assert new.manifest["cut"] == 7
    assert new.manifest["fit_on"] == "all"


def test_an_update_comes_near_a_fit_on_everything() -> None:
    before, full = fitted(20), fitted(40, 500)
    late = [(row.user_id, row.item_id, row.rating) for row in random_ratings(500, 30, 24).iloc[400:].itertuples()]
    new = updated(before, merge_ratings(before, events(*late)), sweeps=10)
    pairs = full.user_ids.repeat(24).tolist(), np.tile(full.item_ids, 30).tolist()
    apart, apart_before = (measured_distance(bundle, full, pairs) for bundle in (new, before))
    assert apart < 0.25 * apart_before


def test_new_users_and_items_get_rows() -> None:
    bundle = bundle_of(both_sides(samples=2))
    new = updated(bundle, merge_ratings(bundle, events((99, 700, 5.0), (10, 700, 4.0), (99, 101, 1.0))))
    new.check()
    assert (new.n_users, new.n_items, new.fitted_items) == (13, 10, 10)
    assert new.user_ids[-1] == 99
    assert new.items[-1] == {"title": "700", "year": None, "genres": []}
    assert np.abs(new.factors.user_factors[-1]).min() > 0
    assert np.abs(new.factors.item_factors[-1]).min() > 0
    assert set(new.seen(new.user_row[99]).tolist()) == {new.item_row[700], new.item_row[101]}


def test_users_equal_their_fold_in_and_others_stay() -> None:
    bundle = bundle_of(both_sides(samples=3, drift=True, implicit=True))
    new = updated(bundle, merge_ratings(bundle, events((12, 101, 5.0), (12, 102, 1.0))), sweeps=0)
    vector, row = new.fold_in_user(2).vector, new.factors.user(2)
    np.testing.assert_allclose(vector.factors, row.factors, atol=1e-5)
    np.testing.assert_allclose(vector.bias, row.bias, atol=1e-5)
    others = np.arange(12) != 2
    np.testing.assert_array_equal(new.factors.user_factors[others], bundle.factors.user_factors[others])
    changed = np.flatnonzero((new.factors.item_factors != bundle.factors.item_factors).any((1, 2)))
    assert changed.tolist() == [1, 2]


def test_a_sweep_is_over_all_users_and_items() -> None:
    bundle = bundle_of(both_sides(drift=True, implicit=True))
    new = updated(bundle, merge_ratings(bundle, events((12, 101, 5.0))), sweeps=1)
    for row in range(new.n_users):
        np.testing.assert_allclose(new.fold_in_user(row).vector.factors, new.factors.user(row).factors, atol=1e-5)
    changed = (new.factors.item_factors != bundle.factors.item_factors).any((1, 2))
    assert changed.all()


def test_a_posterior_is_updated_without_a_sweep_unless_asked() -> None:
    samples, point = (bundle_of(both_sides(samples=n, noisy=True)) for n in (3, 1))
    assert [default_sweeps(bundle) for bundle in (samples, point)] == [0, 1]


def test_items_are_solved_given_users_without_their_drift() -> None:
    """A drift is of a user's latest ratings, and says nothing of an item rated long before."""
    bundle = bundle_of(replace(both_sides(), drift=np.array([3, 1e6], np.float32)))  # as good as none
    plain = replace(bundle, factors=replace(bundle.factors, drift=None))
    merged = merge_ratings(bundle, events((12, 101, 5.0)))
    with_drift, without = updated(bundle, merged), updated(plain, merged)
    np.testing.assert_allclose(with_drift.factors.item_factors, without.factors.item_factors, atol=1e-3)
    strong = replace(bundle, factors=replace(bundle.factors, drift=np.array([3, 2], np.float32)))
    drifted = updated(strong, merged, sweeps=300)
    again = updated(drifted, merge_ratings(drifted, events((12, 101, 5.0), first=2)), sweeps=1)
    np.testing.assert_allclose(drifted.factors.item_factors, again.factors.item_factors, atol=1e-3)


def test_samples_of_a_posterior_are_drawn_always_the_same() -> None:
    bundle = bundle_of(both_sides(samples=2, noisy=True))
    merged = merge_ratings(bundle, events((12, 101, 5.0)))
    first, again = updated(bundle, merged), updated(bundle, merged)
    np.testing.assert_array_equal(first.factors.user_factors, again.factors.user_factors)
    point = replace(bundle, factors=one_sample(bundle.factors, 0))
    solved = updated(point, merged)
    assert np.abs(solved.factors.user_factors[2] - first.factors.user_factors[2, :1]).max() > 1e-3


def test_a_withdrawal_takes_a_rating_back() -> None:
    bundle = bundle_of(both_sides())
    user, item = 10, int(bundle.item_ids[bundle.seen(0)[0]])
    new = updated(bundle, merge_ratings(bundle, events((user, item, None))))
    assert bundle.item_row[item] not in new.seen(0)
    assert not np.array_equal(new.factors.user_factors[0], bundle.factors.user_factors[0])


def test_ratings_that_the_fit_left_out_count_as_new() -> None:
    bundle = bundle_of(both_sides(), fit_on="train_val")
    touched = touched_rows(bundle, merge_ratings(bundle, []))
    raters = np.flatnonzero([0 in bundle.seen(user) for user in range(12)])
    np.testing.assert_array_equal(touched.users, raters)
    assert touched.items.tolist() == [0]


def test_ids_without_a_row_are_touched() -> None:
    bundle = bundle_of(both_sides())
    grown = replace(bundle, factors=replace(bundle.factors, **{
        name: array[:-1] for name, array in bundle.factor_arrays().items() if name.startswith("user_")
    }))  # fmt: skip
    assert touched_rows(grown, merge_ratings(grown, [])).users.tolist() == [11]


def test_attributes_and_descriptions_count_as_they_were_set_last() -> None:
    factors = both_sides(attributes=2)
    known = RowAttributes(np.arange(13).clip(max=1), np.zeros(1, np.int32))
    bundle = replace(bundle_of(factors, attributes=["gender=F", "gender=M"]), user_attributes=known)
    heat = {"title": "Heat", "year": 1995, "genres": ["Crime"], "attributes": {}}
    told = Known({700: heat}, {10: {"gender": "M", "shoe": "44"}, 11: {}})
    new = updated(bundle, merge_ratings(bundle, events((20, 700, 5.0))), told, sweeps=0)
    new.check()
    assert new.items[-1] == {"title": "Heat", "year": 1995, "genres": ["Crime"]}
    assert new.user_attributes is not None
    assert [new.user_attributes.of(user).tolist() for user in (0, 1, 12)] == [[1], [], []]
    assert not np.array_equal(new.factors.user_factors[0], bundle.factors.user_factors[0])  # touched by it
    np.testing.assert_array_equal(new.factors.user_factors[1], bundle.factors.user_factors[1])


def test_penalties_follow_the_numbers_of_ratings() -> None:
    """They are those of a fit on all ratings, where a power of a row's number of ratings has a mean of 1."""
    before, full = (fitted(1, n, bias_reg_lambda=0.0) for n in (400, 500))
    followed = follow_counts(before.factors, before.ratings, full.ratings)
    for side in ("", "item_"):
        assert getattr(followed, f"{side}prior_exponent")[0] == 0.5
        ours, theirs = (np.diag(getattr(f, f"{side}prior_precision")[0, 0])[:-1] for f in (followed, full.factors))
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, err_msg=side)


def test_a_model_without_priors_of_both_sides_is_refused() -> None:
    bundle = bundle_of(replace(both_sides(), item_prior_mean=None))
    assert why_not(bundle) == "its bundle has no prior of users' and items' rows"
    with pytest.raises(ValueError, match=r"model None cannot be updated, only fitted again: its bundle has no prior"):
        updated(bundle, merge_ratings(bundle, []))
    assert why_not(bundle_of(both_sides(), task="ranking")) is not None


@pytest.mark.parametrize("options", [{"noisy": True}, {"levels": STARS}, {"levels": STARS, "noisy": True}], ids=str)
def test_other_likelihoods(options: dict[str, Any]) -> None:
    bundle = bundle_of(both_sides(samples=2, **options), link="ordinal" if "levels" in options else "identity")
    new = updated(bundle, merge_ratings(bundle, events((99, 700, 5.0), (99, 701, 5.0), (99, 102, 1.0))))
    new.check()
    liked, disliked = np.asarray(new.predict([99, 99], [700, 102]))
    assert liked > disliked


def test_an_update_does_not_depend_on_the_number_of_events_at_a_time() -> None:
    bundle = bundle_of(both_sides())
    rows = [(10, 101, 5.0), (10, 700, 1.0), (99, 700, 2.0)]
    at_once = updated(bundle, merge_ratings(bundle, events(*rows)))
    parts = [*events(rows[0]), *events(*rows[1:], first=2, time=5001)]
    for name, array in updated(bundle, merge_ratings(bundle, parts)).factor_arrays().items():
        np.testing.assert_array_equal(array, at_once.factor_arrays()[name])
