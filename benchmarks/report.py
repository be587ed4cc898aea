"""Time of the report on 500 runs, from process start to the end: python -m benchmarks.report [--runs 500].

Makes run folders as train.py leaves them, without training: 40 epochs, an analysis with all its groups, three seeds a
setting, a random search over four hyper-parameters; one in ten was pruned, failed or is broken. Then it measures
`python -m recsys.report` in each format, and `import recsys.report` alone, in fresh processes.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.report.run_folders import write_run

RESULTS = Path(__file__).parent / "results"
EPOCHS, SEEDS = 40, 3
EDGES = [0, 1, 5, 10, 20, 50, 100, 200, 500, 1000]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=500)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--device", default=f"cpu-{os.cpu_count()}core")
    arguments = parser.parse_args()
    results: dict[str, Any] = {
        "device": arguments.device,
        "python": platform.python_version(),
        "load": round(os.getloadavg()[0], 2),  # processes at work in the minute before: what else was running
        "runs": arguments.runs,
    }
    with tempfile.TemporaryDirectory(prefix="report-") as name:
        folder = Path(name)
        write_runs(folder, arguments.runs)
        python = [sys.executable, "-c", "import recsys.report"]
        results["import"] = seconds(python, arguments.repeat)
        for kind in ("table", "html", "md", "csv", "json"):
            command = [sys.executable, "-m", "recsys.report", str(folder), "--format", kind]
            results[kind] = seconds(command, arguments.repeat)
        results["page_mb"] = round((folder / "report.html").stat().st_size / 1e6, 2)
    RESULTS.mkdir(exist_ok=True)
    text = json.dumps(results, indent=2)
    (RESULTS / f"report-{arguments.device}.json").write_text(text + "\n")
    print(text)


def seconds(command: list[str], repeat: int) -> float:
    """Median wall time of a command."""
    times = []
    for _ in range(repeat):
        begun = time.perf_counter()
        subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
        times.append(time.perf_counter() - begun)
    return round(statistics.median(times), 3)


def write_runs(folder: Path, runs: int) -> None:
    draw = random.Random(0)
    for setting in range(-(-runs // SEEDS)):
        rate, dropout = 10 ** draw.uniform(-3, -1), draw.uniform(0, 0.5)
        dim, bias = draw.choice([16, 32, 64]), draw.choice(["mean", "zero"])
        overrides = [f"model.learning_rate={rate}", f"model.dropout={dropout}", f"model.embedding_dim={dim}"]
        for seed in range(min(SEEDS, runs - SEEDS * setting)):
            number = SEEDS * setting + seed
            figure = 0.93 + abs(rate - 0.01) + 0.02 * dropout + draw.gauss(0, 0.002)
            state = draw.choice(["pruned", "failed"]) if number % 10 == 9 else "finished"
            run = write_run(
                folder / str(number), *overrides, f"model.bias_init={bias}", f"seed={seed}", state=state,
                message=None if state == "finished" else "given up at epoch 9",
                val_rmse=figure, test_rmse=figure + 0.02,
                curve=",".join(f"{figure + 0.3 / (epoch + 1):.16f}" for epoch in range(EPOCHS)),
            )  # fmt: skip
            if state == "finished":
                (run / "analysis.json").write_text(json.dumps(analysis(draw)))
            if number % 100 == 50:
                (run / "metrics.json").write_text("{")


def analysis(draw: random.Random) -> dict[str, Any]:
    """As many groups as recsys.evaluation.error_analysis finds at most."""

    def group(**known: Any) -> dict[str, Any]:
        names = ("rmse", "baseline", "mean_predicted", "mean_rating")
        return known | {"rows": draw.randrange(9999)} | {name: round(draw.uniform(1, 5), 5) for name in names}

    ranges = [group(**{"from": low, "to": high}) for low, high in zip(EDGES, [*EDGES[1:], None], strict=True)]
    return {
        "by_user_activity": ranges,
        "by_item_popularity": ranges,
        "by_rating": [group(rating=half / 2) for half in range(1, 11)],
        "calibration": [group(**{"from": step / 4, "to": (step + 1) / 4}) for step in range(16)],
    }


if __name__ == "__main__":
    main()
