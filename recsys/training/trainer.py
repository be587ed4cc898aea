"""Lightning trainer of a run: callbacks, progress bar and resumable fit."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from pathlib import Path
from typing import Any

import lightning as L
import torch
from hydra.utils import get_class, instantiate
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import Callback, LearningRateMonitor, ProgressBar, Timer
from lightning_utilities.core.rank_zero import rank_zero_only
from omegaconf import DictConfig

from recsys.data.datamodule import RatingDataModule
from recsys.models.base import RatingModel
from recsys.models.gradient import GradientModel
from recsys.models.padded_rows import NotPositiveDefiniteError
from recsys.training.callbacks import FitProgress
from recsys.training.checkpoints import CheckpointFiles, newest_usable
from recsys.training.context import SINGLE_RUN, RunContext
from recsys.training.divergence import diverged, is_finite
from recsys.training.options import PROFILERS, check_callbacks, devices_of, trainer_options
from recsys.training.strategy import SharedSweeps

CALLBACK_ERRORS = ("Early stopping conditioned on metric", "is not supported for")  # in messages of RuntimeErrors
THRESHOLDS = ("min_delta", "stopping_threshold", "divergence_threshold")  # of early stopping, in units


def check_training(cfg: DictConfig, folder: Path) -> None:
    """Refuse trainer, callbacks and loggers that the run could not use. Call it before data is read.

    Raises:
        ValueError: Names the option, its value, and what is allowed.
    """
    kind: type[RatingModel] = get_class(cfg.model._target_)
    if kind.task == "ranking" and cfg.get("compress") is not None:
        raise ValueError(f"compress must be null for a ranking model such as {cfg.model_name}, got {cfg.compress}")
    if cfg.model.get("task", kind.task) == "ranking" and cfg.get("evaluation") == "prequential":
        raise ValueError(f"evaluation=prequential needs predicted stars, and {cfg.model_name} ranks items")
    check_callbacks(cfg, kind)
    trainer = build_trainer(cfg, kind, folder, [], SINGLE_RUN, logger=False, enable_checkpointing=False)
    asked, found = cfg.trainer.get("devices", "auto"), trainer.world_size
    if asked != found and found > 1:
        raise ValueError(f"trainer.devices={asked} is {found} devices here: set trainer.devices={found}")
    if found > 1 and not kind.spans_processes:
        raise ValueError(f"trainer.devices must be 1 for {cfg.model_name}, got {asked}")
    if "TORCHELASTIC_RUN_ID" in os.environ and int(os.environ.get("WORLD_SIZE", 1)) > 1:
        raise ValueError("torchrun starts several processes, but a run trains in one: use python -m recsys.train alone")


def build_callbacks(cfg: DictConfig, model: RatingModel) -> list[Callback]:
    """Build the configured callbacks; a null `monitor` or `patience` defaults to the model's.

    Thresholds of early stopping are in units of a quarter of the rating scale, as all arguments are. Models without a
    learning rate get no LearningRateMonitor. A callback at null is left out. Checkpoints are of epochs that are
    validated.
    """
    found: list[Callback] = []
    for name, config in cfg.callbacks.items():
        if config is None:
            continue
        own: dict[str, Any] = {}
        if "monitor" in config and config.monitor is None:
            own |= {"monitor": model.selected_by or model.monitor.validation_key, "mode": model.monitor.direction}
        if name == "checkpoint":
            own["every_n_epochs"] = cfg.trainer.get("check_val_every_n_epoch") or 1
            if model.select_last_epoch:
                own["monitor"] = None
        if "patience" in config and config.patience is None:
            own["patience"] = model.patience
        stars = model.unit_of(own.get("monitor") or config.get("monitor") or "")
        own |= {key: config[key] * stars for key in THRESHOLDS if config.get(key) is not None}
        found.append(instantiate(config, **own))
    if not isinstance(model, GradientModel):
        found = [callback for callback in found if not isinstance(callback, LearningRateMonitor)]
    return found


def build_trainer(
    cfg: DictConfig,
    kind: type[RatingModel],
    folder: Path,
    callbacks: list[Callback],
    context: RunContext,
    **arguments: Any,
) -> L.Trainer:
    """Build the configured trainer, with a progress bar on terminals only.

    `max_time` ends training after a whole epoch. A profile is written to the run folder.

    Raises:
        ValueError: A run, or Lightning, cannot use a setting, such as a GPU on a machine without one.
    """
    options = trainer_options(cfg, kind) | arguments
    if not sys.stdout.isatty() or context.in_sweep:  # Lightning's bar would clutter log files
        callbacks = [callback for callback in callbacks if not isinstance(callback, ProgressBar)]
    if (limit := options.pop("max_time", None)) is not None:
        callbacks = [*callbacks, Timer(limit, interval="epoch")]
    if (profiler := options.get("profiler")) in PROFILERS:
        stage = "select" if options.get("limit_val_batches") != 0 else "refit"
        options["profiler"] = PROFILERS[profiler](folder, f"profile-{stage}")
    if options.pop("enable_progress_bar", True) is False:
        callbacks = [callback for callback in callbacks if not isinstance(callback, ProgressBar | FitProgress)]
    defaults = {
        "default_root_dir": str(folder),
        "plugins": [LightningEnvironment()],  # SLURM's would want as many processes as the job has tasks
        "strategy": SharedSweeps() if devices_of(cfg) > 1 else "auto",
        "enable_model_summary": False,
        "enable_progress_bar": any(isinstance(callback, ProgressBar) for callback in callbacks),
        "num_sanity_val_steps": 0,
        "deterministic": False,  # else a job would have it from the one before
    }
    try:
        trainer: L.Trainer = get_class(cfg.trainer._target_)(
            **defaults | options | {"callbacks": callbacks, "use_distributed_sampler": False}
        )
    except (MisconfigurationException, TypeError, ValueError, RuntimeError, ImportError) as error:
        raise ValueError(f"trainer: {error}") from error
    return trainer


def fit(trainer: L.Trainer, model: RatingModel, data: RatingDataModule, checkpoint: Path) -> None:
    """Fit, resuming from the checkpoint if it exists, or from the one before if it is damaged.

    Converts Lightning's SystemExit back to KeyboardInterrupt.

    Raises:
        DivergedError: The model is not finite any more.
        ValueError: Lightning rejects the settings.
    """
    trainer.strategy.checkpoint_io = CheckpointFiles(checkpoint)
    try:
        trainer.fit(model, datamodule=data, ckpt_path=newest_usable(checkpoint, model), weights_only=True)
    except SystemExit as error:
        raise KeyboardInterrupt from error
    except MisconfigurationException as error:  # so that the command need not import Lightning to catch it
        raise ValueError(error) from error
    except NotPositiveDefiniteError as error:
        raise diverged(trainer, model, str(error)) from error
    except RuntimeError as error:
        first_line = str(error).partition("\n")[0]
        if any(text in first_line for text in CALLBACK_ERRORS):
            raise ValueError(f"callbacks: {first_line}") from error
        if "deterministic implementation" in first_line:
            operation = first_line.partition(" does not")[0]
            raise ValueError(f"trainer.deterministic must be warn or false, as {operation} cannot be") from error
        if isinstance(error, torch.OutOfMemoryError) or "allocate memory" in first_line:
            raise ValueError(f"out of memory: lower model.embedding_dim or data.batch_size ({first_line})") from error
        if is_finite(model) and not any(word in str(error).lower() for word in ("nan", "linalg")):
            raise
        raise diverged(trainer, model, first_line) from error
    if not is_finite(model):
        raise diverged(trainer, model, "its parameters are not finite", trainer.current_epoch)


def device_name(cfg: DictConfig) -> str:
    devices = devices_of(cfg)
    processes = f", {devices} processes" if devices > 1 else ""
    if str(cfg.trainer.accelerator) in ("gpu", "cuda", "auto") and torch.cuda.is_available():
        return torch.cuda.get_device_name() + processes
    each = " each" if processes else ""
    return f"{cfg.trainer.accelerator}{processes}, {torch.get_num_threads()} threads{each}"


def quiet_libraries(rank: int = 0) -> None:
    """Silence Lightning's advice on data loaders; ours yield whole batches and need no workers.

    And tell it which process of a fit this is, however SLURM or another launcher numbers it: the first one writes.
    """
    vars(rank_zero_only)["rank"] = rank
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    warnings.filterwarnings("ignore", message=".*Checkpoint directory .* exists and is not empty.*")
    warnings.filterwarnings("ignore", message=".*is smaller than the logging interval.*")
    warnings.filterwarnings("ignore", message=".*ReduceLROnPlateau conditioned on metric .* not available.*")
    warnings.filterwarnings("ignore", message=".*could not find the monitored key.*")  # in an epoch without validation
    warnings.filterwarnings("ignore", message=".*recommended to use .*sync_dist=True.*")  # all processes have the same
    warnings.filterwarnings("ignore", message=".*isinstance.treespec, LeafSpec.*")
