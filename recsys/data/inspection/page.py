"""What inspection prints."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from recsys.data.columns import TIMESTAMP, WEIGHT
from recsys.data.inspection.attempts import Attempt
from recsys.data.inspection.command import SEPARATOR_NAMES
from recsys.data.inspection.folder import Entry
from recsys.data.inspection.picture import bars, over_time
from recsys.data.inspection.statistics import FEW, Side, Statistics, describe
from recsys.data.rating_data import RatingData
from recsys.data.readers.format import Format

UNBOUNDED = 1000  # columns, if not on a terminal: lines are not wrapped
EARLY = 3 * 365 * 86400  # unix seconds up to which times are suspicious
PICTURE = 64  # columns at most
KINDS = {"csv": "CSV", "jsonl": "JSON lines", "parquet": "Parquet", "arrow": "Arrow", "excel": "Excel"}
ROLES = ("user", "item", "rating", "timestamp", "event", "weight")


def screen() -> Console:
    """A console without markup, as wide as the terminal; in a file or pipe, lines are not wrapped."""
    plain = Console(markup=False, highlight=False, emoji=False)
    if plain.is_terminal or "COLUMNS" in os.environ:
        return plain
    return Console(markup=False, highlight=False, emoji=False, width=UNBOUNDED)


def print_data(console: Console, title: str, found: Attempt, form: Format | None, command: str) -> None:
    """Print what was found in a data set, and last the command."""
    figures = describe(found.data)
    console.print(title, style="bold", soft_wrap=True)
    if form is not None:
        console.print(f"  {_written(form)}", soft_wrap=not console.is_terminal)
    _print_pairs(console, [*_columns(found), *_counts(found, figures)])
    for note in found.data.notes:
        console.print(f"  {note}", soft_wrap=not console.is_terminal)
    _print_picture(console, figures)
    for text in [*found.warnings, *found.data.warnings, *_cautions(found, figures)]:
        console.print()
        console.print(f"! {text}", style="yellow", soft_wrap=not console.is_terminal)
    console.print()
    console.print(command, style="bold cyan", soft_wrap=True)  # can be copied as one line


def print_entries(console: Console, title: str, entries: Sequence[Entry]) -> None:
    """Print what the files of a folder look like."""
    console.print(title, style="bold", soft_wrap=True)
    table = Table.grid(padding=(0, 2))
    for entry in entries:
        table.add_row(f"  {entry.name}", _size(entry.size), entry.what)
    _print_table(console, table)


def _print_pairs(console: Console, pairs: Iterable[tuple[str, str, str]]) -> None:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(style="dim", overflow="fold")
    for name, value, why in pairs:
        table.add_row(f"  {name}", value, why)
    _print_table(console, table)


def _print_table(console: Console, table: Table) -> None:
    """Print a table, in a file without the blanks at the end of its lines."""
    with console.capture() as printed:
        console.print(table)
    text = printed.get()
    console.file.write(text if console.is_terminal else re.sub(r" +$", "", text, flags=re.MULTILINE))


def _written(form: Format) -> str:
    parts = [KINDS[form.kind]]
    if form.kind == "csv":
        parts += [form.encoding.upper() if form.encoding.startswith("utf") else form.encoding]
        parts += [f"{SEPARATOR_NAMES.get(form.separator, repr(form.separator))} between columns"]
        parts += ["decimal comma"] if form.decimal == "," else []
        parts += ["quotes off"] if not form.quoting and form.separator == "," else []
        parts += ["header" if form.header else "no header"]
        parts += ["comments above the rows"] if form.comments else []
        parts += {"matrix": ["a column an item"], "blocks": ["a block an item"]}.get(form.layout, [])
    return ", ".join(parts)


def _columns(found: Attempt) -> list[tuple[str, str, str]]:
    """Each role with its column and why."""
    why = {finding.option: finding.why for finding in found.data.findings}
    values: dict[str, Any] = {finding.option: finding.value for finding in found.data.findings} | found.settings
    result = []
    for role in ROLES:
        option = f"{role}_column"
        if values.get(option) is not None:
            reason = "as set" if option in found.settings else why[option]
            if role == "timestamp" and "timestamp_format" in values:
                reason += f"; {values['timestamp_format']}"
            result.append((role, str(values[option]), reason))
    for option, label in (("missing", "not rated"), ("events", "events"), ("weight_scale", "weights")):
        if values.get(option):
            result.append((label, _shown(values[option]), why.get(option, "as set")))
    return result


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {weight:g}" for name, weight in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _counts(found: Attempt, figures: Statistics) -> list[tuple[str, str, str]]:
    data, counts = found.data, found.data.counts
    pairs = []
    if data.implicit:
        pairs.append(("scale", "implicit feedback", "weights" if WEIGHT in data.ratings else "every row counts as 1"))
    else:
        step = f"in steps of {figures.step:g}" if figures.step else ""
        pairs.append(("scale", f"{data.rating_min:g} to {data.rating_max:g}", step))
    if counts is not None and counts.total != counts.kept:
        parts = [f"{counts.kept:,} kept", *([f"{counts.refused:,} refused"] if counts.refused else [])]
        parts += [f"{n:,} {reason}" for reason, n in counts.dropped.items()]
        pairs.append(("rows", f"{counts.total:,}", " + ".join(parts)))
    pairs.append(
        ("pairs" if data.implicit else "ratings", f"{figures.rows:,}", f"{100 * figures.density:.3g}% of all pairs")
    )
    pairs += [("users", *_side(figures.users)), ("items", *_side(figures.items))]
    if figures.times is not None:
        first, last = (datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%d") for time in figures.times)
        ties = f"{figures.ties:.1%} of the rows share user and second with another" if figures.ties else "no ties"
        pairs.append(("time", f"{first} to {last}", ties))
    return pairs


def _side(side: Side) -> tuple[str, str]:
    return f"{side.n:,}", f"median {side.middle:g} ratings; {side.once:,} with one, {side.few:,} with fewer than {FEW}"


def _print_picture(console: Console, figures: Statistics) -> None:
    width = min(console.width - 2, PICTURE)
    plain = not _draws_blocks(console)
    if len(figures.values) > 1:
        console.print()
        for line in bars(figures, width, ascii_only=plain):
            console.print(f"  {line}", style="green", soft_wrap=True)
    if figures.per_period is not None and len(figures.per_period) > 1 and figures.times is not None:
        first, last = (str(datetime.fromtimestamp(time, UTC).date()) for time in figures.times)
        drawn = over_time(figures.per_period, width - 24, ascii_only=plain)
        console.print()
        console.print(f"  {first} {drawn} {last}, by {figures.period}", style="green", soft_wrap=True)


def _draws_blocks(console: Console) -> bool:
    try:
        "█▏▁".encode(console.encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def _cautions(found: Attempt, figures: Statistics) -> list[str]:
    """What is worth knowing before training."""
    data, result = found.data, []
    few, once = figures.users.few / figures.users.n, figures.items.once / figures.items.n
    if few > 0.5:
        result.append(f"{few:.0%} of the users have fewer than {FEW} ratings: most of them have none to test on")
    if once > 0.5:
        result.append(f"{once:.0%} of the items have a single rating: little can be learned of them")
    if not data.implicit and len(figures.values) == 2:
        rows = "the rows with 1" if {*figures.values.tolist()} in ({0, 1}, {-1, 1}) else "all rows"
        result.append(
            f"the ratings have two values only; with data.rating_column=null model=ials {rows} are implicit feedback, "
            "for a model that ranks"
        )
    counts = data.counts
    if (
        counts is not None
        and not data.implicit
        and (unrated := counts.dropped.get("not rated", 0)) > 0.5 * counts.total
        and not any("data.events=" in text for text in data.warnings)
    ):
        result.append(
            f"{unrated / counts.total:.0%} of the rows have no rating; with data.missing_as=implicit model=ials all "
            "rows are implicit feedback, for a model that ranks"
        )
    result += doubts_of_times(data)
    if data.implicit:
        result.append("there are no ratings, so the command trains a model that ranks (model=ials)")
    return result


def doubts_of_times(data: RatingData) -> list[str]:
    """What says that a column of times may hold something else."""
    if TIMESTAMP not in data.ratings or not data.ratings[TIMESTAMP].max() < EARLY:
        return []
    return [
        "all times are in the first years after 1970; data.timestamp_format may not be theirs, or they are none "
        "(data.timestamp_column=null)"
    ]


def _size(size: float) -> str:
    power = min(3, int(np.log10(max(size, 1)) / 3))
    return f"{size / 1000**power:.3g} {('B', 'kB', 'MB', 'GB')[power]}"
