from __future__ import annotations

import math

import numpy as np
import pytest

from recsys.evaluation.metrics import rating_metrics

PREDICTED = np.array([3.0, 4.0, 1.0, 5.0])
RATING = np.array([4.0, 4.0, 3.0, 1.0])  # errors 1, 0, 2, 4
WARM = np.array([True, True, False, False])


def test_rating_metrics_of_all_warm_and_cold_rows() -> None:
    assert rating_metrics(PREDICTED, RATING, WARM) == pytest.approx(
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


def test_an_empty_subset_is_none() -> None:
    metrics = rating_metrics(PREDICTED, RATING, np.ones(4, bool))
    assert metrics["rmse_cold"] is None
    assert metrics["mae_cold"] is None
    assert metrics["share_cold"] == 0
    assert metrics["rmse"] == metrics["rmse_warm"] == pytest.approx(math.sqrt(21 / 4))
    cold = rating_metrics(PREDICTED, RATING, np.zeros(4, bool))
    assert (cold["rmse_warm"], cold["share_cold"]) == (None, 1)


@pytest.mark.filterwarnings("error")
def test_without_rows_every_metric_is_none() -> None:
    none = rating_metrics(np.zeros(0), np.zeros(0), np.zeros(0, bool))
    assert none == dict.fromkeys(rating_metrics(PREDICTED, RATING, WARM))


def test_errors_are_summed_in_float64() -> None:
    predicted = np.full(100_000, 1 + 2.0**-12, np.float32)
    metrics = rating_metrics(predicted, np.zeros(100_000, np.float32), np.ones(100_000, bool))
    assert metrics["rmse"] == pytest.approx(1 + 2.0**-12, rel=1e-14)
