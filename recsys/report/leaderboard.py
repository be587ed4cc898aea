"""A task's settings as rows of text, the best first, and in words what its runs tell."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recsys.evaluation.monitor import MONITORS
from recsys.evaluation.statistics import Difference
from recsys.report.parameters import Values
from recsys.report.runs import printable
from recsys.report.settings import ERRORS, HITS, Experiments, Setting

NAMES = {
    "val/rmse": "validation",
    "test/rmse": "test",
    "test/mae": "test MAE",
    "test/rmse_warm": "warm",
    "test/rmse_cold": "cold",
    "val/ndcg@10": "validation",
    "ranking/ndcg@10": "NDCG@10",
    "ranking/recall@10": "recall@10",
    "ranking/hr@10": "HR@10",
    "fit_seconds": "seconds",
}
REPEAT = "'seeds=[0,1,2]'"
# These go in this order where there is no room for all.
EXTRAS = ("ranking/hr@10", "ranking/recall@10", "test/rmse_cold", "test/rmse_warm", "fit_seconds")
NOTHING = "–"
DIGITS, BRIEF = 4, 3  # of a hyper-parameter
PARAMETERS = 6.0  # the worth from which columns are hyper-parameters
TYPED = {"model_name": "model"}  # what one types to set it


@dataclass
class Column:
    """A column of text, whose last cell is the baseline's."""

    name: str
    cells: list[str]
    right: bool = True
    worth: float | None = None  # the least goes first where there is no room; None: the column stays
    brief: list[str] | None = None  # the cells of a hyper-parameter with three digits


def columns(found: Experiments, task: int, settings: Sequence[Setting]) -> list[Column]:
    """The leaderboard of some of a task's settings, and below them a baseline: the biases, or popularity."""

    def column(name: str, cell: Callable[[Setting], str], **arguments: Any) -> Column:
        return Column(name, [*map(cell, settings), ""], **arguments)

    rank = Column("#", [*(str(position) for position in range(1, len(settings) + 1)), ""])
    labels = _label_columns(found, task, settings)
    ranked_by, baselines = found.tasks[task].metric, found.tasks[task].baselines
    baseline = "biases" if "biases" in baselines else "popularity"
    for cells in filter(None, (labels[0].cells, labels[0].brief)):
        cells[-1] = baseline
    figures: list[Column] = []
    for metric in _shown(found, task, settings):
        goes = metric in EXTRAS and metric != ranked_by
        figures.append(column(NAMES[metric], _figure(metric), worth=EXTRAS.index(metric) / 2 if goes else None))
        if metric == MONITORS[found.tasks[task].monitor].test:
            figures[-1].cells[-1] = decimal(baselines[baseline])
    seconds = figures.pop()
    to_best = [
        column("to best", lambda setting: signed(setting.difference), worth=5.0),
        column("95% interval", lambda setting: interval(setting.difference), worth=4.0),
    ]
    alone = all(len(setting.runs) == 1 for setting in settings)
    runs = column("runs", lambda setting: str(len(setting.runs)), worth=3.0 if alone else None)
    return [rank, *labels, *figures, *(to_best if len(settings) > 1 else []), runs, seconds]


def _shown(found: Experiments, task: int, settings: Sequence[Setting]) -> list[str]:
    """The figures in columns: those of the task's kind, and others that are there; the MAE only if it is asked for."""
    own = HITS if found.tasks[task].monitor in HITS else ERRORS
    named = {*own, *(name for name in HITS if any(setting.mean[name] is not None for setting in settings))}
    if found.tasks[task].metric != "test/mae":
        named.discard("test/mae")
    return [name for name in NAMES if name in named or name == "fit_seconds"]


def _label_columns(found: Experiments, task: int, settings: Sequence[Setting]) -> list[Column]:
    """What was set, the most important first; the model where nothing differs."""
    parameters = found.parameters_of(task)
    names = short_names([parameter.name for parameter in parameters])
    labels = []
    for position, parameter in enumerate(parameters):
        cells = [value_text(setting.values[parameter.name]) for setting in settings]
        brief = [value_text(setting.values[parameter.name], BRIEF) for setting in settings]
        # The first stays; of the others the least important goes first, after the figures that may.
        worth = PARAMETERS + len(parameters) - position if position else None
        right = parameter.kind == "number"
        labels.append(Column(names[parameter.name], [*cells, ""], right, worth, [*brief, ""]))
    if not labels:
        cells = [str(found.runs[setting.runs[0]].config.get("model_name", NOTHING)) for setting in settings]
        labels = [Column("model", [*cells, ""], right=False)]
    return labels


def short_names(names: Sequence[str]) -> dict[str, str]:
    """Each name as one types it, without what stands before its last dots as long as no other is called the same."""
    shown = {name: TYPED.get(name, name) for name in names}
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
    """A hyper-parameter as one would type it, fractions with a few digits."""
    if value is None:
        return NOTHING
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.{digits}g}" if isinstance(value, float) else str(value)


def decimal(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.4f}"


def signed(difference: Difference | None) -> str:
    return "" if difference is None else f"{difference.mean:+.4f}"


def interval(difference: Difference | None) -> str:
    if difference is None or difference.low is None or difference.high is None:
        return ""
    return f"[{difference.low:+.4f}, {difference.high:+.4f}]"


def _figure(metric: str) -> Callable[[Setting], str]:
    """Mean and standard error in stars; seconds with one digit."""

    def cell(setting: Setting) -> str:
        value, error = setting.mean[metric], setting.standard_error[metric]
        if metric == "fit_seconds":
            return NOTHING if value is None else f"{value:.1f}"
        with_error = error is not None and metric not in EXTRAS
        return f"{decimal(value)} ±{error:.4f}" if with_error else decimal(value)

    return cell


def heading(found: Experiments, task: int) -> str:
    settings = found.settings_of(task)
    runs = sum(len(setting.runs) for setting in settings)
    metric = found.tasks[task].metric
    by = f"by {NAMES[metric]}" + (" RMSE" if "rmse" in metric else " NDCG@10" if metric == "val/ndcg@10" else "")
    return f"{found.tasks[task].label}: {count(settings, 'setting')}, {count(range(runs), 'run')}, {by}"


def count(things: Sequence[Any], noun: str) -> str:
    return f"{len(things):,} {noun}{'' if len(things) == 1 else 's'}"


def verdict(found: Experiments, task: int) -> list[str]:
    """What the task's runs say of the best setting, in sentences; without its command."""
    best, *others = found.settings_of(task)
    lines = [f"best: {describe(found, task, best.values)}"] if others else []
    if found.tasks[task].metric.startswith(("test/", "ranking/")):
        other = found.tasks[task].monitor
        lines.append(f"Chosen by test figures, the best looks better than it is; --metric {other} does not use them.")
    if best.command and "refit=" not in best.command and found.runs[best.runs[0]].config.get("refit") == "none":
        lines.append("It was not refitted (a search's refit=none); its command refits, so test figures will differ.")
    if not others:
        return lines if len(best.runs) > 1 else [*lines, f"One run has no measure of noise; add {REPEAT}."]
    return [*lines, _apart(best, others)]


def describe(found: Experiments, task: int, values: Values) -> str:
    """A setting by the parameters that differ in its task."""
    parameters = found.parameters_of(task)
    names = short_names([parameter.name for parameter in parameters])
    told = [f"{names[p.name]}={value_text(values[p.name])}" for p in parameters if values[p.name] is not None]
    return " ".join(told)


def _apart(best: Setting, others: Sequence[Setting]) -> str:
    """Whether chance alone may have put the best before the others."""
    second = others[0].difference
    if second is None:
        return f"It shares no seed and fold with the second best, so nothing is paired: add {REPEAT} to both commands."
    if second.above_zero is None:
        alone = len(best.runs) == len(others[0].runs) == 1
        where = "in one run each" if alone else "in the only seed and fold that both have"
        behind = f"The second best is {signed(second)} behind {where}"
        return f"{behind}, which may be chance: add {REPEAT} to both commands."
    said = f"{signed(second)}, 95% interval {interval(second)} over {second.n} pairs"
    if second.above_zero:
        return f"These runs tell it from the second best: {said}."
    alike = [setting for setting in others if setting.difference and setting.difference.above_zero is False]
    more = "" if len(alike) == 1 else f", nor from {count(alike[1:], 'other')}"
    return f"These runs do not tell it from the second best ({said}){more}."


def best_command(found: Experiments, task: int) -> str | None:
    return found.settings_of(task)[0].command


def best_folder(found: Experiments, task: int) -> str:
    """The folder of the best setting's first run, as one types it from here: for `python -m serve --bundle`."""
    best = found.settings_of(task)[0]
    folder, here = found.runs[best.runs[0]].folder, Path.cwd()
    return printable(str(folder.relative_to(here) if folder.is_relative_to(here) else folder))
