"""Lightning trainer of a run: callbacks, progress bar and resumable fit."""

from __future__ import annotations

import logging
import sys
import warnings
from pathlib import Path
from typing import Any

import lightning as L
import torch
from hydra.utils import instantiate
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import Callback, LearningRateMonitor, ProgressBar
from omegaconf import DictConfig

from recsys.data.datamodule import RatingDataModule
from recsys.models.base import RatingModel
from recsys.models.gradient import GradientModel
from recsys.training.checkpoints import CheckpointFiles, newest_usable
from recsys.training.context import RunContext

THRESHOLDS = ("min_delta", "stopping_threshold", "divergence_threshold")  # of early stopping, in units


def build_callbacks(cfg: DictConfig, model: RatingModel) -> list[Callback]:
    """Build the configured callbacks; a null `monitor` or `patience` defaults to the model's.

    Thresholds of early stopping are in units of a quarter of the rating scale, as all arguments are. Models without a
    learning rate get no LearningRateMonitor.
    """
    found: list[Callback] = []
    for config in cfg.callbacks.values():
        own: dict[str, Any] = {}
        if "monitor" in config and config.monitor is None:
            own |= {"monitor": model.monitor.validation_key, "mode": model.monitor.direction}
        if "patience" in config and config.patience is None:
            own["patience"] = model.patience
        stars = model.unit_of(own.get("monitor") or config.get("monitor") or "")
        own |= {name: config[name] * stars for name in THRESHOLDS if config.get(name) is not None}
        found.append(instantiate(config, **own))
    if not isinstance(model, GradientModel):
        found = [callback for callback in found if not isinstance(callback, LearningRateMonitor)]
    return found


def build_trainer(
    cfg: DictConfig, folder: Path, callbacks: list[Callback], context: RunContext, **arguments: Any
) -> L.Trainer:
    """Build the configured trainer, with a progress bar on terminals only.

    Raises:
        ValueError: Lightning rejects the settings, for example a GPU on a machine without one.
    """
    if not sys.stdout.isatty() or context.in_sweep:  # Lightning's bar would clutter log files
        callbacks = [callback for callback in callbacks if not isinstance(callback, ProgressBar)]
    bar = any(isinstance(callback, ProgressBar) for callback in callbacks)
    make = instantiate(
        cfg.trainer, default_root_dir=str(folder), use_distributed_sampler=False, enable_progress_bar=bar,
        enable_model_summary=False, _convert_="all",
    )  # fmt: skip
    try:
        trainer: L.Trainer = make(callbacks=callbacks, **arguments)
    except MisconfigurationException as error:  # so that the command need not import Lightning to catch it
        raise ValueError(error) from error
    return trainer


def fit(trainer: L.Trainer, model: RatingModel, data: RatingDataModule, checkpoint: Path) -> None:
    """Fit, resuming from the checkpoint if it exists, or from the one before if it is damaged.

    Converts Lightning's SystemExit back to KeyboardInterrupt.

    Raises:
        ValueError: Lightning rejects the settings.
    """
    trainer.strategy.checkpoint_io = CheckpointFiles(checkpoint)
    try:
        trainer.fit(model, datamodule=data, ckpt_path=newest_usable(checkpoint, model), weights_only=True)
    except SystemExit as error:
        raise KeyboardInterrupt from error
    except MisconfigurationException as error:  # see `build_trainer`
        raise ValueError(error) from error


def device_name(cfg: DictConfig) -> str:
    if str(cfg.trainer.accelerator) in ("gpu", "cuda") and torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"{cfg.trainer.accelerator}, {torch.get_num_threads()} threads"


def quiet_libraries() -> None:
    """Silence Lightning's advice on data loaders; ours yield whole batches and need no workers."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    warnings.filterwarnings("ignore", message=".*Checkpoint directory .* exists and is not empty.*")
    warnings.filterwarnings("ignore", message=".*is smaller than the logging interval.*")
    warnings.filterwarnings("ignore", message=".*isinstance.treespec, LeafSpec.*")
