"""Folders of runs as `python -m recsys.train` leaves them, without training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

FIGURES = {
    "val/rmse": 0.94, "test/rmse": 0.96, "test/mae": 0.76, "test/rmse_warm": 0.955, "test/rmse_cold": 1.19,
    "baseline/global_mean": 1.2267, "baseline/item_mean": 1.0766, "baseline/biases": 1.0004,
    "fit_seconds": 6.5, "epochs": 3,
}  # fmt: skip
ANALYSIS = {
    "by_user_activity": [{"from": 10, "to": None, "rows": 90, "rmse": 0.9, "baseline": 1.0}],
    "by_item_popularity": [{"from": 0, "to": 0, "rows": 10, "rmse": 1.1, "baseline": 1.2}],
    "by_rating": [{"rating": 1.0, "rows": 9, "mean_predicted": 2.4, "rmse": 1.6}],
    "calibration": [{"from": 3.0, "to": 3.25, "rows": 12, "mean_predicted": 3.12, "mean_rating": 3.08}],
    "items": {"best": [], "worst": []},
}


def config(folder: Path, *overrides: str) -> dict[str, Any]:
    """A configuration as train.py resolves it, with overrides such as `model.reg_lambda=0.2` applied."""
    content: dict[str, Any] = {
        "data": {"split": "user_time", "test_fraction": 0.1, "folds": 10, "fold": 0, "split_seed": 0, "seed": 0,
                 "batch_size": 2048, "_target_": "recsys.data.sources.MovieLens", "name": "ml-100k", "root": None},
        "model": {"_target_": "recsys.models.MF", "embedding_dim": 64, "dropout": 0.0, "reg_lambda": 0.12, "seed": 0},
        "trainer": {"_target_": "lightning.Trainer", "_partial_": True, "max_epochs": 100, "accelerator": "cpu"},
        "callbacks": {"checkpoint": {"_target_": "Checkpoint", "dirpath": f"{folder}/checkpoints"},
                      "early_stopping": {"_target_": "Stop", "patience": 8}},
        "logger": {"csv": {"_target_": "recsys.training.csv_logger.EpochCSVLogger", "save_dir": str(folder)}},
        "seed": 0, "refit": "train_val", "model_name": "mf", "run_dir": str(folder), "resume": None,
        "seeds": None, "folds": None, "trial": None, "overrides": list(overrides),
    }  # fmt: skip
    for override in overrides:
        name, _, text = override.partition("=")
        *groups, last = name.split(".")
        at = content
        for group in groups:
            at = at[group]
        at[last] = yaml.safe_load(text)
    content["model"]["seed"] = content["data"]["seed"] = content["seed"]
    return content


def write_run(
    folder: Path, *overrides: str, state: str | None = "finished", message: str | None = None,
    started: str = "2026-11-23T12:00:00+00:00", curve: str = "0.99,,0.94", **figures: Any,
) -> Path:  # fmt: skip
    """A run's folder; `figures` have `_` for `/`, as `val_rmse=0.9`; a state of None is a run without status.json."""
    folder.mkdir(parents=True, exist_ok=True)
    content = config(folder, *overrides)
    (folder / "config.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    rows = [f"{epoch},0.9,{value}" for epoch, value in enumerate(curve.split(","))]
    (folder / "metrics.csv").write_text("\n".join(["epoch,train/loss,val/rmse", *rows]) + "\n")
    if state is not None:
        status = {"state": state, "message": message, "started": started, "seconds": 7.5}
        (folder / "status.json").write_text(json.dumps(status))
    if state in ("finished", None):
        told = {name.replace("_", "/", 1): value for name, value in figures.items()}
        about = {"refit": content["refit"], "test_figures_of": "train" if content["refit"] == "none" else "train_val",
                 "model": content["model_name"], "split": content["data"]["split"], "data": content["data"]["name"],
                 "git_commit": "abc", "data_sha256": "fd12" + content["data"]["name"]}  # fmt: skip
        (folder / "metrics.json").write_text(json.dumps(FIGURES | about | told))
        (folder / "analysis.json").write_text(json.dumps(ANALYSIS))
    return folder
