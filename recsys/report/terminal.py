"""The report as terminal tables."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import replace

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from recsys.report import leaderboard, rankings
from recsys.report.importance import MIN_PER_PARAMETER
from recsys.report.leaderboard import Column
from recsys.report.rankings import RankingComparison, ranking_comparisons
from recsys.report.runs import STATES
from recsys.report.settings import Experiments

UNBOUNDED = 1000  # columns, if not on a terminal: lines are not wrapped
BAR = 30  # columns
MAX_MESSAGE = 300  # characters


def console() -> Console:
    """A console without markup, as wide as the terminal; in a file or pipe, lines are not wrapped."""
    plain = Console(markup=False, highlight=False, emoji=False)
    if plain.is_terminal or "COLUMNS" in os.environ:
        return plain
    return Console(markup=False, highlight=False, emoji=False, width=UNBOUNDED)


def print_experiments(screen: Console, found: Experiments, top: int) -> None:
    """Print a leaderboard with its verdict for each task, rankings of the same cases, then the unfinished runs."""
    comparisons = ranking_comparisons(found)
    for task in range(len(found.tasks)):
        _print_task(screen, found, task, top)
    for comparison in comparisons:
        _print_rankings(screen, comparison, top)
    _print_unfinished(screen, found, top)


def _print_task(screen: Console, found: Experiments, task: int, top: int) -> None:
    settings = found.settings_of(task)
    screen.print(leaderboard.heading(found, task), style="bold", soft_wrap=True)
    shown = leaderboard.columns(found, task, settings[:top])
    table, left_out = _fitting(screen, shown)
    screen.print(table)
    more = [f"{len(settings) - top:,} more settings (--top)"] if len(settings) > top else []
    more += [f"no room for {', '.join(left_out)} (--format csv)"] if left_out else []
    if more:
        screen.print(f"  {'; '.join(more)}", style="dim", soft_wrap=True)
    for line in leaderboard.verdict(found, task):
        screen.print(line, soft_wrap=not screen.is_terminal)
    for line in leaderboard.remarks(found, task):
        screen.print(f"warning: {line}", style="yellow", soft_wrap=not screen.is_terminal)
    command = leaderboard.best_command(found, task)
    screen.print(f"  {command or 'command not recorded'}", style="cyan", soft_wrap=True)  # can be copied as one line
    runs = found.settings_of(task)[0].runs
    several = f" (the first of {len(runs)} runs)" if len(runs) > 1 else ""
    screen.print(f"  in {leaderboard.best_folder(found, task)}{several}", style="cyan", soft_wrap=True)
    screen.print()
    _print_importance(screen, found, task)


def _print_rankings(screen: Console, comparison: RankingComparison, top: int) -> None:
    screen.print(rankings.heading(comparison), style="bold", soft_wrap=True)
    table, _ = _fitting(screen, rankings.columns(comparison, top))
    screen.print(table)
    if len(comparison.settings) > top:
        screen.print(f"  {len(comparison.settings) - top:,} more settings (--top)", style="dim", soft_wrap=True)
    screen.print(rankings.sentence(comparison), soft_wrap=not screen.is_terminal)
    screen.print()


def _fitting(screen: Console, shown: list[Column]) -> tuple[Table, list[str]]:
    """The table with as many columns as fit, and the names of the dropped ones.

    Hyper-parameters are dropped last, after shortening their digits and wrapping their names.
    """
    left_out: list[str] = []
    table = _table(shown)
    while _width(screen, table) > screen.width:
        spare = [column for column in shown if column.priority is not None]
        least = min(spare, key=lambda column: column.priority or 0.0, default=None)
        if (least is None or (least.priority or 0.0) >= leaderboard.PARAMETER_PRIORITY) and _can_shrink(shown):
            shown = [_narrow(column) for column in shown]
        elif least is None:
            break
        else:
            shown = [column for column in shown if column is not least]
            left_out.append(least.name.replace("\n", ""))
        table = _table(shown)
    return table, left_out


def _can_shrink(shown: Sequence[Column]) -> bool:
    return any(column.short_cells for column in shown)


def _narrow(column: Column) -> Column:
    """A hyper-parameter column as narrow as its values allow; names of metrics wrapped to two lines."""
    if not column.short_cells:
        return replace(column, name=column.name.replace(". ", ".\n").replace("test ", "test\n"))
    width = max(map(len, column.short_cells))
    return replace(column, name=_folded(column.name, width), cells=column.short_cells, short_cells=None)


def _folded(name: str, width: int) -> str:
    """A name wrapped at its underscores and dots."""
    lines = [""]
    for part in re.findall(r"[^_.]*[_.]|[^_.]+", name):
        if lines[-1] and len(lines[-1] + part) > width:
            lines.append("")
        lines[-1] += part
    return "\n".join(lines)


def _width(screen: Console, table: Table) -> int:
    """Width of the table in columns if unconstrained."""
    return Measurement.get(screen, screen.options.update(max_width=UNBOUNDED), table).maximum


def _table(shown: Sequence[Column]) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False, collapse_padding=True)
    for column in shown:
        table.add_column(column.name, justify="right" if column.right else "left")
    rows = list(zip(*(column.cells for column in shown), strict=True))
    for position, row in enumerate(rows[:-1]):
        table.add_row(*row, style="bold" if position == 0 else None)
    if any(rows[-1]):
        table.add_row(*rows[-1], style="dim")
    return table


def _print_importance(screen: Console, found: Experiments, task: int) -> None:
    shares = found.importance[task]
    if not shares:
        return
    names = leaderboard.short_names(list(shares))
    width = max(map(len, names.values()))
    settings = len(found.settings_of(task))
    rough = f", rough: {settings} settings" if settings < MIN_PER_PARAMETER * len(shares) else ""
    screen.print(f"parameter importance (PED-ANOVA{rough})", soft_wrap=True)
    for name, share in shares.items():
        bar = "█" * round(BAR * share) or "▏"
        screen.print(f"  {names[name]:<{width}}  {bar} {share:.0%}", soft_wrap=True)
    screen.print()


def _print_unfinished(screen: Console, found: Experiments, top: int) -> None:
    """Print unfinished runs, failed and broken ones first."""
    order = list(STATES)
    rest = sorted((run for run in found.runs if not run.finished), key=lambda run: order.index(run.state))
    if not rest:
        return
    states = [f"{sum(run.state == state for run in rest)} {state}" for state in STATES]
    counts = ", ".join(text for text in states if not text.startswith("0 "))
    screen.print(f"{leaderboard.count(rest, 'run')} not finished: {counts}", style="bold", soft_wrap=True)
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False, collapse_padding=True)
    for name in ("run", "state", "why"):
        table.add_column(name, overflow="fold")
    for run in rest[:top]:
        table.add_row(run.path, run.state, (run.message or "")[:MAX_MESSAGE])
    screen.print(table)
    if len(rest) > top:
        screen.print(f"  {len(rest) - top:,} more (--top)", style="dim")
    if not found.tasks and (pruned := leaderboard.late_pruning_of(found.runs)):  # else with its task
        screen.print(f"warning: {pruned}", style="yellow", soft_wrap=not screen.is_terminal)
