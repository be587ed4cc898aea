"""What settings that are read back may do: those of a folder, a database or a W&B sweep, which others may have written.

A `_target_` is a class that will be called. The settings that a user types or keeps in a folder of configuration may
name any; those read back only the classes below, and nothing that reads the environment.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from recsys.experiments.configuration import group_options, named_classes

CALLBACKS = {  # Lightning's own, but for LambdaCallback, whose arguments are functions
    f"lightning.pytorch.callbacks.{name}"
    for name in (
        "BackboneFinetuning", "BatchSizeFinder", "DeviceStatsMonitor", "EarlyStopping", "EMAWeightAveraging",
        "GradientAccumulationScheduler", "LearningRateFinder", "LearningRateMonitor", "ModelCheckpoint", "ModelPruning",
        "ModelSummary", "OnExceptionCheckpoint", "RichModelSummary", "RichProgressBar", "SpikeDetection",
        "StochasticWeightAveraging", "ThroughputMonitor", "Timer", "TQDMProgressBar", "WeightAveraging",
    )
}  # fmt: skip
PROFILERS = {
    f"lightning.pytorch.profilers.{name}"
    for name in ("AdvancedProfiler", "PassThroughProfiler", "PyTorchProfiler", "SimpleProfiler")
}
GROUPS = ("data", "model", "trainer")  # with a class each
NAMED_GROUPS = ("callbacks", "logger")  # with any number of classes, each under a name
FOLDERS = ("dirpath", "save_dir", "default_root_dir")  # arguments that name where a class writes
HYDRA_KEYS = re.compile(  # options of Hydra's own that a sweep sets and that run nothing
    r"hydra/(launcher|sweeper|job_logging|hydra_logging)|hydra\.(mode|verbose|output_subdir|launcher\.n_jobs)"
    r"|hydra\.(run|sweep)\.(dir|subdir)|hydra\.job\.(chdir|name|id)"
    r"|hydra\.sweeper\.(study|storage|n_trials|seed|pruner|max_batch_size|params(\..*)?)"
)
INTERPOLATION = re.compile(r"\$\{(?![\w.]+\}|mapping:)")  # of anything but another key
OPTION = re.compile(r"\w[\w-]*(/\w[\w-]*)*", re.ASCII)  # of a group; no way out of the folder of configuration


def check_config(cfg: DictConfig, file: Path) -> None:
    """Check the configuration of a run that was read back from `file`.

    Raises:
        ValueError: It names a class that is not allowed there, or more than classes; names file and key.
    """
    allowed = _allowed_classes()
    content = OmegaConf.to_container(cfg, resolve=False)
    assert isinstance(content, dict)
    root = Path(str(content.get("run_dir"))).resolve()
    for key, value in _leaves({name: node for name, node in content.items() if name != "overrides"}):
        parent, _, last = key.rpartition(".")
        if isinstance(value, str) and "${" in value:
            raise ValueError(f"{file}: {key} is {value}, and a configuration that is read back may interpolate nothing")
        if last == "_target_":
            _check_target(parent, value, allowed, str(file))
        elif any(part.startswith("_") for part in key.split(".")) and (key, value) != ("trainer._partial_", True):
            raise ValueError(f"{file}: {key} is {value!r}, and a configuration that is read back may not set it")
        elif last in FOLDERS and value is not None and not Path(str(value)).resolve().is_relative_to(root):
            raise ValueError(f"{file}: {key} is {value}, and a run that is read back may write only to {root}")


def check_overrides(overrides: Iterable[str], source: str) -> None:
    """Check arguments that were read back from `source`, a file or a W&B sweep.

    Raises:
        ValueError: One of them may do more than change a value; names it.
    """
    for text in overrides:
        try:
            override = OverridesParser.create().parse_override(text)
        except HydraException as error:
            raise ValueError(f"{source}: cannot read {text!r}") from error
        key = override.key_or_group
        if key.endswith("._target_"):
            _check_target(key.removesuffix("._target_"), str(override.value()), _allowed_classes(), source)
            continue
        value = override.value()
        reserved = any(part.startswith("_") for name in (key, *_names(value)) for part in name.split("."))
        own = key.startswith("hydra") and not HYDRA_KEYS.fullmatch(key)
        options = value.list if isinstance(value, ChoiceSweep) else [value]
        away = ("/" in key or key in group_options()) and not all(OPTION.fullmatch(str(name)) for name in options)
        if text.startswith("-") or override.package or reserved or own or away or INTERPOLATION.search(text):
            raise ValueError(f"{source}: {text} may run or read more than a run; to do so, type the command yourself")


def _allowed_classes() -> dict[str, set[str]]:
    """The classes by the group that they may be in."""
    sources = HydraConfig.get().runtime.config_sources if HydraConfig.initialized() else []
    own = [Path(source.path) for source in sources if source.schema == "file"]  # such as of --config-dir
    classes = named_classes(own)
    classes["callbacks"] |= CALLBACKS
    return classes | {"trainer.profiler": PROFILERS}


def _check_target(key: str, target: Any, allowed: dict[str, set[str]], source: str) -> None:
    group, _, name = key.partition(".")
    place = group if key in GROUPS or (group in NAMED_GROUPS and name and "." not in name) else key
    if place not in allowed or target not in allowed[place]:
        which = f"one that conf/{group} names" if place in allowed and place == group else "none"
        raise ValueError(f"{source}: the class of {key} is {target}, where what is read back may have {which}")


def _leaves(node: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys and values, those within lists too."""
    if isinstance(node, dict | list):
        for name, value in node.items() if isinstance(node, dict) else enumerate(node):
            yield from _leaves(value, f"{key}.{name}" if key else str(name))
    else:
        yield key, node


def _names(value: Any) -> Iterator[str]:
    """The keys of all mappings in a parsed value."""
    if isinstance(value, dict):
        yield from map(str, value)
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _names(inner)
    if isinstance(value, ChoiceSweep):
        yield from _names(value.list)
