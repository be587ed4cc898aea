import math

import pytest
import torch

from recsys.models.rating_errors import RatingErrors

PREDICTED = torch.tensor([3.0, 4.0, 1.0, 5.0])
RATING = torch.tensor([4.0, 4.0, 3.0, 1.0])  # errors 1, 0, 2, 4
WARM = torch.tensor([True, True, False, False])


def test_batches_are_pooled_not_averaged() -> None:
    errors = RatingErrors()
    errors.update(PREDICTED[:3], RATING[:3], WARM[:3])
    errors.update(PREDICTED[3:], RATING[3:], WARM[3:])
    metrics = errors.compute()
    assert metrics["rmse"].item() == pytest.approx(math.sqrt(21 / 4))
    assert metrics["rmse"].item() != pytest.approx((math.sqrt(5 / 3) + 4) / 2)
    assert metrics["mae_cold"].item() == pytest.approx(3)
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
