"""Options of a run's trainer and callbacks: what a run cannot use is refused before any data is read.

Their names and types are checked by `recsys.training.settings`; this is about values.
Lightning checks some of them itself, late and in its own terms; others it takes, and the run would end without a
checkpoint, select a wrong epoch, or wait for ever for processes that nobody starts.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from hydra.utils import instantiate
from lightning.pytorch.accelerators import AcceleratorRegistry
from lightning.pytorch.callbacks import Timer
from lightning.pytorch.profilers import AdvancedProfiler, Profiler, PyTorchProfiler, SimpleProfiler
from omegaconf import DictConfig

from recsys.data.errors import did_you_mean
from recsys.models.base import RatingModel
from recsys.models.gradient import GradientModel

PROFILERS: dict[str, type[Profiler]] = {
    "simple": SimpleProfiler,
    "advanced": AdvancedProfiler,
    "pytorch": PyTorchProfiler,
}
ELSEWHERE = {"callbacks": "callbacks.<name>=…", "logger": "logger=…"}
SWEEP_PRECISIONS = ("32-true", "64-true", "32", "64", 32, 64)
CALLBACKS = ("checkpoint", "early_stopping", "learning_rate", "progress", "pruning")  # a refit needs no others
CHECKPOINT = {"filename": "best", "save_last": True, "save_on_train_epoch_end": True, "enable_version_counter": False}
CHECKPOINT_FREE = ("_target_", "dirpath", "monitor", "mode", "verbose")


def _is_whole(value: Any, low: int, *others: int) -> bool:
    return type(value) is int and (value >= low or value in others)


def _is_share(value: Any) -> bool:
    """Whether the value is a number of batches, or a share of them."""
    return (type(value) is int and value >= 1) or (type(value) is float and 0 < value <= 1)


def _is_bool(value: Any) -> bool:
    return type(value) is bool


_AT_LEAST_1 = (partial(_is_whole, low=1), "an integer >= 1")
_BATCHES = (_is_share, "an integer >= 1 or a share in (0.0, 1.0]")
_BOOL = (_is_bool, "true or false")
_ONE_MACHINE = "a run trains on one machine"

RULES: dict[str, tuple[Callable[[Any], bool], str]] = {  # by option, where it is not null: a test, and what is allowed
    "num_nodes": (lambda value: value == 1, f"1, as {_ONE_MACHINE}"),
    "strategy": (lambda value: value == "auto", "auto: trainer.devices says how many processes share a fit"),
    "devices": (lambda value: _is_whole(value, 1, -1) or value == "auto", "an integer >= 1"),
    "max_epochs": (lambda value: _is_whole(value, 1, -1), "an integer >= 1, or -1 (no limit)"),
    "min_epochs": _AT_LEAST_1,
    "max_steps": (lambda value: _is_whole(value, 1, -1), "an integer >= 1, or -1 (no limit)"),
    "min_steps": _AT_LEAST_1,
    "max_time": (lambda value: bool(Timer(value)), "DD:HH:MM:SS"),
    "limit_train_batches": _BATCHES,
    "limit_val_batches": (_is_share, f"{_BATCHES[1]}, as epochs are selected by validation"),
    "check_val_every_n_epoch": _AT_LEAST_1,
    "val_check_interval": (
        lambda value: type(value) is float and value == 1.0,
        "1.0 (once an epoch), as whole epochs are selected; trainer.check_val_every_n_epoch validates less often",
    ),
    "overfit_batches": (
        lambda value: value == 0,
        "0 (for a trial run on few batches: trainer.limit_train_batches, trainer.limit_val_batches)",
    ),
    "accumulate_grad_batches": _AT_LEAST_1,
    "gradient_clip_val": (lambda value: type(value) in (int, float) and value >= 0, "null or a number >= 0"),
    "num_sanity_val_steps": (lambda value: _is_whole(value, -1), "an integer >= 0, or -1 (all)"),
    "log_every_n_steps": (lambda value: _is_whole(value, 0), "an integer >= 0"),
    "reload_dataloaders_every_n_epochs": (lambda value: _is_whole(value, 0), "an integer >= 0"),
    "fast_dev_run": (lambda value: _is_bool(value) or _is_whole(value, 0), "true, false or a number of batches"),
    "enable_checkpointing": (lambda value: value is True, "true, as the best epoch is exported from its checkpoint"),
    "barebones": (lambda value: value is False, "false, as a run needs its checkpoints and metrics.csv"),
    "deterministic": (lambda value: _is_bool(value) or value == "warn", "true, false or warn"),
    "profiler": (lambda value: value in PROFILERS or isinstance(value, Profiler), f"null, {', '.join(PROFILERS)}"),
    **dict.fromkeys(
        ("benchmark", "detect_anomaly", "enable_progress_bar", "enable_model_summary", "inference_mode"), _BOOL
    ),
}


def trainer_options(cfg: DictConfig, kind: type[RatingModel]) -> dict[str, Any]:
    """The arguments of Lightning's Trainer from `cfg.trainer`, those at null left out.

    `fast_dev_run`, under which Lightning writes no checkpoints, becomes one epoch of so many batches; a model that one
    epoch fits has one, however many are asked for.

    Args:
        cfg: Configuration of the run.
        kind: The model's class.

    Raises:
        ValueError: A run cannot use an option, or the model cannot; names it, its value, and what is allowed.
    """
    make = instantiate(cfg.trainer, _partial_=True, _convert_="all")
    given: dict[str, Any] = {name: value for name, value in make.keywords.items() if value is not None}
    for name, value in given.items():
        if name in ELSEWHERE:
            raise ValueError(f"trainer.{name} is set by {ELSEWHERE[name]}")
        if name in RULES and not _passes(RULES[name][0], value):
            raise ValueError(f"trainer.{name} must be {RULES[name][1]}, got {value}")
    _check_accelerator(given.get("accelerator", "auto"), given.get("devices", 1))
    if not issubclass(kind, GradientModel):
        _check_sweeps(given, str(cfg.model_name))
    if batches := int(given.pop("fast_dev_run", 0)):
        given |= {"max_epochs": 1, "limit_train_batches": batches, "limit_val_batches": batches}
        given |= {"min_epochs": None, "check_val_every_n_epoch": 1}
    if kind.one_epoch:
        given |= {"max_epochs": 1, "min_epochs": None, "check_val_every_n_epoch": 1}
    given.setdefault("max_epochs", -1)  # Lightning would take 1000
    _check_length(given, cfg, kind)
    return given


def devices_of(cfg: DictConfig) -> int:
    """Number of devices, hence of processes, of a fit; 1 where the machine decides."""
    devices = cfg.trainer.get("devices")
    return devices if type(devices) is int and devices > 0 else 1


def check_callbacks(cfg: DictConfig, kind: type[RatingModel]) -> None:
    """Check that the callbacks and loggers include those that a run cannot do without.

    Raises:
        ValueError: One is missing, or changed in a way that the run could not be exported or resumed.
    """
    checkpoint = (cfg.get("callbacks") or {}).get("checkpoint")
    if checkpoint is None:
        raise ValueError("callbacks.checkpoint must stay: the best epoch is exported from its checkpoint")
    for name, value in checkpoint.items():
        if name not in CHECKPOINT_FREE and value != CHECKPOINT.get(name):
            asked = CHECKPOINT.get(name, "left out")
            raise ValueError(
                f"callbacks.checkpoint.{name} must be {asked}, got {value}; for more checkpoints add a callback: "
                "+callbacks.mine={_target_: lightning.pytorch.callbacks.ModelCheckpoint, …}"
            )
    folder = f"{cfg.run_dir}/checkpoints"
    if checkpoint.get("dirpath") != folder:
        raise ValueError(f"callbacks.checkpoint.dirpath must be {folder}, got {checkpoint.get('dirpath')}")
    if kind.select_last_epoch and checkpoint.get("monitor") is not None:
        raise ValueError(
            f"callbacks.checkpoint.monitor must be null for {cfg.model_name}, whose last epoch is selected, "
            f"got {checkpoint.monitor}"
        )
    if (cfg.get("logger") or {}).get("csv") is None:
        raise ValueError("logger.csv must stay: it writes metrics.csv, which a run needs; other loggers are added")


def left_out_of_refit(cfg: DictConfig) -> list[str]:
    """Names of the callbacks that take part in the selection alone."""
    return [f"callbacks.{name}" for name, config in cfg.callbacks.items() if config and name not in CALLBACKS]


def _passes(test: Callable[[Any], bool], value: Any) -> bool:
    try:
        return test(value)
    except Exception:  # of another type altogether
        return False


def _check_accelerator(value: Any, devices: Any) -> None:
    kinds = AcceleratorRegistry
    names = [name for name in kinds.available_accelerators() if name != "cpu"]
    found = [name for name in names if kinds[name]["accelerator"].is_available()]
    if {"cuda", "mps"} & set(found):
        found.insert(0, "gpu")
    known = ("auto", "cpu", "gpu", *names)
    if value not in known:
        hint = did_you_mean(value, known)
        raise ValueError(f"trainer.accelerator must be one of {', '.join(known)}, got {value}{hint}")
    if value not in ("auto", "cpu", *found):
        cpu_build = torch.version.cuda is None and value in ("gpu", "cuda")
        why = f" (torch {torch.__version__} is built without CUDA)" if cpu_build else ""
        here = ", ".join(["cpu", *found])
        raise ValueError(f"trainer.accelerator={value} is not available on this machine{why}; available: {here}")
    if (value == "cpu" or not found) and devices == -1:
        raise ValueError("trainer.devices must be a number of processes on the CPU, got -1")


def _check_sweeps(given: dict[str, Any], model: str) -> None:
    """Check what only models fitted by gradient descent can use."""
    if given.get("gradient_clip_val"):
        raise ValueError(f"trainer.gradient_clip_val must be null for {model}, which has no gradients")
    if given.get("accumulate_grad_batches", 1) != 1:
        raise ValueError(f"trainer.accumulate_grad_batches must be 1 for {model}, which has no gradients")
    share = given.get("limit_train_batches", 1.0)
    if type(share) is float and share < 1:
        raise ValueError(
            f"trainer.limit_train_batches must be 1.0 for {model}, whose sweeps need all ratings, got {share}"
        )
    if (precision := given.get("precision", "32-true")) not in SWEEP_PRECISIONS:
        raise ValueError(f"trainer.precision must be {' or '.join(SWEEP_PRECISIONS[:2])} for {model}, got {precision}")


def _check_length(given: dict[str, Any], cfg: DictConfig, kind: type[RatingModel]) -> None:
    """Check that training ends, and that an epoch is validated before it does."""
    epochs, shortest = given["max_epochs"], given.get("min_epochs") or 1
    every, schedule = given.get("check_val_every_n_epoch", 1), cfg.model.get("lr_schedule", "plateau")
    if schedule != "plateau" and (epochs == -1 or given.get("max_steps", -1) != -1):
        raise ValueError(f"model.lr_schedule={schedule} needs trainer.max_epochs >= 1, and trainer.max_steps at -1")
    if epochs == -1:
        stops = cfg.callbacks.get("early_stopping") is not None and kind.patience is not None
        if not stops and given.get("max_steps", -1) == -1 and "max_time" not in given:
            raise ValueError(
                "trainer.max_epochs=-1 never ends without callbacks.early_stopping, trainer.max_steps or "
                "trainer.max_time"
            )
    elif shortest > epochs:
        raise ValueError(f"trainer.min_epochs must be <= trainer.max_epochs = {epochs}, got {shortest}")
    elif every > epochs:
        raise ValueError(
            f"trainer.check_val_every_n_epoch must be <= trainer.max_epochs = {epochs}, as epochs are selected by "
            f"validation, got {every}"
        )
