from __future__ import annotations

import math
from collections.abc import Collection

import numpy as np
import pytest

from recsys.evaluation.cases import held_out_cases
from recsys.evaluation.outcomes import PADDING, RankedLists
from recsys.evaluation.ranking import catalogue_metrics, ranked
from recsys.evaluation.registry import Metrics, in_group, measure

UNIFORM = np.full(10, 0.5)  # popularity of ten items
Rows = tuple[np.ndarray, np.ndarray]


def measured(lists: np.ndarray, row: np.ndarray, item: np.ndarray, popularity: np.ndarray) -> Metrics:
    return measure("ranking", RankedLists.of(lists, row, item, popularity))


def lists_of(scores: np.ndarray, fitted: Rows, held_out: Rows, *, one_of: bool = False) -> list[list[int]]:
    cases = held_out_cases(fitted, held_out, one_of=one_of)
    found = ranked(cases, [(slice(0, len(cases)), scores)], lambda n_items: np.full(n_items, 0.5)).every
    lists: list[list[int]] = [[item for item in row if item != PADDING] for row in found.tolist()]
    return lists


def test_ranking_metrics_by_hand() -> None:
    """List 0 has one of two relevant items at rank 2, list 1 the only one at rank 1, list 2 none."""
    lists = np.array([[7, 3, 5], [1, 2, PADDING], [4, 6, 8]])
    popularity = np.array([1, 1 / 2, 1 / 4, 1 / 8, 1, 1, 1 / 2, 1, 1 / 2, 1])
    metrics = measured(lists, np.array([0, 0, 1, 2]), np.array([3, 9, 1, 0]), popularity)
    at_two = 1 / math.log2(3)
    assert metrics["hr@10"] == pytest.approx(2 / 3)
    assert metrics["recall@10"] == pytest.approx((1 / 2 + 1 + 0) / 3)
    assert metrics["ndcg@10"] == pytest.approx((at_two / (1 + at_two) + 1 + 0) / 3)
    assert metrics["mrr@10"] == pytest.approx((1 / 2 + 1 + 0) / 3)
    assert metrics["map@10"] == pytest.approx((1 / 2 / 2 + 1 + 0) / 3)
    assert metrics["coverage@10"] == pytest.approx(8 / 10)
    assert metrics["novelty@10"] == pytest.approx((0 + 3 + 0 + 1 + 2 + 0 + 1 + 1) / 8)
    # Items 0, 4, 5, 7, 9 and 1 have 5.5 of 6.875, which is 80%; of the others 6, 8, 2 and 3 are listed.
    assert metrics["tail@10"] == pytest.approx(4 / 8)


def test_cut_offs_and_more_relevant_items_than_places() -> None:
    """Relevant items at ranks 2, 3 and 11, and nine more that are in no list."""
    lists = np.arange(12)[None]
    relevant = np.array([1, 2, 10, *range(100, 109)])
    metrics = measured(lists, np.zeros(12, int), relevant, np.full(12, 0.25))
    assert metrics["recall@10"] == pytest.approx(2 / 12)
    assert metrics["recall@20"] == pytest.approx(3 / 12)
    assert metrics["mrr@10"] == pytest.approx(1 / 2)
    assert metrics["map@10"] == pytest.approx((1 / 2 + 2 / 3) / 10)
    assert metrics["coverage@10"] == pytest.approx(10 / 12)
    assert metrics["novelty@10"] == pytest.approx(2)
    late = measured(lists, np.array([0]), np.array([10]), np.full(12, 0.25))
    assert (late["mrr@10"], late["map@10"], late["hr@10"], late["hr@20"]) == (0, 0, 0, 1)


def test_an_item_without_a_row_is_relevant_and_never_found() -> None:
    """Row -1 of user 1 must not be taken for the last item of user 0."""
    lists = np.array([[2, 1], [2, PADDING]])
    metrics = measured(lists, np.array([0, 1, 1]), np.array([0, -1, 2]), UNIFORM)
    assert metrics["recall@10"] == pytest.approx((0 + 1 / 2) / 2)


def brute_force(
    scores: np.ndarray, fitted: Collection[tuple[int, int]], held_out: dict[int, list[int]], k: int
) -> dict[str, float]:
    """`catalogue_metrics` one user at a time, as textbooks define them."""
    n_items = scores.shape[1]
    by_user: dict[str, list[float]] = {name: [] for name in ("recall", "ndcg", "hr", "mrr", "map")}
    n_fitted_users = len({user for user, _ in fitted})
    recommended: list[int] = []
    for user, relevant in held_out.items():
        unseen = [item for item in range(n_items) if (user, item) not in fitted]
        best = sorted(unseen, key=lambda item: (-scores[user, item].item(), item))[:k]
        ranks = [rank for rank, item in enumerate(best, 1) if item in relevant]
        ideal = sum(1 / math.log2(rank + 1) for rank in range(1, 1 + min(k, len(relevant))))
        by_user["recall"].append(len(ranks) / len(relevant))
        by_user["ndcg"].append(sum(1 / math.log2(rank + 1) for rank in ranks) / ideal)
        by_user["hr"].append(bool(ranks))
        by_user["mrr"].append(1 / ranks[0] if ranks else 0.0)
        by_user["map"].append(sum((n + 1) / rank for n, rank in enumerate(ranks)) / min(k, len(relevant)))
        recommended += best
    raters = {item: sum(other == item for _, other in fitted) for item in range(n_items)}
    information = [-math.log2(max(1, raters[item]) / n_fitted_users) for item in recommended]
    counts = np.maximum(1, [raters[item] for item in range(n_items)])
    order, head = sorted(range(n_items), key=lambda item: (-counts[item], item)), set()
    while sum(counts[item] for item in head) < 0.8 * counts.sum():
        head.add(order[len(head)])
    tail = float(np.mean([item not in head for item in recommended]))
    means = {name: float(np.mean(values)) for name, values in by_user.items()}
    return means | {"coverage": len(set(recommended)) / n_items, "novelty": float(np.mean(information)), "tail": tail}


@pytest.mark.parametrize("levels", [2, 4, 10**6])  # the fewer, the more ties
@pytest.mark.parametrize(("n_users", "n_items"), [(1200, 30), (20, 7)])  # more than one block; fewer items than places
def test_catalogue_metrics_equal_a_brute_force_implementation(levels: int, n_users: int, n_items: int) -> None:
    rng = np.random.default_rng(levels)
    scores = rng.integers(levels, size=(n_users, n_items)).astype(np.float32)

    def pairs(rows: int, items: int) -> set[tuple[int, int]]:
        return {(int(cell // items), int(cell % items)) for cell in rng.integers(n_users * items, size=rows)}

    seen = pairs(4 * n_users, n_items)
    wanted = sorted(pairs(n_users, n_items + 2))  # the last two items have no row
    fitted = np.array(sorted(seen)).T[:, rng.permutation(len(seen))]
    held_out: dict[int, list[int]] = {}
    for user, item in wanted:
        held_out.setdefault(user, []).append(item)
    users, items = np.array(wanted).T
    metrics = catalogue_metrics(lambda block: scores[block], (fitted[0], fitted[1]), (users, items))
    at_10 = brute_force(scores, seen, held_out, 10)
    at_20 = brute_force(scores, seen, held_out, 20)
    expected = {f"{name}@10": value for name, value in at_10.items()}
    expected |= {f"{name}@20": at_20[name] for name in ("recall", "ndcg", "hr")}
    assert metrics == pytest.approx(expected)
    assert metrics.keys() == {metric.name for metric in in_group("ranking")}


def test_lists_leave_out_fitted_items_and_break_ties_by_row() -> None:
    scores = np.tile([1.0, 2.0, 2.0], (3, 1))
    fitted, held_out = (np.array([1, 0, 3]), np.array([0, 2, 1])), (np.array([4, 0, 1]), np.array([0, 0, 0]))
    assert lists_of(scores, fitted, held_out) == [[1, 0], [1, 2], [1, 2, 0]]
    assert scores[0].tolist() == [1, 2, 2]  # the model's own array is not written into


def test_of_items_that_tie_for_the_last_place_the_first_row_gets_it() -> None:
    (found,) = lists_of(np.ones((1, 5000)), (np.array([0]), np.array([2])), (np.array([0]), np.array([1])))
    assert found == [0, 1, *range(3, 21)]


def test_one_of_several_is_asked_for_as_if_the_others_were_known() -> None:
    """Of items 3, 1 and 0 of user 0 each is the target once; user 1 has one."""
    scores = np.array([np.arange(30.0, 0, -1), np.arange(30.0)])
    nobody = np.zeros(0, int), np.zeros(0, int)
    held_out = np.array([0, 0, 0, 1]), np.array([3, 1, 0, 29])
    found = lists_of(scores, nobody, held_out, one_of=True)
    assert [row[:3] for row in found] == [[2, 3, 4], [1, 2, 4], [0, 2, 4], [29, 28, 27]]
    assert {len(row) for row in found} == {20}
    metrics = catalogue_metrics(lambda users: scores[users], nobody, held_out, one_of=True)
    assert metrics["ndcg@10"] == pytest.approx(((1 / math.log2(3) + 1 + 1) / 3 + 1) / 2)
    assert metrics["recall@10"] == metrics["hr@10"] == pytest.approx(1)


def test_values_of_cases_have_the_metric_as_their_mean() -> None:
    rng = np.random.default_rng(0)
    scores, user = rng.random((40, 60)), rng.integers(40, size=120)
    fitted, held_out = (user, rng.integers(60, size=120)), (np.sort(user), rng.integers(60, size=120))
    for one_of in (False, True):
        cases = held_out_cases(fitted, held_out, one_of=one_of)
        found = ranked(cases, [(slice(0, len(cases)), scores[cases.user])], lambda n_items: np.full(n_items, 0.5))
        values = found.values()
        expected = measure("ranking", found.lists(), values)
        assert values.keys() == {"ndcg@10", "recall@10", "hr@10", "mrr@10", "map@10"}
        assert {name: value.mean() for name, value in values.items()} == pytest.approx(expected)
        assert {len(value) for value in values.values()} == {len(cases)}


def test_held_out_rows_of_unknown_users_are_left_out() -> None:
    fitted = np.array([0]), np.array([0])
    scores = lambda users: np.array([[3.0, 2.0, 1.0]])  # noqa: E731
    metrics = catalogue_metrics(scores, fitted, (np.array([-1, 0, -1]), np.array([1, 2, 0])))
    assert metrics["ndcg@10"] == pytest.approx(1 / math.log2(3))
    with pytest.raises(ValueError, match="held-out rows"):
        catalogue_metrics(scores, fitted, (np.array([-1]), np.array([1])))


def test_only_the_named_metrics_are_computed() -> None:
    fitted = np.array([0]), np.array([0])
    metrics = catalogue_metrics(lambda users: np.ones((1, 3)), fitted, (np.array([0]), np.array([1])), ["ndcg@10"])
    assert metrics == {"ndcg@10": 1}
