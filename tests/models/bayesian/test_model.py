"""BayesianMF as a whole: what it recovers, what it keeps and resumes, and what its bundle says of whom."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import pandas as pd
import pytest
import torch
from lightning.pytorch.callbacks import LambdaCallback
from numpy.typing import NDArray

from recsys.bundle import Bundle
from recsys.data.datamodule import RatingDataModule
from recsys.models.bayesian.export import COLD_START_PENALTY
from recsys.models.bayesian.model import BayesianMF
from recsys.training.export import make_bundle
from tests.commands import call, write_ratings
from tests.small_data import SmallRatings, build, fit, frame, kinds, random_ratings, small_data

pytestmark = pytest.mark.long

Numbers = NDArray[np.float64]

KINDS: dict[str, dict[str, Any]] = {
    "gaussian": {"attributes": False},
    "ordinal": {"attributes": False, "likelihood": "ordinal"},
    "drift": {"attributes": False, "drift": 5.0},
    "attributes": {},
}
every_kind = pytest.mark.parametrize("kind", KINDS)


@cache
def noise(fit_on: str = "train") -> RatingDataModule:
    """Random stars by 20 users of 15 items, each of one of three kinds; some ids are in held-out rows only."""
    ratings = random_ratings(150, 20, 15)
    ratings = ratings[(ratings.user_id > 105) | (ratings.item_id < 1006)]
    return small_data(ratings, tables=kinds(ratings), test_fraction=0.2, fit_on=fit_on)


def small(data: RatingDataModule, **arguments: Any) -> BayesianMF:
    model = build(BayesianMF, data, **{"embedding_dim": 2, "burn_in": 2, "thin": 2} | arguments)
    assert isinstance(model, BayesianMF)
    return model


class Sweeps(LambdaCallback):
    """Notes, after every sweep, what its predictions are made of, and the figure that is logged."""

    def __init__(self, model: BayesianMF) -> None:
        super().__init__(on_train_epoch_end=self.note)
        self.model, self.sweeps, self.figures = model, list[dict[str, Numbers]](), list[float]()

    def note(self, trainer: Any, _: Any) -> None:
        model = self.model
        tensors = model.chain | {"users": model._drifted(), "items": model.item_rows, "mu": model.mu}
        for side, prior in zip(("user", "item"), model.priors, strict=True):
            tensors |= {f"{side} {name}": value for name, value in prior.state.items()}
        self.sweeps.append({name: value.double().numpy().copy() for name, value in tensors.items()})
        self.figures.append(float(trainer.callback_metrics.get("val/rmse", float("nan"))))


def with_mean(rows: Numbers, row: NDArray[np.int64]) -> Numbers:
    """These rows; for -1 their mean."""
    return np.asarray(np.concatenate([rows, rows.mean(0, keepdims=True)])[row])


def stars(sweep: dict[str, Numbers], user: NDArray[np.int64], item: NDArray[np.int64]) -> Numbers:
    """What a sweep predicts, within the scale."""
    p, q = with_mean(sweep["users"], user), with_mean(sweep["items"], item)
    linear = sweep["mu"] + p[:, -1] + q[:, -1] + (p[:, :-1] * q[:, :-1]).sum(1)
    if "levels" not in sweep:
        return np.asarray(linear.clip(1, 5))
    precision = sweep["precision"] * np.append(sweep["user_precision"], 1)[user]
    precision = precision * np.append(sweep["item_precision"], 1)[item]
    z = (sweep["thresholds"] - linear[:, None]) * np.sqrt(precision)[:, None]
    below = torch.special.ndtr(torch.from_numpy(z)).numpy()
    return np.asarray(np.diff(below, prepend=0, append=1) @ sweep["levels"])


@cache
def swept(kind: str, burn_in: int = 3, epochs: int = 9) -> tuple[BayesianMF, Sweeps]:
    """A model after so many sweeps of `noise`, which no test changes, and its notes."""
    model = small(noise(), burn_in=burn_in, **KINDS[kind])
    notes = Sweeps(model)
    fit(model, noise(), epochs=epochs, callbacks=[notes])
    return model, notes


def pairs(data: RatingDataModule) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Every fitted user with every fitted item."""
    user, item = np.divmod(np.arange(len(data.users) * len(data.items)), len(data.items))
    return user, item


def kept(model: BayesianMF) -> list[dict[str, NDArray[np.float32]]]:
    assert model.samples is not None
    return [model.samples[number] for number in range(len(model.samples))]


@cache
def recovered(seed: int = 0) -> tuple[BayesianMF, Numbers, NDArray[np.float32], NDArray[np.bool_]]:
    """A model fitted to ratings drawn from it, on a scale too wide to matter.

    Also the truth of the linear part of every cell, 120 samples of it, `(cells, 120)`, and which cells were rated.
    """
    rng = np.random.default_rng(seed)
    n, m = 200, 150
    p, q = rng.normal(0.3, 1.5, (n, 2)), rng.normal(-0.2, 1.5, (m, 2))
    truth = (50 + rng.normal(0, 2, (n, 1)) + rng.normal(0, 1, m) + p @ q.T).ravel()
    cells = np.sort(rng.choice(n * m, 12_000, replace=False))
    ratings = frame(cells // m, cells % m, truth[cells] + rng.normal(0, 2, len(cells)))
    data = RatingDataModule(SmallRatings(ratings, 0.0, 100.0), split="random", fit_on="all")
    data.setup()
    model = small(data, implicit=False, noise_shape=0.0, burn_in=30, thin=1)
    fit(model, data, epochs=150, limit_val_batches=0)
    samples = model.factors().predict(*np.divmod(np.arange(n * m), m))
    return model, truth, samples, np.isin(np.arange(n * m), cells)


def test_the_posterior_mean_is_far_closer_to_the_truth_than_the_ratings() -> None:
    _, truth, samples, rated = recovered()
    error = samples.mean(1) - truth
    assert samples.shape[1] == 120
    assert np.sqrt((error[~rated] ** 2).mean()) < 0.7  # with a noise of 2, and a spread of 4 from cell to cell
    assert np.sqrt((error[rated] ** 2).mean()) < 0.65
    assert abs(error.mean()) < 0.06


def test_the_precision_of_the_noise_is_recovered() -> None:
    model = recovered()[0]
    precision = np.array([sample["precision"] for sample in kept(model)])
    assert precision.mean() == pytest.approx(0.25, rel=0.05)
    assert precision.std() == pytest.approx(0.25 * (2 / 12_000) ** 0.5, rel=0.3)


@pytest.mark.parametrize("share", [0.5, 0.9])
def test_posterior_intervals_hold_the_truth_as_often_as_they_say(share: float) -> None:
    _, truth, samples, rated = recovered()
    low, high = np.quantile(samples[~rated], [(1 - share) / 2, (1 + share) / 2], axis=1)
    held = (low < truth[~rated]) & (truth[~rated] < high)
    assert held.mean() == pytest.approx(share, abs=0.03)  # three standard errors: cells share a thousand numbers


@pytest.mark.parametrize(("kind", "place"), [*((kind, "file") for kind in KINDS), ("attributes", "memory")])
def test_a_chain_that_was_cut_off_goes_on_bit_by_bit(kind: str, place: str, tmp_path: Path) -> None:
    whole, first = swept(kind)
    half, rest = (small(noise(), burn_in=3, **KINDS[kind]) for _ in range(2))
    second, file = Sweeps(rest), tmp_path / "samples_train.bin"
    if place == "file":
        for model in (half, rest):
            model.set_artifact_dir(tmp_path, "train")
    fit(half, noise(), epochs=7).save_checkpoint(tmp_path / "half.ckpt")
    assert len(kept(half)) == 2
    if place == "file":  # what a run leaves that ends between a sample and its checkpoint
        assert torch.load(tmp_path / "half.ckpt", weights_only=True)["chain"]["memory"] == []
        size = file.stat().st_size
        file.write_bytes(file.read_bytes() + b"\1" * (size // 2 + 5))
    fit(rest, noise(), epochs=9, callbacks=[second], resume=tmp_path / "half.ckpt")
    assert len(kept(rest)) == 3
    for one, other in zip((*first.sweeps[7:], *kept(whole)), (*second.sweeps, *kept(rest)), strict=True):
        assert one.keys() == other.keys()
        for name in one:
            np.testing.assert_array_equal(one[name], other[name], err_msg=name)
    assert first.figures[7:] == second.figures
    if place == "file":
        assert file.stat().st_size == size // 2 * 3


def test_the_file_grows_by_a_sample_in_thin_sweeps(tmp_path: Path) -> None:
    model, sizes, file = small(noise(), burn_in=3, thin=2), [], tmp_path / "samples_train.bin"
    model.set_artifact_dir(tmp_path, "train")
    note = LambdaCallback(on_train_epoch_end=lambda *_: sizes.append(file.stat().st_size if file.exists() else 0))
    fit(model, noise(), epochs=10, callbacks=[note])
    assert model.samples is not None
    record = 4 * model.samples.length
    assert [size / record for size in sizes] == [0, 0, 0, 0, 1, 1, 2, 2, 3, 3]


def test_another_fit_forgets_the_samples_of_the_first(tmp_path: Path) -> None:
    model = small(noise())
    model.set_artifact_dir(tmp_path, "train")
    fit(model, noise(), epochs=8)
    fit(model, noise(), epochs=6)
    assert len(kept(model)) == 2


@pytest.mark.parametrize(("epochs", "burn_in"), [(1, 0), (10, 2), (20, 4), (100, 20), (400, 20), (-1, 20)])
def test_burn_in_follows_the_length_of_the_chain_unless_it_is_set(epochs: int, burn_in: int) -> None:
    for given, expected in ((None, burn_in), (20, 20), (0, 0)):
        model = small(noise(), burn_in=given)
        model.trainer = lightning.Trainer(max_epochs=epochs, accelerator="cpu", logger=False)
        model.setup("fit")
        assert model.burn_in == expected


def test_a_short_chain_is_not_all_burn_in() -> None:
    model = small(noise(), burn_in=None, thin=1)
    fit(model, noise(), epochs=10)
    assert model.factors().samples == 8


@pytest.mark.parametrize(("kind", "burn_in"), [*((kind, 3) for kind in KINDS), ("attributes", 0)])
def test_validation_is_of_the_sweep_and_from_burn_in_on_of_the_running_mean(kind: str, burn_in: int) -> None:
    """What Lightning predicts before the first sweep, to see whether it can, does not count."""
    _, notes = swept(kind, burn_in)
    user, item, rating = (column.numpy() for column in noise().rows(noise().split.val).columns)
    assert item.min() == -1
    predicted = [stars(sweep, user, item) for sweep in notes.sweeps]
    for epoch, figure in enumerate(notes.figures):
        expected = predicted[epoch] if epoch < burn_in else np.mean(predicted[burn_in : epoch + 1], 0)
        error = expected - (1 + 4 * rating.astype(np.float64))
        assert figure == pytest.approx(np.sqrt((error**2).mean()), rel=1e-5), epoch


@every_kind
@pytest.mark.parametrize(("epochs", "counted"), [(9, [4, 6, 8]), (4, [3])], ids=["samples", "none yet"])
def test_a_bundle_predicts_the_mean_over_the_sweeps_that_are_kept(kind: str, epochs: int, counted: list[int]) -> None:
    """One in two after the third; where there is none yet, the last one."""
    data, (model, notes) = noise(), swept(kind, epochs=epochs)
    bundle = make_bundle(model, data)
    assert bundle.manifest["samples"] == len(counted)
    assert bundle.manifest["link"] == ("ordinal" if kind == "ordinal" else "identity")
    user, item = pairs(data)
    expected = np.mean([stars(notes.sweeps[number], user, item) for number in counted], 0)
    np.testing.assert_allclose(bundle.predict_rows(user, item), expected, atol=1e-5)
    np.testing.assert_allclose(model(torch.from_numpy(user), torch.from_numpy(item)), expected, atol=1e-5)


def test_drift_moves_what_comes_next_and_not_the_chain() -> None:
    rows = []
    for drift in (0.0, 5.0):
        model = small(noise(), drift=drift)
        fit(model, noise(), epochs=6)
        rows.append([sample["user_rows"] for sample in kept(model)])
    for without, drifted in zip(*rows, strict=True):
        np.testing.assert_array_equal(without[:, :-1], drifted[:, :-1])
        assert np.abs(without[:, -1] - drifted[:, -1]).min() > 0


@pytest.mark.parametrize("implicit", [True, False])
def test_a_user_s_fold_in_is_the_mean_that_each_sample_s_sweep_would_draw_around(implicit: bool) -> None:
    data = noise("all")
    model = small(data, noise_shape=0.0, implicit=implicit)
    notes = Sweeps(model)
    fit(model, data, epochs=8, callbacks=[notes], limit_val_batches=0)
    bundle, table = make_bundle(model, data), data.user_attributes()
    assert table is not None
    user, item, rating = (column.numpy() for column in data.fit_data.columns)
    for row in range(len(data.users)):
        mine = user == row
        vector = bundle.fold_in_user(row).vector
        found = bundle.factors.predict_rows_for(vector, np.arange(len(data.items)))
        for number, sweep in enumerate(notes.sweeps[3::2]):
            items, precision = sweep["items"], sweep["user precision"]
            mean = sweep["user mean"] + sweep["user attributes"][table.of(row)].sum(0)
            if implicit:
                mean = mean + sweep["user implicit"][item[mine]].sum(0) / np.sqrt(mine.sum())
            design = np.column_stack([items[:, :-1], np.ones(len(items))])
            level = sweep["mu"] + items[:, -1]
            system = np.diag(precision) + sweep["precision"] * design[item[mine]].T @ design[item[mine]]
            surprise = 1 + 4 * rating[mine] - level[item[mine]]
            rhs = precision * mean + sweep["precision"] * design[item[mine]].T @ surprise
            expected = level + design @ np.linalg.solve(system, rhs)
            np.testing.assert_allclose(found[:, number], expected, atol=1e-3)


def told(side: str) -> RatingDataModule:
    """Ratings of which the kinds of user and item say nearly all; the last users, or items, are never rated before.

    Two stars lie between kinds that go together and kinds that do not; half a star is each one's own, or noise.
    """
    rng = np.random.default_rng(0)
    n, m = (60, 40) if side == "user" else (40, 60)
    first, second = np.divmod(np.arange(60 * 40), 40)
    user, item = (first, second) if side == "user" else (second, first)
    own = rng.normal(0, 0.3, n)[user] + rng.normal(0, 0.3, m)[item] + rng.normal(0, 0.3, len(user))
    ratings = frame(user, item, (2.5 + 2 * (user % 3 == item % 3) + own).clip(1, 5)).astype({"rating": np.float32})
    return small_data(ratings, tables=kinds(ratings), split="global_time", test_fraction=0.1)


@pytest.mark.parametrize("side", ["user", "item"])
def test_attributes_tell_more_of_someone_new_than_that_they_are_new(side: str) -> None:
    data = told(side)
    model = small(data, embedding_dim=4, burn_in=10, thin=2)
    fit(model, data, epochs=30)
    bundle, rows = make_bundle(model, data), data.dataset.ratings.iloc[data.split.test]
    cold = np.setdiff1d(rows[f"{side}_id"], getattr(data, f"{side}s").values)
    assert len(cold) == 6
    known = {name: rows[name].tolist() for name in ("user_id", "item_id")}
    stranger = known | {f"{side}_id": [4711] * len(rows)}
    errors = [
        np.sqrt(np.mean((bundle.predict(*ids.values()) - rows["rating"]) ** 2)) for ids in (known, stranger)
    ]  # fmt: skip
    assert errors[0] < 0.6
    assert errors[1] > 0.9


def test_attributes_that_say_nothing_hardly_move_someone_new() -> None:
    rng = np.random.default_rng(0)
    user, item = np.divmod(np.arange(90 * 30), 30)
    own = rng.normal(0, 0.5, 90)[user] + rng.normal(0, 0.5, 30)[item] + rng.normal(0, 0.5, len(user))
    ratings = frame(user, item, (3 + own).clip(1, 5)).astype({"rating": np.float32})
    tables = kinds(ratings)
    tables["users"]["kind"] = rng.integers(0, 30, 90)  # of three users each
    data = small_data(ratings, tables=tables, split="global_time", test_fraction=0.1)
    model = small(data, embedding_dim=4, burn_in=10, thin=2)
    fit(model, data, epochs=30)
    rows = data.dataset.ratings.iloc[data.split.test]
    rows = rows[~rows["user_id"].isin(data.users.values)]
    assert len(rows) == 270
    bundle, items = make_bundle(model, data), rows["item_id"].tolist()
    known, stranger = (bundle.predict(ids, items) for ids in (rows["user_id"].tolist(), [4711] * len(rows)))
    assert np.sqrt(np.mean((known - stranger) ** 2)) < 0.04  # stars; 0.07 by the sampler's own prior


def test_someone_of_whom_only_attributes_are_known_has_the_newcomers_row() -> None:
    data = told("user")
    model = small(data)
    notes = Sweeps(model)
    fit(model, data, epochs=10, callbacks=[notes])
    bundle, table = make_bundle(model, data), data.user_attributes()
    assert table is not None
    user, every = len(data.users), np.arange(len(data.items))
    expected = []
    for sample, sweep in zip(kept(model), notes.sweeps[3::2], strict=True):
        row = sample["cold_start_mean"] + sample["cold_start_effects"][table.of(user)].sum(0)
        items = sample["item_rows"]
        linear = float(model.mu) + row[-1] + items[:, -1] + items[:, :-1] @ row[:-1] + sample["cold_start_items"]
        expected.append(linear.clip(1, 5))
        # The ridge regression of the fitted users' rows on what is known of them.
        features, rows = table.dense()[:user].astype(np.float64), sample["user_rows"].astype(np.float64)
        ratio = COLD_START_PENALTY * sweep["user attributes_precision"] / sweep["user precision"]
        for c in range(rows.shape[1]):
            system = features.T @ features + ratio[c] * np.eye(features.shape[1])
            effects = np.linalg.solve(system, features.T @ (rows[:, c] - rows[:, c].mean()))
            np.testing.assert_allclose(sample["cold_start_effects"][:, c], effects, atol=1e-4)
    found = bundle.predict_rows(np.full(len(every), user), every)
    np.testing.assert_allclose(found, np.mean(expected, 0), atol=1e-4)


def test_an_item_that_nobody_rated_has_the_row_that_its_attributes_say() -> None:
    data = told("item")
    model = small(data, thin=1)
    notes = Sweeps(model)
    fit(model, data, epochs=8, callbacks=[notes])
    table, bundle = data.item_attributes(), make_bundle(model, data)
    assert table is not None
    fitted, more = len(data.items), len(table) - len(data.items)
    assert (bundle.n_items, more) == (60, 11)
    user, item, _ = (column.numpy() for column in data.fit_data.columns)
    for sample, sweep in zip(kept(model), notes.sweeps[2:], strict=True):
        count = np.bincount(item, minlength=fitted)
        said = np.zeros((fitted, 3))
        np.add.at(said, item, sweep["item implicit"][user] / np.sqrt(count[item])[:, None])
        mean = sweep["item mean"] + said.mean(0)
        expected = mean + table.dense()[fitted:] @ sweep["item attributes"]
        np.testing.assert_allclose(sample["item_rows"][:fitted], sweep["items"], rtol=1e-6)
        np.testing.assert_allclose(sample["item_rows"][fitted:], expected, atol=1e-4)


def test_a_run_keeps_its_samples_out_of_its_checkpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECSYS_CACHE", str(tmp_path / "cache"))
    write_ratings(tmp_path / "data" / "ratings.csv")
    folder = tmp_path / "run"
    call(
        "train", "model=bayesian_mf", "data=tabular", f"data.root={tmp_path / 'data'}",
        "data.timestamp_column=timestamp", "data.rating_min=1", "data.rating_max=5", "model.embedding_dim=4",
        "model.burn_in=4", "model.thin=2", "trainer.max_epochs=14", f"hydra.run.dir={folder}",
    )  # fmt: skip
    found, curve = json.loads((folder / "metrics.json").read_text()), pd.read_csv(folder / "metrics.csv")
    assert found["epochs"] == len(curve) == 14  # the last sweep is the best, whatever validation says
    assert found["val/rmse"] == pytest.approx(curve["val/rmse"].iloc[-1])
    assert found["test/rmse"] < found["baseline/biases"]
    for name, fit_on in (("best", "train"), ("last", "train"), ("refit_train_val", "train_val")):
        chain = torch.load(folder / "checkpoints" / f"{name}.ckpt", weights_only=True)["chain"]
        assert (chain["memory"], chain["samples"]) == ([], 5)
        assert (folder / "checkpoints" / f"samples_{fit_on}.bin").stat().st_size > 0
    bundle = Bundle.load(folder / "bundle")
    assert bundle.factors.samples == 5
    mean, std = bundle.predict([7, 4711], [101, 102], return_std=True)
    assert np.isfinite(mean).all()
    assert (std > 0.1).all()
