"""Contract of all models: a new model adds its line to MODELS."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import pytest
import torch
from hydra.utils import get_class
from omegaconf import OmegaConf

from recsys.bundle import TRAIN
from recsys.data.datamodule import RatingDataModule
from recsys.experiments.configuration import config_dir
from recsys.models.als import ALS
from recsys.models.attention.model import Attention
from recsys.models.autorec import AutoRec
from recsys.models.base import RatingModel
from recsys.models.bayesian.model import BayesianMF
from recsys.models.biases import BiasModel
from recsys.models.ease import EASE
from recsys.models.gradient import GradientModel
from recsys.models.ials import ImplicitALS
from recsys.models.item_knn import ItemKNN
from recsys.models.mf import MatrixFactorization
from recsys.models.popularity import DecayedPopularity, PopularityModel, RecentPopularity
from recsys.models.ranking import RankingModel
from recsys.models.slit import SLIT
from recsys.models.svdpp import SVDPlusPlus
from recsys.training.export import make_bundle
from tests.bundles import trained_and_folded, trained_and_folded_items
from tests.small_data import SmallRatings, build, bundle_of, checkerboard, fit, frame, kinds, random_ratings, small_data

pytestmark = pytest.mark.long

Make = Callable[..., RatingModel]

MODELS: dict[str, Make] = {
    "mf": MatrixFactorization,
    "mf-batch-norm": partial(MatrixFactorization, batch_norm=True),
    "mf-dropout-no-bias": partial(MatrixFactorization, dropout=0.2, bias=False),
    "svdpp": SVDPlusPlus,
    "autorec": AutoRec,
    "als": ALS,
    "biases": BiasModel,
    "bayesian_mf": BayesianMF,
    "bayesian_mf-plain": partial(BayesianMF, attributes=False, implicit=False, noise_shape=0.0),
    "bayesian_mf-ordinal": partial(BayesianMF, likelihood="ordinal"),
    "ials": ImplicitALS,
    "ials-cholesky": partial(ImplicitALS, solver="cholesky"),
    "popularity": PopularityModel,
    "recent_popularity": RecentPopularity,
    "decayed_popularity": DecayedPopularity,
    "ease": EASE,
    "slit": SLIT,
    "item_knn": ItemKNN,
    "attention": Attention,
    "attention-query-time": partial(Attention, query_time=True),
    "attention-rating": partial(Attention, task="rating"),
}

DATA = ("n_users", "n_items", "rating_min", "rating_max")  # taken from the data, not chosen
SMALL = {"embedding_dim": 4, "heads": 1, "learning_rate": 0.03, "burn_in": 1, "thin": 1}  # those that a model has
# Other values of arguments, where not those of `changed`, and the arguments under which they must make a difference.
SCHEDULE = ("plateau_factor", "plateau_patience", "plateau_min_lr", "lr_schedule")
PLATEAUS = {"learning_rate": 0.7, "plateau_patience": 0, "plateau_factor": 0.5}
CHANGES: dict[str, tuple[Any, dict[str, Any]]] = {
    "embedding_dim": (8, {}),
    "dropout": (0.5, {}),
    "batch_norm": (None, {}),  # None: the opposite
    "bias": (None, {}),
    "bias_init": ("zero", {}),
    "embedding_std": (0.2, {}),
    "reg_lambda": (0.5, {}),
    "reg_exponent": (0.25, {"reg_lambda": 0.5}),
    "bias_reg_lambda": (0.5, {"bias": True}),
    "bias_shrinkage": (50.0, {"bias": True}),
    "implicit_reg_lambda": (0.5, {}),
    "implicit_lr_factor": (1.0, {}),
    "unobserved_weight": (0.4, {}),
    "solver": ("cholesky", {"solver": "conjugate_gradient"}),
    "cg_steps": (4, {"solver": "conjugate_gradient"}),
    "penalty": ("sum", {}),
    "learning_rate": (0.01, {}),
    "plateau_factor": (0.1, PLATEAUS),
    "plateau_patience": (9, PLATEAUS),
    "plateau_min_lr": (0.6, PLATEAUS),
    "lr_schedule": ("onecycle", {}),
    "attributes": (None, {}),
    "attribute_shrinkage": (0.0, {}),
    "implicit": (None, {}),
    "likelihood": ("ordinal", {"likelihood": "gaussian"}),
    "noise_shape": (3.0, {}),
    "drift": (5.0, {}),
    "drift_shrinkage": (1.0, {"drift": 5.0}),
    "burn_in": (2, {}),
    "thin": (2, {}),
    "window": (0.0005, {}),  # days, of which the small data have a part of one
    "half_life": (0.0005, {}),
    "neighbours": (3, {}),
    "blocks": (1, {}),
    "heads": (2, {"embedding_dim": 8}),
    "max_length": (3, {"max_length": 20}),
    "times": (None, {"query_time": False}),
    "query_time": (None, {}),
    "bfloat16": (True, {"bfloat16": False}),
    "task": ("rating", {"task": "ranking"}),
    "negatives": (3, {"negatives": 0}),
    "seed": (1, {}),
}
OF_ANOTHER_TASK = {"attention-rating": ("attributes", "negatives")}
# Values outside the range, where not those of `out_of_range`, and the range as the message words it.
WRONG: dict[str, tuple[list[Any], str]] = {
    "n_users": ([0, -1], ">= 1"),
    "n_items": ([0], ">= 1"),
    "rating_min": ([5.0, 9.0, float("nan")], "rating_max must be > rating_min = "),
    "rating_max": ([1.0, 0.0, float("nan")], "> rating_min = 1.0"),
    "embedding_dim": ([0, -3], ">= 1"),
    "dropout": ([-0.1, 1.0, 1.5, float("nan")], r"in \[0.0, 1.0\)"),
    "batch_norm": ([], ""),
    "bfloat16": ([], ""),
    "bias": ([], ""),
    "bias_init": (["random", None], "one of zero, mean"),
    "embedding_std": ([-0.1, float("nan"), float("inf")], ">= 0.0"),
    "reg_lambda": ([-1e-9, float("nan"), float("inf")], ">=? 0"),
    "reg_exponent": ([-0.1, 1.1, float("nan")], r"in \[0.0, 1.0\]"),
    "bias_reg_lambda": ([-1e-9, float("nan"), float("inf")], ">= 0.0"),
    "bias_shrinkage": ([-1e-9, float("nan"), float("inf")], ">= 0.0"),
    "implicit_reg_lambda": ([-1e-9, float("nan")], ">= 0.0"),
    "implicit_lr_factor": ([0.0, 1.5, float("nan")], r"in \(0, 1\]"),
    "unobserved_weight": ([0.0, 1.0, -0.1, float("nan")], r"in \(0, 1\)"),
    "cg_steps": ([0, -1], ">= 1"),
    "penalty": (["max"], "one of mean, sum"),
    "learning_rate": ([0.0, -1.0, float("nan"), float("inf")], "> 0"),
    "plateau_factor": ([0.0, 1.0, float("nan")], r"in \(0, 1\)"),
    "plateau_patience": ([-1], ">= 0"),
    "plateau_min_lr": ([-1.0, float("nan"), float("inf")], ">= 0.0"),
    "lr_schedule": (["linear", None], "one of plateau, onecycle, cosine"),
    "attributes": ([], ""),
    "attribute_shrinkage": ([-1e-9, float("nan"), float("inf")], ">= 0.0"),
    "implicit": ([], ""),
    "likelihood": (["probit", None], "one of gaussian, ordinal"),
    "noise_shape": ([-0.1, float("nan"), float("inf")], ">= 0.0"),
    "drift": ([-1.0, float("nan"), float("inf")], ">= 0.0"),
    "drift_shrinkage": ([-1.0, float("nan"), float("inf")], ">= 0.0"),
    "burn_in": ([-1], ">= 0"),
    "thin": ([0], ">= 1"),
    "warm_start": ([], ""),
    "base": ([], ""),
    "window": ([0.0, -1.0, float("nan")], "> 0"),
    "half_life": ([0.0, -1.0, float("nan"), float("inf")], "> 0"),
    "history_half_life": ([0.0, -1.0, float("nan"), float("inf")], "> 0"),
    "neighbours": ([0], ">= 1"),
    "blocks": ([0], ">= 1"),
    "heads": ([0], ">= 1"),
    "max_length": ([0], ">= 1"),
    "times": ([], ""),
    "query_time": ([], ""),
    "task": (["stars"], "one of ranking, rating"),
    "negatives": ([-1], ">= 0"),
    "shrinkage": ([-0.1, float("nan"), float("inf")], ">= 0.0"),
    "max_items": ([0, 3], ">= "),
    "seed": ([-1], ">= 0"),
}


def arguments_of(make: Make) -> dict[str, Any]:
    """Name and default of every argument that a user can choose."""
    return {n: p.default for n, p in inspect.signature(make).parameters.items() if n not in DATA}


def changed(name: str, default: Any) -> tuple[Any, dict[str, Any]]:
    """Another value of an argument, and the other arguments that it needs to make a difference."""
    if name in CHANGES:
        return CHANGES[name]
    if isinstance(default, bool):
        return not default, {}
    return (default + 1 if isinstance(default, int) else default / 2 or 0.5), {}


def out_of_range(name: str, default: Any) -> tuple[list[Any], str]:
    """Values of an argument outside its range, and a part of the message."""
    if name in WRONG:
        return WRONG[name]
    if isinstance(default, bool) or default is None:
        return [], ""
    return (["no such choice"], "one of") if isinstance(default, str) else ([-1, float("nan")], "")


def kind_of(make: Make) -> type[RatingModel]:
    kind = make.func if isinstance(make, partial) else make
    assert isinstance(kind, type)
    return kind


def task_of(make: Make) -> str:
    return str(arguments_of(make).get("task", kind_of(make).task))


CLASSES = {key.partition("-")[0]: make for key, make in reversed(MODELS.items())}  # the first model of each class
RATING_MODELS = {key: make for key, make in MODELS.items() if task_of(make) == "rating"}
RANKING_MODELS = {key: make for key, make in MODELS.items() if task_of(make) == "ranking"}
PLATEAU_MODELS = {key: make for key, make in CLASSES.items() if "plateau_factor" in arguments_of(make)}
GRADIENT_MODELS = {key: make for key, make in MODELS.items() if "learning_rate" in arguments_of(make)}
SWEEP_MODELS = {key: make for key, make in MODELS.items() if key not in GRADIENT_MODELS}
every_model, every_rating_model, every_ranking_model, every_plateau_model, every_sweep_model = (
    pytest.mark.parametrize("make", models.values(), ids=models)
    for models in (MODELS, RATING_MODELS, RANKING_MODELS, PLATEAU_MODELS, SWEEP_MODELS)
)


def small(make: Make, data: RatingDataModule, **arguments: Any) -> RatingModel:
    chosen = {name: value for name, value in SMALL.items() if name in arguments_of(make)}
    return build(make, data, **chosen | arguments)


@cache
def tastes() -> RatingDataModule:
    return small_data(checkerboard(), test_fraction=0.2)


@cache
def noise() -> RatingDataModule:
    """Random stars by 20 users of 15 items of unequal counts, with attributes; some ids are in held-out rows only."""
    ratings = random_ratings(150, 20, 15)
    ratings = ratings[(ratings.user_id > 105) | (ratings.item_id < 1006)]
    source = SmallRatings(ratings, **kinds(ratings))
    data = RatingDataModule(source, split="random", test_fraction=0.2, batch_size=40)
    data.setup()
    return data


def of_seed_3(make: Make) -> dict[str, int]:
    """A seed, where the model draws anything."""
    return {"seed": 3} if "seed" in arguments_of(make) else {}


@cache
def fitted(make: Make, **arguments: Any) -> tuple[RatingModel, lightning.Trainer]:
    """A model after four epochs of `noise`, which no test changes."""
    model = small(make, noise(), **of_seed_3(make), **arguments)
    return model, fit(model, noise(), epochs=4)


@cache
def fitted_to_tastes(make: Make, **arguments: Any) -> RatingModel:
    model = small(make, tastes(), **arguments)
    fit(model, tastes(), epochs=20, limit_val_batches=0)
    return model


def pairs(data: RatingDataModule) -> tuple[torch.Tensor, torch.Tensor]:
    """Every user row, and -1, with every item row, and -1."""
    rows = torch.cartesian_prod(torch.arange(-1, len(data.users)), torch.arange(-1, len(data.items)))
    return rows[:, 0], rows[:, 1]


@torch.no_grad()
def predictions(model: RatingModel, data: RatingDataModule) -> torch.Tensor:
    return model.eval()(*pairs(data))


@pytest.mark.parametrize(("key", "make"), MODELS.items(), ids=MODELS)
def test_its_name_is_that_of_its_yaml_file(key: str, make: Make) -> None:
    model = small(make, tastes())
    assert model.name == key.partition("-")[0]
    assert get_class(OmegaConf.load(config_dir() / "model" / f"{model.name}.yaml")._target_) is type(model)
    assert model.hparams.keys() == {*DATA, *arguments_of(make)}


@every_model
def test_forward_gives_a_float32_number_of_stars_for_every_pair(make: Make) -> None:
    model = small(make, tastes()).eval()
    user, item = pairs(tastes())
    predicted = model(user, item)
    assert predicted.shape == user.shape
    assert predicted.dtype == torch.float32
    assert predicted.isfinite().all()
    assert model(user[:1], item[:1]).shape == (1,)
    assert model(user[:0], item[:0]).shape == (0,)
    order = torch.randperm(len(user), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(model(user[order], item[order]), predicted[order])


@every_rating_model
def test_it_learns_two_tastes(make: Make) -> None:
    if "embedding_dim" not in arguments_of(make):
        pytest.skip("ranks alike for all users")
    data, model = tastes(), fitted_to_tastes(make)
    rows = data.rows(data.split.test).columns
    with torch.no_grad():
        predicted = model.eval()(rows.user, rows.item)
    likes = rows.rating > 0.5
    assert len(likes) == 96
    assert ((predicted > 3) == likes).all()
    assert predicted[likes].mean() - predicted[~likes].mean() > 2
    for user, taste in ((100, 0), (101, 1)):
        top = bundle_of(model, data).recommend(user, 5)
        assert {int(entry.item_id) % 2 for entry in top} == {taste}


@every_rating_model
def test_it_learns_fifty_random_ratings_by_heart(make: Make) -> None:
    if not {"embedding_dim", "reg_lambda"} <= arguments_of(make).keys():
        pytest.skip("has no embeddings, or a penalty that no argument turns off")
    data = small_data(random_ratings(50, 12, 12), fit_on="all", batch_size=50)
    free = {
        "reg_lambda": 0.0,
        "bias_reg_lambda": 0.0,
        "dropout": 0.0,
        "embedding_dim": 16,
        "embedding_std": 0.3,
        "learning_rate": 0.05,
    }
    model = build(make, data, **{n: v for n, v in free.items() if n in arguments_of(make)})
    fit(model, data, epochs=80, limit_val_batches=0)
    rows = data.fit_data.columns
    with torch.no_grad():
        error = model.eval()(rows.user, rows.item) - (1 + 4 * rows.rating)
    assert error.square().mean().sqrt() < 0.2


@every_model
def test_a_checkpoint_brings_back_the_model(make: Make, tmp_path: Path) -> None:
    data, (model, trainer) = noise(), fitted(make)
    trainer.save_checkpoint(tmp_path / "model.ckpt")
    again = type(model).load_from_checkpoint(tmp_path / "model.ckpt", weights_only=True)
    assert torch.equal(predictions(again, data), predictions(model, data))
    assert not torch.equal(predictions(small(make, data, **of_seed_3(make)), data), predictions(model, data))
    assert again.hparams == model.hparams
    assert again.hparams.get("seed", 3) == 3


def schedules(key: str, make: Make) -> dict[str, dict[str, Any]]:
    """Arguments of the learning rate by a name; a variant shares what comes of the second with its class."""
    if "plateau_factor" not in arguments_of(make):
        return {"": {}}
    return {"plateau": PLATEAUS} | ({"onecycle": {"lr_schedule": "onecycle"}} if key in CLASSES else {})


@pytest.mark.parametrize(
    ("make", "schedule"),
    [
        pytest.param(make, schedule, id=f"{key}-{name}" if name else key)
        for key, make in MODELS.items()
        for name, schedule in schedules(key, make).items()
    ],
)
def test_a_seed_gives_one_model_bit_by_bit_whether_or_not_its_run_is_interrupted(
    make: Make, schedule: dict[str, Any], tmp_path: Path
) -> None:
    arguments = schedule | ({"dropout": 0.3} if "dropout" in arguments_of(make) else {})
    whole, _ = fitted(make, **arguments)
    half, rest = (small(make, noise(), **of_seed_3(make), **arguments) for _ in range(2))
    if isinstance(half, GradientModel):
        half.planned_epochs = 4
    torch.manual_seed(99)  # of no account
    fit(half, noise(), epochs=2).save_checkpoint(tmp_path / "half.ckpt")
    torch.manual_seed(100)
    fit(rest, noise(), epochs=4, resume=tmp_path / "half.ckpt")
    for name, array in whole.state_dict().items():
        assert torch.equal(array, rest.state_dict()[name]), name
    assert torch.equal(predictions(rest, noise()), predictions(whole, noise()))
    assert torch.equal(predictions(half, noise()), predictions(whole, noise())) == whole.one_epoch


@cache
def trained(make: Make, epochs: int, **arguments: Any) -> tuple[np.ndarray, list[float]]:
    """Predictions, and the learning rate after each epoch; with validation where that is after six."""
    model = small(make, noise(), **arguments)
    rates: list[float] = []
    step = model.on_train_epoch_end

    def record() -> None:
        step()
        rates.append(model.trainer.optimizers[0].param_groups[0]["lr"])

    model.on_train_epoch_end = record  # type: ignore[method-assign]
    fit(model, noise(), epochs=epochs, limit_val_batches=None if epochs == 6 else 0)
    return predictions(model, noise()).numpy(), rates


@pytest.mark.parametrize(
    ("make", "name"),
    [
        pytest.param(make, name, id=f"{key}-{name}")
        for key, make in MODELS.items()
        for name in arguments_of(make)
        if name
        not in ("warm_start", "max_items", "base")  # test_closed_form.py, test_item_weights.py, test_cross_fitting.py
        if name not in OF_ANOTHER_TASK.get(key, ())
        if key in CLASSES or name not in SCHEDULE  # which a variant has from its class
    ],
)
def test_every_argument_changes_the_result(make: Make, name: str) -> None:
    value, base = changed(name, arguments_of(make).get(name))
    base = {argument: chosen for argument, chosen in base.items() if argument in arguments_of(make)}
    value = not arguments_of(make)[name] if value is None else value
    epochs = 6 if name in SCHEDULE else 3
    before, after = trained(make, epochs, **base), trained(make, epochs, **base | {name: value})
    assert np.isfinite(after[0]).all()
    assert np.abs(before[0] - after[0]).max() > 1e-4


@every_plateau_model
def test_the_learning_rate_follows_the_plateau_arguments(make: Make) -> None:
    start = trained(make, 6)[1]
    assert start[0] == SMALL["learning_rate"]
    fast, slow = trained(make, 6, **PLATEAUS)[1], trained(make, 6, **PLATEAUS | {"plateau_patience": 9})[1]
    highest = PLATEAUS["learning_rate"]
    assert fast[-1] < highest
    assert {rate / highest for rate in fast} <= {0.5**n for n in range(7)}
    assert slow == [highest] * 6
    assert min(trained(make, 6, **PLATEAUS | {"plateau_min_lr": 0.6})[1]) == 0.6


@every_plateau_model
def test_the_learning_rate_follows_its_curve_to_the_end_of_the_epochs(make: Make) -> None:
    """Rates after each of six epochs: onecycle is highest after 30% of the steps, cosine halves after half of them."""
    onecycle, cosine = (trained(make, 6, lr_schedule=name)[1] for name in ("onecycle", "cosine"))
    highest = SMALL["learning_rate"]
    assert onecycle.index(max(onecycle)) == 1
    assert onecycle[1] == pytest.approx(highest, rel=0.05)
    assert onecycle[-1] < 0.01 * highest
    assert cosine[2] == pytest.approx(highest / 2)
    assert cosine[-1] == pytest.approx(0, abs=1e-9)
    assert cosine == sorted(cosine, reverse=True)


@pytest.mark.parametrize(
    ("make", "precision"),
    [
        pytest.param(make, precision, id=f"{key}-{precision}")
        for key, make in MODELS.items()
        for precision in ("bf16-mixed", "bf16-true", "64-true")
        if key in GRADIENT_MODELS or precision == "64-true"
    ],
)
def test_it_trains_in_every_precision_that_has_the_range(make: Make, precision: str) -> None:
    model = small(make, noise())
    fit(model, noise(), epochs=1, precision=precision)
    assert predictions(model, noise()).isfinite().all()


@every_sweep_model
def test_a_sweep_is_not_solved_in_half_precision(make: Make) -> None:
    with pytest.raises(ValueError, match=r"trainer\.precision must be .*32-true.*, got bf16-true"):
        fit(small(make, noise()), noise(), epochs=2, precision="bf16-true")


@every_sweep_model
def test_models_whose_sweeps_are_not_shared_have_one_device(make: Make) -> None:
    model = small(make, noise())
    if model.spans_processes:
        pytest.skip("its sweeps are shared")
    model.trainer = lightning.Trainer(accelerator="cpu", devices=2, strategy="ddp_spawn", logger=False)
    with pytest.raises(ValueError, match=r"trainer\.devices must be 1.*, got 2"):
        model.setup("fit")


def test_a_curve_needs_epochs_and_no_other_end() -> None:
    model = small(MODELS["mf"], noise(), lr_schedule="onecycle")
    with pytest.raises(ValueError, match=r"lr_schedule=onecycle needs trainer\.max_steps = -1, got 30"):
        fit(model, noise(), epochs=6, max_steps=30)


def test_a_curve_needs_to_know_the_number_of_epochs() -> None:
    with pytest.raises(ValueError, match=r"lr_schedule=cosine needs trainer\.max_epochs >= 1, got -1"):
        fit(small(MODELS["mf"], noise(), lr_schedule="cosine"), noise(), epochs=-1)


@every_rating_model
@pytest.mark.parametrize(("scale", "epochs"), [((1.0, 5.0), 0), ((0.5, 10.0), 3)], ids=["untrained", "trained"])
def test_the_bundle_predicts_as_the_model_does(make: Make, scale: tuple[float, float], epochs: int) -> None:
    data = noise()
    arguments = {"dropout": 0.4, "embedding_std": 0.3}
    known = {n: v for n, v in (SMALL | arguments).items() if n in arguments_of(make)}
    model = make(len(data.users), len(data.items), *scale, **known)
    model.init_from_data(data.fit_data)
    if epochs:
        fit(model, data, epochs=epochs)
    predicted = predictions(model, data)
    user, item = (column.numpy() for column in pairs(data))
    factors = model.factors()
    if factors.precision is None:  # else forward is the mean over samples of what they predict within the scale
        np.testing.assert_allclose(factors.predict(user, item)[:, 0], predicted, atol=1e-5)
    bundle = make_bundle(model, data)
    bundle.manifest["rating_scale"] = list(scale)
    unknown = -77
    users = [unknown if row < 0 else int(data.users.ids([row])[0]) for row in user]
    items = [unknown if row < 0 else int(data.items.ids([row])[0]) for row in item]
    # A model that knows its noise leaves it to the bundle what choosing an item says of someone never seen.
    same = user >= (-1 if factors.precision is None else 0)
    answered = np.asarray(bundle.predict(users, items))
    np.testing.assert_allclose(answered[same], predicted.clamp(*scale)[same], atol=1e-5)
    assert (user[:2].tolist(), item[:2].tolist()) == ([-1, -1], [-1, 0])
    if epochs or not model.history_length:  # a model of histories knows none before its training
        assert len({round(float(value), 4) for value in predicted}) > len(predicted) // 4


@every_model
def test_factors_are_centred_float32_of_the_documented_shapes(make: Make) -> None:
    data, (model, _) = noise(), fitted(make)
    f = model.factors()
    n_items, samples, dim = f.item_factors.shape  # those that were not fitted come last
    assert len(data.items) <= n_items <= len(set(data.dataset.ratings.item_id))
    shapes = {
        "mu": (samples,),
        "user_bias": (len(data.users), samples),
        "item_bias": (n_items, samples),
        "user_factors": (len(data.users), samples, dim),
        "item_factors": (n_items, samples, dim),
        "prior_mean": (samples, dim + 1),
        "prior_precision": (len(f.prior_exponent), samples, dim + 1, dim + 1),
        "prior_exponent": (len(f.prior_exponent),),
    }
    optional = {
        "item_implicit": (n_items, samples, dim + 1),
        "precision": (samples,),
        "user_precision": (len(data.users), samples),
        "item_precision": (n_items, samples),
        "levels": (5,),
        "thresholds": (samples, 4),
        "attribute_effects": (3, samples, dim + 1),
        "cold_start_mean": (samples, dim + 1),
        "cold_start_effects": (3, samples, dim + 1),
        "item_prior_mean": (samples, dim + 1),
        "user_implicit": (len(data.users), samples, dim + 1),
        "item_cold_start_mean": (samples, dim + 1),
    }
    shapes |= {name: shape for name, shape in optional.items() if getattr(f, name) is not None}
    for name, shape in shapes.items():
        array = getattr(f, name)
        assert array.shape == shape, name
        assert array.dtype == np.float32, name
        assert np.isfinite(array).all(), name
        if name in ("user_bias", "user_factors", "item_bias", "item_factors"):
            known = array[: len(data.items if name.startswith("item") else data.users)]
            np.testing.assert_allclose(known.mean(0), 0, atol=1e-5)
    assert ((f.prior_exponent >= 0) & (f.prior_exponent <= 1)).all()
    np.testing.assert_allclose(f.prior_precision, f.prior_precision.swapaxes(2, 3), rtol=1e-5)
    assert np.linalg.eigvalsh(f.prior_precision.sum(0).astype(np.float64)).min() > 0  # of a user with one rating


@pytest.mark.parametrize(
    ("make", "arguments"),
    [pytest.param(make, {}, id=key) for key, make in RATING_MODELS.items()]
    + [
        pytest.param(make, {"reg_exponent": 1.5 - exponent}, id=f"{key}-other-exponent")
        for key, make in CLASSES.items()
        if key in RATING_MODELS and (exponent := arguments_of(make).get("reg_exponent"))
    ],
)
@pytest.mark.parametrize("side", ["user", "item"])
def test_the_fold_in_of_a_row_s_ratings_is_the_row(make: Make, arguments: dict[str, Any], side: str) -> None:
    """Whoever, and whatever item, is folded in gets what training would have given: in rank, and in stars."""
    bundle = make_bundle(fitted_to_tastes(make, **arguments), tastes())
    if side == "item" and not bundle.can_fold_in_items:
        pytest.skip("has no prior of items")
    folded_items = trained_and_folded_items(bundle) if side == "item" else ()
    pairs = [*folded_items] or [(trained, folded) for trained, folded, _ in trained_and_folded(bundle)]
    correlations = [np.corrcoef(trained, folded)[0, 1] for trained, folded in pairs]
    assert min(correlations) > 0.98
    if bundle.factors.ordinal is not None:  # no star says how far beyond the last threshold a score lies
        return
    if side == "item" and kind_of(make) is AutoRec:  # encoded rather than fitted; a fold-in comes nearer to the ratings
        return
    assert np.sqrt(np.mean([(trained - folded) ** 2 for trained, folded in pairs])) < 0.2


@pytest.mark.parametrize(
    ("make", "name"),
    [
        pytest.param(make, name, id=f"{key}-{name}")
        for key, make in CLASSES.items()
        for name in (*DATA, *arguments_of(make))
        if out_of_range(name, arguments_of(make).get(name))[0]
    ],
)
def test_an_argument_out_of_range_is_named_with_its_value_and_range(make: Make, name: str) -> None:
    values, allowed = out_of_range(name, arguments_of(make).get(name))
    for value in values:
        with pytest.raises(ValueError, match=allowed or None) as error:
            make(**dict(zip(DATA, (3, 4, 1.0, 5.0), strict=True)) | {name: value})
        assert name in str(error.value)
        assert str(value) in str(error.value)
        assert "must be" in str(error.value)


@cache
def unvalidated() -> RatingDataModule:
    """Three ratings a user, of which `user_time` takes one for the test and none for validation."""
    ratings = frame(np.arange(60) % 20, np.arange(60) % 7, 1 + np.arange(60) % 5)
    data = small_data(ratings, split="user_time", batch_size=20)
    assert (len(data.split.train), len(data.split.val)) == (40, 0)
    return data


@pytest.mark.filterwarnings("ignore:ReduceLROnPlateau conditioned", "ignore:Total length of `DataLoader`")
@every_model
def test_training_works_without_validation_rows(make: Make) -> None:
    model = small(make, unvalidated())
    fit(model, unvalidated(), epochs=2)
    assert predictions(model, unvalidated()).isfinite().all()


@every_rating_model
def test_validation_and_test_figures_are_of_the_clipped_predictions(make: Make, tmp_path: Path) -> None:
    data, (original, trainer) = noise(), fitted(make)
    trainer.save_checkpoint(tmp_path / "model.ckpt")
    model = type(original).load_from_checkpoint(tmp_path / "model.ckpt", weights_only=True)
    trainer = lightning.Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False)
    with torch.no_grad():  # far out of the scale, so that clipping matters
        for parameter in model.parameters():
            parameter *= 3
    [found] = trainer.test(model, datamodule=data, verbose=False)
    [validated] = trainer.validate(model, datamodule=data, verbose=False)
    for name, rows in (("val", data.rows(data.split.val)), ("test", data.rows(data.split.test))):
        user, item, rating = rows.columns
        with torch.no_grad():
            predicted = model.eval()(user, item)
        assert (predicted > 5).any() or isinstance(model, BayesianMF)  # each of whose samples is clipped already
        stars = 1 + 4 * rating
        rmse = (predicted.clamp(1, 5) - stars).square().mean().sqrt().item()
        figures = validated if name == "val" else found
        assert figures[f"{name}/rmse"] == pytest.approx(rmse, rel=1e-5)
        if name == "val":
            assert validated["val/loss"] == pytest.approx((predicted - stars).square().mean().item(), rel=1e-5)
    cold = (data.rows(data.split.test).columns.user < 0) | (data.rows(data.split.test).columns.item < 0)
    assert found["test/share_cold"] == pytest.approx(cold.float().mean().item())


@cache
def liked() -> RatingDataModule:
    """The cells of two tastes that users like."""
    ratings = checkerboard()
    return small_data(ratings[ratings.rating > 3], test_fraction=0.2)


@every_ranking_model
def test_it_ranks_the_items_of_a_user_s_taste_first(make: Make) -> None:
    if issubclass(kind_of(make), PopularityModel):
        pytest.skip("ranks alike for all users")
    data = liked()
    dim = 4 if "heads" in arguments_of(make) else 2
    model = small(make, data, **{"embedding_dim": dim} if "embedding_dim" in arguments_of(make) else {})
    trainer = fit(model, data, epochs=20 if model.history_length else 10)
    assert float(trainer.callback_metrics[model.monitor.validation_key]) > 0.6
    bundle = make_bundle(model, data)
    for user, taste in ((100, 0), (101, 1)):
        if bundle.encoder is None:
            top = [entry.item_id for entry in bundle.recommend(user, 10, exclude_seen=False)]
        else:  # what comes next is never what was there before, so that only held-out items are to be expected
            entries = bundle.ratings.slice_of(bundle.user_row[user])
            fitted = bundle.ratings.part[entries] == TRAIN
            best, _ = bundle.top_n(bundle.vector(bundle.user_row[user]), 1, seen=bundle.ratings.item[entries][fitted])
            assert not fitted.all()
            top = [bundle.item_id(int(best[0]))]
        assert {int(item) % 2 for item in top} == {taste}


@every_ranking_model
def test_scores_are_those_of_the_bundle(make: Make) -> None:
    data, (model, _) = noise(), fitted(make)
    users = torch.arange(len(data.users))
    bundle = make_bundle(model, data)
    scores = bundle.scores_of(users.numpy(), bundle.ratings.part == TRAIN)
    assert isinstance(model, RankingModel)
    np.testing.assert_allclose(scores, model.scores(users).numpy(force=True), atol=1e-5)


@every_ranking_model
def test_the_fold_in_of_a_user_s_items_is_the_user_and_likewise_of_an_item(make: Make) -> None:
    model = small(make, liked())
    fit(model, liked(), epochs=40)
    bundle = make_bundle(model, liked())
    for trained_scores, folded_scores, _ in trained_and_folded(bundle):  # conjugate gradients come that near
        np.testing.assert_allclose(folded_scores, trained_scores, atol=5e-3)
    if not bundle.can_fold_in_items:
        return
    for trained_scores, folded_scores in trained_and_folded_items(bundle):  # sweeps end with the users
        np.testing.assert_allclose(folded_scores, trained_scores, atol=0.03)


@pytest.mark.parametrize("make", [m for m in CLASSES.values() if "bias_shrinkage" in arguments_of(m)])
def test_a_checkpoint_of_a_version_without_bias_shrinkage_has_none(make: Make, tmp_path: Path) -> None:
    model, trainer = fitted(make)
    trainer.save_checkpoint(tmp_path / "new.ckpt")
    saved = torch.load(tmp_path / "new.ckpt", weights_only=True)
    del saved["hyper_parameters"]["bias_shrinkage"]
    torch.save(saved, tmp_path / "old.ckpt")
    for name, expected in (("new", model.bias_shrinkage), ("old", 0.0)):
        again = type(model).load_from_checkpoint(tmp_path / f"{name}.ckpt", weights_only=True)
        assert again.bias_shrinkage == expected


@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("make", [CLASSES[name] for name in ("mf", "svdpp", "als")])
def test_a_checkpoint_of_a_version_without_the_items_weight_has_it_all_the_same(
    make: Make, exponent: float, tmp_path: Path
) -> None:
    model = small(make, noise(), reg_exponent=exponent)
    trainer = fit(model, noise(), epochs=1)
    trainer.save_checkpoint(tmp_path / "new.ckpt")
    saved = torch.load(tmp_path / "new.ckpt", weights_only=True)
    weight = saved["state_dict"].pop("item_single_rating_weight")
    torch.save(saved, tmp_path / "old.ckpt")
    again = type(model).load_from_checkpoint(tmp_path / "old.ckpt", weights_only=True)
    assert float(again.get_buffer("item_single_rating_weight")) == pytest.approx(float(weight), rel=1e-3)
