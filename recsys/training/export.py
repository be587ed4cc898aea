"""Export a trained model and its data to a bundle."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from recsys.bundle import HISTORY, TEST, TRAIN, VAL, Bundle, UserRatings
from recsys.bundle.attributes import RowAttributes, undescribed
from recsys.bundle.commit import git_commit
from recsys.bundle.factors import Factors
from recsys.data.columns import GENRES, ITEM_ID, RATING, TIMESTAMP, TITLE, YEAR
from recsys.data.datamodule import RatingDataModule
from recsys.evaluation.validation_set import ValidationSet, predict_validation_set
from recsys.models.base import RatingModel
from recsys.models.held_out_users import how_folded_in

LEAST_SPREAD = 1e-6  # variance of the users' biases, in units squared


def make_bundle(model: RatingModel, data: RatingDataModule, noise: float | None = None) -> Bundle:
    """Make a bundle of the model with all ids, ratings and item metadata of the data set.

    Args:
        model: Fitted on `data.fit_rows`.
        data: After `setup()`.
        noise: Standard deviation of the residuals in stars; None if not measured.
    """
    ratings = data.dataset.ratings
    user_ids, user = data.all_users()
    item_ids, item = data.all_items()
    part = np.full(len(ratings), TRAIN, np.uint8)
    part[data.split.val], part[data.split.test], part[data.split.test_history] = VAL, TEST, HISTORY
    part[data.split.val_history] = HISTORY if data.fit_on == "train" else VAL
    time = ratings[TIMESTAMP].to_numpy(np.int64) if TIMESTAMP in ratings else None
    order = _order(user, time)
    encoder = model.encoder()
    rated = UserRatings(
        indptr=np.concatenate([[0], np.cumsum(np.bincount(user, minlength=len(user_ids)))]).astype(np.int64),
        item=item[order].astype(np.int32),
        rating=(ratings[RATING].to_numpy() if encoder is None else data.history_ratings())[order],
        part=part[order],
        timestamp=None if time is None else time[order],
    )
    factors = with_unit(model.factors(), model.unit)
    if factors.precision is not None:  # the model has its own noise and its own prior of a new user's bias
        noise = None
    elif noise is not None and not model.bias_shrinkage and encoder is None:
        factors = expect_bias_spread(factors, noise)
    known = data.user_attributes() if factors.attribute_effects is not None else None
    known_items = data.item_attributes() if factors.item_attribute_effects is not None else None
    manifest = {
        "model": model.name,
        "arguments": dict(model.hparams),
        "task": model.task,
        "link": "identity" if factors.levels is None else "ordinal",
        "samples": len(factors.mu),
        "noise": noise,
        **how_folded_in(factors, encoder, data),
        **({} if model.fold_in_target is None else {"fold_in_target": model.fold_in_target}),
        "data": data.dataset.name,
        "data_sha256": data.dataset.sha256,
        "id_kind": data.users.kind,
        "rating_scale": list(data.dataset.scale),
        "split": data.split_name,
        **({} if data.split_arguments["ties"] == "file" else {"ties": data.split_arguments["ties"]}),
        "fit_on": data.fit_on,
        "counts": {
            "users": len(data.users), "items": len(data.items), "ratings": len(ratings),
            "fitted_ratings": len(data.fit_rows), "test_ratings": len(data.split.test),
        },
        "attributes": known.names if known else [],
        "item_attributes": known_items.names if known_items else [],
        "git_commit": git_commit(),
    }  # fmt: skip
    of_users, of_items = (
        None if table is None else RowAttributes(table.indptr, table.index) for table in (known, known_items)
    )
    items = _items(data.dataset.items, item_ids)
    return Bundle(manifest, factors, user_ids, item_ids, rated, items, None, of_users, of_items, encoder)


def validation_set(model: RatingModel, data: RatingDataModule) -> ValidationSet:
    """The validation rows as the bundle of a model that was fitted on training rows predicts them."""
    ratings = data.dataset.ratings
    _, user = data.all_users()
    time = ratings[TIMESTAMP].to_numpy(np.int64) if TIMESTAMP in ratings else None
    return predict_validation_set(make_bundle(model, data), _order(user, time))


def _order(user: NDArray[np.int64], time: NDArray[np.int64] | None) -> NDArray[np.int64]:
    """The order of a bundle's ratings: by user, then time, then row."""
    return np.argsort(user, kind="stable") if time is None else np.lexsort((time, user))


def with_unit(factors: Factors, unit: float) -> Factors:
    """Add the unit of the model's rating scale; on a scale from 1 to 5 it is 1, as where it is absent."""
    return factors if unit == 1.0 else replace(factors, unit=np.array([unit], np.float32))


def expect_bias_spread(factors: Factors, noise: float) -> Factors:
    """Add a prior on the bias of a new user, and of a new item, with the variance of the fitted ones' biases.

    Under the training loss alone, the bias of a user with one rating would absorb almost all of its residual. The added
    term is that of a Gaussian prior: noise variance over bias variance, independent of the number of ratings.
    """
    samples, coordinates = factors.prior_mean.shape
    least = LEAST_SPREAD * (1.0 if factors.unit is None else float(factors.unit[0]) ** 2)
    arrays: dict[str, Any] = {}
    for prefix, bias in (("", factors.user_bias), ("item_", factors.item_bias)):
        precision, exponent, offset = (
            getattr(factors, f"{prefix}prior_{name}") for name in ("precision", "exponent", "offset")
        )
        if precision is None:
            continue
        spread = np.zeros((1, samples, coordinates, coordinates), np.float32)
        spread[0, :, -1, -1] = noise**2 / np.maximum(bias.var(0), least)
        arrays[f"{prefix}prior_precision"] = np.concatenate([precision, spread])
        arrays[f"{prefix}prior_exponent"] = np.append(exponent, np.float32(0))
        arrays[f"{prefix}prior_offset"] = None if offset is None else np.append(offset, np.float32(0))
    return replace(factors, **arrays)


def _items(items: pd.DataFrame | None, item_ids: NDArray[Any]) -> list[dict[str, Any]]:
    """Title, year and genres by item row; an unknown title defaults to the id."""
    known: dict[Any, dict[str, Any]] = {}
    if items is not None:
        for item, title, year, genres in zip(items[ITEM_ID], items[TITLE], items[YEAR], items[GENRES], strict=True):
            known[item] = {
                "title": title,
                "year": None if pd.isna(year) else int(year),
                "genres": genres.split("|") if genres else [],
            }
    return [known.get(i) or undescribed(i) for i in item_ids.tolist()]
