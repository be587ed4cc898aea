"""Lightning's share: one epoch of the trainer against a bare loop over the same tensors and maths, in one run.

    python benchmarks/loop.py [--batch-size 8192] [--epochs 3] [--repeats 5]

Synthetic ratings of ML-1M's shape; the two take turns, and the figure is the median of the ratios.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import statistics
import time
import warnings
from pathlib import Path

import lightning as L
import numpy as np
import pandas as pd
import torch

from recsys.data.datamodule import BatchPositions, RatingDataModule
from recsys.data.ratings import RatingData, RatingsSource
from recsys.models.matrix_factorization import MatrixFactorization

USERS, ITEMS, RATINGS = 6040, 3706, 1_000_209


class Synthetic(RatingsSource):
    """Random ratings of ML-1M's shape."""

    name = "synthetic"

    def prepare(self) -> None:
        """Nothing to fetch."""

    def read(self) -> RatingData:
        random = np.random.default_rng(0)
        pair = random.choice(USERS * ITEMS, RATINGS, replace=False)
        rating = random.integers(1, 6, RATINGS).astype(np.float32)
        frame = pd.DataFrame({"user_id": pair // ITEMS, "item_id": pair % ITEMS, "rating": rating})
        return RatingData("synthetic", frame, None, None, 1.0, 5.0, implicit=False, sha256="")


def model(data: RatingDataModule) -> MatrixFactorization:
    return MatrixFactorization(len(data.users), len(data.items), embedding_dim=64, bias_init="zero")


def under_lightning(data: RatingDataModule, epochs: int) -> float:
    """Seconds of an epoch, between the first epoch's start and the last one's end."""
    trainer = L.Trainer(
        max_epochs=epochs, accelerator="cpu", limit_val_batches=0, logger=False, enable_progress_bar=False,
        enable_checkpointing=False, enable_model_summary=False, log_every_n_steps=1000,
        callbacks=[clock := Clock()],
    )  # fmt: skip
    trainer.fit(model(data), datamodule=data)
    return (clock.end - clock.start) / epochs


class Clock(L.Callback):
    """When training began and ended."""

    start = end = 0.0

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.start = time.perf_counter()

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.end = time.perf_counter()


def bare(data: RatingDataModule, epochs: int) -> float:
    """The same with a for loop."""
    factorization = model(data)
    optimizer = torch.optim.Adam(factorization.parameters(), lr=0.01, fused=True)
    user, item, rating = data.fit_data.columns
    positions = BatchPositions(len(user), data.batch_size, shuffle=True)
    start = time.perf_counter()
    for epoch in range(epochs):
        positions.set_epoch(epoch)
        for batch in positions:
            predicted, penalty = factorization.training_terms(user[batch], item[batch])
            loss = 16.0 * torch.nn.functional.mse_loss(predicted, rating[batch]) + penalty
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return (time.perf_counter() - start) / epochs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch-size", type=int, default=8192)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")
    data = RatingDataModule(Synthetic(), split="random", batch_size=arguments.batch_size)
    data.setup()
    bare(data, 1), under_lightning(data, 1)
    pairs = [(under_lightning(data, arguments.epochs), bare(data, arguments.epochs)) for _ in range(arguments.repeats)]
    result = {
        "what": "seconds an epoch of 900,189 ratings, dim 64, under Lightning and in a bare loop",
        "batch_size": arguments.batch_size,
        "lightning": [round(a, 4) for a, _ in pairs],
        "bare": [round(b, 4) for _, b in pairs],
        "ratio_median": round(statistics.median(a / b for a, b in pairs), 3),
        "device": f"cpu, {os.cpu_count()} cores, {torch.get_num_threads()} threads",
        "torch": torch.__version__,
    }
    file = Path(__file__).parent / "results" / f"loop-cpu-{os.cpu_count()}core.json"
    file.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
