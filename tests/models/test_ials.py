"""iALS against what its class documents, computed over every cell of a dense matrix; exact solutions unless said so.

What it shares with all models is in `test_contract.py`: its arguments, resumed runs, runs without validation.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from recsys.bundle import Bundle
from recsys.data.batches import Batch
from recsys.data.datamodule import RatingDataModule
from recsys.evaluation.registry import NDCG
from recsys.models.ials import SOLVERS, ImplicitALS
from recsys.training.export import make_bundle
from tests.bundles import trained_and_folded, trained_and_folded_items
from tests.small_data import build, checkerboard, fit, frame, random_ratings, small_data

Doubles = np.ndarray[Any, np.dtype[np.float64]]
every_exponent = pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0])


@cache
def noise() -> RatingDataModule:
    return small_data(random_ratings(150, 20, 15), test_fraction=0.2)


@cache
def likes() -> RatingDataModule:
    """Those cells of two tastes that are liked: all that is rated says who likes what."""
    ratings = checkerboard()
    return small_data(ratings[ratings.rating > 3], test_fraction=0.2)


def made(data: RatingDataModule, **arguments: Any) -> ImplicitALS:
    model = build(ImplicitALS, data, **{"embedding_dim": 4, "solver": "cholesky"} | arguments)
    assert isinstance(model, ImplicitALS)
    return model


@cache
def fitted(epochs: int, solver: str = "cholesky") -> ImplicitALS:
    """A model after so many sweeps of `noise`, which no test changes."""
    model = made(noise(), solver=solver)
    fit(model, noise(), epochs=epochs)
    return model


@cache
def fitted_to_likes() -> tuple[ImplicitALS, float]:
    """A model of two tastes that no test changes, and its validation figure."""
    model = made(likes())
    return model, float(fit(model, likes(), epochs=5).callback_metrics[NDCG.validation_key])


def rated(columns: Batch, shape: tuple[int, int]) -> Doubles:
    """1 for a cell with a rating, 0 for one without, `(n_users, n_items)`."""
    cells = np.zeros(shape)
    cells[columns.user, columns.item] = 1
    return cells


def swept(model: ImplicitALS, columns: Batch, sweeps: int = 1) -> tuple[Doubles, Doubles, float]:
    """Users' and items' rows after so many sweeps, and what the last one returned."""
    sides = model.sides_of(columns.user, columns.item, model.known(columns))
    for _ in range(sweeps):
        returned = model.sweep(*sides)
    users, items = (rows.detach().double().numpy()[:, :-1] for rows in (model.user_rows, model.item_rows))
    return users, items, float(returned)


def solved(others: Doubles, cells: Doubles, weight: float, reg_lambda: float, exponent: float) -> Doubles:
    """Each row's weighted ridge regression on all cells, one at a time."""
    rows = []
    for row in cells:
        weights = np.where(row > 0, 1.0, weight)
        penalty = reg_lambda * (row.sum() + weight * len(row)) ** exponent
        system = others.T @ (weights[:, None] * others) + penalty * np.eye(others.shape[1])
        rows.append(np.linalg.solve(system, others.T @ (weights * row)))
    return np.stack(rows)


@every_exponent
@pytest.mark.parametrize("weight", [0.02, 0.7])
def test_a_sweep_solves_each_side_over_all_cells(exponent: float, weight: float) -> None:
    data = noise()
    columns = data.fit_data.columns
    model = made(data, unobserved_weight=weight, reg_lambda=0.05, reg_exponent=exponent)
    cells = rated(columns, (model.n_users, model.n_items))
    before = model.user_rows.detach().double().numpy()[:, :-1]
    items = solved(before, cells.T, weight, 0.05, exponent)
    users = solved(items, cells, weight, 0.05, exponent)
    found = swept(model, columns)
    np.testing.assert_allclose(found[1], items, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(found[0], users, rtol=1e-3, atol=1e-4)
    misfit = np.where(cells > 0, 1, weight) * (cells - users @ items.T) ** 2
    assert found[2] == pytest.approx(misfit.sum() / cells.sum(), rel=1e-3)


every_solver = pytest.mark.parametrize("solver", SOLVERS)


@every_solver
@every_exponent
def test_the_documented_loss_never_rises(exponent: float, solver: str) -> None:
    data = noise()
    columns, weight, reg_lambda = data.fit_data.columns, 0.2, 0.03
    arguments = {"unobserved_weight": weight, "reg_lambda": reg_lambda, "reg_exponent": exponent}
    model = made(data, solver=solver, cg_steps=1, **arguments).double()
    cells = rated(columns, (model.n_users, model.n_items))

    def penalty(rows: Doubles, cells: Doubles) -> float:
        growth = (cells.sum(1) + weight * cells.shape[1]) ** exponent
        return reg_lambda * float(growth @ (rows**2).sum(1))

    losses = []
    for _ in range(20):
        users, items, returned = swept(model, columns)
        misfit = np.where(cells > 0, 1, weight) * (cells - users @ items.T) ** 2
        assert returned == pytest.approx(misfit.sum() / cells.sum(), rel=1e-5)
        losses.append(misfit.sum() + penalty(users, cells) + penalty(items, cells.T))
    assert (np.diff(losses) <= 1e-9).all()
    assert losses[-1] < 0.9 * losses[0]


@pytest.mark.parametrize("confidence", [1.5, 20.0])
def test_a_confidence_is_a_weight_of_its_inverse(confidence: float) -> None:
    """Hu, Koren & Volinsky's: confidence c for what was taken and 1 for all else, and one penalty for all rows."""
    data = noise()
    columns, regularization = data.fit_data.columns, 0.3
    model = made(
        data, unobserved_weight=1 / confidence, reg_lambda=regularization / confidence, reg_exponent=0.0
    )  # fmt: skip
    cells = rated(columns, (model.n_users, model.n_items))
    users = model.user_rows.detach().double().numpy()[:, :-1]
    for _ in range(3):
        items = textbook(users, cells.T, confidence, regularization)
        users = textbook(items, cells, confidence, regularization)
    found = swept(model, columns, sweeps=3)
    np.testing.assert_allclose(found[0] @ found[1].T, users @ items.T, atol=1e-3)


def weighted(scale: float = 1.0, *, equal: bool = False) -> RatingDataModule:
    """The ratings of `noise` as plays, whose number says nothing."""
    ratings = noise().dataset.ratings
    plays = np.full(len(ratings), 7.0) if equal else np.random.default_rng(2).lognormal(0, 2, len(ratings))
    plays = ratings.assign(weight=(scale * plays).astype(np.float32))
    return small_data(plays, test_fraction=0.2, implicit=True)


@every_exponent
@pytest.mark.parametrize("weight", [0.02, 0.7])
def test_weights_are_confidences_of_the_pairs(exponent: float, weight: float) -> None:
    data = weighted()
    columns, v = data.fit_data.columns, data.fit_weights
    assert v is not None
    assert float(v.mean()) == pytest.approx(1)
    model = made(data, unobserved_weight=weight, reg_lambda=0.05, reg_exponent=exponent)
    model.confidence = v
    shape = (model.n_users, model.n_items)
    cells, confidence = rated(columns, shape), np.zeros(shape)
    confidence[columns.user, columns.item] = v
    loss_weight = weight + (1 - weight) * confidence

    def solved_rows(others: Doubles, cells: Doubles, weights: Doubles, v: Doubles) -> Doubles:
        rows = []
        for row, w, c in zip(cells, weights, v, strict=True):
            penalty = 0.05 * (c.sum() + weight * len(row)) ** exponent
            system = others.T @ (w[:, None] * others) + penalty * np.eye(others.shape[1])
            rows.append(np.linalg.solve(system, others.T @ (w * row)))
        return np.stack(rows)

    before = model.user_rows.detach().double().numpy()[:, :-1]
    items = solved_rows(before, cells.T, loss_weight.T, confidence.T)
    users = solved_rows(items, cells, loss_weight, confidence)
    found = swept(model, columns)
    np.testing.assert_allclose(found[1], items, rtol=1e-3, atol=2e-4)
    np.testing.assert_allclose(found[0], users, rtol=1e-3, atol=2e-4)
    misfit = loss_weight * (cells - users @ items.T) ** 2
    assert found[2] == pytest.approx(misfit.sum() / cells.sum(), rel=1e-3)


@pytest.mark.parametrize("make", [noise, weighted], ids=["ones", "weights"])
def test_conjugate_gradients_come_to_what_exact_solutions_are(make: Callable[[], RatingDataModule]) -> None:
    data = make()
    scores, losses = [], []
    for arguments in ({"solver": "cholesky"}, {"solver": "conjugate_gradient", "cg_steps": 4}):
        model = made(data, **arguments).double()
        model.confidence = data.fit_weights
        users, items, loss = swept(model, data.fit_data.columns, sweeps=3)
        scores.append(users @ items.T)
        losses.append(loss)
    np.testing.assert_allclose(scores[1], scores[0], atol=1e-8)
    assert losses[1] == pytest.approx(losses[0], rel=1e-8)


def test_neither_equal_weights_nor_their_unit_change_anything() -> None:
    same = made(equal := weighted(equal=True))
    fit(same, equal, epochs=2)
    assert torch.equal(same.user_rows, fitted(2).user_rows)
    rows = []
    for scale in (1.0, 60.0):
        model = made(data := weighted(scale))
        fit(model, data, epochs=2)
        rows.append(model.user_rows.detach().numpy())
    np.testing.assert_allclose(rows[0], rows[1], rtol=1e-3, atol=1e-5)
    assert np.abs(rows[0] - same.user_rows.detach().numpy()).max() > 0.01


def test_what_is_played_more_is_ranked_first() -> None:
    """Two tastes; of the items of the other taste each user has played one, once."""
    cells = checkerboard()
    liked = cells.rating > 3
    stray = ~liked & (cells.item_id % 10 == (cells.user_id + 1) % 2)
    plays = cells[liked | stray].assign(weight=lambda rows: np.where(rows.rating > 3, 50, 0.05).astype(np.float32))
    data = small_data(plays, test_fraction=0.2, implicit=True)
    model = made(data, embedding_dim=2)
    fit(model, data, epochs=10)
    bundle = make_bundle(model, data)
    for user in bundle.user_ids.tolist():
        best = bundle.recommend(user, 9, exclude_seen=False)
        assert {int(entry.item_id) % 2 for entry in best} == {user % 2}


def textbook(others: Doubles, cells: Doubles, confidence: float, regularization: float) -> Doubles:
    eye = regularization * np.eye(others.shape[1])
    systems = [others.T @ np.diag(np.where(row > 0, confidence, 1)) @ others + eye for row in cells]
    return np.stack([np.linalg.solve(a, confidence * others.T @ row) for a, row in zip(systems, cells, strict=True)])


def test_it_ranks_each_taste_s_items_first() -> None:
    data = likes()
    model = made(data, embedding_dim=2)
    fit(model, data, epochs=10)
    bundle = make_bundle(model, data)
    for user in bundle.user_ids.tolist():
        top = bundle.recommend(user, 10, exclude_seen=False)
        assert {int(entry.item_id) % 2 for entry in top} == {user % 2}
    rows = data.rows(data.split.test).columns
    with torch.no_grad():
        other = model(rows.user, (rows.item + 1) % model.n_items)
        assert (model(rows.user, rows.item) > other + 0.2).all()


@pytest.mark.parametrize("stars", [1.0, 5.0])
def test_stars_are_of_no_account(stars: float) -> None:
    ratings = noise().dataset.ratings
    data = small_data(frame(ratings.user_id, ratings.item_id, np.full(len(ratings), stars)), test_fraction=0.2)
    model = made(data)
    fit(model, data, epochs=2)
    assert torch.equal(model.user_rows, fitted(2).user_rows)


@pytest.mark.parametrize(("dim", "solver"), [(2, "cholesky"), (4, "cholesky"), (6, "cholesky"), (4, SOLVERS[0])])
def test_a_warm_start_goes_on_where_a_bundle_ended(dim: int, solver: str, tmp_path: Path) -> None:
    data, longer = noise(), fitted(11, solver)
    make_bundle(fitted(10, solver), data).save(tmp_path / "bundle")
    warm = made(data, embedding_dim=dim, solver=solver, warm_start=str(tmp_path / "bundle"))
    fit(warm, data, epochs=1)
    assert not warm.user_rows[:, -1].any()
    assert not warm.item_rows[:, -1].any()
    apart = (warm.user_rows @ warm.item_rows.T - longer.user_rows @ longer.item_rows.T).abs().max()
    assert (apart < 1e-3) == (dim == 4)


def test_it_is_a_ranking_model_and_so_is_its_bundle() -> None:
    data, (model, figure) = likes(), fitted_to_likes()
    assert (model.task, model.monitor) == ("ranking", NDCG)
    assert figure > 0.6  # the test items are above some of them
    bundle = make_bundle(model, data)
    assert bundle.is_ranking
    assert bundle.manifest["fold_in_target"] == pytest.approx(1 / 0.9)


@pytest.mark.parametrize(("exponent", "weight"), [(0.0, 0.1), (0.5, 0.6), (1.0, 0.1)])
def test_folding_in_a_user_s_ratings_is_the_user(exponent: float, weight: float, tmp_path: Path) -> None:
    """Since a sweep ends with the users, each is the solution of their ratings given the items."""
    data = noise()
    model = made(data, unobserved_weight=weight, reg_exponent=exponent)
    fit(model, data, epochs=5)
    make_bundle(model, data).save(tmp_path / "bundle")
    for trained, folded, _ in trained_and_folded(Bundle.load(tmp_path / "bundle")):
        np.testing.assert_allclose(folded, trained, atol=1e-4)


@every_exponent
def test_folding_in_an_item_s_ratings_is_what_the_next_sweep_makes_of_it(exponent: float) -> None:
    """The unobserved pairs' Gram matrix and the penalty's offset are those of the users."""
    data = noise()
    model = made(data, unobserved_weight=0.2, reg_exponent=exponent)
    fit(model, data, epochs=5)
    bundle, users = make_bundle(model, data), model.user_rows.detach().clone()
    assert model.sides is not None
    with torch.no_grad():
        model.sweep(*model.sides)
    for item, (_, folded) in enumerate(trained_and_folded_items(bundle)):
        np.testing.assert_allclose(folded, (users @ model.item_rows[item].detach()).numpy(), atol=5e-4)


def test_someone_new_is_what_they_took_and_reasons_name_it() -> None:
    data, (model, _) = likes(), fitted_to_likes()
    bundle = make_bundle(model, data)
    given = dict.fromkeys((1000, 1002, 1004), 5.0)  # all that is rated has 5 stars: implicit feedback
    folded = bundle.fold_in(given)
    assert {int(entry.item_id) % 2 for entry in bundle.recommend(folded, 5)} == {0}
    explained = bundle.explain(folded, 1006)
    assert {reason.item_id: reason.rating for reason in explained.reasons} == given
    assert explained.base == pytest.approx(0, abs=1e-3)
    assert explained.score == pytest.approx(sum(reason.contribution for reason in explained.reasons), abs=1e-3)
    assert all(reason.contribution > 0 for reason in explained.reasons)
