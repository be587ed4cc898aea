"""One competitor, once: a process of its own, and the figures of what it predicted."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.comparison.competitors import Competitor, Settings
from benchmarks.comparison.environments import python
from benchmarks.comparison.protocols import Answers
from benchmarks.comparison.task import Task
from recsys.evaluation.metrics import rating_metrics
from recsys.evaluation.outcomes import RankedLists
from recsys.evaluation.registry import measure

REPOSITORY = Path(__file__).parents[2]
LAST_WORDS = 300  # characters of an error
THREAD_VARIABLES = (
    "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS", "NUMBA_NUM_THREADS",
    "RAYON_NUM_THREADS", "LK_NUM_THREADS", "LK_NUM_BACKEND_THREADS",
)  # fmt: skip


@dataclass(frozen=True)
class Bench:
    """A task on disk, its answers, and how competitors are run on it."""

    task: Task
    answers: Answers
    file: Path  # of the task: what a competitor sees
    threads: int
    timeout: float  # seconds for one process, imports included
    root: str | None = None


class CompetitorError(RuntimeError):
    """A competitor that failed or took too long; the message says which and why."""


def measured(bench: Bench, competitor: Competitor, settings: Settings, seed: int) -> dict[str, Any]:
    """Figures, seconds, MiB and versions; or `error`, since one competitor's failure is no other's."""
    with tempfile.TemporaryDirectory(prefix="peer-") as folder:
        try:
            found = in_own_process(bench, competitor, settings, seed, Path(folder))
            predicted = np.load(Path(folder) / "predicted.npy")
            figures = figures_of(predicted, bench.task, bench.answers)
        except (CompetitorError, FileNotFoundError, ValueError) as error:
            return {"error": str(error)}
    versions = found.pop("versions")
    return figures | {name: round(value, 3) for name, value in found.items()} | {"versions": versions}


def in_own_process(bench: Bench, competitor: Competitor, settings: Settings, seed: int, folder: Path) -> dict[str, Any]:
    """What the process measured.

    Raises:
        CompetitorError: It failed or took too long.
        FileNotFoundError: Its environment is absent.
    """
    own = folder / "own"
    own.mkdir()
    job = {
        "factory": competitor.factory, "task": str(bench.file), "settings": settings, "seed": seed,
        "threads": bench.threads, "folder": str(own), "root": bench.root, "distributions": competitor.distributions,
    }  # fmt: skip
    (folder / "job.json").write_text(json.dumps(job))
    command = [python(competitor.environment), "-m", "benchmarks.comparison.child", str(folder / "job.json")]
    environment = os.environ | dict.fromkeys(THREAD_VARIABLES, str(bench.threads))
    run_within(command, bench.timeout, environment)
    found: dict[str, Any] = json.loads((folder / "measured.json").read_text())
    return found


def run_within(command: list[str], seconds: float, environment: dict[str, str]) -> None:
    """Run a command in a process group of its own, which is killed when the time is over.

    Raises:
        CompetitorError: With the last line of what it said, the signal that ended it, or the time it was given.
    """
    process = subprocess.Popen(
        command, cwd=REPOSITORY, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    try:
        _, said = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired as error:
        raise CompetitorError(f"took longer than {seconds:g} seconds") from error
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    if process.returncode < 0:
        raise CompetitorError(f"ended by signal {-process.returncode}; 9 is what Linux sends when memory runs out")
    if process.returncode:
        lines = [line for line in said.splitlines() if line.strip()] or [f"exit status {process.returncode}"]
        raise CompetitorError(lines[-1].strip()[:LAST_WORDS])


def figures_of(predicted: np.ndarray[Any, Any], task: Task, answers: Answers) -> dict[str, float | None]:
    """The figures, by the same code for all; stars are clipped to the scale first.

    Raises:
        ValueError: The predictions are not as many as asked for, or not finite.
    """
    if len(predicted) != len(task.test_user):
        raise ValueError(f"predictions must be {len(task.test_user)}, got {len(predicted)}")
    if task.kind == "ranking":
        raters = np.bincount(task.train_item, minlength=int(predicted.max(initial=0)) + 1)
        popularity = np.maximum(raters, 1) / max(1, len(np.unique(task.train_user)))
        row = np.searchsorted(task.test_user, answers.user)
        return _rounded(measure("ranking", RankedLists.of(predicted, row, answers.item, popularity)))
    if not np.isfinite(predicted).all():
        raise ValueError(f"predictions must be finite, got {(~np.isfinite(predicted)).sum()} that are not")
    stars = np.clip(predicted.astype(np.float64), task.rating_min, task.rating_max)
    return _rounded(rating_metrics(stars, answers.rating, task.warm()))


def _rounded(metrics: dict[str, float | None]) -> dict[str, float | None]:
    return {name: None if value is None else round(value, 5) for name, value in metrics.items()}
