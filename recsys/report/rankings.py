"""Rankings of the same cases: settings of all tasks, compared in pairs case by case, with bootstrap intervals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from recsys.evaluation.protocol import cases_file
from recsys.evaluation.registry import NDCG, TARGETS, LoggedMetric, logged_metrics
from recsys.evaluation.statistics import Difference
from recsys.report.leaderboard import (
    INTERVAL_PRIORITY,
    RUNS_PRIORITY,
    Column,
    count,
    decimal,
    describe,
    interval,
    signed,
)
from recsys.report.settings import Experiments

if TYPE_CHECKING:
    from recsys.evaluation.case_values import CaseValues

MOST_BYTES = 256 << 20  # of such files in a report


@dataclass(frozen=True)
class RankedSetting:
    """A setting with its mean over the cases, and its difference from the best (positive: worse)."""

    setting: int  # its number
    label: str
    path: str  # of its first run
    mean: float
    difference: Difference | None  # None: it is the best


@dataclass(frozen=True)
class RankingComparison:
    """Settings that ranked the same cases, the best first."""

    metric: str  # its key in `metrics.json`
    label: str
    place: str  # data set and split
    cases: int
    users: int
    settings: list[RankedSetting]


def ranking_comparisons(found: Experiments) -> list[RankingComparison]:
    """Compare all settings whose runs keep the metrics of the same cases; those of other cases are not compared.

    The metric is that which ranks the settings of the report, if it is of the cases, and NDCG@10 otherwise. A setting's
    values are means over its runs.
    """
    asked = logged_metrics().get(found.metric)
    wanted = asked.metric if asked is not None and asked.metric.group == "ranking" else NDCG
    comparisons, left = [], MOST_BYTES
    for targets in TARGETS:
        groups: dict[str, dict[int, list[CaseValues]]] = {}
        for number, setting in enumerate(found.settings):
            for index in setting.runs:
                values = _read(found, index, targets, left)
                if values is None or NDCG.name not in values.values:
                    continue
                left -= values.nbytes
                of = f"{values.rows} {len(values.user)}"
                groups.setdefault(of, {}).setdefault(number, []).append(values)
        for members in groups.values():
            kept = all(wanted.name in one.values for runs in members.values() for one in runs)
            metric = LoggedMetric(wanted if kept else NDCG, validation=False, targets=targets)
            comparisons += [_compared(found, metric, members)] if len(members) > 1 else []
    return comparisons


def columns(comparison: RankingComparison, top: int) -> list[Column]:
    """The best settings as columns of text; the last row, a leaderboard's baseline, is empty."""
    shown = comparison.settings[:top]
    cells = {
        "#": [str(rank) for rank in range(1, len(shown) + 1)],
        "setting": [one.label for one in shown],
        comparison.label.removeprefix("test "): [decimal(one.mean) for one in shown],
        "to best": [signed(one.difference) for one in shown],
        "95% interval": [interval(one.difference) for one in shown],
        "run": [one.path for one in shown],
    }
    priorities = {"95% interval": INTERVAL_PRIORITY, "run": RUNS_PRIORITY}
    return [
        Column(name, [*column, ""], right=name not in ("setting", "run"), priority=priorities.get(name))
        for name, column in cells.items()
    ]


def sentence(comparison: RankingComparison) -> str:
    """Whether the best is significantly better than the others."""
    second = comparison.settings[1].difference
    assert second is not None
    if second.above_zero is None:
        return "All cases are of one user, so there is no interval."
    details = f"{signed(second)}, 95% interval {interval(second)} by bootstrap over {second.n:,} users"
    if second.above_zero:
        return f"The difference from the second best is significant: {details}."
    alike = [one for one in comparison.settings[1:] if one.difference and not one.difference.above_zero]
    more = "" if len(alike) == 1 else f", nor that from {count(alike[1:], 'other')}"
    return f"The difference from the second best is not significant ({details}){more}."


def heading(comparison: RankingComparison) -> str:
    cases = f"rankings of the same {comparison.cases:,} cases of {comparison.users:,} users"
    return f"{cases}: {comparison.label} on {comparison.place}"


def _read(found: Experiments, index: int, targets: str, left: int) -> CaseValues | None:
    """The values that a run keeps, if there are any and they are sound; what is wrong becomes a note of the run."""
    run, name = found.runs[index], cases_file(targets)
    if not (run.folder / name).exists():
        return None
    from recsys.evaluation.case_values import CaseValues  # here, as few reports need NumPy

    try:
        values = CaseValues.load(run.folder, targets)
    except (OSError, ValueError) as error:
        run.message = "; ".join(filter(None, [run.message, f"{name}: {error}"]))
        return None
    if values.nbytes > left:
        note = f"{name}: not read: the report has read {MOST_BYTES >> 20} MiB of such files"
        run.message = "; ".join(filter(None, [run.message, note]))
        return None
    return values


def _compared(found: Experiments, metric: LoggedMetric, members: dict[int, list[CaseValues]]) -> RankingComparison:
    """Settings by number with the values of their runs."""
    import numpy as np  # here, as few reports need it

    from recsys.evaluation.bootstrap import bootstrap_differences

    name = metric.metric.name
    sign = -1 if metric.metric.direction == "max" else 1
    values = {n: np.stack([one.values[name] for one in runs]).astype("f8").mean(0) for n, runs in members.items()}
    order = sorted(values, key=lambda number: (sign * float(values[number].mean()), number))
    user = members[order[0]][0].user
    found_differences = bootstrap_differences(user, [sign * (values[n] - values[order[0]]) for n in order[1:]])
    settings = [
        RankedSetting(n, _label(found, n), found.runs[found.settings[n].runs[0]].path, float(values[n].mean()), one)
        for n, one in zip(order, [None, *found_differences], strict=True)
    ]
    task = found.tasks[found.settings[order[0]].task]
    place = f"{task.data} · {task.split}"
    return RankingComparison(metric.key, metric.label, place, len(user), found_differences[0].n, settings)


def _label(found: Experiments, number: int) -> str:
    """The model, and what sets the setting apart within its task."""
    setting = found.settings[number]
    model = str(found.runs[setting.runs[0]].config.get("model_name", ""))
    values = {name: None if name == "model_name" else value for name, value in setting.values.items()}
    told = describe(found, setting.task, values)
    return " ".join(filter(None, [model, told]))
