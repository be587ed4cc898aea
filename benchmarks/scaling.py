"""What a rating costs among 25 million, against what it costs among a million: `python -m benchmarks.scaling`.

Made-up ratings of ML-1M's and ML-25M's shapes, dim 64. Dense Adam passes over both tables in every step, so the batch
grows with the data: about a hundred steps an epoch in both. That the larger batch costs no accuracy is shown by fitting
the 25 million with a small one too, at settings that are the same but for the learning rate.
"""

from __future__ import annotations

import argparse
import json
import logging
import statistics
import sys
import time
import warnings
from typing import Any

import lightning as L
import torch

from benchmarks.comparison.results import DEVICE, RESULTS, provenance, write
from benchmarks.synthetic import Synthetic
from benchmarks.training_loop import Clock
from recsys.data.datamodule import RatingDataModule
from recsys.models.mf import MatrixFactorization

DIM = 64
BATCH = {"ml-1m": 8192, "ml-25m": 262_144}
SMALL_BATCH = 32_768
RATE = 0.004  # at ML-25M's batch, the best of .003, .004, .006, .01 and .02; it goes with the root of the batch


def prepared(shape: str) -> RatingDataModule:
    data = RatingDataModule(Synthetic(shape), split="random", test_fraction=0.01, batch_size=BATCH[shape])
    data.setup()
    return data


def fit(data: RatingDataModule, batch_size: int, epochs: int, learning_rate: float) -> tuple[float, float]:
    """Seconds of training, and RMSE of the test rows in stars."""
    data.batch_size = batch_size
    model = MatrixFactorization(
        len(data.users), len(data.items), 0.5, embedding_dim=DIM, reg_lambda=0.05, reg_exponent=0.5, embedding_std=0.01,
        learning_rate=learning_rate, lr_schedule="onecycle",
    )  # fmt: skip
    trainer = L.Trainer(
        max_epochs=epochs, accelerator="cpu", limit_val_batches=0, logger=False, enable_progress_bar=False,
        enable_checkpointing=False, enable_model_summary=False, log_every_n_steps=1000, callbacks=[clock := Clock()],
    )  # fmt: skip
    trainer.fit(model, datamodule=data)
    rows = data.rows(data.split.test).columns
    with torch.no_grad():
        predicted = model.eval()(rows.user, rows.item).clamp(0.5, 5.0)
    return clock.end - clock.start, (predicted - (0.5 + 4.5 * rows.rating)).square().mean().sqrt().item()


def epochs_of(data: RatingDataModule, batch_size: int, epochs: int, repeats: int) -> dict[str, Any]:
    """Seconds of an epoch, on average over a few where one is so short that the trainer's start would show."""
    seconds = [fit(data, batch_size, epochs, 0.01)[0] / epochs for _ in range(repeats)]
    n = len(data.fit_data)
    return {
        "ratings": n,
        "batch_size": batch_size,
        "epoch_seconds": [round(value, 3) for value in seconds],
        "ns_per_rating": round(1e9 * statistics.median(seconds) / n, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=5, help="of the fits that compare batch sizes")
    arguments = parser.parse_args()
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")
    small_data, large_data = prepared("ml-1m"), prepared("ml-25m")
    epochs_of(small_data, BATCH["ml-1m"], 1, 1)  # warm-up
    small = epochs_of(small_data, BATCH["ml-1m"], 5, arguments.repeats)
    large = epochs_of(large_data, BATCH["ml-25m"], 1, arguments.repeats)
    fits = []
    for batch_size in (BATCH["ml-25m"], SMALL_BATCH):
        rate = round(RATE * (batch_size / BATCH["ml-25m"]) ** 0.5, 4)
        start = time.perf_counter()
        _, rmse = fit(large_data, batch_size, arguments.epochs, rate)
        fits.append(
            {
                "batch_size": batch_size, "learning_rate": rate, "epochs": arguments.epochs, "rmse": round(rmse, 4),
                "fit_seconds": round(time.perf_counter() - start, 1),
            }
        )  # fmt: skip
        print(fits[-1], flush=True)
    result = {
        "small": small,
        "large": large,
        "ratio": round(large["ns_per_rating"] / small["ns_per_rating"], 2),
        "rmse": fits,
        "embedding_dim": DIM,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        **provenance("benchmarks.scaling", sys.argv[1:]),
    }
    write(result, RESULTS / f"scaling-{DEVICE}.json")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
