"""AutoRec is what its formula says; the rest is in the contract of all models."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from recsys.models.autorec import INPUT_SCALE, RATED, AutoRec
from recsys.models.base import to_float64
from tests.small_data import build, checkerboard, fit, frame, random_ratings, small_data


def by_formula(model: AutoRec, ratings: pd.DataFrame) -> np.ndarray:
    """Stars of every pair, `(users, items)`, in NumPy, from the learned weights and the ratings."""
    user, item = (np.unique(ratings[name], return_inverse=True)[1] for name in ("user_id", "item_id"))
    base = to_float64(model.mu) + to_float64(model.user_bias)[:, None] + to_float64(model.item_bias)
    rating = (ratings.rating.to_numpy() - 1) / 4
    encoded = np.tile(to_float64(model.hidden_bias), (model.n_items, 1))
    for u, i, given in zip(user.tolist(), item.tolist(), rating.tolist(), strict=True):
        deviation = 4 * (given - base[u, i])
        weights = deviation * to_float64(model.rating_encoder)[u] + RATED * to_float64(model.rated_encoder)[u]
        encoded[i] += INPUT_SCALE * weights
    hidden = 2 / np.sqrt(encoded.shape[1]) / (1 + np.exp(-encoded))
    units = to_float64(model.decoder) @ hidden.T + to_float64(model.decoder_bias)[:, None]
    return np.asarray(1 + 4 * (base + units / 4))


def test_predictions_are_those_of_the_formula() -> None:
    ratings = random_ratings(60, 8, 12)
    data = small_data(ratings, fit_on="all", batch_size=20)
    model = build(AutoRec, data, embedding_dim=5, dropout=0.0)
    assert isinstance(model, AutoRec)
    fit(model, data, 3, limit_val_batches=0)
    pairs = torch.cartesian_prod(torch.arange(8), torch.arange(12))
    with torch.no_grad():
        predicted = model.eval()(pairs[:, 0], pairs[:, 1]).reshape(8, 12)
    np.testing.assert_allclose(predicted, by_formula(model, ratings), atol=1e-5)


def test_a_training_step_takes_whole_items_and_its_terms_are_those_of_the_prediction() -> None:
    data = small_data(checkerboard(), fit_on="all", batch_size=60)
    model = build(AutoRec, data, embedding_dim=4, dropout=0.0, reg_lambda=0.5)
    assert isinstance(model, AutoRec)
    fit(model, data, 1, limit_val_batches=0)
    for batch in data.train_dataloader():  # 24 users rated each item
        assert set(torch.bincount(batch.item).tolist()) <= {0, 24}
    predicted, penalty = model.training_terms(batch.user, batch.item)
    torch.testing.assert_close(1 + 4 * predicted, model.eval()(batch.user, batch.item))
    squares = sum(float(table.square().sum()) for table in (model.rating_encoder, model.rated_encoder, model.decoder))
    assert float(penalty) == pytest.approx(0.5 * squares / len(data.fit_data), rel=1e-5)


def test_who_rated_an_item_says_something_whatever_the_stars() -> None:
    """Everybody gives three stars; only the second input tells the tastes apart."""
    user, item = (column.to_numpy() for _, column in checkerboard()[["user_id", "item_id"]].items())
    kept = user % 2 == item % 2
    data = small_data(frame(user[kept], item[kept], np.full(kept.sum(), 3.0)), fit_on="all", batch_size=40)
    model = build(AutoRec, data, embedding_dim=4)
    assert isinstance(model, AutoRec)
    fit(model, data, 2, limit_val_batches=0)
    with torch.no_grad():
        hidden = model.eval().hidden()
    like, unlike = (hidden[::2] - hidden[::2].mean(0)).norm(), (hidden[::2].mean(0) - hidden[1::2].mean(0)).norm()
    assert like < 1e-5 < unlike


def test_items_are_encoded_again_after_any_change_of_the_weights_or_their_place() -> None:
    data = small_data(checkerboard(), fit_on="all")
    model = build(AutoRec, data, embedding_dim=4)
    assert isinstance(model, AutoRec)
    fit(model, data, 1, limit_val_batches=0)
    with torch.no_grad():
        first = model.eval().hidden()
        assert model.hidden() is first
        assert model.to(torch.float64).hidden().dtype == torch.float64
        state = {name: 2 * value if name == "rated_encoder" else value for name, value in model.state_dict().items()}
        model.load_state_dict(state)
        assert not torch.allclose(model.hidden(), first.double())
