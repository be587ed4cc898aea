from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from recsys.data.inspection.statistics import Statistics, describe
from recsys.data.rating_data import RatingData


def data(rating: list[float], *, time: list[int] | None = None, weight: list[float] | None = None) -> RatingData:
    rows = np.arange(len(rating))
    frame = pd.DataFrame({"user_id": rows // 4, "item_id": rows % 4 + rows // 8, "rating": np.float32(rating)})
    if time is not None:
        frame["timestamp"] = np.array(time, dtype=np.int64)
    if weight is not None:
        frame["weight"] = np.float32(weight)
    return RatingData("d", frame, min(rating), max(rating), implicit=weight is not None)


def figures(rating: list[float], **columns: list[int] | list[float]) -> Statistics:
    return describe(data(rating, **columns))  # type: ignore[arg-type]


def test_counts_of_users_items_and_pairs() -> None:
    found = figures([1, 2, 3, 4, 5])
    assert (found.rows, found.users.n, found.items.n, found.density) == (5, 2, 4, 5 / 8)
    assert (found.users.once, found.users.few, found.users.middle) == (1, 1, 2.5)
    assert (found.items.once, found.items.few) == (3, 4)


@pytest.mark.parametrize(
    ("rating", "step"),
    [
        ([1, 2, 5], 1),
        ([0.5, 1, 4.5], 0.5),
        ([0, 2, 4], 2),
        ([0.1, 0.3, 0.4], 0.1),
        ([1, 1, 1], None),
        ([0, 1, 3e38], None),
    ],
)
def test_steps_of_the_scale(rating: list[float], step: float | None) -> None:
    assert figures(rating).step == step


def test_few_values_are_counted_one_by_one_and_many_in_ranges() -> None:
    found = figures([1, 2, 2, 5])
    assert (found.values.tolist(), found.counts.tolist(), found.edges) == ([1, 2, 5], [1, 2, 1], False)
    found = figures(np.linspace(-10, 10, 101).tolist())
    assert (found.values[0], len(found.values), found.counts.sum(), found.edges) == (-10, 10, 101, True)


def test_weights_are_counted_in_ranges_that_grow() -> None:
    found = figures([1.0] * 64, weight=[1 + 1.3**n for n in range(64)])
    assert found.edges
    assert found.values[-1] > found.values[1] * 100
    assert found.counts.min() > 0


def test_times() -> None:
    year = 365 * 86400
    found = figures([1, 2, 3, 4, 5], time=[0, 0, year, year, 9 * year])
    assert (found.times, found.period, found.ties) == ((0, 9 * year), "year", 4 / 5)
    assert found.per_period is not None
    assert found.per_period.tolist() == [2, 2, 0, 0, 0, 0, 0, 0, 1]
    assert figures([1, 2], time=[0, 90 * 86400]).period == "month"
    assert figures([1, 2], time=[0, 10 * 86400]).period == "day"
    assert figures([1, 2], time=[0, 10]).period == "hour"
    assert figures([1, 2]).times is None
