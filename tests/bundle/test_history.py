"""Models of item weights: a user is the history of their items."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recsys.bundle import Bundle, BundleError
from recsys.bundle.budget import Budget
from recsys.bundle.compression import compressed_bundle
from recsys.bundle.costs import answer_work
from recsys.bundle.forgetting import without_users
from recsys.bundle.history import History, history_weights, weights_at, weights_of_all
from recsys.bundle.manifest import MANIFEST
from recsys.update.solve import why_not
from tests.bundles import exchange, history_bundle, history_factors, make_bundle, one_sentence, random_factors

FACTORS = "factors.safetensors"


def naive(bundle: Bundle, items: list[int]) -> np.ndarray:
    """The formula, for the item rows of a history, each once, the latest last."""
    factors = bundle.factors
    assert factors.item_weights is not None
    scores = (factors.mu[0] + factors.item_bias[:, 0]).astype(np.float64)
    for later, item in enumerate(reversed(items)):
        scores += (
            0.5 ** (later / (np.inf if factors.history_half_life is None else factors.history_half_life[0]))
            * factors.item_weights[item]
        )
    return np.asarray(scores)


@pytest.mark.parametrize(
    ("items", "half_life", "expected"),
    [
        ([], 1.0, []),
        ([4], 1.0, [1]),
        ([4, 2, 7], 1.0, [0.25, 0.5, 1]),
        ([4, 2, 7], 2.0, [0.5, 0.5**0.5, 1]),
        ([4, 2, 7], None, [1, 1, 1]),
        ([4, 2, 4], 1.0, [0, 0.5, 1]),  # an item counts once, at its latest place
        ([4, 9, 2, 8], 1.0, [0.5, 0, 1, 0]),  # an item without weights takes no place
        ([4, 2, 7], 1 / 24, [0, 2**-24, 1]),  # less is rounding
    ],
)
def test_an_item_counts_by_how_many_came_later(items: list[int], half_life: float | None, expected: list) -> None:
    np.testing.assert_allclose(history_weights(np.array(items, np.int64), 8, half_life), expected, rtol=1e-6)


def test_sums_of_many_items_are_those_of_each() -> None:
    rng = np.random.default_rng(0)
    matrix = rng.normal(size=(90, 90)).astype(np.float32)
    history = History(rng.permutation(90)[:75], rng.random(75, np.float32))
    expected = history.weights.astype(np.float64) @ matrix[history.items]
    np.testing.assert_allclose(weights_of_all(matrix, history), expected, atol=1e-5)
    for rows in (np.array([3, -1, 90, 3]), np.arange(-1, 95)):
        found = weights_at(matrix, history, rows)
        known = (rows >= 0) & (rows < 90)
        np.testing.assert_allclose(found[known], expected[rows[known]], atol=1e-5)
        assert not found[~known].any()


@pytest.mark.parametrize("half_life", [2.0, None])
def test_a_user_is_scored_by_all_their_ratings_in_order(half_life: float | None) -> None:
    bundle = history_bundle(history_factors(half_life=half_life))
    for user, items in ((0, [3, 1, 5]), (1, [1]), (2, []), (3, []), (-1, [])):  # user 3 was not fitted
        expected, vector = naive(bundle, items), bundle.vector(user)
        np.testing.assert_allclose(bundle.factors.scores(vector), expected, atol=1e-6)
        np.testing.assert_allclose(bundle.factors.linear_parts(vector)[:, 0], expected, atol=1e-6)
        rows, scores = bundle.top_n(vector, 4, seen=bundle.seen(user))
        left = np.where(np.isin(np.arange(12), bundle.seen(user)), -np.inf, expected)
        assert rows.tolist() == np.argsort(-left)[:4].tolist()
        np.testing.assert_allclose(scores, expected[rows], atol=1e-6)
        np.testing.assert_allclose(
            [bundle.factors.predict_for(vector, item)[0] for item in range(12)], expected, atol=1e-6
        )
    user, item = np.meshgrid(np.arange(-1, 4), np.arange(12), indexing="ij")
    pairs = bundle.predict_rows(user.ravel(), item.ravel()).reshape(5, 12)
    np.testing.assert_allclose(pairs, [naive(bundle, items) for items in ([], [3, 1, 5], [1], [], [])], atol=1e-6)
    assert bundle.predict([10], [105])[0] == pytest.approx(naive(bundle, [3, 1, 5])[5], abs=1e-6)


def test_evaluation_counts_only_the_rows_it_is_told() -> None:
    bundle = history_bundle()
    fitted = bundle.ratings.part < 2
    found = bundle.scores_of(np.array([0, 1, 2, 3]), fitted)
    np.testing.assert_allclose(found, [naive(bundle, items) for items in ([3, 1], [1], [], [])], atol=1e-6)
    plain = make_bundle(random_factors(), [1, 2, 3, 4], list(range(12)))
    np.testing.assert_array_equal(plain.scores_of(np.arange(4), fitted), plain.factors.scores_of(np.arange(4)))


def test_someone_new_is_their_items_in_the_order_given_whatever_they_rated_them() -> None:
    bundle = history_bundle()
    folded = bundle.fold_in({103: 5.0, 101: 1.0, 105: 3.0})
    np.testing.assert_allclose(bundle.factors.scores(folded.vector), naive(bundle, [3, 1, 5]), atol=1e-6)
    np.testing.assert_allclose(bundle.predict(folded, [101, 107]), naive(bundle, [3, 1, 5])[[1, 7]], atol=1e-6)
    reordered = bundle.fold_in({105: 3.0, 101: 1.0, 103: 5.0})
    np.testing.assert_allclose(bundle.factors.scores(reordered.vector), naive(bundle, [5, 1, 3]), atol=1e-6)
    assert bundle.recommend(folded, 3)[0].item_id != bundle.recommend(bundle.fold_in({}), 3)[0].item_id
    assert bundle.fold_in({}).vector.cold_start
    assert bundle.recommend(bundle.fold_in({}), 12) == bundle.recommend(30, 12) == bundle.recommend(4711, 12)
    with pytest.raises(ValueError, match="knows no attributes"):
        bundle.fold_in({103: 5.0}, {"gender": "F"})


def test_running_vectors_are_the_fold_ins_of_the_first_ratings() -> None:
    bundle, items = history_bundle(), np.array([3, 1, 5, 1])
    for piece, vector in bundle.running_vectors(items, np.full(4, 5, np.float32), np.array([0, 2, 2, 4])):
        for known in np.array([0, 2, 2, 4])[piece].tolist():
            expected = naive(bundle, {0: [], 2: [3, 1], 4: [3, 5, 1]}[known])
            np.testing.assert_allclose(bundle.factors.scores(vector), expected, atol=1e-6)


def test_reasons_are_exact() -> None:
    bundle = history_bundle()
    for who in (10, bundle.fold_in({103: 5.0, 101: 5.0, 105: 5.0})):
        found = bundle.explain(who, 108)
        assert found.base == pytest.approx(bundle.factors.item_bias[8, 0])
        assert found.score == pytest.approx(found.base + sum(reason.contribution for reason in found.reasons), abs=1e-6)
        assert found.remainder == pytest.approx(0, abs=1e-6)
        weights = {103: 0.5, 101: 0.5**0.5, 105: 1.0}
        for reason in found.reasons:
            expected = weights[int(reason.item_id)] * bundle.factors.item_weights[int(reason.item_id) - 100, 8]
            assert reason.contribution == pytest.approx(expected, abs=1e-6)
    assert bundle.explain(30, 108).reasons == []
    base, parts = bundle.fold_in_rows(np.array([4, 2, 4]), np.full(3, 5, np.float32)).contributions(np.arange(12))
    assert parts.shape == (12, 3)
    assert not parts[:, 0].any()  # it comes again
    np.testing.assert_allclose(base + parts.sum(1), naive(bundle, [2, 4]), atol=1e-6)


def test_similar_items_are_those_an_item_speaks_for() -> None:
    weights = np.zeros((4, 4))
    weights[0, 1:] = 0.5, 3.0, -1.5
    weights[1, 2] = 0.25
    bundle = make_bundle(history_factors(n_items=4, weights=weights), ["a"] * 3, list("wxyz"),
                         task="ranking", fold_in="items")  # fmt: skip
    found = [(one.item_id, one.score) for one in bundle.similar_items("w", 10)]
    assert found == [("y", 1.0), ("x", pytest.approx(1 / 6)), ("z", -0.5)]
    assert [(one.item_id, one.score) for one in bundle.similar_items("x", 10)] == [("y", pytest.approx(1 / 12))]
    assert bundle.similar_items("z", 10) == []
    small = replace(bundle, factors=history_factors(n_items=4, weights=weights / 6))
    assert [one.score for one in small.similar_items("w", 1)] == [0.5]  # as they are


def test_new_items_have_no_weights_and_take_no_place() -> None:
    bundle = history_bundle()
    more = bundle.with_items([500, 501])
    assert more.n_items == 14
    ratings = dict.fromkeys([103, 500, 101, 501, 105], 5.0)
    scores = more.factors.scores(more.fold_in(ratings).vector)
    np.testing.assert_allclose(scores[:12], naive(bundle, [3, 1, 5]), atol=1e-6)
    assert scores[12:].tolist() == [0, 0]
    assert more.fold_in(ratings).items.tolist() == [3, 12, 1, 13, 5]  # none of them is recommended
    assert [one.contribution for one in more.explain(more.fold_in(ratings), 500).reasons] == [0] * 5
    assert more.similar_items(500) == []
    np.testing.assert_allclose(more.predict([10, 10], [500, 105]), [0, naive(bundle, [3, 1, 5])[5]], atol=1e-6)


def test_it_comes_back_from_disk_with_the_same_answers(tmp_path: Path) -> None:
    for half_life in (2.0, None):
        bundle = history_bundle(history_factors(half_life=half_life))
        bundle.save(tmp_path / "bundle")
        loaded = Bundle.load(tmp_path / "bundle")
        np.testing.assert_array_equal(loaded.factors.item_weights, bundle.factors.item_weights)
        assert loaded.factors.history_half_life == half_life
        assert loaded.recommend(10) == bundle.recommend(10)
        more = loaded.with_items([500])
        more.save(tmp_path / "more")
        assert Bundle.load(tmp_path / "more").recommend(10) == more.recommend(10)


def test_former_versions_refuse_it_by_its_schema_and_read_all_others(tmp_path: Path) -> None:
    history_bundle().save(tmp_path / "history")
    make_bundle(random_factors(), [1, 2, 3, 4], list(range(12))).save(tmp_path / "plain")
    found = [json.loads((tmp_path / name / MANIFEST).read_text())["schema_version"] for name in ("history", "plain")]
    assert found == [4, 3]


@pytest.mark.parametrize(
    ("manifest", "arrays", "message"),
    [
        ({"fold_in": "ridge"}, {}, "item_weights belong to fold_in items and to no other"),
        ({}, {"item_weights": None}, "item_weights belong to fold_in items and to no other"),
        ({"fold_in": "none"}, {"item_weights": None}, "history_half_life needs item_weights, which are missing"),
        ({"task": "rating"}, {}, "item_weights need task ranking, got rating"),
        ({}, {"item_weights": np.zeros((13, 13), np.float32)}, "item_weights must be of 12 items at most, got 13"),
        ({}, {"item_weights": np.zeros((12, 11), np.float32)}, r"item_weights has shape \(12, 11\), expected"),
        ({}, {"item_weights": np.zeros((12, 12))}, "item_weights holds float64, expected float32"),
        ({}, {"item_weights": np.full((12, 12), np.nan, np.float32)}, "item_weights holds values that are not finite"),
        ({}, {"item_weights": np.full((12, 12), 9e14, np.float32)}, "the factors may predict 1e[+]16, beyond"),
        ({}, {"item_weights": np.full((12, 12), -np.inf, np.float32)}, "item_weights holds values that are not finite"),
        ({}, {"history_half_life": np.full(1, np.inf, np.float32)}, "history_half_life holds values that are not"),
        ({}, {"history_half_life": np.zeros(1, np.float32)}, "history_half_life must be > 0"),
        ({}, {"history_half_life": np.ones(2, np.float32)}, r"history_half_life has shape \(2,\), expected \(1,\)"),
        ({}, {"user_bias": np.ones((3, 1), np.float32)}, "user_bias must be 0 where there are item_weights"),
        ({}, {"user_factors": np.ones((3, 1, 1), np.float32)}, "user_factors must be 0 where there are item_weights"),
        ({}, {"drift": np.ones(2, np.float32)}, "drift must be absent where there are item_weights"),
        ({}, {"cold_start_items": np.ones((12, 1), np.float32)}, "cold_start_items must be absent where there are"),
    ],
)  # fmt: skip
def test_a_damaged_one_is_refused(tmp_path: Path, manifest: dict, arrays: dict[str, Any], message: str) -> None:
    history_bundle().save(tmp_path / "bundle")
    path = tmp_path / "bundle" / MANIFEST
    path.write_text(json.dumps(json.loads(path.read_text()) | manifest))
    exchange(tmp_path / "bundle", FACTORS, **arrays)
    with pytest.raises(BundleError, match=message) as error:
        Bundle.load(tmp_path / "bundle")
    one_sentence(error)
    factors = replace(history_factors(), **arrays)
    if manifest.get("fold_in") != "none":
        with pytest.raises(BundleError, match=message):
            history_bundle(factors, **manifest).save(tmp_path / "again")


def test_samples_are_refused() -> None:
    drawn = random_factors(n_users=3, samples=2)
    with pytest.raises(ValueError, match="item_weights need one sample, got 2"):
        history_bundle(replace(drawn, item_weights=np.zeros((12, 12), np.float32))).check()


def test_what_it_costs_is_refused_before_it_is_read(tmp_path: Path) -> None:
    wide = history_factors(n_items=1000)
    bundle = make_bundle(wide, [1, 2, 3], list(range(1000)), task="ranking", fold_in="items")
    bundle.save(tmp_path / "bundle")
    assert Bundle.load(tmp_path / "bundle").n_items == 1000
    with pytest.raises(BundleError, match=r"with its (arrays|factors|largest file).* bytes of memory"):
        Bundle.load(tmp_path / "bundle", budget=Budget(memory=1000 * 1000 * 4))
    with pytest.raises(
        BundleError, match=r"folding in a user with 1,000 ratings takes 4,\d\d\d,\d\d\d multiplications"
    ):
        Bundle.load(tmp_path / "bundle", budget=Budget(work=3_900_000))
    assert answer_work(bundle, 1000, 100) - answer_work(bundle, 1000) >= 100 * 1000
    assert answer_work(bundle, 300, 200, 10) > answer_work(bundle, 300, 100, 10)


def test_forgetting_someone_removes_their_ratings() -> None:
    bundle = history_bundle()
    left = without_users(bundle, [0])
    left.check()
    assert left.user_ids.tolist() == [20, 30, 40]
    assert left.ratings.item.tolist() == [1, 2]
    assert left.recommend(20) == bundle.recommend(20)
    assert left.recommend(10) == bundle.recommend(30)  # as anyone without a history


def test_it_is_neither_compressed_nor_updated() -> None:
    bundle = history_bundle()
    with pytest.raises(ValueError, match="compress must be null for ease, whose item weights"):
        compressed_bundle(bundle, 2)
    assert why_not(bundle) is not None
    assert re.search("its item weights depend on all ratings", str(why_not(bundle)))
