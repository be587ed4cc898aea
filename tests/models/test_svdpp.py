"""SVD++: its implicit part by hand, on the rows it is fitted on, and on its way into factors and checkpoints."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning import Trainer

from recsys.bundle.fold_in import fold_in
from recsys.data.batches import RatingRows
from recsys.data.datamodule import RatingDataModule
from recsys.models.svdpp import SVDPlusPlus
from recsys.training.callbacks import EpochRecord, ReplayLearningRate
from tests.small_data import build, fit, random_ratings, small_data

FACTOR = 0.25  # of the implicit part's learning rate


@cache
def noise(fit_on: str = "train") -> RatingDataModule:
    """Random stars; ids of low numbers occur in held-out rows only, now and then."""
    ratings = random_ratings(160, 24, 18, seed=1)
    return small_data(ratings, test_fraction=0.2, batch_size=40, fit_on=fit_on)


def small(data: RatingDataModule) -> SVDPlusPlus:
    model = build(SVDPlusPlus, data, embedding_dim=3, learning_rate=0.03, implicit_lr_factor=FACTOR)
    assert isinstance(model, SVDPlusPlus)
    return model


@cache
def fitted() -> tuple[SVDPlusPlus, Trainer]:
    """A model after four epochs of `noise`, which no test changes."""
    model = small(noise())
    return model, fit(model, noise(), epochs=4)


def pairs(model: SVDPlusPlus) -> tuple[torch.Tensor, torch.Tensor]:
    rows = torch.cartesian_prod(torch.arange(-1, model.n_users), torch.arange(-1, model.n_items))
    return rows[:, 0], rows[:, 1]


@torch.no_grad()
def predictions(model: SVDPlusPlus) -> torch.Tensor:
    return model.eval()(*pairs(model))


@pytest.fixture
def by_hand() -> SVDPlusPlus:
    """User 0 rated items 0, 1, 2 and 4 (item 1 twice), user 1 item 4, user 2 nothing."""
    model = SVDPlusPlus(3, 5, embedding_dim=2, embedding_std=0.3)
    user, item = torch.tensor([0, 1, 0, 0, 0, 0]), torch.tensor([2, 4, 0, 1, 1, 4])
    model.init_from_data(RatingRows(user, item, torch.full((6,), 0.5)))
    with torch.no_grad():
        model.item_implicit.copy_(torch.tensor([[1.0, 10], [2, 20], [3, 30], [100, 100], [4, 40]]))
    return model


def test_the_implicit_part_is_the_scaled_sum_over_the_rated_items(by_hand: SVDPlusPlus) -> None:
    expected = torch.tensor([[10 / 2, 100 / 2], [4.0, 40.0], [0.0, 0.0]])
    torch.testing.assert_close(by_hand.implicit(), expected)


def test_the_prediction_is_the_formula(by_hand: SVDPlusPlus) -> None:
    m = by_hand
    p = m.user_embedding[0] + torch.tensor([5.0, 50.0])
    expected = 1 + 4 * (m.mu + m.user_bias[0] + m.item_bias[3] + p @ m.item_embedding[3])
    torch.testing.assert_close(m(torch.tensor([0]), torch.tensor([3]))[0], expected)
    in_training, _ = m.training_terms(torch.tensor([0]), torch.tensor([3]))
    torch.testing.assert_close(1 + 4 * in_training[0], expected)


def test_the_penalty_counts_an_item_once_a_rating(by_hand: SVDPlusPlus) -> None:
    with torch.no_grad():
        for table in (by_hand.user_embedding, by_hand.item_embedding, by_hand.user_bias, by_hand.item_bias):
            table.zero_()
    _, penalty = by_hand.training_terms(torch.tensor([0, 1]), torch.tensor([0, 4]))
    squares = [101.0, 404.0, 909.0, 20000.0, 1616.0]
    counts = [1, 2, 1, 0, 2]
    expected = 0.01 * 4 * np.dot(squares, counts) / 6
    assert penalty.item() == pytest.approx(expected, rel=1e-5)


def test_the_gradient_is_that_of_a_dense_product(by_hand: SVDPlusPlus) -> None:
    weight = torch.randn(3, 2, generator=torch.Generator().manual_seed(0))
    [gradient] = torch.autograd.grad((by_hand.implicit() * weight).sum(), by_hand.item_implicit)
    rated = torch.tensor([[0.5, 0.5, 0.5, 0, 0.5], [0, 0, 0, 0, 1], [0, 0, 0, 0, 0]])
    torch.testing.assert_close(gradient, rated.T @ weight)


@pytest.mark.parametrize("fit_on", ["train", "train_val"])
def test_only_fitted_rows_are_used(fit_on: str) -> None:
    data = noise(fit_on)
    model = small(data)
    fit(model, data, epochs=1, limit_val_batches=0)
    indptr, item = model.rated_indptr, model.rated_item
    user = torch.repeat_interleave(indptr.diff())
    found = set(zip(user.tolist(), item.tolist(), strict=True))
    frame = data.dataset.ratings.iloc[data.fit_rows]
    users, items = data.users.rows(frame["user_id"]).tolist(), data.items.rows(frame["item_id"]).tolist()
    assert found == set(zip(users, items, strict=True))
    assert len(found) == len(data.fit_rows) < len(data.dataset.ratings)


def test_factors_hold_the_implicit_part_for_known_and_unknown_rows() -> None:
    model, _ = fitted()
    assert model.implicit().abs().max() > 1e-3
    user, item = (row.numpy() for row in pairs(model))
    found = model.factors().predict(user, item)[:, 0]
    np.testing.assert_allclose(found, predictions(model).numpy(), atol=1e-5)


def test_the_prior_of_a_new_user_is_the_implicit_part_of_what_they_rated(by_hand: SVDPlusPlus) -> None:
    """User 0's prior, in centred coordinates: their sum less the mean of the whole vectors."""
    f = by_hand.factors()
    assert f.item_implicit is not None
    rated = [0, 1, 2, 4]
    prior = f.prior_mean[0] + f.item_implicit[rated, 0].sum(0) / len(rated) ** 0.5
    sums, items = by_hand.implicit().detach(), by_hand.item_embedding.detach()
    expected = 2 * (sums[0] - (by_hand.user_embedding.detach() + sums).mean(0))  # 2: root of the scale's span
    np.testing.assert_allclose(prior[:-1], expected.numpy(), atol=1e-4)
    # The bias takes what the vector says to the mean item, and is centred, too.
    np.testing.assert_allclose(prior[-1], (expected @ items.mean(0) * 2).numpy(), atol=1e-4)
    folded = fold_in(f, np.array(rated), f.mu + f.item_bias[rated, 0])
    assert folded.implicit is not None
    np.testing.assert_allclose(folded.shares @ folded.implicit, f.item_implicit[rated].sum(0) / 2, rtol=1e-5)


def test_a_checkpoint_predicts_without_the_ratings(tmp_path: Path) -> None:
    model, trainer = fitted()
    trainer.save_checkpoint(tmp_path / "model.ckpt")
    again = SVDPlusPlus.load_from_checkpoint(tmp_path / "model.ckpt", weights_only=True)
    assert torch.equal(predictions(again), predictions(model))
    assert len(again.rated_item) == len(noise().fit_rows)


def test_a_state_replaces_what_was_seen_before(by_hand: SVDPlusPlus) -> None:
    other = SVDPlusPlus(3, 5, embedding_dim=2)
    other.init_from_data(RatingRows(torch.tensor([2]), torch.tensor([1]), torch.tensor([1.0])))
    other.implicit()
    other.load_state_dict(by_hand.state_dict())
    assert torch.equal(predictions(other), predictions(by_hand))


def test_one_and_two_threads_give_the_same_bits() -> None:
    data = small_data(random_ratings(6000, 300, 200), batch_size=2000)
    states = []
    threads = torch.get_num_threads()
    try:
        for number in (1, 2):
            torch.set_num_threads(number)
            model = build(SVDPlusPlus, data, embedding_dim=32)
            fit(model, data, epochs=1, limit_val_batches=0)
            states.append(model.state_dict())
    finally:
        torch.set_num_threads(threads)
    for name, array in states[0].items():
        assert torch.equal(array, states[1][name]), name


def test_the_implicit_part_keeps_its_share_of_the_learning_rate() -> None:
    data = noise()
    model, again = small(data), small(data)
    model.plateau = {"factor": 0.5, "patience": 0}
    record = EpochRecord()
    trainer = fit(model, data, epochs=8, callbacks=[record])
    main, implicit = trainer.optimizers[0].param_groups
    assert main["lr"] < 0.03
    assert implicit["params"] == [model.item_implicit]
    assert implicit["lr"] == pytest.approx(FACTOR * main["lr"])
    replay = ReplayLearningRate([epoch["learning_rate"] for epoch in record.epochs])
    fit(again, data, epochs=8, callbacks=[replay], limit_val_batches=0)
    assert torch.equal(predictions(again), predictions(model))
