"""Sweeps in processes of their own, since workers import what this one has changed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pytest

from recsys.experiments.launcher import ParallelLauncher
from recsys.training.threads import available_cores
from tests.commands import call
from tests.experiments.test_multirun import arguments, states  # noqa: F401  (a fixture)

pytestmark = pytest.mark.long

SCRIPT = """
import os, signal
from pathlib import Path
import hydra
from hydra.core.hydra_config import HydraConfig
from recsys.experiments.configuration import config_dir
from recsys.experiments import launcher
from recsys.experiments.run_folder import track_status

launcher.PRELOADED[:] = ["recsys.cli", "recsys.experiments.launcher"]  # nothing trains here
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell starts background processes with it ignored

@hydra.main(version_base="1.3", config_path=str(config_dir()), config_name=None)
def main(cfg):
    folder = Path(HydraConfig.get().runtime.output_dir)
    first = not (folder / "begun").exists()
    (folder / "begun").touch()
    if cfg.job == "die" or (cfg.job == "die_once" and first):
        os.kill(os.getpid(), signal.SIGKILL)
    if cfg.job == "raise":
        raise RuntimeError("no luck")
    with track_status(folder):
        (folder / "running").touch()
        while cfg.job == "compute":
            sum(range(100_000))

if __name__ == "__main__":
    main()
"""
Sweep = Callable[[str], subprocess.Popen[str]]


def start_sweep(folder: Path, jobs: str) -> subprocess.Popen[str]:
    """Start a sweep of two workers, over jobs that do what their names say, in a session of its own."""
    (folder / "script.py").write_text(SCRIPT)
    command = [sys.executable, str(folder / "script.py"), "-m", f"+job={jobs}", "hydra/launcher=parallel",
               "hydra.launcher.n_jobs=2", f"hydra.sweep.dir={folder / 'sweep'}"]  # fmt: skip
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)


def kill(process: subprocess.Popen[str]) -> None:
    """Kill what a failed test left computing."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


@pytest.fixture
def sweep(tmp_path: Path) -> Iterator[Sweep]:
    started: list[subprocess.Popen[str]] = []

    def start(jobs: str) -> subprocess.Popen[str]:
        started.append(start_sweep(tmp_path, jobs))
        return started[-1]

    yield start
    for process in started:
        kill(process)


class Ended(NamedTuple):
    folder: Path
    out: str
    messages: dict[str, str | None]


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Ended:
    """A sweep whose jobs 0 and 1 kill their workers, 1 only at its first try, and whose job 2 raises."""
    folder = tmp_path_factory.mktemp("ended")
    process = start_sweep(folder, "die,die_once,raise,finish")
    try:
        out, err = process.communicate(timeout=60)
    finally:
        kill(process)
    assert process.returncode == 0, err
    files = sorted((folder / "sweep").glob("*/status.json"))
    return Ended(folder / "sweep", out, {file.parent.name: json.loads(file.read_text())["message"] for file in files})


def wait_for(*files: Path) -> None:
    end = time.monotonic() + 60
    while not all(file.exists() for file in files):
        assert time.monotonic() < end
        time.sleep(0.01)


def test_failures_end_no_other_job(ended: Ended) -> None:
    assert states(ended.folder) == {"0": "failed", "1": "finished", "2": "failed", "3": "finished"}


def test_a_job_whose_worker_is_always_killed_fails(ended: Ended) -> None:
    assert ended.messages["0"] == "killed by the OS (out of memory?)"


def test_a_job_is_retried_when_its_worker_was_killed(ended: Ended) -> None:
    assert "retrying" in ended.out
    assert ended.messages["1"] is None


def test_an_error_that_a_job_does_not_record_is_recorded(ended: Ended) -> None:
    assert ended.messages["2"] == "RuntimeError: no luck"


def test_no_worker_outlives_a_sweep_that_is_killed(sweep: Sweep, tmp_path: Path) -> None:
    process = sweep("compute,compute")
    wait_for(*(tmp_path / "sweep" / job / "running" for job in "01"))
    process.kill()
    process.communicate(timeout=10)  # ends when no process holds the other end of its output


@pytest.mark.parametrize("terminal", [True, False], ids=["to all processes", "to the sweep alone"])
def test_ctrl_c_interrupts_the_jobs(sweep: Sweep, tmp_path: Path, terminal: bool) -> None:
    process = sweep("compute,compute,finish")
    wait_for(*(tmp_path / "sweep" / job / "running" for job in "01"))
    if terminal:
        os.killpg(process.pid, signal.SIGINT)
    else:
        process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode != 0
    assert err.count(f"to resume: python -m recsys.train resume={tmp_path / 'sweep'}") == 1
    assert states(tmp_path / "sweep") == {"0": "interrupted", "1": "interrupted"}


def test_jobs_side_by_side_equal_jobs_alone(
    arguments: list[str],  # noqa: F811
    tmp_path: Path,
) -> None:
    arguments = [*arguments, "refit=none"]
    command = [sys.executable, "-m", "recsys.train", *arguments, "threads=64", "model.dropout=0.1,2"]
    process = subprocess.run(
        [*command, "hydra/launcher=joblib", "hydra.launcher.n_jobs=2"],
        capture_output=True,
        text=True,
        env=os.environ,
        check=False,
    )
    assert process.returncode == 1, process.stderr
    lines = [line for line in process.stdout.splitlines() if line.lstrip().startswith(("1/2", "2/2"))]
    assert len(lines) == 2
    assert "ratings to train on" not in process.stdout
    assert states(tmp_path / "sweep") == {"0": "finished", "1": "failed"}
    alone = tmp_path / "alone"
    call("train", *arguments[1:], "model.dropout=0.1", f"hydra.run.dir={alone}")
    one, other = (json.loads((run / "metrics.json").read_text()) for run in (tmp_path / "sweep" / "0", alone))
    assert one["device"] == f"cpu, {max(available_cores() // 2, 1)} threads"
    assert one["val/rmse"] == pytest.approx(other["val/rmse"], abs=1e-5)


def test_a_sweep_needs_a_worker() -> None:
    with pytest.raises(SystemExit, match=r"hydra.launcher.n_jobs .* got 0"):
        ParallelLauncher(n_jobs=0)
