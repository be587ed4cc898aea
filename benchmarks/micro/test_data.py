"""recsys.data: from a ratings file to batches."""

from __future__ import annotations

import shutil
from typing import Any

import pytest

from recsys.data.columns import ITEM_ID, USER_ID
from recsys.data.datamodule import RatingDataModule
from recsys.data.ids import IdMap
from recsys.data.sources import MovieLens
from recsys.data.splits import split_ratings
from recsys.files import cache_folder

BATCHED_ROWS = 60_000


def test_parse(benchmark: Any, source: MovieLens) -> None:
    """Text to frame, as the first run of a data set does it: what was parsed is kept, too."""
    benchmark.pedantic(source.read, setup=lambda: shutil.rmtree(cache_folder(), ignore_errors=True), rounds=5)


def test_parse_cached(benchmark: Any, source: MovieLens) -> None:
    source.read()
    benchmark(source.read)


@pytest.mark.parametrize("split", ["user_time", "global_time", "kfold"])
def test_split(benchmark: Any, data: RatingDataModule, split: str) -> None:
    benchmark(split_ratings, data.dataset.ratings, split)


@pytest.mark.parametrize("kind", ["int64", "str"])
def test_ids(benchmark: Any, data: RatingDataModule, kind: str) -> None:
    """Fit users and items on the training rows, and number all rows."""
    columns = [data.dataset.ratings[name].astype(kind) for name in (USER_ID, ITEM_ID)]  # type: ignore[call-overload]

    def fit() -> None:
        for column in columns:
            IdMap.fit(column.iloc[data.split.train]).rows(column)

    benchmark(fit)


def test_batches(benchmark: Any, data: RatingDataModule) -> None:
    """One epoch of the training loader, over as many rows as are done before another process has its turn.

    A longer one starts with cold caches after each turn, and takes half as long again where others are running.
    """
    few = data.with_fit_on("train")
    few.fit_data = few.rows(few.split.train[:BATCHED_ROWS])

    def epoch() -> None:
        for _ in few.train_dataloader():
            pass

    benchmark(epoch)
