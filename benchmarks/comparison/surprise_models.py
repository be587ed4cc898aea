"""Surprise (Hug 2020): a pair at a time is its only way to predict."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import surprise
from surprise.prediction_algorithms.algo_base import AlgoBase

from benchmarks.comparison.contract import Floats, Run
from benchmarks.comparison.task import Task


class Surprise:
    """Fits on a Trainset built from a frame of dense rows; `random_state` is the seed."""

    def __init__(self, run: Run) -> None:
        self.algorithm = self.build(run.settings, run.seed)

    def build(self, settings: dict[str, Any], seed: int) -> AlgoBase:
        raise NotImplementedError

    def prepare(self, task: Task) -> None:
        frame = pd.DataFrame({"user": task.train_user, "item": task.train_item, "rating": task.train_rating})
        reader = surprise.Reader(rating_scale=(task.rating_min, task.rating_max))
        self.trainset = surprise.Dataset.load_from_df(frame, reader).build_full_trainset()
        self.pairs = list(zip(task.test_user.tolist(), task.test_item.tolist(), strict=True))

    def fit(self) -> None:
        self.algorithm.fit(self.trainset)

    def predict(self) -> Floats:
        return np.array([self.algorithm.predict(user, item).est for user, item in self.pairs])


class Baseline(Surprise):
    """mu + b_u + b_i by alternating least squares."""

    def build(self, settings: dict[str, Any], seed: int) -> AlgoBase:
        return surprise.BaselineOnly(bsl_options={"method": "als", **settings}, verbose=False)


class KNN(Surprise):
    """Baselines and the mean of neighbours' deviations from theirs."""

    def build(self, settings: dict[str, Any], seed: int) -> AlgoBase:
        similar = {name: settings[name] for name in ("user_based", "min_support", "shrinkage")}
        return surprise.KNNBaseline(
            settings["k"], settings["min_k"], {"name": settings["similarity"], **similar}, verbose=False
        )


class SVD(Surprise):
    """Biased matrix factorization by stochastic gradient descent."""

    def build(self, settings: dict[str, Any], seed: int) -> AlgoBase:
        return surprise.SVD(**settings, random_state=seed)


class SVDpp(Surprise):
    """SVD with implicit feedback of the rated items."""

    def build(self, settings: dict[str, Any], seed: int) -> AlgoBase:
        return surprise.SVDpp(**settings, random_state=seed)
