"""Run folders: configuration, status and resuming."""

from __future__ import annotations

import copy
import re
import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.errors import InstantiationException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError  # type: ignore[import-untyped]

from recsys.database.passwords import redacted, redacted_settings, restored_settings
from recsys.evaluation.protocol import REPEATS
from recsys.experiments.legacy import upgrade_config, with_former_defaults
from recsys.experiments.overrides import typed_override
from recsys.experiments.targets import STORAGE, check_config, check_value, leaves
from recsys.files import WriteError, atomic_write, checked_yaml, read_json, write_json
from recsys.training.errors import PrunedError

TERMINAL_STATES = ("finished", "failed", "pruned")  # in status.json; other states: running, interrupted
RETRIED = "retried"  # marks the message of an interrupted trial that its study has retried
TRANSIENT_KEYS = ("resume", "trust", "overrides")  # belong to the command, not to the run
INFERRED = "inferred"  # the keys that the data decided in an earlier start; they are "auto" in the command
REPEAT = re.compile(r"\w+=-?\d+(,\w+=-?\d+)*")  # name of a repeat's sub-folder, such as seed=1,fold=3
DEVICES = "trainer.devices="  # another number is resumed as well: results do not depend on it


class OtherRunError(ValueError):
    """The folder contains a run with a different configuration."""


def display_path(folder: Path) -> str:
    """The folder, relative if inside the working directory, quoted for the shell."""
    return shlex.quote(str(folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder))


def cli_overrides() -> list[str]:
    """This run's overrides as typed."""
    return as_typed(HydraConfig.get().overrides.task) if HydraConfig.initialized() else []


def as_typed(overrides: Sequence[str]) -> list[str]:
    """The overrides with unescaped interpolations; Hydra escapes them in sweep jobs."""
    texts = OmegaConf.to_container(overrides, resolve=False) if OmegaConf.is_config(overrides) else overrides
    assert isinstance(texts, list | tuple)
    return [str(text).replace("$\\{", "${").replace("\\}", "}") for text in texts]


def write_config(cfg: DictConfig, folder: Path, changes: Mapping[str, Any] | None = None) -> DictConfig:
    """Resolve the configuration of the run in `folder` and write it to `config.yaml`.

    A folder with the same configuration is resumed.

    Args:
        cfg: The composed configuration; not modified.
        folder: The run folder.
        changes: Values by dotted key, applied before interpolations are resolved.

    Raises:
        OtherRunError: The folder contains a run with a different configuration; names a key that differs.
    """
    file = folder / "config.yaml"
    before = saved_config(file, trusted=True) if file.exists() else None  # only what was inferred is taken from it
    # A folder that goes by another name, through a link, keeps the one that it was made with.
    name = before.run_dir if before is not None and is_same_place(before.run_dir, folder) else str(folder)
    cfg, changes = copy.deepcopy(cfg), {"overrides": cli_overrides(), "run_dir": name, **(changes or {})}
    overrides = [typed_override(text) for text in changes.pop("overrides")]
    for key, value in changes.items():
        OmegaConf.update(cfg, key, value)
    OmegaConf.resolve(cfg)
    cfg.overrides = overrides  # set last: interpolations in them stay as typed
    if before is not None:
        cfg = with_former_defaults(_as_inferred(cfg, before, file), before)
        ours, theirs = redacted_settings(_plain(cfg)), _plain(before)
        if found := difference(theirs, ours):
            raise OtherRunError(f"{display_path(folder)} contains another run ({found}); choose another folder")
    else:
        with atomic_write(file) as partial:
            OmegaConf.save(OmegaConf.create(redacted_settings(OmegaConf.to_container(cfg))), partial)
    return cfg


def _as_inferred(cfg: DictConfig, saved: DictConfig, file: Path) -> DictConfig:
    """The configuration with what was inferred when the run was started.

    Raises:
        ValueError: What was saved in `file` as inferred names a class, or something of the environment.
    """
    cfg = copy.deepcopy(cfg)
    with open_dict(cfg):
        for key in (keys := saved.get(INFERRED) or []):
            if OmegaConf.select(cfg, key) == "auto":
                value = OmegaConf.select(saved, key)
                plain = OmegaConf.to_container(value) if OmegaConf.is_config(value) else value
                for name, one in leaves(plain, key):
                    check_value(name, one, str(file), file.parent.resolve())
                OmegaConf.update(cfg, key, value, merge=False)
        if keys:
            cfg[INFERRED] = keys
    return cfg


def resumed(folder: Path, overrides: list[str], *, trusted: bool = False) -> dict[str, DictConfig]:
    """Load the configurations of an interrupted run by sub-folder: `.`, or one per repeat.

    Args:
        folder: Of the run.
        overrides: As typed; `trainer.devices` may be another, which changes no result.
        trusted: Whether they may be anything (see `targets`).

    Raises:
        ValueError: Further overrides were given, the folder was moved, or its settings are not allowed.
        FileNotFoundError: The folder contains no run.
    """
    others = [text for text in overrides if not text.startswith(("resume=", "trust=", DEVICES))]
    if others:
        raise ValueError(f"resume uses the run's own configuration; remove {' '.join(others)}")
    runs = {name: _resumed_one(folder / name, trusted=trusted) for name in _run_names(folder)}
    for text in overrides:
        if text.startswith(DEVICES):
            for cfg in runs.values():
                cfg.merge_with_dotlist([text])
    return runs


def needs_trust(folder: Path) -> bool:
    """Whether the run in the folder is resumed only with `trust=true`."""
    try:
        for name in _run_names(folder):
            saved_config(folder / name / "config.yaml")
    except FileNotFoundError:
        return False
    except (ValueError, OSError):
        return True
    return False


def _run_names(folder: Path) -> list[str]:
    """The sub-folders of the repeats in the folder; `.` if it contains a single run.

    A damaged `repeats.json` is not needed: it is first written when all of them have their `config.yaml`.

    Raises:
        ValueError: `repeats.json` is damaged, and there are no repeats.
    """
    if not (folder / REPEATS).exists():
        return ["."]
    names = (read_json(folder / REPEATS) or {}).get("runs")
    if isinstance(names, list) and names and all(isinstance(name, str) and REPEAT.fullmatch(name) for name in names):
        return names
    found = [file.parent.name for file in folder.glob("*=*/config.yaml") if REPEAT.fullmatch(file.parent.name)]
    if not found:
        raise ValueError(f"resume: {folder / REPEATS} is damaged, and there are no repeats beside it")
    return sorted(found, key=lambda name: [int(number) for number in re.findall(r"=(-?\d+)", name)])


def _resumed_one(folder: Path, *, trusted: bool) -> DictConfig:
    if not (folder / "config.yaml").is_file():
        raise FileNotFoundError(f"resume: no run in {folder} (config.yaml is missing)")
    cfg = saved_config(folder / "config.yaml", trusted=trusted)
    if not is_same_place(cfg.run_dir, folder):
        raise ValueError(f"resume: {folder} was created as {cfg.run_dir}; move it back to resume from its checkpoints")
    content = OmegaConf.to_container(cfg)
    assert isinstance(content, dict)
    if trusted:
        content = restored_settings(content)
    else:  # elsewhere a password would get into what the run writes
        for settings in (content.get("callbacks") or {}).values():
            if isinstance(settings, dict) and STORAGE in settings:
                settings[STORAGE] = restored_settings(settings[STORAGE])
    cfg = OmegaConf.create(content)
    assert isinstance(cfg, DictConfig)
    return cfg


def is_same_place(name: str, folder: Path) -> bool:
    """Whether the name is the folder's, or that of a symbolic link to it."""
    return Path(name).resolve() == folder.resolve()


def saved_config(file: Path, *, trusted: bool = False) -> DictConfig:
    """The configuration of a run.

    Args:
        file: Where it is.
        trusted: Whether it may name anything; else it may do no more than a run (see `targets`).

    Raises:
        ValueError: The file is damaged, or its content is not allowed (see `targets`).
    """
    try:
        cfg = OmegaConf.create(checked_yaml(file))
        content = OmegaConf.to_container(cfg)
        if not isinstance(content, dict) or not isinstance(content.get("run_dir"), str):
            raise ValueError("it has no run_dir")
    except (YAMLError, OmegaConfBaseException, ValueError) as error:
        reason = one_line(error).partition(' in "')[0]
        raise ValueError(f"{file} is damaged ({reason}): remove its folder, and begin that run again") from error
    assert isinstance(cfg, DictConfig)
    cfg = upgrade_config(cfg)
    if not trusted:
        check_config(cfg, file)
    return cfg


@contextmanager
def track_status(folder: Path) -> Iterator[None]:
    """Write `status.json`: first running, then the final state; exceptions propagate. Finished runs are unchanged."""
    before = read_json(folder / "status.json")
    if (before or {}).get("state") == "finished":
        yield
        return
    started, clock = datetime.now(UTC).isoformat(timespec="seconds"), time.perf_counter()

    def record(state: str, message: str | None = None) -> None:
        seconds = None if state == "running" else round(time.perf_counter() - clock, 3)
        content = {"state": state, "message": message, "started": started, "seconds": seconds}
        write_json(folder / "status.json", content)

    record("running")
    try:
        yield
    except PrunedError as error:
        record("pruned", str(error))
        raise
    except WriteError as error:  # the disk may be full
        with suppress(OSError):
            record("failed", one_line(error))
        raise
    except OtherRunError:  # restore the other run's status
        if before:
            write_json(folder / "status.json", before)
        else:
            (folder / "status.json").unlink()
        raise
    except Exception as error:
        record("failed", one_line(error))
        raise
    except BaseException:
        record("interrupted", "stopped by Ctrl-C or SIGTERM; continue with resume=")
        raise
    record("finished")


def is_finished(folder: Path) -> bool:
    return (read_json(folder / "status.json") or {}).get("state") == "finished"


def has_ended(folder: Path) -> bool:
    """Whether the run is in a terminal state; interrupted runs are not, since they can be resumed."""
    return (read_json(folder / "status.json") or {}).get("state") in TERMINAL_STATES


def write_status(folder: Path, state: str, message: str) -> None:
    """Write the final status of a run whose process could not do so."""
    record = read_json(folder / "status.json") or {"started": None, "seconds": None}
    write_json(folder / "status.json", record | {"state": state, "message": message})


def one_line(error: BaseException) -> str:
    """The error's message without Hydra's wrapper and passwords, after its type unless a ValueError or OSError."""
    if isinstance(error, InstantiationException) and error.__cause__ is not None:
        return one_line(error.__cause__)
    message = redacted(" ".join(str(error).split()))
    return message if isinstance(error, ValueError | OSError) and message else f"{type(error).__name__}: {message}"


def difference(before: Mapping[str, Any], now: Mapping[str, Any], path: str = "") -> str | None:
    """The first key whose values differ, with both values; None if all are equal. A missing key counts as null."""
    for key in [*before, *(key for key in now if key not in before)]:
        old, new = before.get(key), now.get(key)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            if found := difference(old, new, f"{path}{key}."):
                return found
        elif old != new:
            return f"{path}{key} was {old}, is {new}"
    return None


def _plain(cfg: Any) -> dict[str, Any]:
    """What makes a run another one."""
    content = OmegaConf.to_container(cfg)
    assert isinstance(content, dict)
    if isinstance(content.get("trainer"), dict):
        content["trainer"].pop("devices", None)
    return {str(key): value for key, value in content.items() if key not in TRANSIENT_KEYS}
