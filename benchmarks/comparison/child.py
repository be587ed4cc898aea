"""The process of one competitor: `python -m benchmarks.comparison.child JOB.json`. Needs NumPy and its library.

The job names the factory, the task's file and how to run; beside it are written `predicted.npy`, and `measured.json`
last.
"""

from __future__ import annotations

import importlib
import json
import platform
import sys
import time
import traceback
from collections.abc import Callable, Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from benchmarks.comparison.contract import Floats, Run
from benchmarks.comparison.memory import peak_mib, resident_mib, restart_peak
from benchmarks.comparison.ranking import best_unseen
from benchmarks.comparison.task import Task

Result = TypeVar("Result")
LIST_LENGTH = 20  # items a user, for figures at 10 and 20


def main() -> None:
    file = Path(sys.argv[1])
    job = json.loads(file.read_text())
    module, name = job["factory"].split(":")
    library = importlib.import_module(f"benchmarks.comparison.{module}")
    factory = getattr(library, name)
    run = Run(job["settings"], job["seed"], job["threads"], Path(job["folder"]), job["root"])
    predicted, measured = measure(factory(run), Task.load(Path(job["task"])))
    np.save(file.parent / "predicted.npy", predicted)
    found = {"versions": versions(job["distributions"]) | getattr(library, "VERSIONS", {})}
    (file.parent / "measured.json").write_text(json.dumps(measured | found))


def measure(peer: Any, task: Task) -> tuple[Floats, dict[str, float]]:
    """Predictions, or for a ranking the best items of each user, and seconds and MiB."""
    prepare_seconds, _, _ = timed(lambda: peer.prepare(task))
    before = resident_mib()
    restart_peak()
    fit_seconds, cpu_seconds, _ = timed(peer.fit)
    predict = peer.predict if task.kind == "rating" else lambda: best_unseen(peer.scores, task, LIST_LENGTH)
    predict_seconds, _, predicted = timed(predict)
    return predicted, {
        "prepare_seconds": prepare_seconds,
        "fit_seconds": fit_seconds,
        "fit_cpu_seconds": cpu_seconds,
        "predict_seconds": predict_seconds,
        "memory_before_fit_mib": before,
        "peak_memory_mib": peak_mib(),
    }


def timed(step: Callable[[], Result]) -> tuple[float, float, Result]:
    """Wall seconds, CPU seconds of all threads, and what the step returns."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = step()
    return time.perf_counter() - wall, time.process_time() - cpu, result


def versions(distributions: Iterable[str]) -> dict[str, str]:
    """Of Python, NumPy and the named distributions; one that is built from source by hand has no entry."""
    found = {"python": platform.python_version(), "numpy": np.__version__}
    for name in distributions:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


if __name__ == "__main__":
    try:
        main()
    except Exception as error:  # its last line, which the parent reads, is the whole message
        traceback.print_exc()
        sys.exit(f"{type(error).__name__}: {' '.join(str(error).split())}")
