"""Attributes in the models trained by gradient: sums by hand, their penalty, and what bundles and checkpoints keep."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from recsys.bundle.fold_in import fold_in
from recsys.data.datamodule import RatingDataModule
from recsys.data.features import Attributes
from recsys.models.attribute_effects import COLD_START_PENALTY, AttributeEffects
from recsys.models.mf import MatrixFactorization
from recsys.models.svdpp import SVDPlusPlus
from recsys.training.export import make_bundle
from tests.small_data import build, fit, frame, kinds, random_ratings, small_data

MODELS = [
    pytest.param(MatrixFactorization, {}, id="mf"),
    pytest.param(MatrixFactorization, {"batch_norm": True, "dropout": 0.2}, id="mf-batch-norm"),
    pytest.param(MatrixFactorization, {"bias": False}, id="mf-no-bias"),
    pytest.param(SVDPlusPlus, {}, id="svdpp"),
]
every_model = pytest.mark.parametrize(("make", "arguments"), MODELS)


@cache
def told(side: str) -> RatingDataModule:
    """Stars that the kind of a user or an item says, with a little noise; the last of that side are in test rows only.

    A user of kind 0 gives about 2 stars, of kind 2 about 4; likewise items.
    """
    rng = np.random.default_rng(1)
    user, item = np.divmod(np.arange(60 * 30), 30)
    if side == "item":
        user, item = item, user
    of = (user if side == "user" else item) % 3
    ratings = frame(user, item, 2.0 + of + rng.normal(0, 0.3, len(user))).astype({"rating": np.float32})
    return small_data(ratings, tables=kinds(ratings), split="global_time", test_fraction=0.1, batch_size=100)


def small(make: Any, data: RatingDataModule, **arguments: Any) -> MatrixFactorization:
    chosen = {"embedding_dim": 4, "learning_rate": 0.02, "attribute_shrinkage": 1.0, "reg_lambda": 0.05}
    model = build(make, data, **chosen | arguments)
    assert isinstance(model, MatrixFactorization)
    return model


def of_rows(n_rows: int = 2) -> AttributeEffects:
    """Row 0 has attributes 0 and 2, row 1 none, and row 2 attribute 1."""
    table = Attributes(["a=1", "a=2", "b=1"], np.array([0, 2, 2, 3]), np.array([0, 2, 1], np.int32))
    effects = AttributeEffects.of_table(table, n_rows, 2)
    assert effects is not None
    with torch.no_grad():
        effects.embedding.copy_(torch.tensor([[1.0, 2], [10, 20], [100, 200]]))
        effects.bias.copy_(torch.tensor([0.1, 0.2, 0.4]))
    return effects


def test_a_row_has_the_sums_over_its_attributes() -> None:
    effects = of_rows()
    own = torch.tensor([[1.0, 1], [2, 3]], requires_grad=True)
    summed = effects.add_embeddings(own)
    assert summed.tolist() == [[102, 203], [2, 3]]
    torch.testing.assert_close(effects.add_biases(torch.tensor([1.0, 2])), torch.tensor([1.5, 2.0]))
    (summed * torch.tensor([[1.0, 2], [3, 4]])).sum().backward()
    assert own.grad is not None
    assert effects.embedding.grad is not None
    assert own.grad.tolist() == [[1, 2], [3, 4]]
    assert effects.embedding.grad.tolist() == [[1, 2], [0, 0], [1, 2]]
    assert effects.table().to_dense().tolist() == [[1, 0, 1], [0, 0, 0]]
    assert effects.table(fitted=False).to_dense().tolist() == [[0, 1, 0]]


@pytest.mark.parametrize("batch", [slice(0, 60), slice(0, 7)])
def test_the_penalty_of_attributes_counts_once_over_all_ratings(batch: slice) -> None:
    """Summed over the batches of an epoch, whose sizes differ, `attribute_shrinkage` comes once."""
    data = told("user")
    losses = []
    for shrinkage in (0.0, 3.0):
        model = small(MatrixFactorization, data, attribute_shrinkage=shrinkage)
        fit(model, data, epochs=1, limit_train_batches=0)
        users = model.user_attributes
        assert users is not None
        with torch.no_grad():
            users.embedding.fill_(0.5)
            users.bias.fill_(0.25)
        rows = data.fit_data.columns
        losses.append(model.training_terms(rows.user[batch], rows.item[batch])[1].item())
    squares = 3 * (4 * 4 * 0.25 + 16 * 0.0625)  # in units squared: a star is a unit here
    assert losses[1] - losses[0] == pytest.approx(3.0 * squares / len(data.fit_data), rel=1e-4)


@every_model
@pytest.mark.parametrize("side", ["user", "item"])
def test_attributes_say_what_someone_new_gives_and_what_a_new_item_gets(
    make: Any, arguments: dict[str, Any], side: str
) -> None:
    if not arguments.get("bias", True):
        pytest.skip("without biases the level of a kind is no product")
    data = told(side)
    model = small(make, data, **arguments)
    fit(model, data, epochs=30)
    bundle, rows = make_bundle(model, data), data.dataset.ratings.iloc[data.split.test]
    known = {name: rows[name].tolist() for name in ("user_id", "item_id")}
    stranger = known | {f"{side}_id": [4711] * len(rows)}
    errors = [np.sqrt(np.mean((bundle.predict(*ids.values()) - rows["rating"]) ** 2)) for ids in (known, stranger)]
    assert errors[0] < 0.5 < 0.7 < errors[1]


@every_model
def test_a_new_user_s_row_is_the_ridge_regression_of_the_fitted_rows(make: Any, arguments: dict[str, Any]) -> None:
    data = told("user")
    model = small(make, data, **arguments)
    fit(model, data, epochs=3)
    bundle, table = make_bundle(model, data), data.user_attributes()
    assert table is not None
    f, n = bundle.factors, len(data.users)
    features = table.dense()[:n].astype(np.float64)
    rows = np.column_stack([f.user_factors[:, 0], f.user_bias])
    gram = features.T @ features + COLD_START_PENALTY * np.eye(3)
    effects = np.linalg.solve(gram, features.T @ (rows - rows.mean(0)))
    expected = rows.mean(0) + (table.dense()[n] - features.mean(0)) @ effects
    found = bundle.vector(n)
    np.testing.assert_allclose(np.append(found.factors[0], found.bias), expected, atol=1e-4)


@every_model
def test_the_prior_of_a_user_with_attributes_is_the_sum_of_their_embeddings(
    make: Any, arguments: dict[str, Any]
) -> None:
    """Of someone whose own embedding is zero, prior mean and fitted row are the same."""
    data = told("user")
    model = small(make, data, **arguments)
    fit(model, data, epochs=3)
    with torch.no_grad():
        model.user_embedding[0] = 0
        model.user_bias[0] = 0
        if isinstance(model, SVDPlusPlus):
            model.item_implicit.zero_()
    f, table = model.factors(), data.user_attributes()
    assert table is not None
    mean = fold_in(f, np.zeros(0, np.int64), np.zeros(0, np.float32), table.of(0).astype(np.int64)).mean[0]
    np.testing.assert_allclose(mean, np.append(f.user_factors[0, 0], f.user_bias[0]), atol=1e-5)


@every_model
def test_a_checkpoint_brings_the_attributes_back_without_the_data(
    make: Any, arguments: dict[str, Any], tmp_path: Path
) -> None:
    data = told("item")
    model = small(make, data, **arguments)
    fit(model, data, epochs=2).save_checkpoint(tmp_path / "model.ckpt")
    again = type(model).load_from_checkpoint(tmp_path / "model.ckpt", weights_only=True)
    assert again.item_attributes is not None
    before, after = model.factors(), again.factors()
    assert before.item_bias.shape == (60, 1)
    np.testing.assert_array_equal(after.item_bias, before.item_bias)
    np.testing.assert_array_equal(after.item_attribute_effects, before.item_attribute_effects)


@every_model
def test_a_checkpoint_of_a_version_without_attributes_has_none(
    make: Any, arguments: dict[str, Any], tmp_path: Path
) -> None:
    """And a run that it interrupted goes on without."""
    data = told("user")
    old, rest = (small(make, data, attributes=False, **arguments), small(make, data, **arguments))
    fit(old, data, epochs=1).save_checkpoint(tmp_path / "new.ckpt")
    saved = torch.load(tmp_path / "new.ckpt", weights_only=True)
    for name in ("attributes", "attribute_shrinkage"):
        del saved["hyper_parameters"][name]
    torch.save(saved, tmp_path / "old.ckpt")
    fit(rest, data, epochs=2, resume=tmp_path / "old.ckpt")
    assert rest.user_attributes is None
    assert rest.factors().attribute_effects is None


@every_model
def test_data_without_attributes_give_the_model_without_them(make: Any, arguments: dict[str, Any]) -> None:
    data = small_data(random_ratings(150, 20, 15), test_fraction=0.2)
    with_, without = (small(make, data, attributes=chosen, **arguments) for chosen in (True, False))
    for model in (with_, without):
        fit(model, data, epochs=2)
    for name, array in without.state_dict().items():
        assert torch.equal(array, with_.state_dict()[name]), name
    assert len(with_.state_dict()) == len(without.state_dict())
    assert with_.factors().cold_start_mean is None
