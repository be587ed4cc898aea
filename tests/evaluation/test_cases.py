"""Cases by hand: who is asked for what, given which history; and the metrics of a bundle for each kind of targets."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from recsys.bundle import HISTORY, TEST, TRAIN, VAL, Bundle
from recsys.bundle.factors import Factors
from recsys.evaluation.case_values import case_values
from recsys.evaluation.cases import Cases, cases_of
from recsys.evaluation.evaluate import evaluate_ranking
from recsys.evaluation.past_vectors import scores_of_histories
from tests.bundles import ITEMS, USERS, make_bundle, random_factors

# Items 0 to 2 were fitted, and users 0 and 1. User 0 was there at 10, 20, 20 and 30.
RATED = [(0, 0, 4.0, TRAIN), (0, 1, 2.0, TRAIN), (0, 2, 1.0, TEST), (0, 3, 5.0, TEST),
         (1, 1, 1.0, VAL), (1, 2, 1.0, TEST), (1, 0, 5.0, TEST), (2, 1, 3.0, TEST), (2, 0, 3.0, TEST)]  # fmt: skip
TIMES = [10, 20, 20, 30, 5, 30, 30, 40, 50]


def bundle(factors: Factors, **manifest: Any) -> Bundle:
    made = make_bundle(factors, USERS, ITEMS, RATED, **{"fit_on": "train_val", "split": "global_time"} | manifest)
    return replace(made, ratings=made.ratings._replace(timestamp=np.array(TIMES, np.int64)))


def by_hand(cases: Cases) -> list[tuple[int, list[int], list[int]]]:
    """User, history and targets of each case."""
    return [
        (user, cases.history[start:stop].tolist(), cases.item[cases.case == number].tolist())
        for number, (user, start, stop) in enumerate(zip(cases.user.tolist(), cases.start, cases.stop, strict=True))
    ]


def test_all_items_are_asked_for_at_once_given_what_was_fitted(two_by_three: Factors) -> None:
    cases = cases_of(bundle(two_by_three))
    assert by_hand(cases) == [(0, [0, 1], [2, 3]), (1, [1], [2, 0]), (2, [], [1, 0])]
    assert cases.tied is not None
    assert cases.tied.tolist() == [True, False, False]  # user 0 has a fitted row at the time of a test row


def test_each_item_is_asked_for_given_all_that_was_strictly_before(two_by_three: Factors) -> None:
    cases = cases_of(bundle(two_by_three), "next")
    assert by_hand(cases) == [
        (0, [0], [2]), (0, [0, 1, 2], [3]), (1, [1], [2]), (1, [1], [0]), (2, [], [1]), (2, [1], [0])
    ]  # fmt: skip
    assert cases.tied is not None
    assert cases.tied.tolist() == [True, False, True, True, False, False]


def test_the_last_item_is_any_of_those_with_the_last_time(two_by_three: Factors) -> None:
    cases = cases_of(bundle(two_by_three), "last")
    assert by_hand(cases) == [(0, [0, 1, 2], [3]), (1, [1], [2, 0]), (2, [1], [0])]
    assert cases.one_of
    assert cases.tied is not None
    assert cases.tied.tolist() == [False, True, False]


def test_a_user_is_folded_in_from_the_rows_before(two_by_three: Factors) -> None:
    sizes: Any = {"n_users": 2, "n_items": 3, "dim": 2}
    for given in (two_by_three, random_factors(samples=3, **sizes), random_factors(drift=True, **sizes)):
        for manifest in ({}, {"task": "ranking", "fold_in_target": 1.5}):
            made = bundle(given, **manifest)
            for targets in ("next", "last"):
                cases = cases_of(made, targets)
                found = np.concatenate([scores for _, scores in scores_of_histories(made, cases)])
                for number, (_, history, _) in enumerate(by_hand(cases)):
                    start = int(cases.start[number])
                    stars = made.ratings.rating[start : start + len(history)]
                    vector = made.fold_in_rows(np.array(history, np.int64), stars).vector
                    np.testing.assert_allclose(found[number], made.factors.scores(vector), rtol=1e-4, atol=1e-4)


def test_metrics_of_targets_and_of_what_is_cold(two_by_three: Factors) -> None:
    found = evaluate_ranking(bundle(two_by_three), "next")
    assert found["ranking_next/cases"] == 6
    assert found["ranking_next/cases_warm"] == 3
    assert found["ranking_next/cases_cold_users"] == 2
    assert found["ranking_next/cases_cold_items"] == 1
    assert found["ranking_next/share_absent"] == pytest.approx(1 / 6)
    assert found["ranking_next/share_tied"] == pytest.approx(1 / 2)
    assert found["ranking_next/hr@20"] == pytest.approx(5 / 6)  # every item but the one that was not fitted
    assert found["ranking_next/ndcg@10_cold_items"] == 0
    parts = [found[f"ranking_next/ndcg@10{one}"] or 0.0 for one in ("_warm", "_cold_users")]
    assert found["ranking_next/ndcg@10"] == pytest.approx((3 * parts[0] + 2 * parts[1]) / 6)
    assert "baseline/popularity_next_ndcg@10" in found
    assert not {"ranking/ndcg@10", "baseline/popularity_ndcg@10"} & found.keys()


def test_a_subset_without_cases_has_no_figure(two_by_three: Factors) -> None:
    made = bundle(two_by_three)
    made = replace(made, ratings=made.ratings._replace(part=np.array([0, 0, 2, 0, 1, 2, 2, 0, 0], np.uint8)))
    found = evaluate_ranking(made)
    assert found["ranking/ndcg@10_cold_users"] is found["ranking/ndcg@10_cold_items"] is None
    assert found["ranking/ndcg@10_warm"] == found["ranking/ndcg@10"]
    assert found["ranking/cases"] == found["ranking/cases_warm"] == 2


def test_targets_that_are_not_possible_are_refused(two_by_three: Factors) -> None:
    with pytest.raises(ValueError, match="targets must be one of all, next, last, got 'first'"):
        cases_of(bundle(two_by_three), "first")
    with pytest.raises(ValueError, match=r"targets=next needs a split in time .* got random"):
        cases_of(bundle(two_by_three, split="random"), "next")
    with pytest.raises(ValueError, match="targets=last needs a model that can fold in"):
        cases_of(bundle(two_by_three, fold_in="none"), "last")
    made = bundle(two_by_three)
    with pytest.raises(ValueError, match="targets=last needs timestamps"):
        cases_of(replace(made, ratings=made.ratings._replace(timestamp=None)), "last")


def test_a_held_out_group_is_asked_for_one_by_one(two_by_three: Factors) -> None:
    made = bundle(two_by_three, split="leave_one_out", ties="group")
    cases = cases_of(replace(made, ratings=made.ratings._replace(part=np.array([0, 0, 0, 0, 0, 2, 2, 0, 0], np.uint8))))
    assert by_hand(cases) == [(1, [1], [2, 0])]
    assert cases.one_of
    assert cases.tied is not None
    assert cases.tied.tolist() == [True]


def test_who_was_held_out_is_known_by_their_history(two_by_three: Factors) -> None:
    made = bundle(two_by_three, split="held_out_users", task="ranking")
    made = replace(made, ratings=made.ratings._replace(part=np.array([0, 0, 0, 0, 0, 0, 0, HISTORY, TEST], np.uint8)))
    cases = cases_of(made)
    assert by_hand(cases) == [(2, [1], [0])]
    (found,) = (scores for _, scores in scores_of_histories(made, cases))
    vector = made.fold_in_rows(np.array([1]), np.array([3], np.float32)).vector
    np.testing.assert_allclose(found[0], made.factors.scores(vector), rtol=1e-5)


def test_only_the_same_cases_have_the_same_digest(two_by_three: Factors) -> None:
    made, other = bundle(two_by_three), bundle(random_factors(n_users=2, n_items=3, dim=2))
    digests = {case_values(one, cases_of(one), {}).rows for one in (made, other)}
    assert len(digests) == 1  # whatever the model is
    digests |= {case_values(made, cases_of(made, targets), {}).rows for targets in ("next", "last")}
    part = made.ratings.part.copy()
    part[2] = TRAIN
    for changed in (bundle(two_by_three, fit_on="train"), replace(made, ratings=made.ratings._replace(part=part))):
        digests.add(case_values(changed, cases_of(changed), {}).rows)
    assert len(digests) == 5
