"""Read and validate the files of a run folder."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

from recsys.evaluation.registry import monitor_of
from recsys.files import MAX_CURVE_BYTES, checked_yaml, parsed_json, read_bounded
from recsys.report.values import integer, number

STATUS_STATES = ("running", "finished", "failed", "pruned", "interrupted")  # valid states in status.json
ANALYSIS = {
    "by_user_activity": ("from", "to", "rows", "rmse", "baseline"),
    "by_item_popularity": ("from", "to", "rows", "rmse", "baseline"),
    "by_rating": ("rating", "rows", "mean_predicted", "rmse"),
    "calibration": ("from", "to", "rows", "mean_predicted", "mean_rating"),
}
LONGEST_GAP = 1000  # epochs between two validations; a larger one is damage
MOST_EPOCHS = 100_000
# libyaml's parser is ten times faster, but missing from some builds of PyYAML.
YAML_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_json(file: Path) -> dict[str, Any]:
    return _mapping(parsed_json(file))


def read_yaml(file: Path) -> dict[str, Any]:
    return _mapping(yaml.load(checked_yaml(file), YAML_LOADER))


def _mapping(content: Any) -> dict[str, Any]:
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise ValueError(f"must be a mapping with string keys, got {_kind(content)}")
    return content


def _kind(value: Any) -> str:
    return "nothing" if value is None else type(value).__name__


def check_status(status: Mapping[str, Any]) -> None:
    if status.get("state") not in STATUS_STATES:
        raise ValueError(f"state must be one of {', '.join(STATUS_STATES)}, got {status.get('state')!r}")
    for name in ("message", "started"):
        if not isinstance(status.get(name), str | None):
            raise ValueError(f"{name} must be a string or null, got {_kind(status[name])}")


def check_config(config: Mapping[str, Any]) -> None:
    for group in ("data", "model"):
        if not isinstance(config.get(group), dict):
            raise ValueError(f"{group} must be a mapping, got {_kind(config.get(group))}")
    for name, value in (("seed", config.get("seed")), ("data.fold", config["data"].get("fold") or 0)):
        if integer(value) is None:
            raise ValueError(f"{name} must be an integer, got {value!r}")
    if not isinstance(config["data"].get("split"), str):
        raise ValueError(f"data.split must be a string, got {_kind(config['data'].get('split'))}")


def check_metrics(metrics: Mapping[str, Any]) -> None:
    name = monitor_of(metrics).validation_key
    if number(metrics.get(name)) is None:
        raise ValueError(f"{name} must be a finite number, got {metrics.get(name)!r}")
    if not isinstance(metrics.get("data"), str):
        raise ValueError(f"data must be a string, got {_kind(metrics.get('data'))}")


def read_curve(file: Path) -> list[float | None]:
    """The validation metric of each epoch; None for epochs without one.

    Raises:
        ValueError: It is no text, larger than `MAX_CURVE_BYTES`, or has more epochs than `MOST_EPOCHS`.
    """
    with io.StringIO(read_bounded(file, MAX_CURVE_BYTES).decode(), newline="") as stream:
        rows = csv.reader(stream)
        header = next(rows, [])
        name = monitor_of(dict.fromkeys(header)).validation_key
        if name not in header:
            return []
        column, numbers = header.index(name), header.index("epoch") if "epoch" in header else None
        curve: list[float | None] = []
        for row in rows:
            epoch = None if numbers is None else _cell(row, numbers)
            if epoch is not None and len(curve) < epoch <= len(curve) + LONGEST_GAP:  # the others were not validated
                curve += [None] * (int(epoch) - len(curve))
            curve.append(_cell(row, column))
            if len(curve) > MOST_EPOCHS:
                raise ValueError(f"it has more than {MOST_EPOCHS:,} epochs")
        return curve


def _cell(row: list[str], column: int) -> float | None:
    try:
        value = float(row[column])
    except (IndexError, ValueError):
        return None
    return round(value, 5) if math.isfinite(value) else None


def read_analysis(file: Path) -> dict[str, list[list[float | None]]]:
    """`analysis.json` without its titles, one row per group."""
    content = read_json(file)
    try:
        return {
            name: [[number(group[key]) for key in keys] for group in content.get(name, [])]
            for name, keys in ANALYSIS.items()
        }
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"unexpected content of a group: {error!r}") from error
