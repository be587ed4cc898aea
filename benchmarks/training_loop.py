"""One epoch of ML-1M's shape: under Lightning, in a bare loop over the same tensors, and by the loop most people write.

    python -m benchmarks.training_loop [--batch-size 8192] [--epochs 3] [--repeats 5] [--print-only]

The three take turns; figures are medians of the ratios. The bare loop has the model's own step, and neither hooks nor
logging: what Lightning adds to it is Lightning's share. The loop most people write looks samples up one by one.
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
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.comparison.results import DEVICE, RESULTS, provenance, write
from benchmarks.synthetic import Synthetic
from recsys.data.datamodule import RatingDataModule
from recsys.models.mf import MatrixFactorization

CASES: dict[str, dict[str, Any]] = {
    "dropout 0.2, batch norm": {"dropout": 0.2, "batch_norm": True},
    "plain": {},
}
DIM = 64


def model(data: RatingDataModule, case: str) -> MatrixFactorization:
    return MatrixFactorization(len(data.users), len(data.items), 0.5, embedding_dim=DIM, **CASES[case])


def under_lightning(data: RatingDataModule, case: str, epochs: int) -> float:
    """Seconds of an epoch, from the first epoch's start to the last one's end."""
    trainer = L.Trainer(
        max_epochs=epochs, accelerator="cpu", limit_val_batches=0, logger=False, enable_progress_bar=False,
        enable_checkpointing=False, enable_model_summary=False, log_every_n_steps=1000,
        callbacks=[clock := Clock()],
    )  # fmt: skip
    trainer.fit(model(data, case), datamodule=data)
    return (clock.end - clock.start) / epochs


class Clock(L.Callback):
    """When training began and ended."""

    start = end = 0.0

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.start = time.perf_counter()

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.end = time.perf_counter()


def bare(data: RatingDataModule, case: str, epochs: int) -> float:
    """The same step in a for loop."""
    factorization = model(data, case)
    factorization.init_from_data(data.fit_data)
    optimizer = torch.optim.Adam(factorization.parameters(), lr=0.01, fused=True)
    batches = data.train_dataloader()
    start = time.perf_counter()
    for epoch in range(epochs):
        batches.set_epoch(epoch)
        factorization.on_train_epoch_start()
        for number, batch in enumerate(batches):
            loss = factorization.training_step(batch, number)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return (time.perf_counter() - start) / epochs


class Embeddings(nn.Module):
    """The same model as most people write it."""

    def __init__(self, n_users: int, n_items: int, dropout: float = 0.0, batch_norm: bool = False) -> None:
        super().__init__()
        self.users, self.items = nn.Embedding(n_users, DIM), nn.Embedding(n_items, DIM)
        self.user_bias, self.item_bias = nn.Embedding(n_users, 1), nn.Embedding(n_items, 1)
        self.dropout = nn.Dropout(dropout)
        self.user_norm, self.item_norm = (nn.BatchNorm1d(DIM) if batch_norm else nn.Identity() for _ in range(2))
        self.mu = nn.Parameter(torch.tensor(0.5))

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        p, q = self.user_norm(self.dropout(self.users(user))), self.item_norm(self.dropout(self.items(item)))
        predicted: Tensor = self.mu + self.user_bias(user).squeeze(1) + self.item_bias(item).squeeze(1) + (p * q).sum(1)
        return predicted


def dataloader(data: RatingDataModule, case: str) -> float:
    """Seconds of an epoch of the loop most people write."""
    embeddings = Embeddings(len(data.users), len(data.items), **CASES[case])
    optimizer = torch.optim.Adam(embeddings.parameters(), lr=0.001, weight_decay=1e-5)
    loader = DataLoader(TensorDataset(*data.fit_data.columns), batch_size=data.batch_size, shuffle=True)
    start = time.perf_counter()
    for user, item, rating in loader:
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(embeddings(user, item), rating)
        loss.backward()
        optimizer.step()
    return time.perf_counter() - start


def measure(data: RatingDataModule, case: str, epochs: int, repeats: int) -> dict[str, Any]:
    """Seconds an epoch of all three, in turns after a warm-up."""
    bare(data, case, 1), under_lightning(data, case, 1)
    rounds = [
        (dataloader(data, case), under_lightning(data, case, epochs), bare(data, case, epochs)) for _ in range(repeats)
    ]
    median = lambda ratios: round(statistics.median(ratios), 3)  # noqa: E731
    return {
        "name": case,
        "dataloader": [round(written, 4) for written, _, _ in rounds],
        "lightning": [round(lightning, 4) for _, lightning, _ in rounds],
        "bare": [round(plain, 4) for _, _, plain in rounds],
        "dataloader_over_lightning": median(written / lightning for written, lightning, _ in rounds),
        "lightning_over_bare": median(lightning / plain for _, lightning, plain in rounds),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch-size", type=int, default=8192)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--print-only", action="store_true", help="leave the results file as it is")
    arguments = parser.parse_args()
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")
    data = RatingDataModule(Synthetic("ml-1m"), split="random", batch_size=arguments.batch_size)
    data.setup()
    result = {
        "cases": [measure(data, case, arguments.epochs, arguments.repeats) for case in CASES],
        "batch_size": arguments.batch_size,
        "embedding_dim": DIM,
        "ratings": len(data.fit_data),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        **provenance("benchmarks.training_loop", sys.argv[1:]),
    }
    if not arguments.print_only:
        write(result, RESULTS / f"training_loop-{DEVICE}.json")
    print(json.dumps(result["cases"], indent=2))


if __name__ == "__main__":
    main()
