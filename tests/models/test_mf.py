from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from recsys.bundle.fold_in import fold_in
from recsys.data.batches import Batch, RatingRows
from recsys.data.datamodule import RatingDataModule
from recsys.models.mf import MatrixFactorization
from recsys.models.svdpp import SVDPlusPlus
from tests.small_data import build, fit, random_ratings, small_data

USER = torch.tensor([0, 0, 1, 2, 2, 2])
ITEM = torch.tensor([0, 1, 1, 0, 3, 2])
RATING = torch.tensor([1.0, 5.0, 3.5, 2.0, 4.5, 1.0])  # stars of a scale from 1 to 5


def model_in_stars(low: float = 1.0, high: float = 5.0, **arguments: Any) -> MatrixFactorization:
    """A model whose numbers in stars are the same for every scale."""
    chosen = {"embedding_dim": 3, "reg_lambda": 0.07, "bias_reg_lambda": 0.03}
    model = MatrixFactorization(3, 4, low, high, **chosen | arguments)
    rng = np.random.default_rng(4)
    with torch.no_grad():
        for parameter, size, unit in (
            (model.user_embedding, (3, 3), model.span**0.5),
            (model.item_embedding, (4, 3), model.span**0.5),
            (model.user_bias, 3, model.span),
            (model.item_bias, 4, model.span),
        ):
            stars = torch.from_numpy(rng.normal(0, 0.8, size)).float()
            parameter.copy_(stars / unit)
        model.mu.fill_((3.2 - low) / model.span)
    return model


def in_stars(model: MatrixFactorization) -> list[np.ndarray]:
    """p, q, b_u and b_i as float64 arrays in stars."""
    star = model.span**0.5
    tables = (model.user_embedding, model.item_embedding, model.user_bias, model.item_bias)
    units = (star, star, model.span, model.span)
    return [t.detach().double().numpy() * unit for t, unit in zip(tables, units, strict=True)]


def batch_of(model: MatrixFactorization, rows: slice = slice(None)) -> Batch:
    scaled = (RATING - model.rating_min) / model.span
    return Batch(USER[rows], ITEM[rows], scaled[rows])


def terms_by_hand(model: MatrixFactorization, reg: float = 0.07, bias_reg: float = 0.03) -> list[float]:
    """Of every row: `(r - r^)^2 + reg (|p|^2 + |q|^2) + bias_reg (b_u^2 + b_i^2)`, in stars squared."""
    p, q, user_bias, item_bias = in_stars(model)
    terms = []
    for u, i, r in zip(USER.tolist(), ITEM.tolist(), RATING.tolist(), strict=True):
        error = r - (3.2 + user_bias[u] + item_bias[i] + p[u] @ q[i])
        shrinkage = reg * (p[u] @ p[u] + q[i] @ q[i]) + bias_reg * (user_bias[u] ** 2 + item_bias[i] ** 2)
        terms.append(error**2 + shrinkage)
    return terms


@pytest.mark.parametrize("scale", [(1.0, 5.0), (0.5, 5.0), (0.0, 100.0)])
def test_the_loss_is_the_documented_formula_in_units_on_any_scale(scale: tuple[float, float]) -> None:
    model = model_in_stars(*scale)
    loss = model.training_step(batch_of(model), 0)
    unit = (scale[1] - scale[0]) / 4
    terms = terms_by_hand(model, reg=0.07 * unit)
    assert loss.item() == pytest.approx(np.mean(terms) / unit**2, rel=1e-5)
    assert model.train_loss == loss


@pytest.mark.parametrize("rows", [slice(1), slice(2), slice(3, 6)])
def test_the_loss_of_a_batch_is_the_mean_of_its_rows_terms(rows: slice) -> None:
    model = model_in_stars()
    loss = model.training_step(batch_of(model, rows), 0)
    assert loss.item() == pytest.approx(np.mean(terms_by_hand(model)[rows]), rel=1e-5)


def test_penalty_sum_adds_up_over_the_batch() -> None:
    model = model_in_stars(penalty="sum")
    errors, whole = terms_by_hand(model, 0, 0), terms_by_hand(model)
    wanted = np.mean(errors) + np.sum(whole) - np.sum(errors)
    assert model.training_step(batch_of(model), 0).item() == pytest.approx(wanted, rel=1e-5)


def test_without_bias_there_is_none_in_prediction_penalty_and_gradient() -> None:
    model = model_in_stars(bias=False)
    with torch.no_grad():
        model.user_bias.zero_()
        model.item_bias.zero_()
    model.training_step(batch_of(model), 0).backward()
    assert model.user_bias.grad is None
    assert model.item_bias.grad is None
    data = small_data(random_ratings(80, 8, 12))
    trained = build(MatrixFactorization, data, bias=False, embedding_dim=2)
    fit(trained, data, epochs=3)
    assert not trained.user_bias.any()
    assert not trained.item_bias.any()
    assert trained.mu != 0.5


def test_dropout_and_batch_norm_leave_the_penalty_on_the_raw_embeddings() -> None:
    plain, noisy = model_in_stars(), model_in_stars(dropout=0.5, batch_norm=True)
    batch = batch_of(plain)
    wanted = plain.training_terms(batch.user, batch.item)[1]
    torch.testing.assert_close(noisy.training_terms(batch.user, batch.item)[1], wanted)


def test_reg_exponent_weighs_the_rows_by_their_counts_with_a_mean_of_one() -> None:
    """The user with n of the N ratings weighs n^(-1/2), scaled so that the N ratings' weights have mean 1."""
    model = model_in_stars(reg_exponent=0.5, bias_init="zero", bias_reg_lambda=0.0, bias_shrinkage=0.0)
    model.init_from_data(RatingRows(*batch_of(model)))
    raw = {"user": np.array([2, 1, 3]) ** -0.5, "item": np.array([2, 2, 1, 1]) ** -0.5}
    rows = {"user": USER.numpy(), "item": ITEM.numpy()}
    wanted = 0.0
    for side, table in zip(("user", "item"), in_stars(model)[:2], strict=True):
        weight = raw[side] / raw[side][rows[side]].mean()
        wanted += np.mean(weight[rows[side]] * (table**2).sum(1)[rows[side]]) * 0.07
    assert model.training_terms(USER, ITEM)[1].item() == pytest.approx(wanted, rel=1e-5)


def test_bias_shrinkage_counts_once_for_a_row() -> None:
    """In the sum over ratings, however many ratings it has; in a batch, in proportion to the row's share."""
    none, some = (model_in_stars(bias_init="zero", bias_shrinkage=count) for count in (0.0, 2.0))
    for model in (none, some):
        model.init_from_data(RatingRows(*batch_of(model)))
    penalties = [model.training_terms(USER, ITEM)[1].item() for model in (none, some)]
    user_bias, item_bias = in_stars(some)[2:]
    wanted = 2.0 * ((user_bias**2).sum() + (item_bias**2).sum()) / len(USER)
    assert penalties[1] - penalties[0] == pytest.approx(wanted, rel=1e-4)


def test_forward_is_the_formula_and_averages_stand_in_for_the_unknown() -> None:
    model = model_in_stars()
    p, q, user_bias, item_bias = in_stars(model)
    forward = lambda user, item: model(torch.tensor([user]), torch.tensor([item])).item()  # noqa: E731
    assert forward(2, 3) == pytest.approx(3.2 + user_bias[2] + item_bias[3] + p[2] @ q[3], abs=1e-5)
    assert forward(-1, 3) == pytest.approx(3.2 + user_bias.mean() + item_bias[3] + p.mean(0) @ q[3], abs=1e-5)
    assert forward(2, -1) == pytest.approx(3.2 + user_bias[2] + item_bias.mean() + p[2] @ q.mean(0), abs=1e-5)
    both = 3.2 + user_bias.mean() + item_bias.mean() + p.mean(0) @ q.mean(0)
    assert forward(-1, -1) == pytest.approx(both, abs=1e-5)


def test_training_predicts_what_forward_does() -> None:
    model = model_in_stars()
    predicted = model.rating_min + model.span * model.training_terms(USER, ITEM)[0]
    torch.testing.assert_close(predicted, model(USER, ITEM))


def test_batch_norm_in_evaluation_is_that_of_pytorch() -> None:
    model = model_in_stars(batch_norm=True)
    for _ in range(5):
        model.training_terms(USER, ITEM)
    model.eval()
    predicted = model.rating_min + model.span * model.training_terms(USER, ITEM)[0]
    torch.testing.assert_close(predicted, model(USER, ITEM))


@pytest.mark.parametrize("dim", [8, 64])
def test_batch_norm_starts_with_a_dot_product_of_a_tenth_of_the_scale(dim: int) -> None:
    model = MatrixFactorization(500, 500, embedding_dim=dim, batch_norm=True)
    user, item = torch.arange(500), torch.arange(500)
    predicted, _ = model.training_terms(user, item)
    assert predicted.std().item() == pytest.approx(0.1, rel=0.15)


@pytest.mark.parametrize("dropout", [0.1, 0.5, 0.9])
def test_dropout_keeps_the_right_share_at_the_right_scale(dropout: float) -> None:
    model = MatrixFactorization(2, 2, dropout=dropout)
    ones = torch.ones(1001, 301)
    dropped = model._dropout(ones)
    kept = dropped != 0
    n = ones.numel()
    assert kept.float().mean().item() == pytest.approx(1 - dropout, abs=5 * (0.25 / n) ** 0.5)
    torch.testing.assert_close(dropped[kept], torch.full((int(kept.sum()),), 1 / (1 - dropout)), rtol=1e-3, atol=0)
    # No coordinate knows of its neighbours, in the same 64 random bits or the next row's.
    share = kept.float().mean()
    for shift in (1, 2, 3, 301):
        both = (kept.flatten()[:-shift] & kept.flatten()[shift:]).float().mean()
        assert both.item() == pytest.approx(share.item() ** 2, abs=5 * (0.25 / n) ** 0.5)


@pytest.mark.parametrize("dropout", [0.0, 1e-9, 1e-6])
def test_dropout_of_nothing_is_the_identity(dropout: float) -> None:
    ones = torch.ones(1000, 10)
    assert torch.equal(MatrixFactorization(2, 2, dropout=dropout)._dropout(ones), ones)


@pytest.mark.parametrize("dropout", [2e-5, 1 - 2e-5])
def test_dropout_at_its_ends(dropout: float) -> None:
    """65535 and 1 of the 65536 words are kept, neither all nor none."""
    dropped = MatrixFactorization(2, 2, dropout=dropout)._dropout(torch.ones(2000, 1000))
    assert (dropped != 0).float().mean().item() == pytest.approx(1 - dropout, abs=1e-5)


def test_dropout_starts_every_epoch_from_the_models_seed_alone() -> None:
    model = MatrixFactorization(2, 2, dropout=0.5, seed=5)
    ones = torch.ones(50, 7)
    model.on_train_epoch_start()
    torch.manual_seed(0)
    first, second = model._dropout(ones), model._dropout(ones)
    assert not torch.equal(first, second)
    model.on_train_epoch_start()
    torch.manual_seed(1)
    assert torch.equal(model._dropout(ones), first)
    assert torch.equal(model._dropout(ones), second)
    other = MatrixFactorization(2, 2, dropout=0.5, seed=6)
    other.on_train_epoch_start()
    assert not torch.equal(other._dropout(ones), first)


@pytest.mark.parametrize("name", ["current_epoch", "global_rank"])
def test_every_epoch_and_every_rank_has_masks_of_its_own(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = MatrixFactorization(2, 2, dropout=0.5)
    dropped, masks, places = [], [], []
    for number in (0, 1):
        monkeypatch.setattr(MatrixFactorization, name, number)
        model.on_train_epoch_start()
        dropped.append(model._dropout(torch.ones(50, 7)))
        masks.append(model._masks.clone())
        places.append(model._shift)
    assert not torch.equal(*dropped)
    assert not torch.equal(*masks)
    assert places[0] != places[1]


def test_masks_are_drawn_once_an_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches differ by a row, and the largest need not be the first."""
    model = MatrixFactorization(2, 2, dropout=0.5)
    draw, drawn = model._draw_masks, []
    monkeypatch.setattr(model, "_draw_masks", lambda n: drawn.append(n) or draw(n))
    for _ in range(2):
        model.on_train_epoch_start()
        for rows in (2047, 2048, 2047):
            model._dropout(torch.ones(rows, 8))
    assert len(drawn) == 2


def test_the_two_sides_of_a_step_lose_different_coordinates() -> None:
    """Slices of the same masks are as good as masks drawn afresh: two of them keep what chance would."""
    model = MatrixFactorization(2, 2, dropout=0.3)
    model.on_train_epoch_start()
    steps = [(model._dropout(ones) != 0).float() for ones in [torch.ones(500, 80)] * 8]
    for i, step in enumerate(steps):
        assert step.mean().item() == pytest.approx(0.7, abs=0.015)
        for other in steps[:i]:
            assert (step * other).mean().item() == pytest.approx(0.49, abs=0.015)


def test_dropout_lets_the_gradient_through_where_it_keeps() -> None:
    model = MatrixFactorization(2, 2, dropout=0.5)
    ones = torch.ones(20, 5, requires_grad=True)
    dropped = model._dropout(ones)
    dropped.sum().backward()
    assert ones.grad is not None
    torch.testing.assert_close(ones.grad, dropped.detach())


def test_bias_init_starts_from_shrunk_means_or_from_zero() -> None:
    data = small_data(random_ratings(80, 8, 12))
    ratings = data.fit_data.columns.rating
    means, zeros = (build(MatrixFactorization, data, bias_init=how) for how in ("mean", "zero"))
    for model in (means, zeros):
        model.init_from_data(data.fit_data)
    torch.testing.assert_close(means.mu.detach(), ratings.mean())
    assert means.user_bias.std() > 0.01
    assert means.item_bias.std() > 0.01
    assert (zeros.mu, zeros.user_bias.any(), zeros.item_bias.any()) == (0.5, False, False)
    assert means.mu.requires_grad
    assert means.user_bias.requires_grad


@pytest.mark.parametrize("std", [0.0, 0.05, 0.5])
def test_embeddings_start_normal_with_embedding_std(std: float) -> None:
    model = MatrixFactorization(3000, 20, embedding_dim=50, embedding_std=std)
    assert model.user_embedding.std().item() == pytest.approx(std, rel=0.02, abs=0)
    assert model.user_embedding.mean().item() == pytest.approx(0, abs=std / 50)
    assert not torch.equal(model.user_embedding[:20], model.item_embedding) or std == 0


def trained_to_the_minimum(data: RatingDataModule, model: MatrixFactorization) -> None:
    """Full batches and second order, so that every row is at the minimum of the loss given the others."""
    model.init_from_data(data.fit_data)
    optimizer = torch.optim.LBFGS(
        [p for p in model.parameters() if p.requires_grad], max_iter=1500, history_size=30,
        line_search_fn="strong_wolfe", tolerance_grad=1e-9, tolerance_change=1e-14,
    )  # fmt: skip

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = model.training_step(data.fit_data.columns, 0)
        loss.backward()
        return loss

    optimizer.step(closure)


SUMMED = {"penalty": "sum", "reg_lambda": 0.3 / 160, "bias_reg_lambda": 0.1 / 160}


@pytest.mark.parametrize(
    ("make", "arguments"),
    [
        (MatrixFactorization, {}),
        (MatrixFactorization, {"reg_exponent": 0.5}),
        (MatrixFactorization, {"reg_exponent": 0.0, "bias": False}),
        (MatrixFactorization, SUMMED | {"reg_exponent": 0.5}),
        (SVDPlusPlus, {}),
        (SVDPlusPlus, {"bias": False, "reg_exponent": 1.0}),
    ],
)
def test_the_prior_folds_a_trained_user_back_in(make: type[MatrixFactorization], arguments: dict[str, Any]) -> None:
    """At the minimum of the loss a user's row solves the ridge problem that `Factors` documents."""
    low, high = 0.0, 10.0  # a scale whose unit is not 1; tests/models/test_contract.py has one from 1 to 5
    data = small_data(random_ratings(160, 16, 14, seed=2), fit_on="all", batch_size=160)
    chosen = {"embedding_dim": 3, "reg_lambda": 0.3, "bias_reg_lambda": 0.1, "embedding_std": 0.3}
    model = make(16, 14, low, high, **chosen | arguments)
    trained_to_the_minimum(data, model)
    f = model.factors()
    assert f.user_factors.std() > 0.1  # the penalty has not flattened all
    rows = data.fit_data.columns
    user, item = rows.user.numpy(), rows.item.numpy()
    stars = (low + (high - low) * rows.rating).numpy()
    for row in range(16):
        folded = fold_in(f, item[user == row], stars[user == row]).vector
        trained = np.append(f.user_factors[row, 0], f.user_bias[row])
        np.testing.assert_allclose(np.append(folded.factors, folded.bias), trained, atol=0.01 * (high - low) / 4)


def test_the_prior_of_batch_norm_and_dropout_by_hand() -> None:
    """A vector in prediction's coordinates costs `reg |p_raw|^2` plus dropout's variance of the dot product."""
    model = model_in_stars(batch_norm=True, dropout=0.5, reg_exponent=0.5, bias_shrinkage=2.0)
    model.init_from_data(RatingRows(*batch_of(model)))
    for _ in range(50):
        model.training_terms(USER, ITEM)
    f = model.factors()
    assert model.user_norm is not None
    norm = model.user_norm
    assert norm.running_mean is not None
    assert norm.running_var is not None
    with torch.no_grad():
        scale = (norm.weight / (norm.running_var + norm.eps).sqrt()).numpy()
        shift = (norm.bias.numpy() - norm.running_mean.numpy() * scale) * 2
    item_norm = model.item_norm
    assert item_norm is not None
    with torch.no_grad():
        items = item_norm.eval()(model.item_embedding).numpy() * 2
        users = norm.eval()(model.user_embedding).numpy() * 2
    p0, q0 = users.mean(0), items.mean(0)
    assert f.prior_exponent.tolist() == [0.5, 1.0, 0.0]
    # The weights n^-0.5 of the users' 2, 1 and 3 ratings have mean 1 over the six.
    level = 6 / (2**0.5 + 1 + 3**0.5)
    # Dropout at rate 1/2 on both sides multiplies the mean square of p_d q_d by 4.
    by_root, by_count = np.append(level * 0.07 / scale**2, 0), np.append(3 * (items**2).mean(0), 0.03)
    once = np.array([0, 0, 0, 2.0])
    rng = np.random.default_rng(0)
    bias_mean = (model.user_bias.detach().numpy() * 4 + users @ q0).mean()
    for _ in range(5):
        vector, bias = rng.normal(size=3), rng.normal()
        moved = np.append(vector - p0, bias + vector @ q0 - bias_mean) - f.prior_mean[0]
        for diagonal, precision in zip((by_root, by_count, once), f.prior_precision[:, 0], strict=True):
            wanted = (np.append(vector - shift, bias) ** 2 * diagonal).sum()
            assert moved @ precision @ moved == pytest.approx(wanted, rel=1e-3)


def test_the_prior_of_a_summed_penalty_survives_a_checkpoint(tmp_path: Path) -> None:
    """It weighs as many times more as a batch has ratings, which the arguments do not tell."""
    data = small_data(random_ratings(160, 16, 14), fit_on="all", batch_size=40)
    model = build(MatrixFactorization, data, penalty="sum", embedding_dim=2)
    trainer = fit(model, data, epochs=1, limit_val_batches=0)
    trainer.save_checkpoint(tmp_path / "model.ckpt")
    again = MatrixFactorization.load_from_checkpoint(tmp_path / "model.ckpt", weights_only=True)
    np.testing.assert_array_equal(again.factors().prior_precision, model.factors().prior_precision)
    assert model.factors().prior_precision[0, 0, 0, 0] == pytest.approx(40 * 0.05, rel=1e-3)
