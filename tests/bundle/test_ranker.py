"""Lists in every order: what they are sorted by, who they are for, and what may be in them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recsys.bundle import Bundle, BundleError
from recsys.bundle.choice import chances
from recsys.bundle.ranking import RANK_BY
from recsys.bundle.rules import rules_of
from tests.bundles import make_bundle, random_factors, rewritten

ITEMS = 40
RATED = [(user, item, float(1 + (user + item) % 5), 0) for user in range(4) for item in range(user, 30, 2 + user)]
WEIGHTS = {"popularity": 0.9, "gain": 0.7, "recent": 1.5, "genre": 1.2, "decade": 0.4}
LISTS = {"rank_by": "liking", "min_ratings": {"stars": 2}, "z": 2.0, "half_life": 2.0, "weights": WEIGHTS}


def lists(samples: int = 3, **ranking: Any) -> Bundle:
    """A bundle with three genres, some items with two and some with none, and learned defaults."""
    factors = random_factors(n_users=4, n_items=ITEMS, samples=samples)
    bundle = make_bundle(factors, [1, 2, 3, 4], list(range(100, 100 + ITEMS)), RATED, ranking=LISTS | ranking)
    for row, about in enumerate(bundle.items):
        about |= {"genres": ["War", "Drama", "Comedy"][row % 3 : row % 3 + 1 + row % 2], "year": 1960 + row}
    bundle.items[5] |= {"genres": [], "year": None}
    return bundle


@pytest.mark.parametrize("diversity", [0.0, 0.4])
@pytest.mark.parametrize("rank_by", RANK_BY)
def test_scores_never_increase_and_ratings_are_the_predictions(rank_by: str, diversity: float) -> None:
    bundle = lists()
    for who in (1, 4, 4711, bundle.fold_in({103: 5.0, 104: 1.0, 109: 4.0})):
        best = bundle.recommend(who, 12, rank_by=rank_by, diversity=diversity, min_ratings=0)
        assert len(best) == 12
        assert [one.score for one in best] == sorted((one.score for one in best), reverse=True)
        ids = [one.item_id for one in best]
        predicted = bundle.predict(who if not isinstance(who, int) else [who] * 12, ids)
        np.testing.assert_allclose([one.rating for one in best], predicted, rtol=1e-5)


def test_a_liking_is_the_chance_of_a_pick_times_the_stars() -> None:
    bundle = lists(samples=1)
    vector, history = bundle.vector(1), bundle.seen(1)
    linear = bundle.factors.scores(vector)
    gain = linear - (bundle.factors.mu[0] + bundle.factors.item_bias[:, 0])
    fitted = np.bincount(bundle.ratings.item, minlength=ITEMS)
    directions = bundle.factors.item_directions
    weight = 0.5 ** (np.arange(len(history))[::-1] / 2)
    latest = weight @ directions[history] / np.linalg.norm(weight @ directions[history])
    utility = 0.9 * np.log1p(fitted) + 0.7 * gain + 1.5 * directions @ latest
    for weight_of, name in ((1.2, "genres"), (0.4, "year")):
        values = [about[name] if name == "genres" else [about[name] and about[name] // 10] for about in bundle.items]
        values = [[one for one in of_item if one] for of_item in values]
        known = sorted({one for of_item in values for one in of_item})
        part = np.array([[(one in of_item) / max(1, len(of_item)) for one in known] for of_item in values])
        base = (fitted @ part + 1) / (fitted @ part + 1).sum()
        has = part.sum(1) > 0
        lift = (part[history].sum(0) / base + 20) / (has[history].sum() + 20)
        utility += weight_of * np.where(has, np.log(part @ lift + 1e-3), 0)
    unseen = np.setdiff1d(np.arange(ITEMS), history)
    chance = np.exp(utility) / np.exp(utility[unseen]).sum()
    wanted = chance * np.clip(linear, 1, 5)
    best = bundle.recommend(2, ITEMS)
    assert [one.item_id - 100 for one in best] == unseen[np.argsort(-wanted[unseen])].tolist()
    np.testing.assert_allclose([one.score for one in best], np.sort(wanted[unseen])[::-1], rtol=1e-4)


def test_somebody_unknown_is_likely_to_pick_what_many_have_rated() -> None:
    bundle = lists(weights={"popularity": 1.0, "genre": 3.0, "recent": 3.0})
    bundle = replace(bundle, factors=replace(bundle.factors, item_bias=np.zeros_like(bundle.factors.item_bias)))
    counts = np.bincount(bundle.ratings.item, minlength=ITEMS)
    best = [one.item_id - 100 for one in bundle.recommend(4711, 10)]
    assert counts[best].tolist() == np.sort(counts)[::-1][:10].tolist()


def test_gain_and_bound_are_what_they_say() -> None:
    bundle = lists()
    every = bundle.factors.linear_parts(bundle.vector(0))
    average = (bundle.factors.mu + bundle.factors.item_bias).mean(1)
    for rank_by, wanted in (("gain", every.mean(1) - average), ("bound", every.mean(1) - 2 * every.std(1))):
        best = bundle.recommend(1, ITEMS, rank_by=rank_by, exclude_seen=False, min_ratings=0)
        assert [one.item_id - 100 for one in best] == np.argsort(-wanted, kind="stable").tolist()
        shown = np.sort(wanted)[::-1] if rank_by == "gain" else np.sort(wanted)[::-1].clip(1, 5)
        np.testing.assert_allclose([one.score for one in best], shown, atol=1e-5)


def test_the_learned_threshold_is_that_of_the_order_and_zero_is_none() -> None:
    bundle = lists()
    counts = np.bincount(bundle.ratings.item, minlength=ITEMS)
    rated_twice = {100 + row for row in np.flatnonzero(counts >= 2)}
    assert {one.item_id for one in bundle.recommend(4711, ITEMS, rank_by="stars")} == rated_twice
    assert len(bundle.recommend(4711, ITEMS, rank_by="stars", min_ratings=0)) == ITEMS
    assert len(bundle.recommend(4711, ITEMS, rank_by="gain")) == ITEMS


def test_a_bundle_without_learned_defaults_lists_by_stars() -> None:
    old = replace(lists(), manifest={k: v for k, v in lists().manifest.items() if k != "ranking"})
    best = old.recommend(1, 10)
    assert [one.score for one in best] == [one.rating for one in best]
    assert old.recommend(1, 10, rank_by="liking") != best  # by weights of 1


def test_a_ranking_model_has_one_order() -> None:
    bundle = lists()
    ranks = replace(bundle, manifest=bundle.manifest | {"task": "ranking"})
    with pytest.raises(ValueError, match="rank_by must be left out"):
        ranks.recommend(1, rank_by="stars")
    assert [one.rating for one in ranks.recommend(1, 5)] == [None] * 5
    boosted = ranks.recommend(1, 5, boost={"War": 10.0})
    assert all("War" in one.genres for one in boosted)


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("rank_by", "best"), ("min_ratings", -1), ("min_ratings", True), ("min_ratings", 2**31), ("diversity", 1.5),
        ("diversity", float("nan")), ("diversity", True), ("boost", {"Western": 1.0}), ("boost", {"War": 11.0}),
        ("boost", {"War": float("inf")}), ("boost", dict.fromkeys(range(101), 1.0)),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(argument: str, value: Any) -> None:
    with pytest.raises(ValueError, match=argument):
        lists().recommend(1, **{argument: value})
    with pytest.raises(ValueError, match="rank_by=bound needs the samples"):
        lists(samples=1).recommend(1, rank_by="bound")


def test_rules_exclude_restrict_and_boost() -> None:
    bundle = lists()
    first, second, third, *_ = [one.item_id for one in bundle.recommend(1, 10)]
    assert [one.item_id for one in bundle.recommend(1, 1, exclude=[first, 4711])] == [second]
    assert [one.item_id for one in bundle.recommend(1, 5, allowed=[third, second, 4711])] == [second, third]
    assert bundle.recommend(1, 1, boost={third: 10.0})[0].item_id == third
    wars = bundle.recommend(1, 10, boost={"War": -10.0})
    assert not any("War" in one.genres for one in wars)
    plain = {one.item_id: one.score for one in bundle.recommend(1, ITEMS)}
    assert bundle.recommend(1, 1, boost={third: 2.0})[0].score == pytest.approx(plain[third] * np.exp(2), rel=1e-4)
    stars = bundle.recommend(1, 3, rank_by="stars", min_ratings=0, boost={third: 10.0})
    assert stars[0].score == pytest.approx(stars[0].rating + 10, rel=1e-5)  # type: ignore[operator]


def test_more_diversity_makes_neighbours_less_alike() -> None:
    bundle = lists()
    directions = bundle.ranker.directions

    def alike(diversity: float) -> float:
        rows = [
            one.item_id - 100 for one in bundle.recommend(1, 8, rank_by="stars", min_ratings=0, diversity=diversity)
        ]
        return float(np.triu(directions[rows] @ directions[rows].T, 1).sum())

    assert bundle.recommend(1, 8, diversity=0) == bundle.recommend(1, 8)
    assert alike(1.0) < alike(0.5) < alike(0.0)


def test_the_defaults_travel_with_the_bundle_and_bad_ones_are_refused(tmp_path: Path) -> None:
    bundle = lists()
    bundle.save(tmp_path / "bundle")
    assert Bundle.load(tmp_path / "bundle").recommend(1, 5) == bundle.recommend(1, 5)
    for bad in (
        [], {"rank_by": "x"}, {"other": 1}, {"min_ratings": {"stars": -1}}, {"min_ratings": {"x": 1}}, {"z": "1"},
        {"half_life": 0}, {"weights": {"gain": 1e9}}, {"weights": {str(n): 1 for n in range(200)}},
    ):  # fmt: skip
        rewritten(tmp_path / "bundle", ranking=bad)
        with pytest.raises(BundleError, match="the manifest's ranking is not valid"):
            Bundle.load(tmp_path / "bundle")


def test_boosts_of_one_item_add_up_to_no_more_than_a_float_holds() -> None:
    bundle = lists(samples=1)
    item = bundle.recommend(1, 1)[0].item_id
    boosted = bundle.recommend(1, 3, boost={"War": 10.0, "Drama": 10.0, "Comedy": 10.0, item: 10.0}, diversity=0.5)
    assert np.isfinite([one.score for one in boosted]).all()
    rules = rules_of(3, boost=[([1], 10.0)] * 9)
    assert rules.boost is not None
    assert rules.boost.tolist() == [0, 50, 0]


@pytest.mark.parametrize("utilities", [[-120.0, -130.0, -140.0], [900.0, 1.0, 2.0]])
def test_chances_of_any_utilities_sum_to_one(utilities: list[float]) -> None:
    found = chances(np.array(utilities, np.float32), np.zeros(0, np.int64), of_seen=True)
    assert found.sum() == pytest.approx(1)
    assert found.argmax() == np.argmax(utilities)


def test_numbers_of_numpy_are_numbers() -> None:
    bundle = lists()
    asked = {"diversity": np.float32(0.5), "min_ratings": np.int64(1), "boost": {"War": np.float32(0.5)}}
    plain = {"diversity": 0.5, "min_ratings": 1, "boost": {"War": 0.5}}
    assert bundle.recommend(1, 5, **asked) == bundle.recommend(1, 5, **plain)


def test_a_default_that_the_model_cannot_have_is_refused() -> None:
    lists(samples=3, rank_by="bound").check()
    with pytest.raises(ValueError, match=r"ranking\.rank_by is bound, which needs the samples"):
        lists(samples=1, rank_by="bound").check()


def test_with_item_weights_diversity_looks_at_what_items_speak_for() -> None:
    weights = np.zeros((6, 6), np.float32)
    weights[0] = [0, 0.9, 0.8, 0.7, 0.1, 0.05]  # somebody with item 0 is offered 1, 2, 3 first
    weights[1:4, 5], weights[4, 1] = 1, 1  # of which all three speak for the same
    factors = random_factors(n_users=1, n_items=6, dim=1)
    factors = replace(
        factors, item_factors=np.zeros_like(factors.item_factors), item_bias=np.zeros_like(factors.item_bias),
        item_weights=weights, history_half_life=np.array([3], np.float32), attribute_effects=None,
    )  # fmt: skip
    bundle = make_bundle(factors, [1], list(range(6)), [(0, 0, 5.0, 0)], task="ranking", fold_in="items")
    plain = [one.item_id for one in bundle.recommend(1, 2)]
    assert plain == [1, 2]
    assert [one.item_id for one in bundle.recommend(1, 2, diversity=0.9)] != plain
