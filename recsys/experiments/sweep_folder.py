"""Folders of sweeps and studies: the command that began one, and how it is resumed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError  # type: ignore[import-untyped]

from recsys.experiments.job_lines import INFO
from recsys.experiments.run_folder import as_typed, display_path, one_line
from recsys.experiments.targets import check_overrides
from recsys.files import checked_yaml, read_json

RENAMED = {  # overrides of version 0.1
    "hydra/launcher=joblib": "hydra/launcher=parallel",
    "experiment=seed_mf": "experiment=original_mf",
}
OF_THE_FOLDER = re.compile(r"\+{0,2}hydra\.(sweep\.dir|mode)=")  # of a sweep, set anew where it is resumed


class SweepOverrides(NamedTuple):
    task: list[str]
    hydra: list[str]  # overrides of Hydra's own configuration


def sweep_overrides(folder: Path) -> SweepOverrides:
    """The overrides of the sweep in the folder as typed, with current names.

    They are in `sweep.json`; in sweeps of older versions only in Hydra's `multirun.yaml`, which a kill may cut short.

    Raises:
        ValueError: The file that holds them is damaged.
    """
    saved: Any = (read_json(folder / INFO) or {}).get("overrides")
    file = folder / (INFO if saved else "multirun.yaml")
    try:
        if not saved:
            content: Any = OmegaConf.to_container(OmegaConf.create(checked_yaml(file)), resolve=False)
            saved = content["hydra"]["overrides"]
        lists = [saved[name] for name in SweepOverrides._fields]
        if not all(isinstance(texts, list) and all(isinstance(text, str) for text in texts) for texts in lists):
            raise ValueError("overrides must be lists of texts")
        return SweepOverrides(*([*map(current_override, as_typed(texts))] for texts in lists))
    except (YAMLError, OmegaConfBaseException, KeyError, TypeError, ValueError) as error:
        reason = one_line(error).partition(' in "')[0]
        way_out = "remove it, and give the sweep's command again with this hydra.sweep.dir"
        raise ValueError(f"{display_path(file)} is damaged ({reason}): {way_out}") from error


def resumed_overrides(folder: Path, *, trusted: bool = False) -> list[str]:
    """The overrides with which the sweep in the folder is resumed there, but for the folder.

    Raises:
        ValueError: The file that holds them is damaged, or they may do more than runs, and are not trusted.
    """
    overrides = sweep_overrides(folder)
    kept = [text for text in overrides.hydra if not OF_THE_FOLDER.match(text)]
    if not trusted:
        check_overrides([*overrides.task, *kept], str(folder), folder)
    return [*overrides.task, *kept]


def sweep_needs_trust(folder: Path) -> bool:
    """Whether the sweep in the folder is resumed only with `trust=true`."""
    try:
        resumed_overrides(folder)
    except ValueError:
        return True
    return False


def is_sweep(folder: Path) -> bool:
    """Whether the folder holds a sweep or a study."""
    return (folder / INFO).is_file() or (folder / "multirun.yaml").is_file()


def current_override(text: str) -> str:
    """The override with old option names replaced by current ones."""
    return RENAMED.get(text, text)
