from __future__ import annotations

import math

import pytest
import torch

from recsys.models.bayesian.drift import Drift


@pytest.mark.parametrize("timed", [True, False])
def test_the_latest_errors_weigh_most(timed: bool) -> None:
    """User 0 rated items at times 1, 3 and 2 where times are known, else in the order of the rows."""
    user, time = torch.tensor([0, 2, 0, 0]), torch.tensor([1, 9, 3, 2])
    drift = Drift(2.0, 5.0)
    drift.observe(user, time if timed else None, 3)
    error = torch.tensor([1.0, -2.0, 4.0, 0.5])
    newest_first = [4.0, 0.5, 1.0] if timed else [0.5, 4.0, 1.0]
    weight = [math.exp(-k / 2) for k in range(3)]
    expected = sum(w * e for w, e in zip(weight, newest_first, strict=True)) / (sum(weight) + 5)
    assert drift.of(user, error).tolist() == pytest.approx([expected, 0.0, -2.0 / 6])


def test_ratings_of_the_same_second_keep_their_order() -> None:
    drift = Drift(1.0, 1.0)
    drift.observe(torch.tensor([0, 0]), torch.tensor([7, 7]), 1)
    assert drift.weight.tolist() == pytest.approx([math.exp(-1), 1.0])
