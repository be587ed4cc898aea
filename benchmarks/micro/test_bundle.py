"""recsys.training.export and recsys.bundle: from a trained model to files, and answers from them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.micro.models import configured
from recsys.bundle import TEST, Bundle
from recsys.data.datamodule import RatingDataModule
from recsys.recommend import recommendations
from recsys.training.export import make_bundle

SOMEONE_NEW = 20  # ratings that they give


def test_make_bundle(benchmark: Any, data: RatingDataModule, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recsys.training.export._git_commit", lambda: None)  # git's time depends on the checkout
    benchmark(make_bundle, configured("mf", data), data, noise=0.9)


def test_save(benchmark: Any, bundle: Bundle, tmp_path: Path) -> None:
    benchmark(bundle.save, tmp_path / "bundle")


def test_load(benchmark: Any, bundle: Bundle, tmp_path: Path) -> None:
    bundle.save(tmp_path / "bundle")
    benchmark(Bundle.load, tmp_path / "bundle")


def test_predict_pairs(benchmark: Any, bundle: Bundle) -> None:
    """A thousand pairs by their ids, as a request may ask for."""
    random = np.random.default_rng(0)
    users = random.choice(bundle.user_ids, 1000).tolist()
    items = random.choice(bundle.item_ids, 1000).tolist()
    benchmark(bundle.predict, users, items)


def test_predict_test_set(benchmark: Any, bundle: Bundle) -> None:
    test = np.flatnonzero(bundle.ratings.part == TEST)
    user, item = bundle.ratings.user_index()[test], bundle.ratings.item[test]
    benchmark(bundle.predict_rows, user, item)


def test_recommend(benchmark: Any, bundle: Bundle) -> None:
    benchmark(bundle.recommend, typical_user(bundle), k=10)


def test_recommend_many(benchmark: Any, bundle: Bundle) -> None:
    """Top ten of 300 users, as `python -m recsys.recommend` writes them."""
    users = bundle.user_ids[:300].tolist()
    benchmark(lambda: list(recommendations(bundle, users, 10)))


def test_fold_in(benchmark: Any, bundle: Bundle) -> None:
    ratings = some_ratings(bundle)
    benchmark(lambda: bundle.fold_in(ratings).vector)


def test_explain(benchmark: Any, bundle: Bundle) -> None:
    """One prediction to someone new, with the reasons."""
    folded = bundle.fold_in(some_ratings(bundle))
    benchmark(bundle.explain, folded, bundle.item_id(0))


def test_explain_known(benchmark: Any, bundle: Bundle) -> None:
    """The same to a user of the data, whose ratings are folded in for it."""
    benchmark(bundle.explain, typical_user(bundle), bundle.item_id(0))


def typical_user(bundle: Bundle) -> int:
    """The id of a user with the median number of ratings."""
    order = np.argsort(np.diff(bundle.ratings.indptr), kind="stable")
    return int(bundle.user_ids[order[len(order) // 2]])


def some_ratings(bundle: Bundle) -> dict[int | str, float]:
    return {item: float(1 + n % 5) for n, item in enumerate(bundle.item_ids[1 : 1 + SOMEONE_NEW].tolist())}
