"""Validation of users who are folded in from their history, as a service would, by the model as it is."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

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

MOST_USERS = 2000  # whose last items are validated


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
    bundle = _bundle_of_validation_users(model, data, data.split.val_history, data.split.val)
    if bundle.is_ranking:
        return _ranking_metrics(bundle, "all", model.monitor)
    rows, _ = test_rows(bundle)
    user, item = bundle.ratings.user_index()[rows], bundle.ratings.item[rows].astype(np.int64)
    predicted = predictions_of(bundle, user, item).mean
    return rating_metrics(predicted, bundle.ratings.rating[rows], item < bundle.fitted_items)


def validate_last_items(model: ExportedModel, data: RatingDataModule) -> Metrics:
    """The monitored metric of each user's last validation row, given all that came strictly before (`targets=last`).

    Of at most `MOST_USERS` users, drawn by the seed of the data. There must be one.
    """
    _, user = data.all_users()
    users = np.unique(user[data.split.val])
    if len(users) > MOST_USERS:
        users = np.random.default_rng(data.seed).choice(users, MOST_USERS, replace=False)
    history, held_out = (rows[np.isin(user[rows], users)] for rows in (data.fit_rows, data.split.val))
    return _ranking_metrics(_bundle_of_validation_users(model, data, history, held_out), "last", model.monitor)


def _ranking_metrics(bundle: Bundle, targets: str, monitor: Metric) -> Metrics:
    cases, nobody = cases_of(bundle, targets), (np.zeros(0, np.int64), np.zeros(0, np.int64))
    found = ranked(cases, scores_of_histories(bundle, cases), popularity_of(nobody))
    return measure("ranking", found.lists(), [monitor.name])


def how_folded_in(factors: Factors, encoder: Encoder | None, data: RatingDataModule) -> dict[str, Any]:
    """What a manifest says of how new users get a vector."""
    if encoder is not None:
        kinds = {"events": list(data.dataset.events)} if data.dataset.events else {}
        return {"fold_in": "encoder", "encoder": encoder.settings, **kinds}
    return {"fold_in": "ridge" if factors.item_weights is None else "items"}


def _bundle_of_validation_users(
    model: ExportedModel, data: RatingDataModule, history: NDArray[np.int64], held_out: NDArray[np.int64]
) -> Bundle:
    """The model with the validation users alone, whose rows are these; those held out are the test rows."""
    ratings, factors, encoder = data.dataset.ratings, model.factors(), model.encoder()
    rows = np.concatenate([history, held_out])
    part = np.repeat(np.array([HISTORY, TEST], np.uint8), [len(history), len(held_out)])
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
        (ratings[RATING].to_numpy() if encoder is None else data.history_ratings())[rows][order],
        part[order],
        time[order],
    )
    manifest = {
        "model": model.name,
        "task": model.task,
        "link": "identity" if factors.levels is None else "ordinal",
        "noise": None,
        **how_folded_in(factors, encoder, data),
        **({} if model.fold_in_target is None else {"fold_in_target": model.fold_in_target}),
        "split": data.split_name,
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


def first_held_out_times(data: RatingDataModule) -> NDArray[np.int64]:
    """Unix seconds of each fitted user's first validation row, `(n_users,)`; 0 for one who has none."""
    rows = data.split.val
    user, time = data.dense.columns.user.numpy()[rows], data.dataset.ratings[TIMESTAMP].to_numpy()[rows]
    first = np.full(len(data.users), np.iinfo(np.int64).max)
    np.minimum.at(first, user[user >= 0], time[user >= 0])
    return np.where(first == np.iinfo(np.int64).max, 0, first)
