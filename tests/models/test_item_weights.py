"""Item-item models against what their classes document, computed in float64, one step at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from recsys.data.datamodule import RatingDataModule
from recsys.models.base import RatingModel
from recsys.models.ease import EASE
from recsys.models.item_knn import ItemKNN
from recsys.models.item_weights import ItemWeightsModel
from recsys.models.slit import SLIT
from tests.small_data import build, fit, random_ratings, small_data

Doubles = np.ndarray[Any, np.dtype[np.float64]]
MODELS: tuple[type[ItemWeightsModel], ...] = (EASE, SLIT, ItemKNN)
every_model = pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)


def noise(*, times: str = "rows") -> RatingDataModule:
    """150 ratings of 20 users; their times are those of the rows, the reverse, all the same, or unknown."""
    ratings = random_ratings(150, 20, 15)
    ratings = ratings.assign(timestamp={"reverse": -ratings.timestamp, "same": 0}.get(times, ratings.timestamp))
    if times == "none":
        ratings = ratings.drop(columns="timestamp")
    return small_data(ratings, fit_on="all", implicit=True)


def fitted(model: type[RatingModel], data: RatingDataModule, epochs: int = 1, **arguments: Any) -> ItemWeightsModel:
    made = build(model, data, **arguments)
    assert isinstance(made, ItemWeightsModel)
    fit(made, data, epochs=epochs, limit_val_batches=0)
    return made


def orders(data: RatingDataModule, *, reverse: bool = False) -> list[list[int]]:
    """The item rows of each user, the oldest first, of data whose times are those of the rows or their reverse."""
    rows = pd.DataFrame({"user": data.dense.columns.user, "item": data.dense.columns.item})
    return [group.item.tolist()[:: -1 if reverse else 1] for _, group in rows.groupby("user")]


def users_by_items(data: RatingDataModule) -> Doubles:
    cells = np.zeros((len(data.users), len(data.items)))
    cells[data.dense.columns.user, data.dense.columns.item] = 1
    return cells


@pytest.mark.parametrize("half_life", [None, 1.0, 5.0])
@every_model
def test_scores_are_sums_over_the_history_that_decays_from_the_latest(
    model: type[ItemWeightsModel], half_life: float | None
) -> None:
    if model is SLIT and half_life is None:
        pytest.skip("regresses on decayed histories")
    data = noise()
    made = fitted(model, data, history_half_life=half_life)
    weights = made.weights.double().numpy()
    bias = users_by_items(data).sum(0) / 150 / 1000
    for user, items in enumerate(orders(data)):
        steps = np.arange(len(items) - 1, -1, -1)
        h = 0.5 ** (steps / half_life) if half_life else np.ones(len(items))
        np.testing.assert_allclose(made.scores(torch.tensor([user]))[0], bias + h @ weights[items], atol=1e-6)


@pytest.mark.parametrize("times", ["rows", "none", "same", "reverse"])
@every_model
def test_histories_are_in_order_of_time_then_of_the_file(model: type[ItemWeightsModel], times: str) -> None:
    data = noise(times=times)
    made = fitted(model, data)
    for user, items in enumerate(orders(data, reverse=times == "reverse")):
        rows = slice(int(made.history_start[user]), int(made.history_start[user + 1]))
        assert made.history_item[rows].tolist() == items


def test_ease_regresses_each_item_on_all_others() -> None:
    data, reg_lambda = noise(), 3.0
    cells = users_by_items(data)
    expected = np.zeros((15, 15))
    for item in range(15):
        others = np.delete(np.arange(15), item)
        design = cells[:, others]
        system = design.T @ design + reg_lambda * np.eye(14)
        expected[others, item] = np.linalg.solve(system, design.T @ cells[:, item])
    np.testing.assert_allclose(fitted(EASE, data, reg_lambda=reg_lambda).weights, expected, atol=1e-5)


def test_item_knn_is_the_shrunk_cosine_of_the_nearest() -> None:
    data = noise()
    cells = users_by_items(data)
    both = cells.T @ cells
    cosine = both / (np.sqrt(np.outer(both.diagonal(), both.diagonal())) + 2.0)
    np.fill_diagonal(cosine, 0)
    np.testing.assert_allclose(fitted(ItemKNN, data, shrinkage=2.0).weights, cosine, atol=1e-6)
    few = fitted(ItemKNN, data, shrinkage=2.0, neighbours=4).weights.numpy()
    assert ((few > 0).sum(0) == 4).all()
    np.testing.assert_allclose(np.sort(few, 0)[-4:], np.sort(cosine, 0)[-4:], atol=1e-6)


@pytest.mark.parametrize("ease_weight", [0.0, 0.5])
@pytest.mark.parametrize("half_life", [0.3, 2.0])
def test_slit_regresses_the_next_item_on_the_decayed_history(half_life: float, ease_weight: float) -> None:
    data, reg_lambda, decay = noise(), 3.0, 0.5 ** (1 / half_life)
    n, cross, system = len(data.items), np.zeros((15, 15)), np.zeros((15, 15))
    for items in orders(data):
        for later, item in enumerate(items):
            for earlier in range(later):
                cross[items[earlier], item] += decay ** (later - earlier - 1)
            for other in range(len(items)):
                system[item, items[other]] += decay ** abs(later - other) / (1 - decay**2)
    together = ease_weight * users_by_items(data).T @ users_by_items(data)
    system, cross, expected = system + together + reg_lambda * np.eye(n), cross + together, np.zeros((n, n))
    for item in range(n):
        others = np.delete(np.arange(n), item)
        expected[others, item] = np.linalg.solve(system[np.ix_(others, others)], cross[others, item])
    made = fitted(SLIT, data, reg_lambda=reg_lambda, history_half_life=half_life, ease_weight=ease_weight)
    np.testing.assert_allclose(made.weights, expected, atol=2e-3)  # lags end after twelve half-lives


@every_model
def test_more_epochs_change_nothing(model: type[ItemWeightsModel]) -> None:
    once, thrice = (fitted(model, noise(), epochs=epochs) for epochs in (1, 3))
    assert torch.equal(once.weights, thrice.weights)


@every_model
def test_too_many_items_are_refused_with_the_memory_that_they_would_need(model: type[ItemWeightsModel]) -> None:
    with pytest.raises(ValueError, match=r"max_items must be >= .* 60000, .* got 12000: .* 13\.4 GiB .* 40\.2 GiB"):
        model(10, 60_000)
