"""What a sweep costs beside its training, what a second worker and pruning save: `python benchmarks/sweeps.py`.

MovieLens 100K, whole commands from start to end. Twelve jobs in one process and with two workers, in turn; then a study
of forty trials without and with pruning, in turn, with other sampler seeds each time.
"""

from __future__ import annotations

import argparse
import json
import operator
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

FILE = Path(__file__).parent / "results" / "sweeps-cpu-2core.json"
GRID = ["model.embedding_dim=16,32,64", "model.dropout=0.0,0.2", "model.reg_lambda=0.01,0.03"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("overrides", nargs="*", help="for every job, such as data.root=…")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = {"jobs": jobs(Path(folder), arguments), "pruning": pruning(Path(folder), arguments)}
    print(json.dumps(found, indent=2))
    FILE.write_text(json.dumps(found, indent=2) + "\n")


def jobs(folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    rounds = []
    for number in range(arguments.rounds):
        one, two = (folder / f"{number}-{workers}" for workers in (1, 2))
        alone = timed(["-m", *GRID, *arguments.overrides, f"hydra.sweep.dir={one}"])
        parallel = ["hydra/launcher=parallel", "hydra.launcher.n_jobs=2"]
        together = timed(["-m", *GRID, *arguments.overrides, *parallel, f"hydra.sweep.dir={two}"])
        fits = [json.loads((one / str(job) / "metrics.json").read_text())["fit_seconds"] for job in range(12)]
        spent = [json.loads((one / str(job) / "status.json").read_text())["seconds"] for job in range(12)]
        rounds.append({
            "seconds": alone, "seconds_two_workers": together, "faster": alone / together,
            "training_seconds": sum(fits), "overhead_a_job": (alone - sum(fits)) / 12,
            "overhead_a_later_job": statistics.median(map(operator.sub, spent[1:], fits[1:])),  # torch is there
        })  # fmt: skip
        print(rounds[-1], flush=True)
    return {"rounds": rounds, "median": medians(rounds)}


def pruning(folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    rounds = []
    for seed in range(arguments.rounds):
        found: dict[str, Any] = {"seed": seed}
        for pruner in ("none", "halving"):
            study = folder / f"{pruner}-{seed}"
            found[f"seconds_{pruner}"] = timed([
                "hparams_search=optuna", "hydra.sweeper.n_trials=40", f"hydra.sweeper.pruner={pruner}",
                f"hydra.sweeper.seed={seed}", f"hydra.sweep.dir={study}", *arguments.overrides,
            ])  # fmt: skip
            values = [json.loads(file.read_text())["val/rmse"] for file in study.glob("*/metrics.json")]
            found[f"best_{pruner}"], found[f"finished_{pruner}"] = min(values), len(values)
        found["time"] = found["seconds_halving"] / found["seconds_none"]
        found["best_worse_by"] = found["best_halving"] - found["best_none"]
        print(found, flush=True)
        rounds.append(found)
    return {"rounds": rounds, "median": medians(rounds)}


def timed(overrides: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, "-m", "recsys.train", *overrides], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def medians(rounds: list[dict[str, Any]]) -> dict[str, float]:
    return {name: statistics.median(one[name] for one in rounds) for name in rounds[0]}


if __name__ == "__main__":
    main()
