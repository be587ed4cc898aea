"""Run a command in this process, as `python -m recsys.<name>` would, or the function that it wraps.

A command composes its configuration twice, which takes longer than a small run. Tests of something else do without.
"""

from __future__ import annotations

import copy
import functools
import importlib
import inspect
import shutil
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from omegaconf import DictConfig, OmegaConf, open_dict

from recsys.experiments.configuration import config_dir
from recsys.experiments.overrides import quote_override
from recsys.train import train as train_configured

PLOTS = ("learning_curve", "error_by_activity")


def draw_plots(patch: pytest.MonkeyPatch) -> None:
    """Let runs draw their plots, which those of tests do not (see `tests.conftest`)."""
    from recsys.training import plots

    for name in PLOTS:
        patch.setattr(f"recsys.training.run.{name}", getattr(plots, name))


def stop_clock(patch: pytest.MonkeyPatch) -> None:
    """Let all commands start in the same second, as their folders' names have it."""
    moment = SimpleNamespace(now=lambda: datetime(2026, 11, 23, 12))
    patch.setattr("hydra.core.utils.datetime", moment)


def call(name: str, *arguments: str) -> None:
    """Call the main function of `recsys.<name>` with these command line arguments."""
    before = sys.argv
    sys.argv = [f"recsys.{name}", *arguments]
    try:
        importlib.import_module(f"recsys.{name}").main()
    finally:
        sys.argv = before


def composed(name: str, *overrides: str) -> DictConfig:
    """The configuration of `recsys.<name>` under these overrides, `hydra` in it.

    Hydra composes each choice of groups once; the other overrides are set in a copy, in Hydra's own way.
    """
    values, choices = [], []
    for override in OverridesParser.create().parse_overrides([quote_override(text) for text in overrides]):
        (values if _is_value(override) else choices).append(override)
    cfg = copy.deepcopy(_composed(name, *(str(override.input_line) for override in choices)))
    for override in values:
        OmegaConf.update(cfg, override.key_or_group, override.value(), merge=True)
    return cfg


def _is_value(override: Override) -> bool:
    return override.type is OverrideType.CHANGE and not (config_dir() / override.key_or_group).is_dir()


@functools.cache
def _composed(name: str, *choices: str) -> DictConfig:
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        return compose(name, list(choices), return_hydra_config=True)


def call_function(name: str, *overrides: str) -> None:
    """Call what the main function of `recsys.<name>` calls with its configuration; errors come as they are raised."""
    cfg = composed(name, *overrides)
    with open_dict(cfg):
        del cfg.hydra
    inspect.unwrap(importlib.import_module(f"recsys.{name}").main)(cfg)


def run_config(*overrides: str) -> DictConfig:
    """The configuration of a run as `recsys.train` is given it, with Hydra's interpolations filled in but `run_dir`."""
    cfg = composed("train", *overrides)
    with open_dict(cfg):
        cfg.model_name = cfg.hydra.runtime.choices.model
        del cfg.hydra
    return cfg


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
    """Train on small ratings into a folder of the test, by the command; returns the folder."""
    monkeypatch.setenv("RECSYS_CACHE", str(tmp_path / "cache"))
    write_ratings(tmp_path / "data" / "ratings.csv")

    def run(*overrides: str, name: str = "run") -> Path:
        folder = tmp_path / name
        call("train", *train_arguments(tmp_path / "data", folder), *overrides)
        return folder

    return run


@pytest.fixture(scope="session")
def small_ratings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of small ratings, `data`, beside that of their `cache`."""
    return write_ratings(tmp_path_factory.mktemp("small") / "data" / "ratings.csv").parent


@pytest.fixture
def quick_train(small_ratings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Train:
    """As `train`, but without the command: in half the time, and errors come as they are raised."""
    monkeypatch.setenv("RECSYS_CACHE", str(small_ratings.with_name("cache")))

    def run(*overrides: str, name: str = "run") -> Path:
        folder = tmp_path / name
        train_configured(run_config(*train_arguments(small_ratings, folder), *overrides), folder)
        return folder

    return run


@pytest.fixture(scope="session")
def trained(small_ratings: Path, tmp_path_factory: pytest.TempPathFactory) -> Train:
    """The folder of a finished run with these overrides, which is trained once: to be read, or copied, only."""

    @functools.cache
    def run(*overrides: str) -> Path:
        folder = tmp_path_factory.mktemp("trained")
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("RECSYS_CACHE", str(small_ratings.with_name("cache")))
            train_configured(run_config(*train_arguments(small_ratings, folder), *overrides), folder)
        return folder

    return run


def copy_run(folder: Path, to: Path) -> Path:
    """A copy of a run, or of a sweep, that says that it was made where it is."""
    shutil.copytree(folder, to)
    for file in to.rglob("*.yaml"):
        file.write_text(file.read_text().replace(str(folder), str(to)))
    return to
