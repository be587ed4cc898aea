"""Hyper-parameters of runs, and which of them differ."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from recsys.progress import printable
from recsys.report.importance import is_number, key_of
from recsys.report.values import natural_sort_key, number

GROUPS = ("model", "data", "trainer", "callbacks")  # configuration groups whose keys are hyper-parameters
TOP_LEVEL = ("model_name",)  # hyper-parameters outside these groups
# Split and refit define the task; folders, seeds and trial numbers are not hyper-parameters.
EXCLUDED = {"data.root", "data.split", "data.fold", "data.folds", "data.test_fraction", "data.split_seed"}
EXCLUDED_SUFFIXES = ("seed", "trial")
EXCLUDED_PREFIXES = ("callbacks.pruning.",)  # pruning does not affect runs that finished

Values = dict[str, Any]


@dataclass(frozen=True)
class Parameter:
    """A hyper-parameter that differs between runs of a task."""

    name: str
    values: list[Any]  # distinct, sorted, without None

    @property
    def kind(self) -> str:
        return "number" if all(map(is_number, self.values)) else "category"

    @property
    def logarithmic(self) -> bool:
        return self.kind == "number" and self.values[0] > 0 and self.values[-1] / self.values[0] >= 10


def hyper_parameters(config: Mapping[str, Any]) -> Values:
    """The hyper-parameters of a run by command-line name, in the order of the configuration."""
    own = str(config.get("run_dir") or "") + "/"  # paths in the run folder differ between all runs
    flat = {name: config[name] for name in TOP_LEVEL if name in config}
    for group in GROUPS:
        flat |= _flat(group, config.get(group))
    return {
        printable(name): plain(value)
        for name, value in flat.items()
        if _is_parameter(name) and not f"{value}/".startswith(own)
    }


def _is_parameter(name: str) -> bool:
    last = name.rpartition(".")[2]
    if last.startswith("_") or last in EXCLUDED_SUFFIXES or name.startswith(EXCLUDED_PREFIXES):
        return False
    return name not in EXCLUDED


def _flat(prefix: str, value: Any) -> Values:
    if not isinstance(value, dict):
        return {prefix: value} if value is not None or "." in prefix else {}
    return {name: inner for key, below in value.items() for name, inner in _flat(f"{prefix}.{key}", below).items()}


def plain(value: Any) -> Any:
    """The value as a number, a bool, one line of text or None."""
    if value is None or isinstance(value, bool) or number(value) is not None:
        return value
    return printable(str(value))


def comparable(given: Sequence[Values], finished: Sequence[bool]) -> list[Values]:
    """Drop text values of unfinished runs for parameters that are numeric in all finished runs.

    A failed run with `model.dropout=a` must not turn dropout into a categorical parameter.
    """
    kinds: dict[str, set[bool]] = {}
    for values, counts in zip(given, finished, strict=True):
        for name, value in values.items():
            if counts and value is not None:
                kinds.setdefault(name, set()).add(is_number(value))
    numeric = {name for name, found in kinds.items() if found == {True}}
    return [
        {name: value for name, value in values.items() if counts or name not in numeric or is_number(value)}
        for values, counts in zip(given, finished, strict=True)
    ]


def differing(given: Sequence[Values], where: Sequence[Hashable]) -> list[Parameter]:
    """Parameters with at least two values within one task; runs without the parameter are ignored."""
    by_name: dict[str, dict[Hashable, dict[Hashable, Any]]] = {}  # values by their key, by task, by name
    for values, task in zip(given, where, strict=True):
        for name, value in values.items():
            by_name.setdefault(name, {}).setdefault(task, {})[key_of(value)] = value
    found = []
    for name, by_task in by_name.items():
        if any(len(values) > 1 for values in by_task.values()):
            distinct = {key: value for values in by_task.values() for key, value in values.items() if value is not None}
            found.append(Parameter(name, _sorted(distinct.values())))
    return found


def _sorted(values: Iterable[Any]) -> list[Any]:
    values = list(values)
    numeric = all(map(is_number, values))
    return sorted(values) if numeric else sorted(values, key=lambda value: natural_sort_key(str(value)))
