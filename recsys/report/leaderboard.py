"""The leaderboard of a task as text, best setting first, and a verdict on the best setting."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recsys.evaluation.registry import BASELINES, STRONGEST_BASELINE, logged_metrics, reported_metrics
from recsys.evaluation.remarks import LATE, late_pruning
from recsys.evaluation.remarks import remarks as evaluation_remarks
from recsys.evaluation.statistics import Difference, mean
from recsys.progress import printable
from recsys.report.parameters import Values
from recsys.report.runs import Run
from recsys.report.settings import SECONDS, Experiments, Setting
from recsys.report.values import number

REPEAT = "'seeds=[0,1,2]'"
MISSING = "–"
DIGITS, FEW_DIGITS = 4, 3  # of a hyper-parameter
# Column priorities: columns with the lowest are dropped first if the table is too wide.
SECONDS_PRIORITY, RUNS_PRIORITY, INTERVAL_PRIORITY, DIFFERENCE_PRIORITY, PARAMETER_PRIORITY = 2.0, 3.0, 4.0, 5.0, 6.0
OVERRIDE_NAMES = {"model_name": "model"}  # on the command line


@dataclass
class Column:
    """A column of text; its last cell is the baseline's."""

    name: str
    cells: list[str]
    right: bool = True
    priority: float | None = None  # the lowest is dropped first; None: never dropped
    short_cells: list[str] | None = None  # with fewer digits, for hyper-parameters


def columns(found: Experiments, task: int, settings: Sequence[Setting]) -> list[Column]:
    """Leaderboard columns for some of a task's settings; the last row is the baseline (biases or popularity)."""

    def column(name: str, cell: Callable[[Setting], str], **arguments: Any) -> Column:
        return Column(name, [*map(cell, settings), ""], **arguments)

    rank = Column("#", [*(str(position) for position in range(1, len(settings) + 1)), ""])
    labels = _label_columns(found, task, settings)
    subject = found.tasks[task]
    group = logged_metrics()[subject.monitor].metric.group
    baseline = STRONGEST_BASELINE[group]
    for cells in filter(None, (labels[0].cells, labels[0].short_cells)):
        cells[-1] = BASELINES[group][baseline]
    metrics: list[Column] = []
    priorities = _priorities(subject.metric)
    for key in _shown_metrics(found, task, settings):
        label = logged_metrics()[key].short_label
        metrics.append(column(label, _metric_cell(key, with_error=key not in priorities), priority=priorities.get(key)))
        if key == subject.test:
            metrics[-1].cells[-1] = decimal(subject.baselines[baseline])
    to_best = [
        column("to best", lambda setting: signed(setting.difference), priority=DIFFERENCE_PRIORITY),
        column("95% interval", lambda setting: interval(setting.difference), priority=INTERVAL_PRIORITY),
    ]
    single = all(len(setting.runs) == 1 for setting in settings)
    runs = column("runs", lambda setting: str(len(setting.runs)), priority=RUNS_PRIORITY if single else None)
    seconds = column("seconds", _seconds_cell, priority=SECONDS_PRIORITY)
    return [rank, *labels, *metrics, *(to_best if len(settings) > 1 else []), runs, seconds]


def _priorities(ranked_by: str) -> dict[str, float]:
    """Priorities below that of the seconds, for all metrics except the monitors and the one that ranks the settings."""
    optional = [key for key, one in reported_metrics().items() if not one.is_primary and key != ranked_by]
    return {key: SECONDS_PRIORITY * (1 - (place + 1) / (len(optional) + 1)) for place, key in enumerate(optional)}


def _shown_metrics(found: Experiments, task: int, settings: Sequence[Setting]) -> list[str]:
    """Keys of the metrics to show: those of the task's group, and ranking metrics if a setting has them."""
    subject = found.tasks[task]
    group = logged_metrics()[subject.monitor].metric.group

    def is_shown(key: str) -> bool:
        one = reported_metrics()[key]
        if one.display == "option":
            return key == subject.metric
        always = one.targets == "all" and (one.is_primary or (one.subset and group == "rating"))
        if one.metric.group == group and always:
            return True
        return one.metric.group in (group, "ranking") and any(setting.mean[key] is not None for setting in settings)

    return list(filter(is_shown, reported_metrics()))


def _label_columns(found: Experiments, task: int, settings: Sequence[Setting]) -> list[Column]:
    """Columns of the hyper-parameters that differ, the most important first; the model if none differs."""
    parameters = found.parameters_of(task)
    names = short_names([parameter.name for parameter in parameters])
    labels = []
    for position, parameter in enumerate(parameters):
        cells = [value_text(setting.values[parameter.name]) for setting in settings]
        short = [value_text(setting.values[parameter.name], FEW_DIGITS) for setting in settings]
        # The first is always shown; of the others the least important is dropped first, after the optional metrics.
        priority = PARAMETER_PRIORITY + len(parameters) - position if position else None
        right = parameter.kind == "number"
        labels.append(Column(names[parameter.name], [*cells, ""], right, priority, [*short, ""]))
    if not labels:
        cells = [str(found.runs[setting.runs[0]].config.get("model_name", MISSING)) for setting in settings]
        labels = [Column("model", [*cells, ""], right=False)]
    return labels


def short_names(names: Sequence[str]) -> dict[str, str]:
    """Each name as on the command line, shortened to its last parts as long as it stays unique."""
    shown = {name: OVERRIDE_NAMES.get(name, name) for name in names}
    short = _endings(list(shown.values()))
    return {name: short[full] for name, full in shown.items()}


def _endings(names: Sequence[str]) -> dict[str, str]:
    found = {}
    for name in names:
        parts = name.split(".")
        endings = [".".join(parts[start:]) for start in range(len(parts) - 1, -1, -1)]
        found[name] = next(
            ending
            for ending in endings
            if ending == name or not any(other != name and f".{other}".endswith(f".{ending}") for other in names)
        )
    return found


def value_text(value: Any, digits: int = DIGITS) -> str:
    """A hyper-parameter as on the command line; floats have a few significant digits."""
    if value is None:
        return MISSING
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.{digits}g}" if isinstance(value, float) else str(value)


def decimal(value: float | None) -> str:
    return MISSING if value is None else f"{value:.4f}"


def signed(difference: Difference | None) -> str:
    return "" if difference is None else f"{difference.mean:+.4f}"


def interval(difference: Difference | None) -> str:
    if difference is None or difference.low is None or difference.high is None:
        return ""
    return f"[{difference.low:+.4f}, {difference.high:+.4f}]"


def _metric_cell(key: str, *, with_error: bool) -> Callable[[Setting], str]:
    """The mean, with its standard error if there is one."""

    def cell(setting: Setting) -> str:
        value, error = setting.mean[key], setting.standard_error[key]
        return f"{decimal(value)} ±{error:.4f}" if with_error and error is not None else decimal(value)

    return cell


def _seconds_cell(setting: Setting) -> str:
    seconds = setting.mean[SECONDS]
    return MISSING if seconds is None else f"{seconds:.1f}"


def heading(found: Experiments, task: int) -> str:
    settings = found.settings_of(task)
    runs = sum(len(setting.runs) for setting in settings)
    by = f"by {logged_metrics()[found.tasks[task].metric].label}"
    return f"{found.tasks[task].label}: {count(settings, 'setting')}, {count(range(runs), 'run')}, {by}"


def count(things: Sequence[Any], noun: str) -> str:
    return f"{len(things):,} {noun}{'' if len(things) == 1 else 's'}"


def verdict(found: Experiments, task: int) -> list[str]:
    """Sentences about the best setting: how it was selected and whether its lead is significant."""
    best, *others = found.settings_of(task)
    lines = [f"best: {describe(found, task, best.values)}"] if others else []
    if not logged_metrics()[found.tasks[task].metric].validation:
        other = found.tasks[task].monitor
        lines.append(f"Selection on test metrics is biased: the best looks better than it is. Use --metric {other}.")
    if best.command and "refit=" not in best.command and found.runs[best.runs[0]].config.get("refit") == "none":
        lines.append("Not refitted (refit=none of a search); its command refits, so its test metrics will differ.")
    if not others:
        return lines if len(best.runs) > 1 else [*lines, f"A single run has no standard error; add {REPEAT}."]
    return [*lines, _significance(best, others)]


def remarks(found: Experiments, task: int) -> list[str]:
    """Sentences about what is wrong with the best setting's result, or with the pruning of a study's trials."""
    runs = [found.runs[index] for index in found.settings_of(task)[0].runs]
    keys = {key for run in runs for key in run.metrics}
    values = {key: [value for run in runs if (value := number(run.metrics.get(key))) is not None] for key in keys}
    averaged: dict[str, Any] = {key: mean(column) for key, column in values.items()}
    model = runs[0].config.get("model")
    about = {name: runs[0].metrics.get(name) for name in ("model", "split")}
    sentences = evaluation_remarks(averaged | about, model if isinstance(model, dict) else None)
    pruned = late_pruning_of([run for run, other in zip(found.runs, found.task_of, strict=True) if other == task])
    return [*sentences, *([pruned] if pruned else [])]


def late_pruning_of(runs: Sequence[Run]) -> str | None:
    """A sentence about trials that were pruned when they had spent their epochs, if these are most of them."""
    ended = [run for run in runs if run.state in ("finished", "pruned", "failed")]
    late = 0
    for run in ended:
        trainer = run.config.get("trainer")
        budget = number(trainer.get("max_epochs")) if isinstance(trainer, dict) else None
        late += run.state == "pruned" and bool(budget and budget > 0 and len(run.curve) >= LATE * budget)
    return late_pruning(late, len(ended))


def describe(found: Experiments, task: int, values: Values) -> str:
    """A setting as the parameters that differ within its task."""
    parameters = found.parameters_of(task)
    names = short_names([parameter.name for parameter in parameters])
    return " ".join(f"{names[p.name]}={value_text(values[p.name])}" for p in parameters if values[p.name] is not None)


def _significance(best: Setting, others: Sequence[Setting]) -> str:
    """Whether the best is significantly better than the others."""
    second = others[0].difference
    if second is None:
        return f"No seed and fold in common with the second best, so no paired test: add {REPEAT} to both commands."
    if second.above_zero is None:
        alone = len(best.runs) == len(others[0].runs) == 1
        where = "in one run each" if alone else "in the only seed and fold that both have"
        behind = f"The second best is {abs(second.mean):.4f} behind {where}"
        return f"{behind}, which may be chance: add {REPEAT} to both commands."
    details = f"{signed(second)}, 95% interval {interval(second)} over {second.n} pairs"
    if second.above_zero:
        return f"The difference from the second best is significant: {details}."
    alike = [setting for setting in others if setting.difference and setting.difference.above_zero is False]
    more = "" if len(alike) == 1 else f", nor that from {count(alike[1:], 'other')}"
    return f"The difference from the second best is not significant ({details}){more}."


def best_command(found: Experiments, task: int) -> str | None:
    return found.settings_of(task)[0].command


def best_folder(found: Experiments, task: int) -> str:
    """The folder of the best setting's first run, relative if possible: for `python -m serve --bundle`."""
    best = found.settings_of(task)[0]
    folder, here = found.runs[best.runs[0]].folder, Path.cwd()
    return printable(str(folder.relative_to(here) if folder.is_relative_to(here) else folder))
