"""Small data sets whose right answers are known by construction, and one way to train on them."""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import pandas as pd
import pytest
import torch

import recsys.training.plots
from recsys.bundle import TEST, TRAIN, VAL, Bundle, UserRatings
from recsys.bundle.factors import Factors
from recsys.data.datamodule import RatingDataModule
from recsys.data.sources.base import RatingData, RatingsSource
from recsys.models.base import RatingModel
from tests.commands import quick_train, small_ratings, train, trained  # noqa: F401  (fixtures)

os.environ.setdefault("OMP_NUM_THREADS", "1")  # of what tests start: two that want all cores take many times as long
torch.set_num_threads(1)
warnings.filterwarnings("ignore", message=".*does not have many workers.*")
warnings.filterwarnings("ignore", message=".*number of training batches.*")


SHARED = Path(__file__).parents[2] / "shared" / "data"
# Of the bundle `small`: user 30 and item 99 are in the data but were not fitted.
USERS, ITEMS = [10, 20, 30], [7, 3, 5, 99]
RATED = [(0, 0, 4.0, 0), (0, 3, 2.0, 2), (1, 1, 1.0, 1), (2, 2, 5.0, 2)]
NAMES = ["Zoë", "李", "a|b"], ["ā", "", "x\ny", "🎬"]


class SmallRatings(RatingsSource):
    """A source that holds its frame."""

    name = "small"

    def __init__(
        self,
        ratings: pd.DataFrame,
        rating_min: float = 1.0,
        rating_max: float = 5.0,
        *,
        implicit: bool = False,
        users: pd.DataFrame | None = None,
        items: pd.DataFrame | None = None,
    ) -> None:
        self.ratings, self.users, self.items = ratings.reset_index(drop=True), users, items
        self.rating_min, self.rating_max, self.implicit = rating_min, rating_max, implicit
        self.reads = 0

    def prepare(self) -> None: ...

    def read(self) -> RatingData:
        self.reads += 1
        return RatingData(
            self.name, self.ratings, self.rating_min, self.rating_max, self.users, self.items, self.implicit
        )


def frame(user: Any, item: Any, rating: Any) -> pd.DataFrame:
    """A canonical ratings frame whose timestamps follow the rows."""
    columns = {"user_id": user, "item_id": item, "rating": np.asarray(rating, np.float32)}
    return pd.DataFrame(columns | {"timestamp": np.arange(len(rating), dtype=np.int64)})


def checkerboard(n_users: int = 24, n_items: int = 20, low: float = 1.0, high: float = 5.0) -> pd.DataFrame:
    """Every cell of two tastes: a user likes the items of the same parity and dislikes the others."""
    user, item = np.divmod(np.random.default_rng(3).permutation(n_users * n_items), n_items)
    return frame(100 + user, 1000 + item, np.where(user % 2 == item % 2, high, low))


def random_ratings(n: int, n_users: int, n_items: int, seed: int = 0) -> pd.DataFrame:
    """Distinct cells with whole stars that nothing explains."""
    rng = np.random.default_rng(seed)
    user, item = np.divmod(rng.choice(n_users * n_items, n, replace=False), n_items)
    return frame(100 + user, 1000 + item, rng.integers(1, 6, n))


def kinds(ratings: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Tables of what is known of users and items: which of three kinds, by the remainder of the id."""
    users, items = ({column: np.unique(ratings[column])} for column in ("user_id", "item_id"))
    users["kind"], items["kind"] = users["user_id"] % 3, items["item_id"] % 3
    items |= {"title": items["item_id"].astype(str), "year": 1990, "genres": ""}
    return {"users": pd.DataFrame(users), "items": pd.DataFrame(items)}


def small_data(
    ratings: pd.DataFrame, *, batch_size: int = 64, tables: dict[str, pd.DataFrame] | None = None, **arguments: Any
) -> RatingDataModule:
    """A data module over `ratings`, split at random unless told otherwise, set up already."""
    source = SmallRatings(ratings, **tables or {})
    data = RatingDataModule(source, **{"split": "random", "batch_size": batch_size} | arguments)
    data.setup()
    return data


def build(model: Callable[..., RatingModel], data: RatingDataModule, **arguments: Any) -> RatingModel:
    """A model with a row for each of the data's fitted ids."""
    low, high = data.dataset.rating_min, data.dataset.rating_max
    return model(len(data.users), len(data.items), low, high, **arguments)


def fit(
    model: RatingModel, data: RatingDataModule, epochs: int, *, resume: Path | None = None, **arguments: Any
) -> lightning.Trainer:
    """Train on the CPU and write nothing; the trainer, which still holds the model."""
    quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    trainer = lightning.Trainer(max_epochs=epochs, accelerator="cpu", **quiet | arguments)
    trainer.fit(model, datamodule=data, ckpt_path=resume, weights_only=True if resume else None)
    return trainer


def make_bundle(
    factors: Factors,
    user_ids: Any,
    item_ids: Any,
    rated: list[tuple[int, int, float, int]] | None = None,
    times: list[int] | None = None,
    **manifest: Any,
) -> Bundle:
    """A bundle from factors; `rated` holds (user row, item row, stars, part), by user, and `times` when each was."""
    rated = rated or []
    counts = np.bincount([user for user, *_ in rated], minlength=len(user_ids)) if rated else np.zeros(len(user_ids))
    kind = "int" if isinstance(user_ids[0], int) else "str"
    as_ids = lambda ids: np.array(ids, np.int64 if kind == "int" else object)  # noqa: E731
    return Bundle(
        {"task": "rating", "rating_scale": [1.0, 5.0], "id_kind": kind, "data": "small"} | manifest,
        factors,
        as_ids(user_ids),
        as_ids(item_ids),
        UserRatings(
            np.append(0, np.cumsum(counts)).astype(np.int64),
            np.array([item for _, item, _, _ in rated], np.int32),
            np.array([stars for _, _, stars, _ in rated], np.float32),
            np.array([part for *_, part in rated], np.uint8),
            None if times is None else np.array(times, np.int64),
        ),
        [{"title": f"Film {row}", "year": 1990 + row, "genres": ["Drama"]} for row in range(len(item_ids))],
    )


def trained_and_folded(bundle: Bundle) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Of every fitted user: scores of all items by their row, by the fold-in of the ratings that made it, and these
    ratings' items.
    """
    fitted = bundle.ratings.part <= {"train": TRAIN, "train_val": VAL, "all": TEST}[bundle.manifest["fit_on"]]
    for user in range(bundle.n_users):
        entries = bundle.ratings.slice_of(user)
        item, rating = (column[entries][fitted[entries]] for column in (bundle.ratings.item, bundle.ratings.rating))
        folded = bundle.fold_in_rows(item, rating)
        yield bundle.factors.scores(bundle.factors.user(user)), bundle.factors.scores(folded.vector), item


def bundle_of(model: RatingModel, data: RatingDataModule) -> Bundle:
    """The bundle of a model; unlike an export, it knows the fitted ids only and no ratings."""
    low, high = data.dataset.rating_min, data.dataset.rating_max
    users, items = data.users.values.tolist(), data.items.values.tolist()
    return make_bundle(model.factors(), users, items, rating_scale=[low, high])


def random_factors(
    *,
    n_users: int = 4,
    n_items: int = 12,
    samples: int = 1,
    dim: int = 3,
    exponents: tuple[float, ...] = (1.0,),
    implicit: bool = False,
    noisy: bool = False,
    levels: tuple[float, ...] = (),
    attributes: int = 0,
    drift: bool = False,
    seed: int = 0,
) -> Factors:
    """Factors drawn at random, with a dense prior of as many terms as there are exponents.

    `noisy` ones differ in noise by user and item, and `levels` make an ordinal link; what is asked for beyond leaves
    the other arrays as they are.
    """
    rng = np.random.default_rng(seed)
    draw = lambda *shape: rng.normal(0, 0.4, shape).astype(np.float32)  # noqa: E731
    root = rng.normal(size=(len(exponents), samples, dim + 1, dim + 1))
    factors = Factors(
        mu=3.3 + draw(samples),
        user_bias=draw(n_users, samples),
        item_bias=draw(n_items, samples),
        user_factors=draw(n_users, samples, dim),
        item_factors=draw(n_items, samples, dim),
        prior_mean=draw(samples, dim + 1),
        prior_precision=(root @ root.swapaxes(2, 3) / (2 * dim) + 0.1 * np.eye(dim + 1)).astype(np.float32),
        prior_exponent=np.array(exponents, np.float32),
        item_implicit=draw(n_items, samples, dim + 1) if implicit else None,
    )
    middles = np.array(levels[:-1], np.float32) + np.diff(np.array(levels, np.float32)) / 2 if levels else None
    return replace(
        factors,
        precision=1.5 + rng.random(samples, np.float32) if noisy or levels else None,
        user_precision=np.exp(draw(n_users, samples)) if noisy else None,
        item_precision=np.exp(draw(n_items, samples)) if noisy else None,
        drift=np.array([3, 2], np.float32) if drift else None,
        levels=np.array(levels, np.float32) if levels else None,
        thresholds=None if middles is None else np.sort(middles + 0.5 * draw(samples, len(middles)), axis=1),
        attribute_effects=draw(attributes, samples, dim + 1) if attributes else None,
        cold_start_mean=draw(samples, dim + 1) if attributes else None,
        cold_start_effects=draw(attributes, samples, dim + 1) if attributes else None,
        cold_start_items=draw(n_items, samples) if attributes else None,
    )


@pytest.fixture(scope="session", autouse=True)
def _without_plots() -> Iterator[None]:
    """Runs within tests draw no plots, which would be a third of their time; those with `plots` do."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("learning_curve", "error_by_activity"):
            patch.setattr(f"recsys.training.run.{name}", lambda *_: None)
        yield


@pytest.fixture(scope="session", autouse=True)
def _without_waiting_for_disks() -> Iterator[None]:
    """Nothing that a test writes has to outlive a power cut."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        yield


@pytest.fixture(scope="session", autouse=True)
def _known_entry_points() -> Iterator[None]:
    """Every trainer looks for callbacks in all packages that are installed: here, all trainers look once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lightning.fabric.utilities.registry.entry_points", cache(entry_points))
        yield


@pytest.fixture
def plots(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs within this test draw their plots."""
    for name in ("learning_curve", "error_by_activity"):
        monkeypatch.setattr(f"recsys.training.run.{name}", getattr(recsys.training.plots, name))


@pytest.fixture
def shared() -> Callable[[str], Path]:
    """The folder of a real release, or a skip that says why."""

    def folder(name: str) -> Path:
        if not (SHARED / name).is_dir():
            pytest.skip(f"needs {name} in {SHARED}, which is not there")
        return SHARED / name

    return folder


@pytest.fixture
def small(two_by_three: Factors) -> Bundle:
    return make_bundle(two_by_three, USERS, ITEMS, RATED, metrics={"test/rmse": 0.9, "test/rmse_cold": None})


@pytest.fixture(scope="session")
def saved_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the first test that needs `saved` saves it."""
    return tmp_path_factory.mktemp("small") / "bundle"


@pytest.fixture
def saved(small: Bundle, saved_once: Path, tmp_path: Path) -> Path:
    """The folder of `small`."""
    if not saved_once.exists():
        small.save(saved_once)
    return shutil.copytree(saved_once, tmp_path / "bundle")


@pytest.fixture
def two_by_three() -> Factors:
    """Two users, three items, one sample, two coordinates; predictions are easy by hand."""
    return Factors(
        mu=np.array([3.0], np.float32),
        user_bias=np.array([[0.5], [-0.5]], np.float32),
        item_bias=np.array([[0.25], [0.0], [-0.25]], np.float32),
        user_factors=np.array([[[1.0, 0.0]], [[-1.0, 0.0]]], np.float32),
        item_factors=np.array([[[0.5, 9.0]], [[4.0, 0.0]], [[-4.5, -9.0]]], np.float32),
        prior_mean=np.zeros((1, 3), np.float32),
        prior_precision=np.eye(3, dtype=np.float32)[None, None],
        prior_exponent=np.ones(1, np.float32),
    )
