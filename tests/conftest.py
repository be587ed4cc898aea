"""Fixtures of many tests, and what makes all of them fast. It imports neither torch nor Lightning."""

from __future__ import annotations

import gc
import logging
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path

import numpy as np
import pytest
from hydra.core.hydra_config import HydraConfig

from recsys.bundle import Bundle
from recsys.bundle.factors import Factors
from tests.bundles import ITEMS, RATED, USERS, make_bundle
from tests.commands import PLOTS, draw_plots, quick_train, small_ratings, train, trained  # noqa: F401  (fixtures)
from tests.postgres import postgres, postgres_server  # noqa: F401  (fixtures)
from tests.s3 import s3  # noqa: F401

# Of this process and what tests start: two that want all cores take many times as long.
os.environ.setdefault("OMP_NUM_THREADS", "1")
gc.disable()  # until all tests are collected: else a quarter of the imports is spent on looking for garbage

SHARED = Path(__file__).parents[2] / "shared" / "data"


def pytest_collection_finish() -> None:
    gc.enable()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def _fast() -> Iterator[None]:
    """Nothing that a test writes has to outlive a power cut; runs draw no plots, except within tests with `plots`;
    all trainers look once for the callbacks of installed packages.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        if "recsys.training.run" in sys.modules:
            for name in PLOTS:
                patch.setattr(f"recsys.training.run.{name}", lambda *_: None)
            patch.setattr("lightning.fabric.utilities.registry.entry_points", cache(entry_points))
        yield


@pytest.fixture(autouse=True)
def _no_command_before() -> None:
    """A command finds nothing of another one: Hydra leaves the configuration of `--help`, and loggers disabled."""
    HydraConfig.instance().cfg = None
    logging.root.setLevel(min(logging.root.level, logging.WARNING))
    for name, logger in logging.root.manager.loggerDict.items():
        if name.startswith("recsys") and isinstance(logger, logging.Logger):
            logger.disabled = False


@pytest.fixture
def plots(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs within this test draw their plots."""
    draw_plots(monkeypatch)


@pytest.fixture
def shared() -> Callable[[str], Path]:
    """The folder of a real release, or a skip that says why."""

    def folder(name: str) -> Path:
        if not (SHARED / name).is_dir():
            pytest.skip(f"needs {name} in {SHARED}, which is not there")
        return SHARED / name

    return folder


@pytest.fixture
def small(two_by_three: Factors) -> Bundle:
    return make_bundle(two_by_three, USERS, ITEMS, RATED, metrics={"test/rmse": 0.9, "test/rmse_cold": None})


@pytest.fixture(scope="session")
def saved_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the first test that needs `saved` saves it."""
    return tmp_path_factory.mktemp("small") / "bundle"


@pytest.fixture
def saved(small: Bundle, saved_once: Path, tmp_path: Path) -> Path:
    """The folder of `small`."""
    if not saved_once.exists():
        small.save(saved_once)
    return shutil.copytree(saved_once, tmp_path / "bundle")


@pytest.fixture
def two_by_three() -> Factors:
    """Two users, three items, one sample, two coordinates; predictions are easy by hand."""
    return Factors(
        mu=np.array([3.0], np.float32),
        user_bias=np.array([[0.5], [-0.5]], np.float32),
        item_bias=np.array([[0.25], [0.0], [-0.25]], np.float32),
        user_factors=np.array([[[1.0, 0.0]], [[-1.0, 0.0]]], np.float32),
        item_factors=np.array([[[0.5, 9.0]], [[4.0, 0.0]], [[-4.5, -9.0]]], np.float32),
        prior_mean=np.zeros((1, 3), np.float32),
        prior_precision=np.eye(3, dtype=np.float32)[None, None],
        prior_exponent=np.ones(1, np.float32),
    )
