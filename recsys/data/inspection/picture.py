"""A small picture of ratings as text: bars of the values, and a line of blocks over time."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from recsys.data.inspection.statistics import Statistics

EIGHTHS = " ▏▎▍▌▋▊▉█"
HEIGHTS = "▁▂▃▄▅▆▇█"


def bars(figures: Statistics, width: int, *, ascii_only: bool = False) -> list[str]:
    """A line for each value, or range of values, with a bar and the share of rows.

    Args:
        figures: The figures.
        width: Columns that a line may take.
        ascii_only: Draw with "#".
    """
    labels = [_number(value) for value in figures.values]
    if figures.edges:
        labels = [f"from {label}" for label in labels]
    name = max(map(len, labels))
    room = max(4, width - name - 8)
    shares = figures.counts / figures.counts.sum()
    most = shares.max()
    lines = []
    for label, share in zip(labels, shares, strict=True):
        length = share / most * room
        bar = "#" * math.ceil(length) if ascii_only else _bar(length)
        lines.append(f"{label:>{name}}  {bar} {_percent(share)}")
    return lines


def over_time(per_period: NDArray[np.int64], width: int, *, ascii_only: bool = False) -> str:
    """One character a period, as high as its rows are many; periods are joined where there is no room."""
    group = math.ceil(len(per_period) / max(1, width))
    heights = np.add.reduceat(per_period, np.arange(0, len(per_period), group))
    scale = ".:-=+*%#" if ascii_only else HEIGHTS
    most = heights.max()
    return "".join(" " if not height else scale[math.ceil(height / most * len(scale)) - 1] for height in heights)


def _bar(length: float) -> str:
    whole, part = int(length), math.floor((length - int(length)) * 8)
    return "█" * whole + (EIGHTHS[part] if part else "") or "▏"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _percent(share: float) -> str:
    return f"{share:.1%}" if share >= 0.001 or share == 0 else "<0.1%"
