"""The comparison as a table, with what has to be known to read it."""

from __future__ import annotations

from pathlib import Path

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from rich.text import Text

from benchmarks.micro.comparison import FASTER, MISSING, NEW, SLOWER, Row, other_machine, other_versions
from benchmarks.micro.results import Figures, Results

COLOURS = {SLOWER: "bold red", FASTER: "green", MISSING: "yellow", NEW: "yellow"}


def show(console: Console, file: Path, stored: Results, now: Results, rows: list[Row]) -> None:
    table = Table(
        title=f"CPU time / calibration's; {file.name}: {stored.git_commit or 'no commit'}", box=SIMPLE, pad_edge=False
    )
    table.add_column("benchmark", no_wrap=True)
    for name in ("stored", "now", "change", "noise", "time"):
        table.add_column(name, justify="right")
    table.add_column("verdict")
    for row in rows:
        table.add_row(*map(Text, cells(row)), style=COLOURS.get(row.verdict))  # else "[mf]" were markup
    console.print(table)
    for line in notes(file, stored, now, rows):
        console.print(Text(line))


def cells(row: Row) -> list[str]:
    paired = row.stored is not None and row.now is not None
    return [
        row.name,
        _ratio(row.stored),
        _ratio(row.now),
        f"{row.change:+.0%}" if paired else "–",
        f"±{row.noise:.0%}" if paired else "–",
        "–" if row.now is None else _time(row.now.min),
        row.verdict,
    ]


def notes(file: Path, stored: Results, now: Results, rows: list[Row]) -> list[str]:
    lines = []
    if differences := other_machine(stored, now):
        lines.append(
            f"{file.name} is of another machine ({'; '.join(differences)}): what is compared are ratios to a "
            "calibration only, and much noise is allowed for. Store results of this one with --store."
        )
    if differences := other_versions(stored, now):
        lines.append(f"Other versions: {'; '.join(differences)}.")
    if any(row.verdict in (MISSING, NEW) for row in rows):
        lines.append(f"Missing: in {file.name}, no more in the suite; new: the other way round. --store settles both.")
    slower = [row.name for row in rows if row.verdict == SLOWER]
    lines.append(f"Slower beyond noise: {', '.join(slower)}." if slower else "Nothing is slower beyond noise.")
    return lines


def _ratio(figures: Figures | None) -> str:
    return "–" if figures is None else f"{figures.ratio:.3g}"


def _time(seconds: float) -> str:
    return f"{seconds * 1e3:.3g} ms" if seconds >= 1e-3 else f"{seconds * 1e6:.3g} µs"
