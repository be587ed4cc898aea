"""Popularity of all times and of late, on rows whose shares are known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from recsys.data.datamodule import RatingDataModule
from recsys.models.base import RatingModel
from recsys.models.popularity import DAY, DecayedPopularity, PopularityModel, RecentPopularity
from recsys.training.export import make_bundle
from tests.small_data import build, fit, small_data

# (user, item, day): 1 is the most popular of all times, 2 and 3 of the last two days; 4 has one old row more than 5.
ROWS = [(1, 1, 0), (2, 1, 0), (3, 1, 1), (4, 1, 1), (1, 4, 0), (2, 4, 0), (3, 5, 1),
        (1, 2, 9), (2, 2, 9), (5, 2, 10), (5, 3, 10), (2, 3, 9)]  # fmt: skip


def rows(*, times: bool = True, implicit: bool = False) -> RatingDataModule:
    user, item, day = np.array(ROWS).T
    ratings = pd.DataFrame({"user_id": user, "item_id": item, "rating": np.ones(len(user), np.float32)})
    if times:
        ratings["timestamp"] = day * DAY
    return small_data(ratings, fit_on="all", implicit=implicit)


def fitted(model: type[RatingModel], data: RatingDataModule, **arguments: float) -> PopularityModel:
    made = build(model, data, **arguments)
    assert isinstance(made, PopularityModel)
    fit(made, data, epochs=1, limit_val_batches=0)
    return made


@pytest.mark.parametrize("times", [True, False])
def test_popularity_is_the_share_of_the_users_who_have_an_item(times: bool) -> None:
    data = rows(times=times, implicit=True)
    model = fitted(PopularityModel, data)
    np.testing.assert_allclose(model.share, [4 / 5, 3 / 5, 2 / 5, 2 / 5, 1 / 5])
    bundle = make_bundle(model, data)
    assert [entry.item_id for entry in bundle.recommend(bundle.fold_in({3: 1.0}), 3)] == [1, 2, 4]
    assert bundle.recommend(bundle.fold_in({3: 1.0}), 1)[0].score == pytest.approx(4 / 5, abs=1e-4)
    assert not bundle.can_fold_in_items


def test_recent_popularity_counts_the_last_days_and_ties_by_all_times() -> None:
    model = fitted(RecentPopularity, rows(), window=2.0)
    recent = np.array([0, 3 / 3, 2 / 3, 0, 0])  # of users 1, 2 and 5
    np.testing.assert_allclose(model.share, recent + np.array([4, 3, 2, 2, 1]) / (2 * 5 * 3), rtol=1e-6)
    assert (-model.share).argsort(stable=True).tolist() == [1, 2, 0, 3, 4]
    always = fitted(RecentPopularity, rows(), window=1e6)
    assert (-always.share).argsort(stable=True).tolist() == [0, 1, 2, 3, 4]


def test_decayed_popularity_halves_with_each_half_life() -> None:
    model = fitted(DecayedPopularity, rows(), half_life=1.0)
    users = 0.5 + 0.5 + 1 + 2 * 0.5**9  # by their latest rows
    tied = 1e-6 * np.array([4, 3, 2, 2, 1]) / 5
    counts = [2 * 0.5**10 + 2 * 0.5**9, 2, 1.5, 2 * 0.5**10, 0.5**9]
    np.testing.assert_allclose(model.share, (counts + tied) / users, rtol=1e-6)


@pytest.mark.parametrize("model", [RecentPopularity, DecayedPopularity])
def test_without_times_recent_popularity_names_the_model_that_needs_none(model: type[RatingModel]) -> None:
    with pytest.raises(ValueError, match=f"model={model.name} .* no times; model=popularity"):
        fitted(model, rows(times=False))
