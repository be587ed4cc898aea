"""What a rating costs a sweep among 25 million, against a million, and what a fit of 25 million holds in memory.

    python -m benchmarks.scaling_sweeps [--repeats 3] [--implicit] [--memory] [--only als]

Made-up ratings of ML-1M's and ML-25M's shapes, dim 32, ids alone. A round is a fit of both under Lightning; sweeps are
timed from the second on, as the first one groups the ratings. `--implicit` adds who rated what, whose effects come from
eigenvectors in the small data and by conjugate gradients in the large. `--memory` runs `python -m recsys.train`, from a
file of 25 million ratings to a bundle of eight samples of 64 factors, in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import runpy
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import lightning as L
import torch

from benchmarks.comparison.memory import peak_mib
from benchmarks.comparison.results import DEVICE, RESULTS, provenance, write
from benchmarks.data_loading import write_ratings
from benchmarks.scaling import prepared
from recsys.data.datamodule import RatingDataModule
from recsys.models.als import ALS
from recsys.models.bayesian.model import BayesianMF
from recsys.models.closed_form import SweepModel

FILE = RESULTS / f"scaling_sweeps-{DEVICE}.json"
DIM = 32
SWEEPS = {"ml-1m": 11, "ml-25m": 3}  # of a fit; the first one is not counted
MODELS: dict[str, tuple[type[SweepModel], dict[str, Any]]] = {
    "als": (ALS, {}),
    "bayesian_mf, ids": (BayesianMF, {"attributes": False, "implicit": False}),
    "bayesian_mf, implicit": (BayesianMF, {"attributes": False}),
}
SAMPLES, MEMORY_DIM, ROWS = 8, 64, 25_000_000
FIT = [
    "model=bayesian_mf", "data=ml_25m", f"model.embedding_dim={MEMORY_DIM}", "model.implicit=false", "model.thin=1",
    "model.burn_in=1", f"trainer.max_epochs={1 + SAMPLES}", "~callbacks.progress",
]  # fmt: skip


class Epochs(L.Callback):
    """Seconds of every epoch."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.start = 0.0

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.start = time.perf_counter()

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.seconds.append(time.perf_counter() - self.start)


def sweeps(name: str, data: RatingDataModule, count: int) -> list[float]:
    """Seconds of each sweep of a fit."""
    kind, arguments = MODELS[name]
    model = kind(len(data.users), len(data.items), 0.5, 5.0, embedding_dim=DIM, **arguments)
    trainer = L.Trainer(
        max_epochs=count, accelerator="cpu", limit_val_batches=0, logger=False, enable_progress_bar=False,
        enable_checkpointing=False, enable_model_summary=False, callbacks=[epochs := Epochs()],
    )  # fmt: skip
    trainer.fit(model, datamodule=data)
    return epochs.seconds


def compared(name: str, small: RatingDataModule, large: RatingDataModule, repeats: int) -> dict[str, Any]:
    """Nanoseconds a rating and a sweep, by data; small and large take turns, and the ratio is the median of theirs."""
    found: dict[str, list[float]] = {"small": [], "large": [], "small_first": [], "large_first": []}
    for _ in range(repeats):
        for size, data, shape in (("small", small, "ml-1m"), ("large", large, "ml-25m")):
            seconds = sweeps(name, data, SWEEPS[shape])
            n = len(data.fit_data)
            found[size].append(1e9 * statistics.median(seconds[1:]) / n)
            found[f"{size}_first"].append(1e9 * seconds[0] / n)
    ratios = [one / other for one, other in zip(found["large"], found["small"], strict=True)]
    nanoseconds = {part: [round(value, 1) for value in values] for part, values in found.items()}
    return {"ratio": round(statistics.median(ratios), 3), "ns_per_rating": nanoseconds}


def memory() -> dict[str, Any]:
    """Seconds and peak memory of the command, and the size of its bundle."""
    with tempfile.TemporaryDirectory(prefix="growth-") as folder:
        write_ratings(Path(folder), ROWS)
        command = [sys.executable, "-m", "benchmarks.scaling_sweeps", "--fit", folder]
        subprocess.run(command, check=True, env=os.environ | {"RECSYS_CACHE": f"{folder}/cache"})
        metrics = json.loads((Path(folder) / "run" / "metrics.json").read_text())
        bundle = sum(file.stat().st_size for file in (Path(folder) / "run" / "bundle").iterdir())
        return {
            "command": f"python -m recsys.train {' '.join(FIT)}", "ratings": ROWS, "samples": SAMPLES,
            "embedding_dim": MEMORY_DIM, "fit_seconds": metrics["fit_seconds"], "bundle_gb": round(bundle / 1e9, 2),
            **json.loads((Path(folder) / "peak.json").read_text()),
        }  # fmt: skip


def fit(folder: Path) -> None:
    """The command in this process; beside its run, what it took."""
    sys.argv = ["recsys.train", *FIT, f"data.root={folder}", f"hydra.run.dir={folder}/run"]
    start = time.perf_counter()
    try:
        runpy.run_module("recsys.train", run_name="__main__")
    finally:
        found = {"peak_gib": round(peak_mib() / 1024, 2), "seconds": round(time.perf_counter() - start)}
        write(found, folder / "peak.json")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--only", nargs="+", choices=list(MODELS), default=[name for name in MODELS if "ids" in name or name == "als"]
    )
    parser.add_argument("--memory", action="store_true", help="also a fit of 25 million ratings: minutes, 8 GB of disk")
    parser.add_argument("--fit", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.fit:
        fit(arguments.fit)
        return
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")
    before: dict[str, Any] = json.loads(FILE.read_text()) if FILE.exists() else {}
    result = {"models": before.get("models", {}), "memory": before.get("memory"), "embedding_dim": DIM,
              "threads": torch.get_num_threads(), "torch": torch.__version__,
              **provenance("benchmarks.scaling_sweeps", sys.argv[1:])}  # fmt: skip
    if arguments.only:
        small, large = prepared("ml-1m"), prepared("ml-25m")
        for name in arguments.only:
            result["models"][name] = compared(name, small, large, arguments.repeats)
            print(name, result["models"][name], flush=True)
            write(result, FILE)
    if arguments.memory:
        result["memory"] = memory()
        print(result["memory"], flush=True)
        write(result, FILE)


if __name__ == "__main__":
    main()
