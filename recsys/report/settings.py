"""Settings: finished runs of a task that differ only in seed and fold, compared and ranked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from recsys.evaluation.registry import RMSE, minimized, reported_metrics
from recsys.evaluation.statistics import Difference, mean, paired_difference, standard_error
from recsys.report.importance import importance, key_of
from recsys.report.overrides import setting_command
from recsys.report.parameters import Parameter, Values, comparable, differing, hyper_parameters
from recsys.report.runs import Run
from recsys.report.tasks import Task, place_of, tasks_of
from recsys.report.values import number

SECONDS = "fit_seconds"  # averaged like a metric, but settings are not ranked by it


@dataclass
class Setting:
    """Finished runs that differ only in seed and fold; of several with the same seed and fold, the latest."""

    task: int
    values: Values  # of all parameters; None if one does not apply
    runs: list[int]
    mean: dict[str, float | None] = field(default_factory=dict)
    standard_error: dict[str, float | None] = field(default_factory=dict)
    difference: Difference | None = None  # from the task's best (positive: worse), paired by seed and fold
    command: str | None = None


@dataclass
class Experiments:
    """Runs grouped into tasks and settings."""

    runs: list[Run]
    metric: str  # settings are ranked by its mean if the task has it (`Task.metric`)
    tasks: list[Task]
    parameters: list[Parameter]
    settings: list[Setting]  # by task, the best first
    task_of: list[int | None]  # of each run
    setting_of: list[int | None]
    values_of: list[Values]  # of each run, of all parameters
    importance: list[dict[str, float] | None]  # by task

    def settings_of(self, task: int) -> list[Setting]:
        return [setting for setting in self.settings if setting.task == task]

    def parameters_of(self, task: int) -> list[Parameter]:
        """Parameters that differ among the task's settings, the most important first."""
        found = self.settings_of(task)
        weight = self.importance[task] or {}
        names = {p.name for p in self.parameters if len({key_of(s.values[p.name]) for s in found}) > 1}
        return sorted((p for p in self.parameters if p.name in names), key=lambda p: -weight.get(p.name, 0.0))


def averaged_keys() -> list[str]:
    """Keys of `metrics.json` that are averaged over a setting's runs."""
    return [*reported_metrics(), SECONDS]


def experiments(runs: Sequence[Run], metric: str = RMSE.validation_key) -> Experiments:
    """Group runs into tasks and settings, and rank the settings by the mean of `metric`, one of `reported_metrics`."""
    runs = list(runs)
    tasks, task_of = tasks_of(runs, metric)
    metrics = [task.metric for task in tasks]
    given = comparable([hyper_parameters(run.config) for run in runs], [run.finished for run in runs])
    parameters = differing(given, [place_of(run, task) for run, task in zip(runs, task_of, strict=True)])
    values_of = [{p.name: values.get(p.name) for p in parameters} for values in given]
    settings, setting_of = _settings(runs, task_of, values_of, metrics)
    found = Experiments(runs, metric, tasks, parameters, settings, task_of, setting_of, values_of, [])
    found.importance = [_importance(found.settings_of(task), metric) for task, metric in enumerate(metrics)]
    return found


def _settings(
    runs: Sequence[Run], task_of: Sequence[int | None], values_of: Sequence[Values], metrics: Sequence[str]
) -> tuple[list[Setting], list[int | None]]:
    """Settings in their order, and the number of each run's."""
    groups: dict[tuple[Any, ...], list[int]] = {}
    for index, run in enumerate(runs):
        if run.finished:
            values = tuple(key_of(value) for value in values_of[index].values())
            groups.setdefault((task_of[index], values), []).append(index)
    found = [(_setting(runs, members, key[0], values_of[members[0]]), members) for key, members in groups.items()]
    found.sort(key=lambda pair: (pair[0].task, *_rank(pair[0], metrics[pair[0].task]), pair[0].runs[0]))
    setting_of: list[int | None] = [None] * len(runs)
    for position, (_, members) in enumerate(found):
        for index in members:
            setting_of[index] = position
    settings = [setting for setting, _ in found]
    _compare(settings, runs, metrics)
    return settings, setting_of


def _rank(setting: Setting, metric: str) -> tuple[bool, float]:
    value = setting.mean[metric]
    return value is None, minimized(metric, value or 0.0)


def _latest(runs: Sequence[Run], members: Sequence[int]) -> list[int]:
    """Of the runs of a setting, the latest of each seed and fold, in the order of these."""
    latest: dict[tuple[int | None, int | None], int] = {}
    for index in sorted(members, key=lambda index: (runs[index].ended, index)):
        latest[repeat_of(runs[index])] = index
    return [
        latest[repeat] for repeat in sorted(latest, key=lambda repeat: tuple(-1 if n is None else n for n in repeat))
    ]


def repeat_of(run: Run) -> tuple[int | None, int | None]:
    return run.seed, run.fold


def _setting(runs: Sequence[Run], members: Sequence[int], task: int, values: Values) -> Setting:
    setting = Setting(task, values, _latest(runs, members))
    kept = [runs[index] for index in setting.runs]
    for metric in averaged_keys():
        values_of_runs = [value for run in kept if (value := number(run.metrics.get(metric))) is not None]
        setting.mean[metric], setting.standard_error[metric] = mean(values_of_runs), standard_error(values_of_runs)
    overrides = kept[-1].overrides
    if overrides is not None:
        setting.command = setting_command(overrides, [run.seed for run in kept], [run.fold for run in kept])
    for index in set(members) - set(setting.runs):
        later = next(runs[other] for other in setting.runs if repeat_of(runs[other]) == repeat_of(runs[index]))
        runs[index].message = "; ".join(filter(None, [f"superseded by {later.path}", runs[index].message]))
    return setting


def _compare(settings: Sequence[Setting], runs: Sequence[Run], metrics: Sequence[str]) -> None:
    """Set each setting's difference from the best of its task, which comes first."""
    best: dict[int, Setting] = {}
    for setting in settings:
        leader = best.setdefault(setting.task, setting)
        metric = metrics[setting.task]
        if setting is not leader:
            setting.difference = paired_difference(_repeats(setting, runs, metric), _repeats(leader, runs, metric))


def _repeats(setting: Setting, runs: Sequence[Run], metric: str) -> dict[tuple[int | None, int | None], float]:
    metrics = {repeat_of(runs[index]): number(runs[index].metrics.get(metric)) for index in setting.runs}
    return {repeat: minimized(metric, value) for repeat, value in metrics.items() if value is not None}


def _importance(settings: Sequence[Setting], metric: str) -> dict[str, float] | None:
    measured = [(setting.values, value) for setting in settings if (value := setting.mean[metric]) is not None]
    return importance([values for values, _ in measured], [minimized(metric, value) for _, value in measured])
