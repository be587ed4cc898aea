"""Validation on held-out users: they are folded in from their history, as a service would, by the model as it is."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from recsys.bundle import HISTORY, TEST, Bundle, UserRatings
from recsys.bundle.attributes import RowAttributes
from recsys.bundle.encoder import Encoder
from recsys.bundle.factors import Factors
from recsys.data.columns import RATING, TIMESTAMP
from recsys.data.datamodule import RatingDataModule
from recsys.evaluation.cases import cases_of
from recsys.evaluation.holdout import predictions_of, test_rows
from recsys.evaluation.metrics import rating_metrics
from recsys.evaluation.past_vectors import scores_of_histories
from recsys.evaluation.ranking import popularity_of, ranked
from recsys.evaluation.registry import Metric, Metrics, measure


class ExportedModel(Protocol):
    """What of a `RatingModel` is looked at."""

    name: str
    task: str
    monitor: Metric
    fold_in_target: float | None

    def factors(self) -> Factors: ...
    def encoder(self) -> Encoder | None: ...


def validate_held_out_users(model: ExportedModel, data: RatingDataModule) -> Metrics | None:
    """The metrics of the validation rows by which epochs are selected, by name; None if there is nobody to fold in.

    The prior of a user is the model's own; an export may add what it learns from the residuals.
    """
    if not len(data.split.val_history):
        return None
    bundle = _bundle_of_validation_users(model, data)
    if bundle.is_ranking:
        cases, nobody = cases_of(bundle), (np.zeros(0, np.int64), np.zeros(0, np.int64))
        found = ranked(cases, scores_of_histories(bundle, cases), popularity_of(nobody))
        return measure("ranking", found.lists(), [model.monitor.name])
    rows, _ = test_rows(bundle)
    user, item = bundle.ratings.user_index()[rows], bundle.ratings.item[rows].astype(np.int64)
    predicted = predictions_of(bundle, user, item).mean
    return rating_metrics(predicted, bundle.ratings.rating[rows], item < bundle.fitted_items)


def how_folded_in(factors: Factors, encoder: Encoder | None) -> dict[str, Any]:
    """What a manifest says of how new users get a vector."""
    if encoder is not None:
        return {"fold_in": "encoder", "encoder": encoder.settings}
    return {"fold_in": "ridge" if factors.item_weights is None else "items"}


def _bundle_of_validation_users(model: ExportedModel, data: RatingDataModule) -> Bundle:
    """The model with the validation users alone, whose held-out rows are the test rows."""
    ratings, factors, encoder = data.dataset.ratings, model.factors(), model.encoder()
    rows = np.concatenate([data.split.val_history, data.split.val])
    part = np.repeat(np.array([HISTORY, TEST], np.uint8), [len(data.split.val_history), len(data.split.val)])
    user_ids, user = data.all_users()
    item_ids, item = data.all_items()
    user, item = user[rows], item[rows]
    known = data.user_attributes() if factors.attribute_effects is not None else None
    known_items = data.item_attributes() if factors.item_attribute_effects is not None else None
    time = ratings[TIMESTAMP].to_numpy()[rows] if TIMESTAMP in ratings else np.zeros(len(rows), np.int64)
    order = np.lexsort((time, user))
    counts = np.bincount(user, minlength=len(user_ids))
    rated = UserRatings(
        np.append(0, np.cumsum(counts)),
        item[order].astype(np.int32),
        ratings[RATING].to_numpy()[rows][order],
        part[order],
        time[order],
    )
    manifest = {
        "model": model.name,
        "task": model.task,
        "link": "identity" if factors.levels is None else "ordinal",
        "noise": None,
        **how_folded_in(factors, encoder),
        **({} if model.fold_in_target is None else {"fold_in_target": model.fold_in_target}),
        "rating_scale": list(data.dataset.scale),
        "fit_on": "train",
        "counts": {"items": len(data.items)},
        "attributes": known.names if known else [],
        "item_attributes": known_items.names if known_items else [],
    }
    of_users, of_items = (
        None if table is None else RowAttributes(table.indptr, table.index) for table in (known, known_items)
    )
    return Bundle(manifest, factors, user_ids, item_ids, rated, [], None, of_users, of_items, encoder)
