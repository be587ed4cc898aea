"""LensKit (Ekstrand 2020): explicit-feedback ALS in its rating pipeline, which falls back to biases."""

from __future__ import annotations

import numpy as np
import pandas as pd
from lenskit import predict
from lenskit.als import BiasedMFScorer
from lenskit.data import ItemList, from_interactions_df
from lenskit.pipeline import predict_pipeline
from lenskit.training import TrainingOptions

from benchmarks.comparison.contract import Floats, Run
from benchmarks.comparison.task import Task


class BiasedMF:
    """mu + b_u + b_i + p_u . q_i; all items of a user at a time is its way to predict."""

    def __init__(self, run: Run) -> None:
        self.pipeline = predict_pipeline(BiasedMFScorer(**run.settings))
        self.options = TrainingOptions(rng=run.seed)

    def prepare(self, task: Task) -> None:
        columns = {"user_id": task.train_user, "item_id": task.train_item, "rating": task.train_rating}
        self.dataset = from_interactions_df(pd.DataFrame(columns))
        self.rows = {int(user): np.flatnonzero(task.test_user == user) for user in np.unique(task.test_user)}
        self.item = task.test_item

    def fit(self) -> None:
        self.pipeline.train(self.dataset, self.options)

    def predict(self) -> Floats:
        predicted = np.empty(len(self.item))
        for user, rows in self.rows.items():
            predicted[rows] = predict(self.pipeline, user, ItemList(item_ids=self.item[rows])).scores()
        return predicted
