"""Run a command in this process, as `python -m recsys.<name>` would."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest


def call(name: str, *arguments: str) -> None:
    """Call the main function of `recsys.<name>` with these command line arguments."""
    before = sys.argv
    sys.argv = [f"recsys.{name}", *arguments]
    try:
        importlib.import_module(f"recsys.{name}").main()
    finally:
        sys.argv = before


def write_ratings(file: Path, *, users: int = 60, items: int = 40, seed: int = 0) -> Path:
    """A CSV of two tastes: users and items are of two kinds, and a user rates their own kind higher."""
    random = np.random.default_rng(seed)
    lines = ["user_id,item_id,rating,timestamp"]
    for user in range(1, users + 1):
        for time, item in enumerate(random.permutation(items)[: items // 2]):
            stars = 3 + (1 if (user + item) % 2 else -1) + random.integers(0, 2)
            lines.append(f"{user},{100 + item},{stars},{1_000_000 + 1000 * time + user}")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join(lines) + "\n")
    return file


Train = Callable[..., Path]


def train_arguments(root: Path, folder: Path) -> list[str]:
    return [
        "data=tabular", f"data.root={root}", "data.timestamp_column=timestamp", "data.rating_min=1",
        "data.rating_max=5", "data.batch_size=128", "model.embedding_dim=4", "model.learning_rate=0.05",
        "model.plateau_patience=0", "trainer.max_epochs=8", f"hydra.run.dir={folder}",
    ]  # fmt: skip


@pytest.fixture
def train(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Train:
    """Train on small ratings into a folder of the test; returns the folder."""
    monkeypatch.setenv("RECSYS_CACHE", str(tmp_path / "cache"))
    write_ratings(tmp_path / "data" / "ratings.csv")

    def run(*overrides: str, name: str = "run") -> Path:
        folder = tmp_path / name
        call("train", *train_arguments(tmp_path / "data", folder), *overrides)
        return folder

    return run
