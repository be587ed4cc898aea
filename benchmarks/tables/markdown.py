"""Markdown tables, and numbers as they stand in them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from benchmarks.tables.results import Results, device_name

ABSENT = "–"
RULES = {"l": "---", "r": "---:"}


def table(header: Sequence[str], rows: Iterable[Sequence[str]], align: str) -> str:
    """A table; `align` has an `l` or `r` for each column."""
    assert len(header) == len(align)
    lines = [list(header), [RULES[side] for side in align], *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def paragraphs(*parts: str) -> str:
    """Those that are not empty, with an empty line between."""
    return "\n\n".join(part for part in parts if part)


def by_device(results: Results, what: str, build: Callable[[Any], str]) -> str:
    """The table of every device that has a results file; devices are named once there are two."""
    found = results.of(what)
    tables = {device: build(content) for device, content in found.items()}
    if len(tables) == 1:
        return next(iter(tables.values()))
    return paragraphs(*(f"{device_name(device)}:\n\n{text}" for device, text in tables.items()))


def plain(text: str) -> str:
    """Text that neither ends a table's cell nor is taken for HTML."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def stars(value: float | None) -> str:
    """RMSE or MAE."""
    return ABSENT if value is None else f"{value:.4f}"


def each(values: Iterable[float]) -> str:
    """The figures of the seeds, without what all have in front of the point."""
    return " ".join(f"{value:.4f}".removeprefix("0") for value in values)


def seconds(value: float) -> str:
    """Two digits are what timings are good for."""
    return f"{value:,.0f}" if value >= 9.95 else f"{value:.1f}" if value >= 0.95 else f"{value:.2f}"


def span(value: float) -> str:
    """Seconds in the unit that fits."""
    scale, unit = next((s, u) for s, u in ((1, "s"), (1e-3, "ms"), (1e-6, "µs")) if value >= s or s == 1e-6)
    return f"{value / scale:.3g} {unit}"


def times(ratio: float) -> str:
    """How many times as fast or as long."""
    return f"{ratio:.0f}×" if ratio >= 9.95 else f"{ratio:.1f}×" if ratio >= 2 else f"{ratio:.2f}×"


def whole(value: float) -> str:
    return ABSENT if math.isnan(value) else f"{value:,.0f}"


def bold(text: str) -> str:
    return text if text == ABSENT else f"**{text}**"
