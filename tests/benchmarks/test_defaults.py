"""The generated set with a long tail, and how a model is compared with biases."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks import defaults
from benchmarks.synthetic import LongTail
from recsys.data.datamodule import RatingDataModule
from recsys.models.als import ALS
from recsys.training.export import make_bundle
from tests.small_data import build, fit

pytestmark = pytest.mark.long


def test_the_long_tail_has_the_promised_shape() -> None:
    data = LongTail(200, 3_000, 20_000, seed=1).read()
    ratings = data.ratings
    users, items = np.bincount(ratings["user_id"]), np.bincount(ratings["item_id"])
    assert len(ratings) == 20_000
    assert users.min() >= 20
    assert (len(users), len(items)) == (200, 3_000)
    assert items.min() == 1
    assert 0.25 < (items == 1).mean() < 0.5
    assert set(ratings["rating"].unique()) <= {k / 2 for k in range(1, 11)}
    assert not ratings.duplicated(["user_id", "item_id"]).any()
    assert LongTail(200, 3_000, 20_000, seed=1).read().sha256 == data.sha256
    assert LongTail(200, 3_000, 20_000, seed=2).read().sha256 != data.sha256


def test_a_model_is_compared_with_biases_on_all_and_on_many_cold_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    data = RatingDataModule(LongTail(100, 800, 5_000), split="user_time", fit_on="train_val")
    data.setup()
    model = build(ALS, data, embedding_dim=2)
    fit(model, data, epochs=2, limit_val_batches=0)
    bundle = make_bundle(model, data, 1.0)
    (whole,) = defaults.groups(bundle)
    assert (whole["group"], whole["rows"]) == ("all", len(data.split.test))
    assert whole["low"] < whole["difference"] < whole["high"]
    assert whole["difference"] == pytest.approx(whole["rmse"] ** 2 - whole["biases"] ** 2, abs=1e-4)
    monkeypatch.setattr(defaults, "MIN_COLD_ROWS", 10)
    cold = defaults.groups(replace(bundle))[1]
    assert cold["group"] == "cold"
    assert 10 <= cold["rows"] < whole["rows"]
