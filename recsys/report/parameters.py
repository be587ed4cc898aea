"""Hyper-parameters of runs, and which of them differ."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from recsys.report.importance import is_number, key_of
from recsys.report.values import natural_sort_key, number, printable

GROUPS = ("model", "data", "trainer", "callbacks")  # whose keys are hyper-parameters
OTHERS = ("model_name",)  # which are, too
# What a split is made of, and whether one refits, is the task; where files lie, a seed and the number of a trial are no
# settings.
NOT_THESE = {"data.root", "data.split", "data.fold", "data.folds", "data.test_fraction", "data.split_seed"}
NOT_ENDING = ("seed", "trial")
NOT_BEGINNING = ("callbacks.pruning.",)  # when a study gives a run up changes no run that finished

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
    """The hyper-parameters of a run by their name on the command line, in the configuration's order."""
    own = str(config.get("run_dir") or "") + "/"  # paths in the run's own folder differ in every run
    flat = {name: config[name] for name in OTHERS if name in config}
    for group in GROUPS:
        flat |= _flat(group, config.get(group))
    return {
        printable(name): plain(value)
        for name, value in flat.items()
        if _is_parameter(name) and not f"{value}/".startswith(own)
    }


def _is_parameter(name: str) -> bool:
    last = name.rpartition(".")[2]
    if last.startswith("_") or last in NOT_ENDING or name.startswith(NOT_BEGINNING):
        return False
    return name not in NOT_THESE


def _flat(prefix: str, value: Any) -> Values:
    if not isinstance(value, dict):
        return {prefix: value} if value is not None or "." in prefix else {}
    return {name: inner for key, below in value.items() for name, inner in _flat(f"{prefix}.{key}", below).items()}


def plain(value: Any) -> Any:
    """A number, a truth, one line of text or None."""
    if value is None or isinstance(value, bool) or number(value) is not None:
        return value
    return printable(str(value))


def comparable(given: Sequence[Values], finished: Sequence[bool]) -> list[Values]:
    """The values, without text of runs that did not finish where all that finished have numbers.

    `model.dropout=a` fails, and must not make a category of the dropout of all other runs.
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
    """Names that have two values within one task; a run that lacks a name says nothing of it."""
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
