"""Which rows are fitted and which are tested: tasks from recsys' own data module."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from hydra import compose, initialize_config_dir
from numpy.typing import NDArray
from omegaconf import DictConfig

from benchmarks.comparison.attributes import attributes
from benchmarks.comparison.task import Rows, Task
from recsys.data.columns import ITEM_ID, RATING, TIMESTAMP, USER_ID
from recsys.data.datamodule import RatingDataModule
from recsys.data.ids import IdMap
from recsys.training.run import build_data

CONF = Path(__file__).parents[2] / "conf"


@dataclass(frozen=True)
class Protocol:
    """A data set and a rule that splits it."""

    data: str
    split: str  # in results and on the command line
    overrides: tuple[str, ...]
    kind: str = "rating"


PROTOCOLS = (
    Protocol("ml_100k", "user_time", ("data.split=user_time",)),
    Protocol("ml_100k", "official u1", ("data.split=official", "data.fold=1")),
    Protocol("ml_1m", "kfold fold 0", ("data.split=kfold", "data.folds=10", "data.fold=0")),
    Protocol("ml_1m", "user_time", ("data.split=user_time",)),
    Protocol("ml_1m", "global_time 0.2", ("data.split=global_time", "data.test_fraction=0.2")),
    Protocol("ml_100k", "leave_one_out", ("data.split=leave_one_out",), "ranking"),
    Protocol("ml_1m", "leave_one_out", ("data.split=leave_one_out",), "ranking"),
    Protocol("ml_1m", "global_time 0.2", ("data.split=global_time", "data.test_fraction=0.2"), "ranking"),
)
TUNING = {"rating": "user_time", "ranking": "leave_one_out"}  # the split whose validation rows choose settings


@dataclass(frozen=True)
class Answers:
    """What stays with the parent: the ratings of a rating task's pairs, or the items of a ranking's users."""

    rating: NDArray[np.float32]  # (test rows,) stars
    item: Rows  # (test rows,) dense rows
    user: Rows  # (test rows,) dense rows


def composed(overrides: list[str]) -> DictConfig:
    """The configuration of `python -m recsys.train` with these overrides."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("train", overrides)


def read(protocol: Protocol, root: str | None) -> RatingDataModule:
    """The data module of a protocol, set up."""
    data = build_data(
        composed([f"data={protocol.data}", *protocol.overrides, *([f"data.root={root}"] if root else [])])
    )
    data.prepare_data()
    data.setup()
    return data


def build_task(protocol: Protocol, data: RatingDataModule, *, validation: bool = False) -> tuple[Task, Answers]:
    """Fit on training and validation rows and ask for the test rows, or the next one up.

    Args:
        protocol: Names the rows.
        data: Set up with that protocol.
        validation: Fit on training rows alone and ask for the validation rows; test rows take no part.
    """
    fit, test = (data.split.train, data.split.val) if validation else (_train_and_val(data), data.split.test)
    ratings = data.dataset.ratings
    users, items = _dense(ratings[USER_ID], fit), _dense(ratings[ITEM_ID], fit)
    stars = ratings[RATING].to_numpy()
    answers = Answers(stars[test], items.row[test], users.row[test])
    ranking = protocol.kind == "ranking"
    task = Task(
        kind=protocol.kind,
        data=protocol.data,
        overrides=protocol.overrides,
        train_user=users.row[fit],
        train_item=items.row[fit],
        train_rating=stars[fit],
        train_time=_times(data, fit),
        test_user=np.unique(answers.user) if ranking else answers.user,
        test_item=np.empty(0, np.int64) if ranking else answers.item,
        n_users=len(users.ids),
        n_items=len(items.ids),
        fitted_users=users.fitted,
        fitted_items=items.fitted,
        rating_min=data.dataset.rating_min,
        rating_max=data.dataset.rating_max,
        user_ids=users.ids,
        item_ids=items.ids,
        attributes=attributes(data.dataset, users.ids, items.ids),
    )
    return task, answers


@dataclass(frozen=True)
class _Dense:
    ids: NDArray[Any]  # fitted ids, then the others
    row: Rows  # (ratings,)
    fitted: int


def _dense(ids: pd.Series[Any], fit: Rows) -> _Dense:
    """Rows of all ids: those that occur among the rows `fit` in ascending order, then the others."""
    fitted = IdMap.fit(ids.iloc[fit])
    row = fitted.rows(ids)
    unseen = row < 0
    if not unseen.any():
        return _Dense(np.asarray(fitted.values), row, len(fitted))
    others = IdMap.fit(ids[unseen])
    row[unseen] = len(fitted) + others.rows(ids[unseen])
    return _Dense(np.concatenate([fitted.values, others.values]), row, len(fitted))


def _train_and_val(data: RatingDataModule) -> Rows:
    return np.union1d(data.split.train, data.split.val)


def _times(data: RatingDataModule, rows: Rows) -> Rows:
    ratings = data.dataset.ratings
    return ratings[TIMESTAMP].to_numpy()[rows] if TIMESTAMP in ratings else np.zeros(len(rows), np.int64)
