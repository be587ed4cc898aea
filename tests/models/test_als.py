"""ALS against the loss that it documents, each row against its own regression, and a run from the command line."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from lightning.pytorch.callbacks import LambdaCallback
from numpy.typing import NDArray

from recsys.bundle import Bundle
from recsys.bundle.fold_in import fold_in
from recsys.data.datamodule import RatingDataModule
from recsys.models.als import ALS
from recsys.models.padded_rows import NotPositiveDefiniteError
from recsys.training.export import make_bundle
from tests.bundles import trained_and_folded_items
from tests.commands import call, write_ratings
from tests.small_data import build, fit, random_ratings, small_data

Numbers = NDArray[np.float64]

REG, BIAS_REG, SHRINKAGE = 0.3, 0.05, 2.0
every_exponent = pytest.mark.parametrize("exponent", [1.0, 0.5, 0.0])


@cache
def noise() -> RatingDataModule:
    """Random stars by 20 users of 15 items, of very unequal counts."""
    ratings = random_ratings(220, 20, 15, seed=2)
    return small_data(ratings[(ratings.user_id > 108) | (ratings.item_id < 1004)], test_fraction=0.1)


def small(data: RatingDataModule, exponent: float = 1.0) -> ALS:
    chosen = {"reg_lambda": REG, "bias_reg_lambda": BIAS_REG, "bias_shrinkage": SHRINKAGE, "reg_exponent": exponent}
    model = build(ALS, data, embedding_dim=3, **chosen)
    assert isinstance(model, ALS)
    return model


def fitted_on(data: RatingDataModule) -> tuple[NDArray[np.int64], NDArray[np.int64], Numbers]:
    """User and item rows of the training ratings, and their stars."""
    user, item, rating = (column.numpy() for column in data.fit_data.columns)
    return user, item, 1 + 4 * rating.astype(np.float64)


def weights(row: NDArray[np.int64], exponent: float) -> Numbers:
    """How each rating's penalty on its row is weighted, `(ratings,)`."""
    weight = np.bincount(row)[row] ** (exponent - 1.0)
    return np.asarray(weight / weight.mean())


def objective(model: ALS, data: RatingDataModule, exponent: float) -> float:
    """The documented loss in double precision."""
    user, item, stars = fitted_on(data)
    p, q = (rows.double().numpy() for rows in (model.user_rows, model.item_rows))
    reg = np.array([*[REG] * (p.shape[1] - 1), BIAS_REG])
    predicted = float(model.mu) + p[user, -1] + q[item, -1] + (p[user, :-1] * q[item, :-1]).sum(1)
    penalty = weights(user, exponent) * (p[user] ** 2 @ reg) + weights(item, exponent) * (q[item] ** 2 @ reg)
    once = SHRINKAGE * ((p[:, -1] ** 2).sum() + (q[:, -1] ** 2).sum())
    return float((((stars - predicted) ** 2 + penalty).sum() + once) / len(stars))


def regressions(model: ALS, row: NDArray[np.int64], others: Numbers, surprise: Numbers, exponent: float) -> Numbers:
    """Every row's ridge regression of its ratings' surprise on the other side's rows of these ratings."""
    reg, weight = np.array([*[REG] * (others.shape[1] - 1), BIAS_REG]), weights(row, exponent)
    found = np.zeros((row.max() + 1, others.shape[1]))
    for number in range(len(found)):
        mine = row == number
        design = np.column_stack([others[mine, :-1], np.ones(mine.sum())])
        system = design.T @ design + np.diag(reg) * weight[mine].sum()
        system[-1, -1] += SHRINKAGE
        found[number] = np.linalg.solve(system, design.T @ (surprise[mine] - others[mine, -1]))
    return found


@every_exponent
def test_no_sweep_raises_the_documented_loss(exponent: float) -> None:
    data = noise()
    model, losses = small(data, exponent), []
    note = LambdaCallback(
        on_train_start=lambda *_: losses.append(objective(model, data, exponent)),
        on_train_epoch_end=lambda *_: losses.append(objective(model, data, exponent)),
    )
    fit(model, data, epochs=15, limit_val_batches=0, callbacks=[note])
    falls = -np.diff(losses)
    assert (falls > -1e-6).all()
    assert falls[0] > 0.1
    assert falls[-1] < falls[1] / 10


@every_exponent
def test_a_sweep_is_every_item_s_regression_and_then_every_user_s(exponent: float) -> None:
    data = noise()
    user, item, stars = fitted_on(data)
    model = small(data, exponent)
    users = model.user_rows.double().numpy().copy()
    starts: list[Numbers] = []
    fit(model, data, epochs=1, callbacks=[
        LambdaCallback(on_train_start=lambda *_: starts.append(model.user_rows.double().numpy().copy()))
    ])  # fmt: skip
    np.testing.assert_array_equal(starts[0][:, :-1], users[:, :-1])
    surprise = stars - stars.mean()
    items = regressions(model, item, starts[0][user], surprise, exponent)
    np.testing.assert_allclose(model.item_rows.numpy(), items, atol=1e-4)
    np.testing.assert_allclose(
        model.user_rows.numpy(), regressions(model, user, items[item], surprise, exponent), atol=1e-4
    )


@every_exponent
def test_the_fold_in_of_what_made_an_item_is_its_row_once_converged(exponent: float) -> None:
    data = noise()
    model = small(data, exponent)
    fit(model, data, epochs=400)
    for trained, folded in trained_and_folded_items(make_bundle(model, data)):
        np.testing.assert_allclose(folded, trained, atol=1e-3)


@every_exponent
def test_the_fold_in_of_what_made_a_user_is_their_row_exactly(exponent: float) -> None:
    data = noise()
    model = small(data, exponent)
    fit(model, data, epochs=3)
    factors = model.factors()
    user, item, stars = fitted_on(data)
    for row in range(len(data.users)):
        folded = fold_in(factors, item[user == row], stars[user == row].astype(np.float32)).vector
        np.testing.assert_allclose(folded.factors, factors.user_factors[row], atol=1e-4)
        np.testing.assert_allclose(folded.bias, factors.user_bias[row], atol=1e-4)


def test_a_sweep_is_a_step_and_its_loss_the_error_it_leaves() -> None:
    data = noise()
    model, errors = small(data), []
    trainer = fit(model, data, epochs=7, callbacks=[
        LambdaCallback(on_train_epoch_end=lambda trainer, _: errors.append(trainer.callback_metrics["train/loss"]))
    ])  # fmt: skip
    assert trainer.global_step == 7
    user, item, stars = fitted_on(data)
    predicted = model(torch.from_numpy(user), torch.from_numpy(item)).double().numpy()
    assert errors[-1].item() == pytest.approx(((stars - predicted) ** 2).mean(), rel=1e-4)


def test_a_run_keeps_the_best_sweep_and_refits_as_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECSYS_CACHE", str(tmp_path / "cache"))
    write_ratings(tmp_path / "data" / "ratings.csv")
    folder = tmp_path / "run"
    call(
        "train", "model=als", "data=tabular", f"data.root={tmp_path / 'data'}", "data.timestamp_column=timestamp",
        "data.rating_min=1", "data.rating_max=5", f"hydra.run.dir={folder}", "model.embedding_dim=8",
        "model.reg_lambda=0.005", "trainer.max_epochs=12",
    )  # fmt: skip
    found, curve = json.loads((folder / "metrics.json").read_text()), pd.read_csv(folder / "metrics.csv")
    assert found["test/rmse"] < found["baseline/biases"]
    assert found["val/rmse"] == pytest.approx(curve["val/rmse"].min())
    assert found["epochs"] == curve["val/rmse"].argmin() + 1
    assert 1 < found["epochs"] < 12, "the last sweep is the best: it would not show a lost one"
    for name in ("best", f"refit_{Bundle.load(folder / 'bundle').manifest['fit_on']}"):
        checkpoint = torch.load(folder / "checkpoints" / f"{name}.ckpt", weights_only=True)
        assert checkpoint["global_step"] == checkpoint["epoch"] + 1 == found["epochs"]


def unregularised() -> ALS:
    model = build(ALS, noise(), embedding_dim=30, reg_lambda=0.0, bias_reg_lambda=0.0)
    assert isinstance(model, ALS)
    return model


def test_without_regularisation_users_of_few_ratings_get_by() -> None:
    """Their systems are singular: a little is added to the diagonal."""
    model = unregularised()
    fit(model, noise(), epochs=3)
    assert np.isfinite(model.factors().user_factors).all()


def test_a_matrix_that_nothing_helps_is_an_error_that_names_the_argument(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recsys.models.padded_rows.JITTERS", (0.0,))
    with pytest.raises(NotPositiveDefiniteError, match=r"model\.reg_lambda > 0"):
        fit(unregularised(), noise(), epochs=3)
