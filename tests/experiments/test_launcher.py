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

import pytest

from recsys.experiments.launcher import ParallelLauncher
from recsys.training.threads import available_cores
from tests.commands import call
from tests.experiments.test_multirun import arguments, states  # noqa: F401  (a fixture)

SCRIPT = """
import os, signal
from pathlib import Path
import hydra
from hydra.core.hydra_config import HydraConfig
from recsys.cli import config_dir
from recsys.experiments import launcher
from recsys.experiments.run_folder import track_status

launcher.PRELOADED.clear()  # nothing trains here
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


@pytest.fixture
def sweep(tmp_path: Path) -> Iterator[Sweep]:
    """Starts a sweep of two workers, over jobs that do what their names say, in a session of its own."""
    (tmp_path / "script.py").write_text(SCRIPT)
    started: list[subprocess.Popen[str]] = []

    def start(jobs: str) -> subprocess.Popen[str]:
        command = [sys.executable, str(tmp_path / "script.py"), "-m", f"+job={jobs}", "hydra/launcher=parallel",
                   "hydra.launcher.n_jobs=2", f"hydra.sweep.dir={tmp_path / 'sweep'}"]  # fmt: skip
        started.append(
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
        )
        return started[-1]

    yield start
    for process in started:  # of a test that failed, which left its jobs computing
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def wait_for(*files: Path) -> None:
    end = time.monotonic() + 60
    while not all(file.exists() for file in files):
        assert time.monotonic() < end
        time.sleep(0.02)


def messages(folder: Path) -> list[str | None]:
    return [json.loads(file.read_text())["message"] for file in sorted(folder.glob("*/status.json"))]


def test_a_worker_that_is_killed_is_one_failed_job(sweep: Sweep, tmp_path: Path) -> None:
    process = sweep("finish,die,finish,finish")
    out, err = process.communicate()
    assert process.returncode == 0, err
    assert states(tmp_path / "sweep") == dict.fromkeys("0123", "finished") | {"1": "failed"}
    assert messages(tmp_path / "sweep")[1] == "killed by the OS (out of memory?)"
    assert "retrying" in out


def test_a_job_is_retried_when_its_worker_was_killed(sweep: Sweep, tmp_path: Path) -> None:
    process = sweep("die_once,finish,die_once")
    _, err = process.communicate()
    assert process.returncode == 0, err
    assert states(tmp_path / "sweep") == dict.fromkeys("012", "finished")


def test_an_error_that_a_job_does_not_record_is_recorded(sweep: Sweep, tmp_path: Path) -> None:
    process = sweep("raise,finish")
    _, err = process.communicate()
    assert process.returncode == 0, err
    assert states(tmp_path / "sweep") == {"0": "failed", "1": "finished"}
    assert messages(tmp_path / "sweep")[0] == "RuntimeError: no luck"


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


def test_jobs_side_by_side_equal_jobs_in_turn(
    arguments: list[str],  # noqa: F811
    tmp_path: Path,
) -> None:
    command = [sys.executable, "-m", "recsys.train", *arguments, "threads=64", "model.dropout=0.1,2,0.3"]
    process = subprocess.run(
        [*command, "hydra/launcher=joblib", "hydra.launcher.n_jobs=2"],
        capture_output=True,
        text=True,
        env=os.environ,
        check=False,
    )
    assert process.returncode == 1, process.stderr
    lines = [line for line in process.stdout.splitlines() if line.lstrip().startswith(("1/3", "2/3", "3/3"))]
    assert len(lines) == 3
    assert "ratings to train on" not in process.stdout
    sweep = tmp_path / "sweep"
    assert states(sweep) == {"0": "finished", "1": "failed", "2": "finished"}
    turn = tmp_path / "turn"
    with pytest.raises(SystemExit):
        call("train", *arguments, "model.dropout=0.1,2,0.3", f"hydra.sweep.dir={turn}")
    threads = max(available_cores() // 2, 1)
    for job in ("0", "2"):
        one, other = (json.loads((folder / job / "metrics.json").read_text()) for folder in (sweep, turn))
        assert one["device"] == f"cpu, {threads} threads"
        assert one["val/rmse"] == pytest.approx(other["val/rmse"], abs=1e-5)


def test_a_sweep_needs_a_worker() -> None:
    with pytest.raises(SystemExit, match=r"hydra.launcher.n_jobs .* got 0"):
        ParallelLauncher(n_jobs=0)
