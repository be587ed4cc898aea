"""What the benchmarks work on, made once a session, and the calibration around each of them.

One thread: the time of several depends on who else is running.
"""

from __future__ import annotations

import os

os.environ |= dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch

from benchmarks.micro.calibration import CLOCK, Calibration
from benchmarks.micro.machine import machine
from benchmarks.micro.models import configured
from benchmarks.micro.synthetic import write_ml_1m
from recsys.bundle import Bundle
from recsys.data.datamodule import RatingDataModule
from recsys.data.sources import MovieLens
from recsys.training.export import make_bundle

ROUNDS = {"min_time": 0.002, "max_time": 0.2, "min_rounds": 5}  # seconds of a round, of a benchmark

torch.set_num_threads(1)
pa.set_cpu_count(1)
logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every benchmark here is timed in the same way."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.benchmark(timer=CLOCK, disable_gc=True, **ROUNDS))


@pytest.hookimpl(optionalhook=True)
def pytest_benchmark_generate_machine_info() -> dict[str, Any]:
    """Ours instead of the plugin's, which names the host."""
    return machine()


@pytest.fixture(scope="session")
def calibration() -> Calibration:
    return Calibration()


@pytest.fixture(autouse=True)
def calibrated(benchmark: Any, calibration: Calibration) -> Iterator[None]:
    """Note how fast the machine was just before and just after the benchmark."""
    before = calibration.seconds()
    yield
    benchmark.extra_info["calibration"] = min(before, calibration.seconds())


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MovieLens]:
    """Text files, and a cache of their own for what is parsed of them."""
    folder = tmp_path_factory.mktemp("ml-1m")
    write_ml_1m(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RECSYS_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield MovieLens("ml-1m", root=str(folder))


@pytest.fixture(scope="session")
def data(source: MovieLens) -> RatingDataModule:
    module = RatingDataModule(source)
    module.setup()
    return module


@pytest.fixture(scope="session")
def bundle(data: RatingDataModule) -> Bundle:
    """Of a model that was not trained: numbers make no difference to times."""
    return make_bundle(configured("mf", data), data, noise=0.9)
