"""Tasks: data set, split and kind of model. Metrics are comparable only within a task."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from recsys.evaluation.protocol import split_arguments
from recsys.evaluation.registry import RMSE, monitor_of
from recsys.evaluation.statistics import mean
from recsys.report.parameters import plain
from recsys.report.runs import Run
from recsys.report.values import natural_sort_key, number

SOURCE = ("_target_", "name", "ratings_file", "root")  # keys of `data` that identify a data set without reading it
DEFAULTS = {"test_fraction": 0.1, "split_seed": 0}  # omitted from labels

Key = tuple[Any, ...]


@dataclass(frozen=True)
class Task:
    """A data set and split (any fold) on which models can be compared.

    Refitted and not refitted models are separate tasks, and so are rating and ranking models, and models that are told
    when they are asked.
    """

    label: str
    data: str
    split: str
    baselines: dict[str, float | None]  # values of the metric `test`, mean over folds
    monitor: str  # validation metric that selected the epochs of the runs
    test: str  # the same metric on test rows
    metric: str  # ranks the settings


def tasks_of(runs: Sequence[Run], metric: str = RMSE.validation_key) -> tuple[list[Task], list[int | None]]:
    """Tasks of the finished runs, and the task of each run; unfinished runs are assigned by data and split.

    If no run of a task has `metric`, its settings are ranked by the task's monitor.
    """
    members: dict[Key, list[Run]] = {}
    by_source: dict[Key, set[Key]] = {}
    for run in runs:
        if run.finished:
            members.setdefault(_task_key(run), []).append(run)
            by_source.setdefault(_source_key(run), set()).add(_task_key(run))
    labels = _labels(members)
    ordered = sorted(members, key=lambda key: natural_sort_key(labels[key]))
    numbers = {key: index for index, key in enumerate(ordered)}

    def task_of(run: Run) -> int | None:
        if run.finished:
            return numbers[_task_key(run)]
        possible = by_source.get(_source_key(run), set())
        return numbers[next(iter(possible))] if len(possible) == 1 else None

    return [_task(labels[key], members[key], metric) for key in ordered], [task_of(run) for run in runs]


def _task(label: str, runs: Sequence[Run], metric: str) -> Task:
    first, monitor = runs[0], monitor_of(runs[0].metrics)
    known = any(number(run.metrics.get(metric)) is not None for run in runs)
    named = str(first.metrics["data"]), str(first.split)
    selected_by = monitor.validation_key
    return Task(label, *named, _baselines(runs), selected_by, monitor.test_key, metric if known else selected_by)


def _split_key(run: Run) -> Key:
    arguments = split_arguments(str(run.split), run.data.get("ties"))
    return (run.split, *((name, plain(run.data.get(name))) for name in arguments))


def _task_key(run: Run) -> Key:
    monitor = monitor_of(run.metrics)
    about = run.metrics.get("data_sha256"), run.metrics["data"], monitor.group, _refitted(run), _query_time(run)
    return (*about, *_split_key(run))


def _source_key(run: Run) -> Key:
    named = "name" in run.data  # a release is the same in any folder
    source = (plain(run.data.get(key)) for key in SOURCE if not (named and key == "root"))
    return (*source, _refitted(run), _query_time(run), *_split_key(run))


def _refitted(run: Run) -> bool:
    """Whether the test metrics are those of a model fitted on validation rows too, and so not comparable with others.

    The final model of `refit=all` is fitted on test rows as well, but its test metrics are those of the model before.
    """
    tested = run.metrics.get("test_figures_of")
    return tested != "train" if tested else run.config.get("refit") != "none"


def _query_time(run: Run) -> bool:
    """Whether the model is told when each question is asked, which gives a part of the answer away."""
    model = run.config.get("model")
    return isinstance(model, dict) and model.get("query_time") is True


def place_of(run: Run, task: int | None) -> Hashable:
    """The group of runs that a run is compared with."""
    return task if task is not None else _source_key(run)


def _labels(tasks: Iterable[Key]) -> dict[Key, str]:
    tasks = list(tasks)
    labels = {}
    for key in tasks:
        _, data, group, refitted, query_time, split, *arguments = key
        shown = [f"{name}={value}" for name, value in arguments if value != DEFAULTS.get(name)]
        kind = (" · ranking" if group == "ranking" else "") + ("" if refitted else " · not refitted")
        kind += " · query times" if query_time else ""
        labels[key] = f"{data} · {', '.join([str(split), *shown])}{kind}"
    several = {label for label in labels.values() if list(labels.values()).count(label) > 1}
    return {key: f"{label} · {str(key[0])[:8]}" if label in several else label for key, label in labels.items()}


def _baselines(runs: Sequence[Run]) -> dict[str, float | None]:
    folds = {run.fold: run for run in runs}
    baselines = {}
    for name, key in monitor_of(runs[0].metrics).baseline_keys.items():
        values = [number(run.metrics.get(key)) for run in folds.values()]
        baselines[name] = mean([value for value in values if value is not None])
    return baselines
