import math

import numpy as np
import pytest
import torch

from recsys.evaluation.metrics import (
    NOTHING,
    RatingErrors,
    best_unseen,
    catalogue_figures,
    ranking_figures,
    rating_figures,
)

PREDICTED = torch.tensor([3.0, 4.0, 1.0, 5.0])
RATING = torch.tensor([4.0, 4.0, 3.0, 1.0])  # errors 1, 0, 2, 4
WARM = torch.tensor([True, True, False, False])


def test_figures_by_hand_for_all_warm_and_cold_rows() -> None:
    assert rating_figures(PREDICTED, RATING, WARM) == pytest.approx(
        {
            "rmse": math.sqrt(21 / 4),
            "rmse_warm": math.sqrt(1 / 2),
            "rmse_cold": math.sqrt(20 / 2),
            "mae": 7 / 4,
            "mae_warm": 1 / 2,
            "mae_cold": 6 / 2,
            "share_cold": 0.5,
        }
    )


def test_an_empty_group_is_none_and_the_others_stand() -> None:
    figures = rating_figures(PREDICTED, RATING, torch.ones(4, dtype=torch.bool))
    assert figures["rmse_cold"] is None
    assert figures["mae_cold"] is None
    assert figures["share_cold"] == 0
    assert figures["rmse"] == figures["rmse_warm"] == pytest.approx(math.sqrt(21 / 4))
    cold = rating_figures(PREDICTED, RATING, torch.zeros(4, dtype=torch.bool))
    assert (cold["rmse_warm"], cold["share_cold"]) == (None, 1)


@pytest.mark.filterwarnings("error")
def test_no_rows_at_all_is_none_everywhere_under_the_same_names() -> None:
    none = rating_figures(torch.zeros(0), torch.zeros(0), torch.zeros(0, dtype=torch.bool))
    assert none == dict.fromkeys(rating_figures(PREDICTED, RATING, WARM))


def test_batches_are_pooled_not_averaged() -> None:
    errors = RatingErrors()
    errors.update(PREDICTED[:3], RATING[:3], WARM[:3])
    errors.update(PREDICTED[3:], RATING[3:], WARM[3:])
    figures = errors.compute()
    assert figures["rmse"].item() == pytest.approx(math.sqrt(21 / 4))
    assert figures["rmse"].item() != pytest.approx((math.sqrt(5 / 3) + 4) / 2)
    assert figures["mae_cold"].item() == pytest.approx(3)
    errors.reset()
    errors.update(PREDICTED[:1], RATING[:1], WARM[:1])
    assert errors.compute()["rmse"].item() == 1


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_sums_stay_in_float64_whatever_the_model_is_cast_to(dtype: torch.dtype) -> None:
    errors = RatingErrors()
    torch.nn.ModuleList([errors]).to(dtype)
    errors.set_dtype(dtype)
    for _ in range(3):
        errors.update(torch.full((1000,), 0.5, dtype=dtype), torch.zeros(1000), torch.ones(1000, dtype=torch.bool))
    assert errors.squared.dtype == errors.absolute.dtype == errors.count.dtype == torch.float64
    assert errors.count[0] == 3000  # in float16, 2048 + 1 is 2048
    assert errors.compute()["rmse"].item() == 0.5
    half = torch.finfo(torch.float32).eps / 4  # a float32 sum that starts at 1 would lose this
    errors.reset()
    errors.update(torch.ones(1), torch.zeros(1), torch.ones(1, dtype=torch.bool))
    errors.update(torch.tensor([half]), torch.zeros(1), torch.ones(1, dtype=torch.bool))
    assert errors.absolute[0].item() == 1 + half


def test_ranking_figures_by_hand() -> None:
    lists = np.array([[7, 3, 5], [1, 2, NOTHING], [4, 6, 8]])  # of users 10, 11 and 12
    figures = ranking_figures(lists, np.array([10, 11, 12]), np.array([10, 10, 11, 12]), np.array([3, 9, 1, 0]), (1, 2))
    at_two = 1 / math.log2(3)
    assert figures["hr@1"] == pytest.approx(1 / 3)
    assert figures["recall@1"] == pytest.approx((0 + 1 + 0) / 3)
    assert figures["hr@2"] == pytest.approx(2 / 3)
    assert figures["recall@2"] == pytest.approx((1 / 2 + 1 + 0) / 3)
    assert figures["ndcg@2"] == pytest.approx((at_two / (1 + at_two) + 1 + 0) / 3)


def test_an_item_without_a_row_is_wanted_and_never_found() -> None:
    """Row -1 of user 1 must not be taken for the last item of user 0."""
    lists = np.array([[2, 1], [2, NOTHING]])
    figures = ranking_figures(lists, np.array([0, 1]), np.array([0, 1, 1]), np.array([0, -1, 2]), (2,))
    assert figures["recall@2"] == pytest.approx((0 + 1 / 2) / 2)


def by_hand(
    scores: torch.Tensor, fitted: set[tuple[int, int]], wanted: dict[int, list[int]], k: int
) -> dict[str, float]:
    """The figures of `catalogue_figures` as one would explain them, a user at a time."""
    recall, ndcg, hits = [], [], []
    for user, items in wanted.items():
        unseen = [item for item in range(scores.shape[1]) if (user, item) not in fitted]
        best = sorted(unseen, key=lambda item: (-scores[user, item].item(), item))[:k]
        gains = [1 / math.log2(place + 2) for place, item in enumerate(best) if item in items]
        recall.append(len(gains) / len(items))
        ndcg.append(sum(gains) / sum(1 / math.log2(place + 2) for place in range(min(k, len(items)))))
        hits.append(bool(gains))
    return {name: float(np.mean(found)) for name, found in (("recall", recall), ("ndcg", ndcg), ("hr", hits))}


@pytest.mark.parametrize("levels", [2, 4, 10**6])  # the fewer, the more ties
@pytest.mark.parametrize(("n_users", "n_items"), [(1200, 30), (20, 7)])  # more than one block; fewer items than places
def test_the_full_catalogue_is_ranked_as_by_a_loop(levels: int, n_users: int, n_items: int) -> None:
    random = torch.Generator().manual_seed(levels)
    draw = lambda high, n: torch.randint(high, (n,), generator=random)  # noqa: E731
    scores = draw(levels, n_users * n_items).view(n_users, n_items).float()
    fitted = draw(n_users, 4 * n_users), draw(n_items, 4 * n_users)
    pairs = sorted(
        {
            (u, i)
            for u, i in zip(*(c.tolist() for c in (draw(n_users, n_users), draw(n_items + 2, n_users))), strict=True)
        }
    )
    wanted: dict[int, list[int]] = {}
    for user, item in pairs:  # the last two items are none that the model was fitted on
        wanted.setdefault(user, []).append(item)
    user, item = (torch.tensor(column) for column in zip(*pairs, strict=True))
    found = catalogue_figures(lambda users: scores[users], fitted, (user, item))
    seen = set(zip(*(column.tolist() for column in fitted), strict=True))
    for k in (10, 20):
        assert {name: found[f"{name}@{k}"] for name in ("recall", "ndcg", "hr")} == pytest.approx(
            by_hand(scores, seen, wanted, k)
        )


def test_lists_leave_out_what_was_fitted_and_break_ties_by_row() -> None:
    scores = torch.tensor([1.0, 2.0, 2.0]).expand(5, -1)
    lists = best_unseen(
        lambda users: scores[users], torch.tensor([0, 1, 4]), (torch.tensor([1, 0, 3]), torch.tensor([0, 2, 1])), 4
    )
    assert lists.tolist() == [[1, 0, NOTHING, NOTHING], [1, 2, NOTHING, NOTHING], [1, 2, 0, NOTHING]]
    assert scores[0].tolist() == [1, 2, 2]  # what the model holds is not written into


def test_of_ties_for_the_last_place_the_first_row_gets_it() -> None:
    lists = best_unseen(lambda users: torch.ones(1, 5000), torch.tensor([0]), (torch.tensor([0]), torch.tensor([2])), 3)
    assert lists.tolist() == [[0, 1, 3]]


def test_held_out_rows_of_nobody_known_are_left_out() -> None:
    fitted = torch.tensor([0]), torch.tensor([0])
    scores = lambda users: torch.tensor([[3.0, 2.0, 1.0]])  # noqa: E731
    figures = catalogue_figures(scores, fitted, (torch.tensor([-1, 0, -1]), torch.tensor([1, 2, 0])))
    assert figures["ndcg@10"] == pytest.approx(1 / math.log2(3))
    with pytest.raises(ValueError, match="held-out rows of users that the model was fitted on"):
        catalogue_figures(scores, fitted, (torch.tensor([-1]), torch.tensor([1])))
