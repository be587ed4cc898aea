"""Repeated runs of one setting: over `seeds` and `folds`."""

from __future__ import annotations

import copy
from itertools import product
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, open_dict

from recsys.evaluation.protocol import FOLDED, REPEATS
from recsys.evaluation.statistics import mean, standard_error
from recsys.experiments.run_folder import cli_overrides, write_config
from recsys.files import write_json

REPEATED = ("seeds", "folds", "seed", "data.fold")


def plan_runs(cfg: DictConfig, folder: Path) -> dict[str, DictConfig]:
    """Write the configurations of the runs described by `cfg` and return them by sub-folder.

    A single run is in the folder itself (`.`), repeats are in sub-folders such as `seed=1` or `seed=1,fold=3`.
    `repeats.json` is written last, so that `resume=` finds all repeats or none.

    Raises:
        ValueError: `seeds` or `folds` is not a list of distinct integers, or the folder contains another run.
    """
    given = {name: _integer_list(cfg, name) for name in ("seeds", "folds") if cfg[name] is not None}
    if not given:
        return {".": write_config(cfg, folder)}
    if "folds" in given and cfg.data.split not in FOLDED:
        raise ValueError(f"folds needs data.split={' or '.join(FOLDED)}, got {cfg.data.split}")
    keys = {"seeds": "seed", "folds": "data.fold"}
    runs: dict[str, DictConfig] = {}
    for values in product(*given.values()):
        chosen = {keys[name]: value for name, value in zip(given, values, strict=True)}
        name = ",".join(f"{key.rpartition('.')[2]}={value}" for key, value in chosen.items())
        runs[name] = _write_repeat(cfg, folder / name, chosen, first=not runs)
    write_json(folder / REPEATS, {"runs": list(runs)})
    return runs


def summary(runs: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Mean and standard error of each metric that all runs have; the standard error of a single run is None."""
    names = [
        name for name in next(iter(runs.values())) if all(isinstance(run.get(name), float) for run in runs.values())
    ]
    values = {name: [run[name] for run in runs.values()] for name in names}
    return {
        "runs": list(runs),
        "mean": {name: mean(column) for name, column in values.items()},
        "standard_error": {name: standard_error(column) for name, column in values.items()},
    }


def _write_repeat(cfg: DictConfig, folder: Path, chosen: dict[str, int], *, first: bool) -> DictConfig:
    cfg = copy.deepcopy(cfg)
    if not first:  # in a study, only the first repeat can be pruned
        with open_dict(cfg.callbacks):
            cfg.callbacks.pop("pruning", None)
    kept = [text for text in cli_overrides() if text.lstrip("+").partition("=")[0] not in REPEATED]
    overrides = [*kept, *(f"{key}={value}" for key, value in chosen.items())]
    return write_config(cfg, folder, {"seeds": None, "folds": None, "overrides": overrides, **chosen})


def _integer_list(cfg: DictConfig, name: str) -> list[int]:
    values = cfg[name]
    valid = not isinstance(values, str | int) and len(values) and all(type(value) is int for value in values)
    if not valid or len(set(values)) < len(values):
        raise ValueError(f"{name} must be a list of distinct integers such as [0,1,2], got {values}")
    return list(values)
