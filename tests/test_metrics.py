import math

import pytest
import torch

from recsys.metrics import RatingErrors, rating_figures

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
