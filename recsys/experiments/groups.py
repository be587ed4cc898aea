"""What a run is to the others of its group: a sweep, a study, or repeats of a setting."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode

from recsys.evaluation.protocol import REPEATS
from recsys.evaluation.registry import minimized_validation
from recsys.files import read_json
from recsys.training.context import RunContext

SAID = "inferred.txt"  # in the folder of a sweep or of repeats: what was inferred from the data, and their counts


def in_sweep() -> bool:
    return HydraConfig.initialized() and HydraConfig.get().mode is RunMode.MULTIRUN


def run_context(folder: Path) -> RunContext:
    name, group = run_name(folder)
    return RunContext(name, group, in_sweep(), partial(says_first, folder), partial(is_best, folder))


def says_first(folder: Path, text: str) -> bool:
    """Whether no other run of the group has said this about the data; the group's folder keeps it."""
    name, group = run_name(folder)
    if group is None or not text:
        return bool(text)
    file = folder.parents[len(Path(name).parts) - 2] / SAID
    try:
        with file.open("x", encoding="utf-8") as said:
            said.write(text + "\n")
    except FileExistsError:
        return False
    return True


def run_name(folder: Path) -> tuple[str, str | None]:
    """The run's name for trackers, and its group: the sweep, or the setting that it repeats."""
    top = folder
    if (top.parent / REPEATS).exists():
        top = top.parent
    if in_sweep():
        top = top.parent
    return str(folder.relative_to(top.parent)), None if top == folder else top.name


def is_best(folder: Path, metrics: Mapping[str, Any]) -> bool:
    """Whether the run has the best validation metric so far in its group, for its model, data and split."""
    name, group = run_name(folder)
    if group is None:
        return True
    top = folder.parents[len(Path(name).parts) - 2]
    others = [read_json(file) or {} for file in top.rglob("metrics.json") if file.parent != folder]
    same = [other for other in others if all(other.get(key) == metrics[key] for key in ("model", "data", "split"))]
    return all(minimized_validation(metrics) < minimized_validation(other) for other in same)
