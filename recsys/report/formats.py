"""The report as JSON, CSV, Markdown and a self-contained HTML page."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from recsys.evaluation.registry import BASELINES, reported_metrics
from recsys.report import leaderboard, rankings
from recsys.report.overrides import run_command
from recsys.report.rankings import RankingComparison, ranking_comparisons
from recsys.report.runs import STATES, Run
from recsys.report.settings import Experiments, averaged_keys
from recsys.report.values import csv_cell, number

SCHEMA = 1
DIGITS = 6  # significant
PAGE = Path(__file__).parent / "page"


def as_json(found: Experiments, root: str) -> str:
    return json.dumps(report_data(found, root), indent=1) + "\n"


def report_data(found: Experiments, root: str) -> dict[str, Any]:
    """The content of the page as JSON-serializable data."""
    comparisons = ranking_comparisons(found)  # first, for it makes notes of what cannot be read
    content = {
        "schema": SCHEMA,
        "made": datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        "root": root,
        "metric": found.metric,
        "registry": registry_data(),
        "tasks": [asdict(task) | {"remarks": leaderboard.remarks(found, n)} for n, task in enumerate(found.tasks)],
        "parameters": [
            {"name": p.name, "kind": p.kind, "log": p.logarithmic, "values": p.values} for p in found.parameters
        ],
        "settings": [asdict(setting) for setting in found.settings],
        "runs": [_run(found, index) for index in range(len(found.runs))],
        "importance": found.importance,
        "rankings": [asdict(one) | {"sentence": rankings.sentence(one)} for one in comparisons],
    }
    rounded: dict[str, Any] = _rounded(content)
    return rounded


def registry_data() -> dict[str, Any]:
    """Labels and properties of the metrics, baselines and states, by key."""
    return {
        "metrics": {
            key: {
                "label": one.label,
                "short": one.short_label,
                "name": one.metric.label,
                "alias": one.alias,  # in the page's filter
                "direction": one.metric.direction,
                "unit": one.metric.unit,
                "display": one.display,
                "validation": one.validation,
                "subset": one.subset,
            }
            for key, one in reported_metrics().items()
        },
        "baselines": {name: label for baselines in BASELINES.values() for name, label in baselines.items()},
        "states": STATES,
    }


def _run(found: Experiments, index: int) -> dict[str, Any]:
    run = found.runs[index]
    return {
        "path": run.path,
        "state": run.state,
        "message": run.message,
        "task": found.task_of[index],
        "setting": found.setting_of[index],
        "model": run.config.get("model_name"),
        "seed": run.seed,
        "fold": run.fold,
        "values": found.values_of[index],
        "metrics": {name: number(run.metrics.get(name)) for name in (*averaged_keys(), "epochs")},
        "seconds": run.seconds,
        "started": run.started,
        "commit": run.metrics.get("git_commit"),
        "command": _command(run),
        "curve": run.curve,
        "analysis": run.analysis,
    }


def _command(run: Run) -> str | None:
    return None if run.overrides is None else run_command(run.overrides, run.seed, run.fold)


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}")
    if isinstance(value, dict):
        return {key: _rounded(inner) for key, inner in value.items()}
    return [_rounded(inner) for inner in value] if isinstance(value, list | tuple) else value


def as_csv(found: Experiments) -> str:
    """One row per run, with all its metrics and the parameters that differ."""
    figures = list(dict.fromkeys(name for run in found.runs for name, v in run.metrics.items() if _is_figure(v)))
    parameters = [leaderboard.OVERRIDE_NAMES.get(parameter.name, parameter.name) for parameter in found.parameters]
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    about = ["path", "state", "message", "task", "setting", "seed", "fold", "started", "seconds", "commit", "command"]
    writer.writerow(map(csv_cell, [*about, *parameters, *figures]))
    for index, run in enumerate(found.runs):
        row = _run(found, index)
        task = found.task_of[index]
        row["task"] = None if task is None else found.tasks[task].label
        values = [str(value).lower() if isinstance(value, bool) else value for value in row["values"].values()]
        cells = [*(row[name] for name in about), *values, *(run.metrics.get(name) for name in figures)]
        writer.writerow(map(csv_cell, cells))
    return stream.getvalue()


def _is_figure(value: Any) -> bool:
    return value is None or number(value) is not None


def as_markdown(found: Experiments, top: int) -> str:
    """One table per task, to paste into a README."""
    parts = [_markdown_task(found, task, top) for task in range(len(found.tasks))]
    return "\n".join(parts + [_markdown_rankings(one, top) for one in ranking_comparisons(found)])


def _markdown_rankings(comparison: RankingComparison, top: int) -> str:
    shown = rankings.columns(comparison, top)
    rows = [[_cell(column.name) for column in shown], ["--:" if column.right else "---" for column in shown]]
    rows += [[_cell(cell) for cell in row] for row in list(zip(*(column.cells for column in shown), strict=True))[:-1]]
    lines = [f"**{_cell(rankings.heading(comparison))}**", "", *(f"| {' | '.join(row)} |" for row in rows)]
    return "\n".join([*lines, "", rankings.sentence(comparison), ""])


def _markdown_task(found: Experiments, task: int, top: int) -> str:
    settings = found.settings_of(task)
    shown = leaderboard.columns(found, task, settings[:top])
    commands = [_code(setting.command).replace("|", "\\|") for setting in settings[:top]]
    cells = [*([_cell(cell) for cell in column.cells] for column in shown), [*commands, ""]]
    shown.append(leaderboard.Column("command", [], False))
    rows = [[_cell(column.name) for column in shown], ["--:" if column.right else "---" for column in shown]]
    rows += [list(row) for row in zip(*cells, strict=True)]
    lines = [f"**{_cell(leaderboard.heading(found, task))}**", "", *(f"| {' | '.join(row)} |" for row in rows)]
    if len(settings) > top:
        lines += ["", f"{len(settings) - top:,} more settings."]
    lines += ["", f"The best is in {_code(leaderboard.best_folder(found, task))}."]
    lines += [part for line in leaderboard.remarks(found, task) for part in ("", f"Warning: {_cell(line)}.")]
    return "\n".join([*lines, ""])


def _code(command: str | None) -> str:
    fence = "``" if command and "`" in command else "`"
    return "" if command is None else f"{fence}{command}{fence}"


def _cell(text: str) -> str:
    """The text as Markdown shows it: no columns, no HTML, no links and pictures of a stranger's names."""
    return re.sub(r"([|<\[`])", r"\\\1", text)


def as_page(found: Experiments, root: str, folder: Path = PAGE) -> str:
    """A self-contained HTML page: the template with styles, scripts and data inlined.

    Args:
        found: The experiments to show.
        root: Folder of the runs, for the title.
        folder: Contains `page.html` with the markers `/*{{css}}*/`, `/*{{js}}*/` and `{{data}}`, and the `.css` and
            `.js` files, which are concatenated in alphabetical order.
    """
    parts = {
        "/*{{css}}*/": _joined(folder, "css"),
        "/*{{js}}*/": _joined(folder, "js"),
        "{{data}}": _inert(json.dumps(report_data(found, root), separators=(",", ":"))),
    }
    markers = "|".join(map(re.escape, parts))  # in one pass: markers within a part stay as they are
    return re.sub(markers, lambda match: parts[match[0]], (folder / "page.html").read_text(encoding="utf-8"))


def _joined(folder: Path, ending: str) -> str:
    return "\n".join(file.read_text(encoding="utf-8") for file in sorted(folder.glob(f"*.{ending}")))


def _inert(text: str) -> str:
    """Escape (ASCII) JSON so that it cannot close a script element or open a comment in it."""
    return text.replace("<", "\\u003c")
