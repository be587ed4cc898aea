"""recsys.models: one step of training, forward, backward and optimizer, on a batch of the configured size."""

from __future__ import annotations

import itertools
from typing import Any

import lightning as L
import pytest
import torch

from benchmarks.micro.models import configured
from recsys.data.datamodule import RatingDataModule

MODELS = {
    "mf": ("mf", {}),
    "mf_norm": ("mf", {"dropout": 0.2, "batch_norm": True}),
    "svdpp": ("svdpp", {}),
}


@pytest.mark.parametrize("name", MODELS)
def test_step(benchmark: Any, data: RatingDataModule, name: str) -> None:
    model_name, overrides = MODELS[name]
    model = configured(model_name, data, **overrides)
    model.trainer = L.Trainer(limit_val_batches=0, logger=False, enable_checkpointing=False, accelerator="cpu")
    optimizer = model.configure_optimizers()
    assert isinstance(optimizer, torch.optim.Optimizer)
    batches = itertools.cycle(list(data.train_dataloader()))  # one over and over would stay in the caches

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = model.training_step(next(batches), 0)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    benchmark(optimizer.step, closure)
