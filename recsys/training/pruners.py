"""Optuna pruners by name. Imports no torch, since a study checks the name before starting runs."""

from __future__ import annotations

import optuna

PRUNERS = {
    "halving": lambda: optuna.pruners.SuccessiveHalvingPruner(min_resource=3, reduction_factor=3),
    "median": lambda: optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=3),
    "none": optuna.pruners.NopPruner,
}


def make_pruner(name: str) -> optuna.pruners.BasePruner:
    if name not in PRUNERS:
        raise ValueError(f"pruner must be one of {', '.join(PRUNERS)}, got {name!r}")
    return PRUNERS[name]()
