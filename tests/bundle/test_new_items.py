"""Bundles with rows for items that they were not fitted on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recsys.bundle import TEST, TRAIN, Bundle
from recsys.bundle.attributes import RowAttributes, item_attribute_rows
from recsys.bundle.factors import UserVector
from recsys.bundle.item_fold_in import ItemRatings, fold_in_item
from recsys.bundle.new_items import own_ratings
from tests.bundles import make_bundle, random_factors

NAMES = ["genre=Drama", "genre=War", "year=1990", "year=1970s", "color=red"]
USERS, ITEMS = [1, 2, 3, 4, 5], [10, 11, 12, 13, 14, 15]  # user 5 and the last two items have no row
RATED = [(0, 0, 4.0, TRAIN), (0, 4, 5.0, TEST), (1, 1, 2.0, TRAIN), (1, 4, 1.0, TEST), (4, 0, 5.0, TEST),
         (4, 2, 1.0, TEST), (4, 4, 3.0, TEST)]  # fmt: skip


def known(samples: int = 2, **arguments: Any) -> Bundle:
    """Items 10 to 12 are fitted, 13 has a row from its attributes, 14 has ratings alone and 15 nothing at all."""
    factors = random_factors(n_users=4, n_items=4, samples=samples, items=True, item_attributes=5, **arguments)
    bundle = make_bundle(factors, USERS, ITEMS, RATED, item_attributes=NAMES, counts={"items": 3})
    table = RowAttributes(np.array([0, 1, 2, 3, 4, 6, 6]), np.array([0, 1, 0, 3, 1, 2], np.int32))
    return replace(bundle, item_attributes=table)


def row_of(bundle: Bundle, item: int) -> tuple[np.ndarray, np.ndarray]:
    row = bundle.item_row[item]
    return bundle.factors.item_factors[row], bundle.factors.item_bias[row]


def assert_row(bundle: Bundle, item: int, vector: UserVector) -> None:
    factors, bias = row_of(bundle, item)
    np.testing.assert_allclose(factors, vector.factors, atol=1e-5)
    np.testing.assert_allclose(bias, vector.bias, atol=1e-5)


def test_every_item_of_the_data_gets_a_row_and_fitted_ones_keep_theirs() -> None:
    before = known()
    after = before.with_items([])
    assert after.n_items == len(after.item_ids) == 6
    assert after.fitted_items == before.fitted_items == 3
    for name in ("user_bias", "user_factors", "prior_mean"):
        assert getattr(after.factors, name) is getattr(before.factors, name)
    np.testing.assert_array_equal(after.factors.item_factors[:4], before.factors.item_factors[:4])
    outsider = before.fold_in_user(4).vector
    raters = UserVector(outsider.bias[None], outsider.factors[None])
    stars = np.array([5, 1, 3], np.float32)
    assert_row(after, 14, fold_in_item(before.factors, np.array([0, 1, 4]), stars, np.array([1, 2]), raters).vector)
    assert not any(array.any() for array in row_of(after, 15))  # nothing is known of it: the average item
    after.check()


def test_a_new_item_has_the_row_of_its_attributes_and_then_of_its_ratings() -> None:
    before = known(implicit=True, noisy=True)
    about = {"title": "New", "year": 1990, "genres": ["Drama", "Polka"], "added": 5}
    after = before.with_items([99], [about], attributes=[{"color": ["red", "blue"], "size": 3}])
    assert after.items[-1] == {"title": "New", "year": 1990, "genres": ["Drama", "Polka"]}
    assert after.item_ids.tolist() == [*ITEMS, 99]
    f = before.factors
    assert f.item_cold_start_mean is not None
    assert f.item_attribute_effects is not None
    cold = f.item_cold_start_mean + f.item_attribute_effects[[0, 2, 4]].sum(0)
    assert_row(after, 99, UserVector(cold[:, -1], cold[:, :-1]))
    rated = ItemRatings(np.array([2, 0]), np.array([5, 4], np.float32))
    after = before.with_items([99], [about], attributes=[{"color": "red"}], ratings={99: rated})
    assert_row(after, 99, fold_in_item(f, *rated, np.array([0, 2, 4])).vector)
    assert np.isfinite(after.predict([1, 5], [99, 99])).all()
    assert 99 in [entry.item_id for entry in after.recommend(1, 10)]
    folded = after.fold_in({99: 5.0, 10: 3.0})
    assert len(folded.items) == 2
    assert {reason.item_id for reason in after.explain(folded, 14).reasons} == {99, 10}


@pytest.mark.parametrize("noisy", [False, True])
def test_what_a_posterior_does_not_know_of_a_new_item_counts_as_its_noise(noisy: bool) -> None:
    """The spread of its row, over the users, as a draw of it in every sample would have it."""
    before = known(noisy=noisy)
    if not noisy:
        before = replace(before, factors=replace(before.factors, precision=np.array([1.5, 2], np.float32)))
    rated = ItemRatings(np.array([2, 0]), np.array([5, 4], np.float32))
    after, f = before.with_items([99], ratings={99: rated}), before.factors
    assert after.factors.item_precision is not None
    assert f.precision is not None
    folded = fold_in_item(f, *rated)
    users = np.append(f.user_factors, np.ones((4, 2, 1), np.float32), 2)
    for s in range(2):
        spread = np.mean([z @ np.linalg.inv(folded.system[s]) @ z for z in users[:, s]])
        assert after.factors.item_precision[-1, s] == pytest.approx(1 / (1 + spread), rel=1e-4)
    if noisy:
        assert f.item_precision is not None
        np.testing.assert_array_equal(after.factors.item_precision[:4], f.item_precision)
    few, many = (after.predict([1], [item], return_std=True)[1] for item in (99, 10))
    assert few > many
    assert known().with_items([99]).factors.item_precision is None


def test_ratings_that_are_given_take_the_place_of_the_bundle_s_and_raters_have_rows_of_their_own() -> None:
    before = known()
    raters = UserVector(np.ones((2, 2), np.float32), np.full((2, 2, 3), 0.5, np.float32))
    rated = ItemRatings(np.array([5, 3, 4]), np.array([1, 2, 3], np.float32))
    after = before.with_items([], ratings={14: rated, 12: rated}, raters=raters)
    assert_row(after, 14, fold_in_item(before.factors, *rated, np.array([1, 2]), raters).vector)
    np.testing.assert_array_equal(after.factors.item_factors[2], before.factors.item_factors[2])  # it is fitted
    both = before.with_items([20], ratings={20: rated}, raters=raters)  # beside the fold-in of user 5, who rated 14
    assert_row(both, 20, fold_in_item(before.factors, *rated, None, raters).vector)
    assert_row(both, 14, UserVector(*reversed(row_of(before.with_items([]), 14))))


def test_what_is_known_of_an_item_can_change() -> None:
    before = known()
    after = before.with_items(
        [10, 13], [{"title": "A", "year": None, "genres": []}] * 2, attributes=[None, {"color": "red"}]
    )
    np.testing.assert_array_equal(after.factors.item_factors[0], before.factors.item_factors[0])
    assert after.items[0]["title"] == "A"
    assert before.items[0]["title"] == "Film 0"
    f = before.factors
    assert f.item_cold_start_mean is not None
    assert f.item_attribute_effects is not None
    cold = f.item_cold_start_mean + f.item_attribute_effects[4]
    assert_row(after, 13, UserVector(cold[:, -1], cold[:, :-1]))
    assert after.item_attributes is not None
    assert after.item_attributes.of(0).tolist() == []
    assert after.item_attributes.of(2).tolist() == [0]


def test_without_a_prior_of_items_what_is_new_is_the_average_item(tmp_path: Path) -> None:
    bundle = make_bundle(random_factors(n_users=4, n_items=4, noisy=True, implicit=True), USERS, ITEMS, RATED)
    rated = ItemRatings(np.array([2, 0]), np.array([5, 4], np.float32))
    after = bundle.with_items([99], ratings={99: rated})
    assert after.n_items == 7
    assert after.fitted_items == 4
    assert not after.factors.item_factors[4:].any()
    assert after.factors.item_precision is not None
    assert (after.factors.item_precision[4:] == 1).all()
    assert after.items[-1] == {"title": "99", "year": None, "genres": []}
    assert not bundle.can_fold_in_items
    with pytest.raises(ValueError, match="cannot fold in items"):
        bundle.fold_in_item_rows([rated])
    after.save(tmp_path / "bundle")
    assert Bundle.load(tmp_path / "bundle").n_items == 7


def test_a_fold_in_target_replaces_the_stars_of_items_too() -> None:
    bundle = known()
    bundle = replace(bundle, manifest=bundle.manifest | {"fold_in_target": 1.25})
    rated = ItemRatings(np.array([2, 0]), np.array([5, 4], np.float32))
    after = bundle.with_items([99], ratings={99: rated})
    assert_row(after, 99, fold_in_item(bundle.factors, rated.user, np.full(2, 1.25, np.float32)).vector)


def test_own_ratings_are_by_item_and_of_any_part() -> None:
    found = own_ratings(known(), np.array([0, 4, 5]))
    assert found.keys() == {0, 4}
    assert found[4].user.tolist() == [0, 1, 4]
    assert found[4].rating.tolist() == [5, 1, 3]
    assert own_ratings(known(), np.zeros(0, np.int64)) == {}


@pytest.mark.parametrize(
    ("ids", "arguments", "message"),
    [
        ([9, 9], {}, "ids must not repeat"),
        ([9], {"about": []}, "about must have one entry for each of the 1 ids, got 0"),
        ([9], {"attributes": [{}, {}]}, "attributes must have one entry for each of the 1 ids, got 2"),
    ],
)
def test_what_does_not_belong_together_is_refused(ids: list[int], arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        known().with_items(ids, **arguments)


def test_an_id_of_another_kind_is_refused() -> None:
    with pytest.raises(TypeError, match="ids must be integers, got 'x'"):
        known().with_items(["x"])


def test_years_count_by_decade_where_the_model_has_it() -> None:
    assert item_attribute_rows(NAMES, {"year": 1974, "genres": ["War"]}).tolist() == [1, 3]
    assert item_attribute_rows(NAMES, {"year": None, "genres": []}, {"color": "red", "genre": "Drama"}).tolist() == [
        0,
        4,
    ]
    assert item_attribute_rows([], {"year": 1974, "genres": ["War"]}).tolist() == []
