"""A sweep of iALS beside implicit's, by solver, and what it ranks: `python -m benchmarks.ials_sweep --root FOLDER`.

ML-1M, `leave_one_out`, one thread; the same loss for all (`implicit-als-alpha` of the comparison). Solvers take turns,
each in a process of its own; a sweep's seconds are the median of a process's, the first one left out. NDCG@10 is that
of the validation rows, fitted on the training rows; test rows take no part. implicit runs in an environment of its own,
which `python -m benchmarks.comparison.environments` makes.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.comparison.environments import python
from benchmarks.comparison.measure import REPOSITORY, THREAD_VARIABLES, figures_of
from benchmarks.comparison.protocols import PROTOCOLS, Answers, build_task, read
from benchmarks.comparison.ranking import best_unseen
from benchmarks.comparison.results import DEVICE, RESULTS, provenance, write
from benchmarks.comparison.task import Task

FILE = RESULTS / f"ials_sweep-{DEVICE}.json"
DIM, CONFIDENCE, REGULARIZATION = 64, 2.0, 10.0
KEEP = (1, 2, 4, 8, 16)  # sweeps after which lists are measured
TIMED_SWEEPS = 6
SOLVERS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "implicit, Cholesky": ("implicit", "implicit", {"use_cg": False}),
    "implicit, 3 conjugate gradient steps (its default)": ("implicit", "implicit", {"use_cg": True}),
    "recsys, cholesky": ("bench", "recsys", {"solver": "cholesky"}),
    "recsys, 1 conjugate gradient step": ("bench", "recsys", {"solver": "conjugate_gradient", "cg_steps": 1}),
    "recsys, 2 steps (default)": ("bench", "recsys", {"solver": "conjugate_gradient", "cg_steps": 2}),
    "recsys, 3 steps": ("bench", "recsys", {"solver": "conjugate_gradient", "cg_steps": 3}),
}  # environment, library, settings


def fitted(name: str, rows: Path, folder: Path, **job: Any) -> NDArray[np.float64]:
    """Seconds of each sweep of a fit, by the clock and of the processor, `(sweeps, 2)`; its factors are in the folder.

    Each fit has a process of its own.
    """
    environment, library, settings = SOLVERS[name]
    folder.mkdir()
    (folder / "job.json").write_text(json.dumps({
        "library": library, "settings": settings, "rows": str(rows), "dim": DIM, "confidence": CONFIDENCE,
        "regularization": REGULARIZATION, **job,
    }))  # fmt: skip
    subprocess.run(
        [python(environment), "-m", "benchmarks.ials_sweep_child", str(folder / "job.json")],
        check=True, cwd=REPOSITORY, env=os.environ | dict.fromkeys(THREAD_VARIABLES, "1"),
    )  # fmt: skip
    seconds: NDArray[np.float64] = np.load(folder / "seconds.npy")
    return seconds


def ndcg(file: Path, task: Task, answers: Answers) -> float:
    """NDCG@10 of the factors in a file."""
    with np.load(file) as factors:
        users, items = factors["users"], factors["items"]
    found = figures_of(best_unseen(lambda user: users[user] @ items.T, task, 10), task, answers)
    return float(found["ndcg@10"])


def measured(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Of each solver the seconds of a sweep in every round, of the first one, and NDCG@10 of every seed by sweep."""
    [protocol] = [p for p in PROTOCOLS if (p.data, p.split) == ("ml_1m", "leave_one_out")]
    task, answers = build_task(protocol, read(protocol, arguments.root), validation=True)
    rows = folder / "rows.npz"
    np.savez(rows, user=task.train_user, item=task.train_item)
    found: dict[str, Any] = {name: {"seconds": [], "cpu_seconds": [], "first": [], "ndcg": []} for name in SOLVERS}
    for number in range(arguments.rounds):
        for name, kept in found.items():
            seconds = fitted(name, rows, folder / f"{name} {number}", seed=0, sweeps=TIMED_SWEEPS, keep=[])
            kept["first"].append(round(seconds[0, 0], 4))
            for what, later in zip(("seconds", "cpu_seconds"), np.median(seconds[1:], 0), strict=True):
                kept[what].append(round(later, 4))
            print(number, name, kept["seconds"][-1], kept["cpu_seconds"][-1], flush=True)
    for seed in range(arguments.seeds):
        for name, kept in found.items():
            place = folder / f"{name} lists {seed}"
            fitted(name, rows, place, seed=seed, sweeps=KEEP[-1], keep=KEEP)
            kept["ndcg"].append([round(ndcg(place / f"{k}.npz", task, answers), 5) for k in KEEP])
            print(seed, name, kept["ndcg"][-1], flush=True)
    return {"ratings": len(task.train_user), "users": task.fitted_users, "items": task.fitted_items, "solvers": found}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="of timed fits")
    parser.add_argument("--seeds", type=int, default=3, help="of fits whose lists are measured")
    parser.add_argument("--root", help="folder of ML-1M; default that of conf/data/ml_1m.yaml")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ials-") as folder:
        found = measured(arguments, Path(folder))
    result = {"embedding_dim": DIM, "threads": 1, "sweeps": KEEP, **found,
              **provenance("benchmarks.ials_sweep", sys.argv[1:])}  # fmt: skip
    write(result, FILE)


if __name__ == "__main__":
    main()
