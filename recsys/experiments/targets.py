"""What settings that are read back may do: those of a folder, a database or a W&B sweep, which others may have written.

A `_target_` is a class that will be called, and a class may write files, ask a database or send data away. The settings
that a user types or keeps in a folder of configuration may do so. Those that are read back may name only the classes
below, write only to the run's folder, ask no database and no server, and read nothing of the environment. `trust=true`
beside `resume=` lifts that.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, QuotedString
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from recsys.database.passwords import VARIABLES, redacted
from recsys.experiments.configuration import group_options, named_classes

CALLBACKS = {  # Lightning's own, but for those that take functions, or write to the current folder
    f"lightning.pytorch.callbacks.{name}"
    for name in (
        "BackboneFinetuning", "BatchSizeFinder", "DeviceStatsMonitor", "EarlyStopping", "EMAWeightAveraging",
        "GradientAccumulationScheduler", "LearningRateFinder", "LearningRateMonitor", "ModelCheckpoint", "ModelPruning",
        "ModelSummary", "OnExceptionCheckpoint", "RichModelSummary", "RichProgressBar",
        "StochasticWeightAveraging", "ThroughputMonitor", "Timer", "TQDMProgressBar", "WeightAveraging",
    )
}  # fmt: skip
PROFILERS = {
    f"lightning.pytorch.profilers.{name}"
    for name in ("AdvancedProfiler", "PassThroughProfiler", "PyTorchProfiler", "SimpleProfiler")
}
GROUPS = ("data", "model", "trainer")  # with a class each
NAMED_GROUPS = ("callbacks", "logger")  # with any number of classes, each under a name
REMOTE = {  # classes that send data away, or run what they are given on a database
    "recsys.data.sources.SqlRatings": "asks a database",
    "recsys.training.wandb.WandbTracker": "sends results to a server",
}
REMOTE_KEYS = re.compile(r"data\.(query|url|url_env)(\..*)?|logger(\..*)?\.upload_bundle|trainer\.model_registry")
WRITERS = ("callbacks", "logger", "trainer", "hydra")  # groups of classes whose texts may be names of files
FOLDERS = ("dirpath", "save_dir", "default_root_dir")  # arguments that name where a class writes
STORAGE = "storage"  # of a study: an URL
OF_THE_COMMAND = ("resume", "trust", "overrides", "run_dir", "inferred")  # and not of a run
HYDRA_KEYS = re.compile(  # options of Hydra's own that a sweep sets and that run nothing
    r"hydra/(launcher|sweeper|job_logging|hydra_logging)|hydra\.(mode|verbose|output_subdir|launcher\.n_jobs)"
    r"|hydra\.(run|sweep)\.(dir|subdir)|hydra\.job\.(chdir|name|id)"
    r"|hydra\.sweeper\.(study|storage|n_trials|seed|pruner|max_batch_size|params(\..*)?)"
)
NUMBERED = re.compile(r"\$\{(hydra\.job\.(num|id)|trial)\}")  # what may be in the name of a job's folder
INTERPOLATION = re.compile(r"\$\{(?![\w.]+\}|mapping:)")  # of anything but another key
CONSENT = "; if you trust who wrote it, resume with trust=true"
OPTION = re.compile(r"\w[\w-]*(/\w[\w-]*)*", re.ASCII)  # of a group; no way out of the folder of configuration


def check_config(cfg: DictConfig, file: Path) -> None:
    """Check the configuration of a run that was read back from `file`.

    Raises:
        ValueError: It may do more than a run; names file and key.
    """
    content = OmegaConf.to_container(cfg, resolve=False)
    assert isinstance(content, dict)
    root = Path(str(content.get("run_dir"))).resolve()
    for key, value in leaves({name: node for name, node in content.items() if name != "overrides"}):
        check_value(key, value, str(file), root)


def check_value(key: str, value: Any, source: str, root: Path) -> None:
    """Check one value of a configuration that was read back from `source`, of a run in the folder `root`.

    Raises:
        ValueError: It may do more than a run.
    """
    last = key.rpartition(".")[2]
    if not isinstance(value, str | int | float | None):  # such as the paths and bytes that YAML's tags make
        raise ValueError(f"{source}: {key} is of type {type(value).__name__}, which no configuration has")
    if isinstance(value, str) and "${" in value:
        raise ValueError(f"{source}: {key} is {value}, and a configuration that is read back may interpolate nothing")
    if last == "_target_":
        _check_target(key.removesuffix("._target_"), value, _allowed_classes(), source)
    elif any(part.startswith("_") for part in key.split(".")) and (key, value) != ("trainer._partial_", True):
        raise ValueError(f"{source}: {key} is {value!r}, and a configuration that is read back may not set it")
    elif REMOTE_KEYS.fullmatch(key) and value:
        raise ValueError(f"{source}: {key} is {value}, which may reach a database or a server{CONSENT}")
    elif key.partition(".")[0] in WRITERS and not _is_within(root, last, value):
        raise ValueError(f"{source}: {key} is {value}, and a run that is read back may write only to {root}{CONSENT}")


def check_overrides(overrides: Iterable[str], source: str, folder: Path | None = None) -> None:
    """Check arguments that were read back from `source`, a file or a W&B sweep.

    Args:
        overrides: As typed.
        source: Named in the error.
        folder: Of the sweep that they are from; None for a W&B sweep, which has its tracker of the agent.

    Raises:
        ValueError: One of them may do more than a run; names it.
    """
    consent = CONSENT if folder is not None else "; to do so, type the command yourself"
    for text in overrides:
        try:
            override = OverridesParser.create().parse_override(text)
            value = override.value()
        except HydraException as error:
            raise ValueError(f"{source}: cannot read {text!r}") from error
        key = override.key_or_group
        if key.endswith("._target_"):
            allowed = _allowed_classes(remote=folder is None)
            _check_target(key.removesuffix("._target_"), str(value), allowed, source, consent)
            continue
        reserved = any(part.startswith("_") for name in (key, *_names(value)) for part in name.split("."))
        own = key.startswith("hydra") and not HYDRA_KEYS.fullmatch(key)
        options = value.list if isinstance(value, ChoiceSweep) else [value]
        away = ("/" in key or key in group_options()) and not all(OPTION.fullmatch(str(name)) for name in options)
        tracked = key == "logger" and folder is not None and any(name not in ("csv", None) for name in options)
        of_command = key.partition(".")[0] in OF_THE_COMMAND
        stays = all(_stays(*leaf, folder) for one in options for leaf in leaves(_plain(one), key))
        unusual = text.startswith("-") or override.package or INTERPOLATION.search(text)
        if unusual or reserved or own or away or tracked or of_command or not stays:
            raise ValueError(f"{source}: {text} may run, read or write more than a run{consent}")


def _stays(key: str, value: Any, folder: Path | None) -> bool:
    """Whether an argument reaches no server, and names no file out of the folder that a class then writes to."""
    group, last = key.partition(".")[0], key.rpartition(".")[2]
    if REMOTE_KEYS.fullmatch(key):
        return not value
    if group not in WRITERS or not isinstance(value, str):
        return True
    if last == STORAGE:
        return folder is not None and _is_of_study(value, folder)
    plain = NUMBERED.sub("0", value)
    return last not in FOLDERS and "${" not in plain and not _leads_out(plain)


def _is_within(root: Path, name: str, value: Any) -> bool:
    """Whether an argument of a callback, logger or trainer names no file out of the run's folder."""
    if not isinstance(value, str):
        return True
    if name == STORAGE:
        return any(_is_of_study(value, folder / "study.db") for folder in root.parents[:2])  # beside trials, or repeats
    if name in FOLDERS:
        return Path(value).resolve().is_relative_to(root)
    return not _leads_out(value) or Path(value).resolve().is_relative_to(root)


def _leads_out(text: str) -> bool:
    """Whether a text, taken for a path, would not be of a file in the folder to which it is added."""
    parts = re.split(r"[/\\]", text)
    return ".." in parts or (len(parts) > 1 and (parts[0] in ("", "~") or parts[0].endswith(":")))


def _is_of_study(url: str, place: Path) -> bool:
    """Whether a study's database is this file, or in this folder, or the one that the user's environment names."""
    if url == redacted(os.environ.get(VARIABLES["hydra.sweeper.storage"], "")):
        return True
    kind, _, path = url.partition(":///")
    return kind == "sqlite" and "?" not in path and Path(path).resolve().is_relative_to(place.resolve())


def _allowed_classes(*, remote: bool = False) -> dict[str, set[str]]:
    """The classes by the group that they may be in.

    Args:
        remote: With those that send data away or ask a database.
    """
    sources = HydraConfig.get().runtime.config_sources if HydraConfig.initialized() else []
    own = [Path(source.path) for source in sources if source.schema == "file"]  # such as of --config-dir
    classes = named_classes(own)
    classes["callbacks"] |= CALLBACKS
    if not remote:
        classes = {group: names - REMOTE.keys() for group, names in classes.items()}
    return classes | {"trainer.profiler": PROFILERS}


def _check_target(key: str, target: Any, allowed: dict[str, set[str]], source: str, consent: str = CONSENT) -> None:
    group, _, name = key.partition(".")
    place = group if key in GROUPS or (group in NAMED_GROUPS and name and "." not in name) else key
    if place in allowed and target in REMOTE and target not in allowed[place]:
        raise ValueError(f"{source}: {key} is {target}, which {REMOTE[target]}{consent}")
    if place not in allowed or target not in allowed[place]:
        which = f"one that conf/{group} names" if place in allowed and place == group else "none"
        raise ValueError(f"{source}: the class of {key} is {target}, where what is read back may have {which}{consent}")


def leaves(node: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys and values, those within lists too."""
    if isinstance(node, dict | list):
        for name, value in node.items() if isinstance(node, dict) else enumerate(node):
            yield from leaves(value, f"{key}.{name}" if key else str(name))
    else:
        yield key, node


def _plain(value: Any) -> Any:
    """What Hydra parsed, as dicts, lists and values."""
    if isinstance(value, dict):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return value.text if isinstance(value, QuotedString) else value


def _names(value: Any) -> Iterator[str]:
    """The keys of all mappings in a parsed value."""
    if isinstance(value, dict):
        yield from map(str, value)
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _names(inner)
    if isinstance(value, ChoiceSweep):
        yield from _names(value.list)
