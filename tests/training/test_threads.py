from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch

from recsys.training import threads
from recsys.training.threads import available_cores, choose_threads, set_environment
from tests.commands import Train

VARIABLES = ("OMP_NUM_THREADS", "OMP_THREAD_LIMIT", "OPENBLAS_NUM_THREADS", *threads.PASSIVE_WAITING)


@pytest.fixture(autouse=True)
def eight_cores(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine of eight cores; returns the folder of its control groups."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setattr(threads, "CGROUP", tmp_path)
    for name in VARIABLES:  # set first, so that they are taken away again
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    return tmp_path


def test_one_thread_unless_asked_for_more() -> None:
    assert [choose_threads(number) for number in (None, 1, 3, 8, 99)] == [1, 1, 3, 8, 8]


def test_omp_num_threads_is_obeyed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3,2")
    assert (choose_threads(None), choose_threads(2)) == (3, 2)


@pytest.mark.parametrize("number", [0, -1, 1.5, True, "two"])
def test_a_number_that_cannot_be(number: object) -> None:
    with pytest.raises(ValueError, match=rf"threads .* >= 1, got {number}"):
        choose_threads(number)  # type: ignore[arg-type]


@pytest.mark.parametrize(("quota", "cores"), [("max 100000", 8), ("200000 100000", 2), ("250000 100000", 3), ("?", 8)])
def test_a_quota_of_cgroup_v2_is_respected(eight_cores: Path, quota: str, cores: int) -> None:
    (eight_cores / "cpu.max").write_text(quota + "\n")
    assert (available_cores(), choose_threads(99)) == (cores, cores)


@pytest.mark.parametrize(("quota", "cores"), [(-1, 8), (50_000, 1), (400_000, 4)])
def test_a_quota_of_cgroup_v1_is_respected(eight_cores: Path, quota: int, cores: int) -> None:
    (eight_cores / "cpu").mkdir()
    (eight_cores / "cpu" / "cpu.cfs_quota_us").write_text(f"{quota}\n")
    (eight_cores / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    assert available_cores() == cores


def test_a_worker_has_its_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_THREAD_LIMIT", "2")
    assert choose_threads(8) == 2


def test_the_environment_of_the_user_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    set_environment()
    found = {name: os.environ.get(name) for name in VARIABLES}
    assert (found["OMP_WAIT_POLICY"], found["OPENBLAS_NUM_THREADS"]) == ("active", "4")
    assert (found["GOMP_SPINCOUNT"], found["KMP_BLOCKTIME"]) == ("0", "0")


@pytest.mark.parametrize(("arguments", "expected"), [([], 1), (["threads=2"], 2)])
def test_a_run_computes_with_as_many_threads(
    quick_train: Train, monkeypatch: pytest.MonkeyPatch, arguments: list[str], expected: int
) -> None:
    """By the count of torch; that libraries are told before they are loaded is a test of `cli`."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    before, expected = torch.get_num_threads(), min(expected, available_cores())
    torch.set_num_threads(3)
    try:
        folder = quick_train("trainer.max_epochs=1", "refit=none", *arguments)
        assert torch.get_num_threads() == expected
    finally:
        torch.set_num_threads(before)
    device = json.loads((folder / "metrics.json").read_text())["device"]
    assert device.removesuffix("s") == f"cpu, {expected} thread"
