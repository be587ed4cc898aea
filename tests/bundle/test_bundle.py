"""What a bundle answers, on factors whose right answers are known."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from recsys.bundle import Bundle, scoring
from recsys.bundle.attributes import RowAttributes
from recsys.bundle.factors import Factors
from recsys.bundle.noise import RatingNoise
from recsys.models.mf import MatrixFactorization
from recsys.training import export
from tests.bundles import ITEMS, NAMES, RATED, USERS, make_bundle, random_factors
from tests.small_data import build, checkerboard, fit, small_data


def test_predictions_by_hand_clipped_and_with_averages_for_the_unknown(small: Bundle) -> None:
    cases = {
        (10, 7): 3 + 0.5 + 0.25 + 0.5,
        (20, 7): 3 - 0.5 + 0.25 - 0.5,
        (10, 3): 5.0,  # 3 + 0.5 + 0 + 4 = 7.5, clipped
        (10, 5): 1.0,  # 3 + 0.5 - 0.25 - 4.5 = -1.25
        (20, 3): 1.0,  # -1.5
        (4711, 7): 3.25,
        (10, 4711): 3.5,
        (4711, 4711): 3.0,
        (30, 7): 3.25,  # in the data, not fitted
        (10, 99): 3.5,
        (30, 99): 3.0,
    }
    predicted = small.predict(*zip(*cases, strict=True))
    assert predicted.dtype == np.float32
    np.testing.assert_allclose(predicted, list(cases.values()))
    users, items = (np.array(ids) for ids in zip(*cases, strict=True))
    np.testing.assert_array_equal(small.predict(users, items), predicted)
    assert small.predict([], []).shape == (0,)


def test_samples_are_clipped_before_their_mean_and_ranked_by_the_linear_mean(two_by_three: Factors) -> None:
    f = two_by_three
    twice = lambda array, other: np.concatenate([array, other], 1)  # noqa: E731
    two = Factors(
        mu=np.array([3, 4], np.float32),
        user_bias=twice(f.user_bias, f.user_bias * 2),
        item_bias=twice(f.item_bias, f.item_bias),
        user_factors=twice(f.user_factors, f.user_factors),
        item_factors=twice(f.item_factors, f.item_factors * 0),
        prior_mean=np.zeros((2, 3), np.float32),
        prior_precision=np.zeros((1, 2, 3, 3), np.float32),
        prior_exponent=np.ones(1, np.float32),
    )
    small = make_bundle(two, USERS, ITEMS)
    # User 10: item 7 is 4.25 and 5.25; item 3 is 7.5 and 5; item 5 is -1.25 and 4.75.
    wanted = [(4.25 + 5) / 2, (5 + 5) / 2, (1 + 4.75) / 2]
    np.testing.assert_allclose(small.predict([10] * 3, [7, 3, 5]), wanted)
    np.testing.assert_allclose(small.predict([0, 10], [7, 0]), [(3.25 + 4.25) / 2, (3.5 + 5) / 2])
    top = small.recommend(10, 3)
    assert [entry.item_id for entry in top] == [3, 7, 5]
    np.testing.assert_allclose([entry.score for entry in top], [5, 4.625, 2.875])  # as predicted above
    ranking = make_bundle(two, USERS, ITEMS, task="ranking")
    np.testing.assert_allclose(ranking.predict([10], [3]), 6.25)
    np.testing.assert_allclose(ranking.recommend(10, 1)[0].score, 6.25)


def test_recommend_is_sorted_without_the_seen_and_within_the_catalogue(small: Bundle) -> None:
    everything = small.recommend(10, 100, exclude_seen=False)
    assert [entry.item_id for entry in everything] == [3, 7, 5]
    np.testing.assert_allclose([entry.score for entry in everything], [5, 4.25, 1])
    assert everything[0] == (3, 5.0, "Film 1", 1991, ["Drama"], 5.0)
    assert type(everything[0].item_id) is int
    assert [entry.item_id for entry in small.recommend(10, 100)] == [3, 5]  # 7 was rated
    assert [entry.item_id for entry in small.recommend(20, 1)] == [5]  # best: 3 - 0.5 - 0.25 + 4.5
    assert [entry.item_id for entry in small.recommend(20, 100)] == [5, 7]
    assert [entry.item_id for entry in small.recommend(np.int64(20), 1)] == [5]
    average = [7, 3, 5]  # by item bias
    assert [entry.item_id for entry in small.recommend(4711)] == average
    assert [entry.item_id for entry in small.recommend(30)] == [7, 3]  # not fitted, but has rated item 5
    with pytest.raises(ValueError, match=r"k must be >= 1, got 0"):
        small.recommend(10, 0)


def test_a_user_who_has_seen_all_gets_nothing(two_by_three: Factors) -> None:
    seen = [(0, item, 3.0, 0) for item in range(3)]
    assert make_bundle(two_by_three, USERS, ITEMS, seen).recommend(10) == []


@pytest.mark.parametrize("k", [1, 2, 3, 5, 8, 9, 20])
def test_ties_go_by_row_also_where_k_cuts_them(k: int) -> None:
    item_bias = np.array([0, 1, 0, 1, 0, 1, 0, 1, 0], np.float32)[:, None]
    factors = replace(random_factors(n_users=1, n_items=9), item_bias=item_bias)
    factors = replace(factors, item_factors=factors.item_factors * 0)
    [(items, _)] = make_bundle(factors, [1], list(range(9))).top_items(np.array([0]), k)
    assert items.tolist() == [1, 3, 5, 7, 0, 2, 4, 6, 8][:k]


@pytest.mark.parametrize("k", [1, 7, 49, 50])
def test_the_top_is_that_of_a_full_sort(k: int) -> None:
    factors = random_factors(n_items=50, samples=3, dim=5)
    bundle = make_bundle(factors, [1, 2, 3, 4], list(range(50)))
    for user, (items, scores) in enumerate(bundle.top_items(np.arange(4), k)):
        linear = factors.predict(np.full(50, user), np.arange(50)).mean(1)
        assert items.tolist() == np.argsort(-linear, kind="stable")[:k].tolist()
        np.testing.assert_allclose(scores, linear[items].clip(1, 5), rtol=1e-5)


@pytest.mark.parametrize(
    ("users", "items", "message"),
    [
        (["10"], [7], "user_ids must be integers, got '10'"),
        ([10], ["7"], "item_ids must be integers, got '7'"),
        ([10, "10"], [7, 7], "user_ids must be integers, got '10'"),
        ([10.0], [7], "user_ids must be integers, got 10.0"),
        ([True], [7], "user_ids must be integers, got True"),
        ([None], [7], "user_ids must be integers, got None"),
        ("10", [7, 7], "user_ids must be a list of integers, got '10'"),
        (10, [7], "user_ids must be a list of integers, got 10"),
        ([10], 7, "item_ids must be a list of integers, got 7"),
        (b"ab", [7, 7], "user_ids must be a list of integers, got b'ab'"),
    ],
)
def test_an_id_of_the_wrong_kind_is_a_type_error(small: Bundle, users: list, items: list, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        small.predict(users, items)


def test_string_ids_take_strings_only_and_no_bare_string(two_by_three: Factors) -> None:
    named = make_bundle(two_by_three, *NAMES)
    np.testing.assert_allclose(named.predict(["Zoë", "nobody"], ["ā", "ā"]), [4.25, 3.25])
    for users in ([1], ["Zoë", 1], "Zoë"):
        with pytest.raises(TypeError, match="user_ids must be"):
            named.predict(users, ["ā"] * len(users))
    with pytest.raises(TypeError, match="user_id must be strings, got 1"):
        named.recommend(1)
    assert named.recommend("Zoë", 1)[0].item_id == ""


def test_lists_of_unequal_length_are_refused(small: Bundle) -> None:
    with pytest.raises(ValueError, match="user_ids and item_ids must be equally long, got 2 and 1"):
        small.predict([10, 20], [7])


def test_a_bundle_needs_numpy_and_safetensors_only() -> None:
    heavy = {"torch", "lightning", "hydra", "omegaconf", "pandas", "pyarrow", "torchmetrics"}
    code = f"import sys, recsys.bundle; print(sorted({heavy} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_the_standard_deviation_is_noise_and_the_spread_of_clipped_samples(two_by_three: Factors) -> None:
    pairs = [10, 20, 4711], [7, 3, 5]
    noisy = make_bundle(two_by_three, USERS, ITEMS, noise=0.9)
    mean, std = noisy.predict(*pairs, return_std=True)
    np.testing.assert_array_equal(mean, noisy.predict(*pairs))
    np.testing.assert_allclose(std, 0.9)
    assert std.dtype == mean.dtype == np.float32
    factors = random_factors(n_users=2, n_items=3, samples=4)
    linear = factors.predict(np.array([0, 1, -1]), np.array([0, 1, 2])).clip(1, 5)
    several = make_bundle(factors, USERS, ITEMS)
    np.testing.assert_allclose(several.predict(*pairs, return_std=True)[1], linear.std(1), rtol=1e-5)
    both = make_bundle(factors, USERS, ITEMS, noise=0.9)
    np.testing.assert_allclose(both.predict(*pairs, return_std=True)[1], np.hypot(linear.std(1), 0.9), rtol=1e-5)
    folded = both.fold_in({7: 5.0})
    mean, std = both.predict(folded, [3, 99], return_std=True)
    linear = np.stack([factors.predict_for(folded.vector, row) for row in (1, -1)]).clip(1, 5)
    np.testing.assert_allclose(mean, linear.mean(1), rtol=1e-6)
    np.testing.assert_allclose(std, np.hypot(linear.std(1), 0.9), rtol=1e-5)
    assert [array.shape for array in both.predict([], [], return_std=True)] == [(0,), (0,)]


def test_no_standard_deviation_without_noise_or_samples(small: Bundle) -> None:
    with pytest.raises(ValueError, match="return_std: this bundle has one sample and no noise"):
        small.predict([10], [7], return_std=True)


def test_no_noise_is_an_honest_zero(two_by_three: Factors) -> None:
    exact = make_bundle(two_by_three, USERS, ITEMS, noise=0)
    np.testing.assert_array_equal(exact.predict([10], [7], return_std=True)[1], [0])


def test_allowed_is_what_there_is_to_choose_from(small: Bundle) -> None:
    ids = lambda **arguments: [entry.item_id for entry in small.recommend(10, **arguments)]  # noqa: E731
    assert ids(allowed=[5, 7], exclude_seen=False) == [7, 5]
    assert ids(allowed=[5, 7]) == [5]  # 7 was rated
    assert ids(allowed=(item for item in (3, 5)), k=1) == [3]
    assert ids(allowed=[99, 4711]) == []  # not fitted, not known
    assert ids(allowed=[]) == []
    assert ids(allowed=np.array([3])) == [3]
    for wrong in (["3"], "35", 3):
        with pytest.raises(TypeError, match="allowed must be"):
            small.recommend(10, allowed=wrong)


@pytest.fixture(scope="module")
def tastes() -> Bundle:
    """Users and items of two tastes by parity, learnt from half the cells."""
    data = small_data(checkerboard(), fit_on="all")
    model = build(MatrixFactorization, data, embedding_dim=4, learning_rate=0.03)
    fit(model, data, epochs=15, limit_val_batches=0)
    return export.make_bundle(model, data)


@pytest.mark.parametrize("k", [1, 9, 10, 19, 100])
def test_similar_items_are_of_the_same_taste_first_and_never_the_item_itself(tastes: Bundle, k: int) -> None:
    for item in (1000, 1007):
        found = tastes.similar_items(item, k)
        assert len(found) == min(k, 19)
        ids = [entry.item_id for entry in found]
        assert item not in ids
        assert len(set(ids)) == len(ids)
        assert {(entry - item) % 2 for entry in ids[:9]} == {0}
        assert {(entry - item) % 2 for entry in ids[9:]} <= {1}
        cosines = [entry.score for entry in found]
        assert cosines == sorted(cosines, reverse=True)
        assert -1 <= cosines[-1] <= cosines[0] <= 1
        assert cosines[0] > 0.9


def test_similar_items_of_what_is_not_there(small: Bundle) -> None:
    assert small.similar_items(99) == []  # not fitted
    with pytest.raises(ValueError, match="no item 4711 in small"):
        small.similar_items(4711)
    with pytest.raises(TypeError, match="item_id must be integers, got '7'"):
        small.similar_items("7")
    for item in (7, 99):
        with pytest.raises(ValueError, match="k must be >= 1, got 0"):
            small.similar_items(item, 0)


def test_someone_new_is_recommended_their_taste_without_what_they_rated(tastes: Bundle) -> None:
    for parity in (0, 1):
        folded = tastes.fold_in({1000 + parity: 5.0, 1003 - parity: 1.0})
        found = [entry.item_id for entry in tastes.recommend(folded, 9)]
        assert {item % 2 for item in found} == {parity}
        assert 1000 + parity not in found
        assert tastes.recommend(folded, 1, exclude_seen=False)[0].score >= tastes.recommend(folded, 1)[0].score
        likes, dislikes = tastes.predict(folded, [1004 + parity, 1005 - parity])
        assert likes > 3.5
        assert dislikes < 2.5


def test_what_an_unfitted_item_was_rated_is_left_out(small: Bundle) -> None:
    with_it, without = small.fold_in({7: 5.0, 99: 1.0, 4711: 1.0}), small.fold_in({7: 5.0})
    np.testing.assert_array_equal(with_it.vector.factors, without.vector.factors)
    assert with_it.items.tolist() == [0]
    for nothing in ({}, {99: 1.0, 4711: 5.0}):
        folded = small.fold_in(nothing)
        assert small.recommend(folded) == small.recommend(4711)
        np.testing.assert_array_equal(small.predict(folded, [7, 3, 5]), small.predict([4711] * 3, [7, 3, 5]))


@pytest.mark.parametrize("stars", [float("nan"), float("inf"), -float("inf"), 0.5, 5.001, 0, np.float32("nan")])
def test_a_rating_outside_the_scale_is_named(small: Bundle, stars: float) -> None:
    with pytest.raises(ValueError, match=rf"rating of item 3 must be in \[1, 5\], got {re.escape(str(stars))}"):
        small.fold_in({7: 5, 3: stars})
    with pytest.raises(ValueError, match="rating of item 4711 must be in"):  # also of what would be left out
        small.fold_in({4711: stars})


@pytest.mark.parametrize("stars", ["5", None, True, [5], 5j])
def test_a_rating_that_is_no_number_is_named(small: Bundle, stars: Any) -> None:
    with pytest.raises(TypeError, match=r"rating of item 3 must be a number, got "):
        small.fold_in({3: stars})


def test_ratings_may_be_any_real_numbers(small: Bundle) -> None:
    wanted = small.fold_in({7: 4.0}).vector.factors
    for stars in (4, np.float32(4), np.int64(4), Fraction(4)):
        np.testing.assert_array_equal(small.fold_in({7: stars}).vector.factors, wanted)


def test_fold_in_takes_ids_of_the_data_s_kind_in_a_mapping(small: Bundle, two_by_three: Factors) -> None:
    with pytest.raises(TypeError, match="item ids must be integers, got '7'"):
        small.fold_in({"7": 5.0})
    with pytest.raises(TypeError, match="item ids must be strings, got 7"):
        make_bundle(two_by_three, *NAMES).fold_in({7: 5.0})
    with pytest.raises(TypeError, match=r"ratings must map item ids to stars, got \[\(7, 5.0\)\]"):
        small.fold_in([(7, 5.0)])


def test_a_model_that_takes_in_nobody_says_so(two_by_three: Factors) -> None:
    closed = make_bundle(two_by_three, USERS, ITEMS, RATED, fold_in="none", model="Attention")
    for asked in (lambda: closed.fold_in({7: 5.0}), lambda: closed.explain(10, 3)):
        with pytest.raises(ValueError, match=r"Attention cannot fold in new users"):
            asked()
    assert closed.recommend(10)


def test_a_fold_in_belongs_to_its_bundle(small: Bundle) -> None:
    """Another model's coordinates would give numbers, and nonsense."""
    stranger = make_bundle(random_factors(n_users=2, n_items=3, dim=2), USERS, ITEMS).fold_in({7: 5.0})
    for asked in (
        lambda: small.predict(stranger, [7]),
        lambda: small.recommend(stranger),
        lambda: small.explain(stranger, 7),
    ):
        with pytest.raises(ValueError, match="made by another bundle"):
            asked()


def explained() -> Bundle:
    """Four fitted users and twelve fitted items of six and fourteen; everybody rated five items."""
    rng = np.random.default_rng(5)
    rated = [
        (user, int(item), float(rng.integers(1, 6)), int(rng.integers(0, 3)))
        for user in range(6)
        for item in rng.permutation(14)[:5]
    ]
    rated += [(5, 12, 3.0, 0)] if (5, 12) not in {(u, i) for u, i, *_ in rated} else []
    factors = random_factors(samples=3, exponents=(0.5, 1.0), implicit=True)
    return make_bundle(factors, list(range(100, 106)), list(range(200, 214)), rated)


@pytest.mark.parametrize("user", [*range(100, 106), 4711])
@pytest.mark.parametrize("item", [200, 207, 211])
def test_an_explanation_adds_up_to_the_score(user: int, item: int) -> None:
    bundle = explained()
    found = bundle.explain(user, item)
    total = found.base + sum(reason.contribution for reason in found.reasons) + found.remainder
    assert total == pytest.approx(found.score, abs=1e-5)
    row = bundle.user_row.get(user, -1)
    linear = bundle.factors.predict(np.array([row if row < 4 else -1]), np.array([item - 200])).mean()
    assert found.score == pytest.approx(linear, abs=1e-5)
    contributions = [reason.contribution for reason in found.reasons]
    assert contributions == sorted(contributions, reverse=True)
    if user > 103:  # not fitted: the average user, of whom there is nothing to tell
        assert found.reasons == []
        assert found.remainder == pytest.approx(0, abs=1e-6)
        return
    entries = bundle.ratings.slice_of(row)
    own = dict(zip(bundle.ratings.item[entries].tolist(), bundle.ratings.rating[entries].tolist(), strict=True))
    wanted = {200 + row: stars for row, stars in own.items() if row < 12}
    assert {reason.item_id: reason.rating for reason in found.reasons} == wanted
    assert {reason.title for reason in found.reasons} == {f"Film {item - 200}" for item in wanted}
    folded = bundle.fold_in(wanted)
    assert bundle.explain(folded, item).score + found.remainder == pytest.approx(found.score, abs=1e-5)


def test_an_explanation_of_someone_new_leaves_nothing_over() -> None:
    bundle = explained()
    folded = bundle.fold_in({200: 5, 201: 1, 213: 4, 207: 2})
    found = bundle.explain(folded, 205)
    assert found.remainder == pytest.approx(0, abs=1e-5)
    assert {reason.item_id for reason in found.reasons} == {200, 201, 207}
    unclipped = bundle.factors.scores(folded.vector)[5]
    assert found.score == pytest.approx(unclipped, abs=1e-5)
    assert bundle.explain(bundle.fold_in({}), 205)[2:] == ([], pytest.approx(0, abs=1e-6))


def test_a_rating_s_contribution_is_what_a_star_of_it_weighs() -> None:
    bundle = explained()
    ratings = {200: 4.0, 201: 1.0, 207: 2.0}
    before, after = (bundle.explain(bundle.fold_in(ratings | {207: stars}), 205) for stars in (2.0, 3.0))
    part = {stars: next(r.contribution for r in found.reasons if r.item_id == 207)
            for stars, found in ((2.0, before), (3.0, after))}  # fmt: skip
    assert after.score - before.score == pytest.approx(part[3.0] - part[2.0], abs=1e-5)
    assert abs(after.score - before.score) > 1e-3
    assert after.base == pytest.approx(before.base, abs=1e-6)


def test_ratings_of_an_item_s_own_taste_explain_its_score(tastes: Bundle) -> None:
    folded = tastes.fold_in({1000: 5.0, 1001: 1.0, 1002: 5.0, 1003: 1.0})
    liked, disliked = tastes.explain(folded, 1004).reasons, tastes.explain(folded, 1005).reasons
    assert {reason.item_id for reason in liked[:2]} == {1000, 1002}
    assert {reason.item_id for reason in disliked[2:]} == {1001, 1003}
    assert liked[1].contribution > 0.5 > 0.3 > abs(liked[2].contribution)
    assert disliked[2].contribution < -0.5 < -0.3 < -abs(disliked[1].contribution)


def test_what_cannot_be_explained(small: Bundle) -> None:
    with pytest.raises(ValueError, match="the model was not fitted on item 99"):
        small.explain(10, 99)
    with pytest.raises(ValueError, match="no item 4711 in small"):
        small.explain(10, 4711)
    with pytest.raises(TypeError, match="user_id must be integers, got '10'"):
        small.explain("10", 7)
    with pytest.raises(TypeError, match="item_id must be integers, got '7'"):
        small.explain(10, "7")


def test_a_ranking_s_scores_are_not_clipped_in_explanations_and_fold_ins(two_by_three: Factors) -> None:
    ranking = make_bundle(two_by_three, USERS, ITEMS, RATED, task="ranking")
    assert ranking.explain(10, 3).score == pytest.approx(7.5)
    folded = ranking.fold_in({7: 5.0})
    np.testing.assert_allclose(
        ranking.predict(folded, [3])[0], ranking.factors.predict_for(folded.vector, 1).mean(), rtol=1e-6
    )


LEVELS = (1.0, 2.0, 3.0, 4.0, 5.0)
PAIRS = [10, 20, 4711, 30], [7, 3, 5, 7]


def test_noise_that_differs_is_the_mean_variance_over_samples() -> None:
    f = random_factors(n_users=2, n_items=3, samples=4, noisy=True)
    bundle = make_bundle(f, USERS, ITEMS, noise=0.9)  # the factors know better
    rows = np.array([0, 1, -1, -1]), np.array([0, 1, 2, 0])
    precision = RatingNoise(f).precision(*rows)
    assert precision is not None
    wanted = np.sqrt(f.predict(*rows).clip(1, 5).var(1) + (1 / precision).mean(1))
    np.testing.assert_allclose(bundle.predict(*PAIRS, return_std=True)[1], wanted, rtol=1e-5)
    folded = bundle.fold_in({7: 5.0, 3: 1.0})
    assert f.precision is not None
    assert f.item_precision is not None
    stars = np.stack([f.predict_for(folded.vector, row) for row in (1, -1)]).clip(1, 5)
    noise = 1 / (f.precision * np.stack([f.item_precision[1], np.ones(4)]))
    for row, item in enumerate((f.item_factors[1], np.zeros((4, f.item_factors.shape[2])))):
        design = np.hstack([item, np.ones((4, 1))])
        unsure = np.einsum("sd,sde,se->s", design, np.linalg.inv(folded.system), design) / f.precision
        wanted = np.sqrt(stars[row].var() + (noise[row] + unsure).mean())
        assert bundle.predict(folded, [[3], [99]][row], return_std=True)[1] == pytest.approx(wanted, rel=1e-4)


def test_an_ordinal_bundle_predicts_the_mean_of_its_probabilities() -> None:
    f = random_factors(n_users=2, n_items=3, samples=4, noisy=True, levels=LEVELS)
    bundle = make_bundle(f, USERS, ITEMS, RATED, link="ordinal")
    shares = bundle.rating_probabilities(*PAIRS)
    assert shares.shape == (4, 5)
    np.testing.assert_allclose(shares.sum(1), 1, atol=1e-6)
    mean, std = bundle.predict(*PAIRS, return_std=True)
    levels = np.array(LEVELS)
    np.testing.assert_allclose(mean, shares @ levels, atol=1e-5)
    np.testing.assert_allclose(std**2, [share @ (levels - share @ levels) ** 2 for share in shares], atol=1e-4)
    top = bundle.recommend(10, 3, exclude_seen=False)
    by_score = np.argsort(-f.scores(f.user(0)), kind="stable")
    assert [entry.item_id for entry in top] == [ITEMS[row] for row in by_score]
    np.testing.assert_allclose([entry.score for entry in top], bundle.predict([10] * 3, [e.item_id for e in top]))
    folded = bundle.fold_in({7: 5.0, 3: 1.0})
    np.testing.assert_allclose(bundle.rating_probabilities(folded, [5, 99]) @ levels, bundle.predict(folded, [5, 99]))


def test_an_identity_link_has_no_probabilities(small: Bundle) -> None:
    with pytest.raises(ValueError, match=r"link .*ordinal, got identity"):
        small.rating_probabilities([10], [7])


@pytest.mark.parametrize("kind", [{}, {"noisy": True}, {"noisy": True, "levels": LEVELS}])
def test_many_predictions_come_in_chunks_and_are_the_same(kind: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    f = random_factors(n_users=2, n_items=3, samples=3, **kind)
    bundle = make_bundle(f, USERS, ITEMS, link="ordinal" if "levels" in kind else "identity")
    rows = np.arange(40) % 3, np.arange(40) % 4
    whole = bundle.predictions(*rows, std=True)
    monkeypatch.setattr(scoring, "CHUNK_ELEMENTS", 64)
    chunked = bundle.predictions(*rows, std=True)
    assert (chunked.probabilities is None) == (whole.probabilities is None) == ("levels" not in kind)
    for a, b in zip(chunked, whole, strict=True):
        if a is not None:
            np.testing.assert_allclose(a, b, rtol=1e-5)  # exp differs in the last bit at the end of an array
    np.testing.assert_allclose(bundle.predict_rows(*rows), whole.mean, rtol=1e-5)


def described() -> Bundle:
    """Users 10 and 20 are fitted; of 30, 40 and 50, who are not, the first two have attributes."""
    f = random_factors(n_users=2, n_items=4, samples=2, attributes=3)
    bundle = make_bundle(f, [10, 20, 30, 40, 50], [*ITEMS, 100], RATED, counts={"items": 3},
                         attributes=["gender=F", "gender=M", "age=25"])  # fmt: skip
    known = RowAttributes(np.array([0, 1, 2, 4, 5, 5]), np.array([0, 1, 0, 2, 1], np.int32))
    return replace(bundle, user_attributes=known)


def test_an_unseen_user_with_attributes_is_predicted_from_them() -> None:
    bundle = described()
    f = bundle.factors
    assert f.cold_start_effects is not None
    assert f.cold_start_mean is not None
    assert f.cold_start_items is not None
    for user, rows in ((30, [0, 2]), (40, [1])):
        solution = f.cold_start_mean + f.cold_start_effects[rows].sum(0)
        linear = [
            f.mu
            + f.item_bias[i]
            + (f.item_factors[i] * solution[:, :-1]).sum(1)
            + solution[:, -1]
            + f.cold_start_items[i]
            for i in (0, 3)
        ]
        predicted = bundle.predict([user, user, user], [7, 99, 100])
        np.testing.assert_allclose(predicted[:2], np.clip(linear, 1, 5).mean(1), rtol=1e-5)
        np.testing.assert_allclose(predicted[2], (f.mu + solution[:, -1]).clip(1, 5).mean(), rtol=1e-5)
        best = int(f.scores(f.user_from_attributes(np.array(rows))).argmax())
        assert bundle.recommend(user, 1, exclude_seen=False)[0].item_id == bundle.item_id(best)
        explained = bundle.explain(user, 7)
        assert explained.reasons == []
        assert explained.score == pytest.approx(float(np.mean(linear[0])), abs=1e-5)
        assert explained.base == pytest.approx(explained.score, abs=1e-5)
    np.testing.assert_array_equal(bundle.predict([50, 4711], [7, 7]), bundle.predict([-1, -1], [7, 7]))
    mixed = bundle.predict([30, 10, 40, 30, 50], [7, 7, 3, 99, 7])
    alone = [bundle.predict([user], [item])[0] for user, item in ((30, 7), (10, 7), (40, 3), (30, 99), (50, 7))]
    np.testing.assert_array_equal(mixed, alone)


def test_items_that_were_not_fitted_may_have_factors() -> None:
    bundle = described()
    assert (bundle.n_items, bundle.fitted_items, len(bundle.item_ids)) == (4, 3, 5)
    assert 99 in {entry.item_id for entry in bundle.recommend(4711)}
    assert 100 not in {entry.item_id for entry in bundle.recommend(4711)}
    assert bundle.fold_in({99: 5.0, 100: 1.0}).items.tolist() == [3]
    assert bundle.similar_items(99)


def test_someone_new_may_have_attributes() -> None:
    bundle = described()
    folded = bundle.fold_in({7: 5.0}, attributes={"gender": "F", "age": 25})
    assert repr(folded) == "RidgeFoldIn(ratings=1)"
    np.testing.assert_array_equal(
        folded.vector.factors,
        bundle.fold_in_rows(np.array([0]), np.array([5], np.float32), np.array([0, 2])).vector.factors,
    )
    assert not np.allclose(folded.vector.factors, bundle.fold_in({7: 5.0}).vector.factors)
    np.testing.assert_allclose(
        bundle.predict(bundle.fold_in({}, attributes={"gender": "F", "age": "25"}), [7]), bundle.predict([30], [7])
    )
    own = bundle.fold_in_user(1)
    assert own.attributes.tolist() == [1]
    with pytest.raises(ValueError, match="gender must be one of F, M, got 'X'"):
        bundle.fold_in({7: 5.0}, attributes={"gender": "X"})


@pytest.mark.parametrize("blank", ["", " \t\n", "\x00\x1b", "\u200b\u202e\u2028", "\u00a0\ufeff"], ids=ascii)
def test_a_blank_title_is_shown_as_the_id(small: Bundle, blank: str) -> None:
    bare = replace(small, items=[about | {"title": blank} for about in small.items])
    assert [(one.item_id, one.title) for one in bare.recommend(20)] == [(5, "5"), (7, "7")]
    assert [one.title for one in bare.similar_items(7)] == ["3", "5"]
    assert [reason.title for reason in bare.explain(10, 5).reasons] == ["7"]
    assert small.title(0) == "Film 0"
    odd = replace(small, items=[about | {"title": f" {blank}x "} for about in small.items])
    assert odd.recommend(20)[0].title == f" {blank}x "  # any other one is kept as it is


def test_implicit_feedback_takes_in_what_was_chosen_only(two_by_three: Factors) -> None:
    chosen = [(0, 0, 1.0, 0), (1, 1, 1.0, 0)]
    manifest = {"rating_scale": [0.0, 1.0], "task": "ranking", "fold_in_target": 1.0}
    implicit = make_bundle(two_by_three, USERS, ITEMS, chosen, **manifest)
    assert implicit.is_implicit
    assert implicit.fold_in({7: 1}).items.tolist() == [0]
    for rating in (0, 0.5):  # would count as chosen, too
        with pytest.raises(ValueError, match=rf"rating of item 7 must be 1, .* implicit feedback, got {rating}"):
            implicit.fold_in({7: rating})
    for explicit in (make_bundle(two_by_three, USERS, ITEMS, [(0, 0, 4.0, 0)]),
                     make_bundle(two_by_three, USERS, ITEMS, [*chosen, (1, 2, 0.5, 0)], **manifest)):  # fmt: skip
        assert not explicit.is_implicit
