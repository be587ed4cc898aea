"""Small data sets whose right answers are known by construction, and one way to train on them."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import pandas as pd

from recsys.bundle import Bundle
from recsys.data.datamodule import RatingDataModule
from recsys.data.rating_data import RatingData
from recsys.data.sources.base import RatingsSource
from recsys.models.base import RatingModel
from tests.bundles import make_bundle

warnings.filterwarnings("ignore", message=".*does not have many workers.*")
warnings.filterwarnings("ignore", message=".*number of training batches.*")


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
    ratings: pd.DataFrame,
    *,
    batch_size: int = 64,
    tables: dict[str, pd.DataFrame] | None = None,
    implicit: bool = False,
    **arguments: Any,
) -> RatingDataModule:
    """A data module over `ratings`, split at random unless told otherwise, set up already."""
    source = SmallRatings(ratings, **tables or {}, implicit=implicit)
    data = RatingDataModule(source, **{"split": "random", "batch_size": batch_size} | arguments)
    data.setup()
    return data


def build(model: Callable[..., RatingModel], data: RatingDataModule, **arguments: Any) -> RatingModel:
    """A model with a row for each of the data's fitted ids."""
    low, high = data.dataset.scale
    return model(len(data.users), len(data.items), low, high, **arguments)


def fit(
    model: RatingModel, data: RatingDataModule, epochs: int, *, resume: Path | None = None, **arguments: Any
) -> lightning.Trainer:
    """Train on the CPU and write nothing; the trainer, which still holds the model."""
    quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    trainer = lightning.Trainer(max_epochs=epochs, accelerator="cpu", **quiet | arguments)
    trainer.fit(model, datamodule=data, ckpt_path=resume, weights_only=True if resume else None)
    return trainer


def bundle_of(model: RatingModel, data: RatingDataModule) -> Bundle:
    """The bundle of a model; unlike an export, it knows the fitted ids only and no ratings."""
    low, high = data.dataset.rating_min, data.dataset.rating_max
    users, items = data.users.values.tolist(), data.items.values.tolist()
    return make_bundle(model.factors(), users, items, rating_scale=[low, high])
