"""What another process at 100% on one core costs a training run: `python -m benchmarks.busy_core [arguments of train]`.

Prints the ratio of the medians of interleaved runs, beside a burner that is bound to one core and without it.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REPEATS = 3
BURNER = "import os\nos.sched_setaffinity(0, {max(os.sched_getaffinity(0))})\nwhile True: pass"


def measure(
    arguments: list[str],
    *,
    busy: bool,
    python: str = sys.executable,
    cwd: Path | None = None,
    environment: dict[str, str] | None = None,
) -> dict[str, float]:
    """Wall seconds of one command, and of its fits alone."""
    burner = subprocess.Popen([sys.executable, "-c", BURNER]) if busy else None
    try:
        with tempfile.TemporaryDirectory() as folder:
            started = time.perf_counter()
            command = [python, "-m", "recsys.train", f"hydra.run.dir={folder}", *arguments]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=cwd, env=environment)
            wall = time.perf_counter() - started
            fit = json.loads((Path(folder) / "metrics.json").read_text())["fit_seconds"]
    finally:
        if burner:
            burner.kill()
            burner.wait()
    return {"wall": wall, "fit": fit}


def main() -> None:
    runs: dict[bool, list[dict[str, float]]] = {False: [], True: []}
    for _ in range(REPEATS):
        for busy, results in runs.items():
            results.append(measure(sys.argv[1:], busy=busy))
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, medians of {REPEATS}")
    for name in ("wall", "fit"):
        quiet, busy = (statistics.median(run[name] for run in runs[key]) for key in (False, True))
        print(f"{name:>5}: quiet {quiet:.2f} s, one core busy {busy:.2f} s, ratio {busy / quiet:.2f}")


if __name__ == "__main__":
    main()
