"""docs/replay.png: what each policy of the replay predicts, and what it costs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from benchmarks.replay.plan import POLICIES
from benchmarks.tables.markdown import seconds
from benchmarks.tables.picture import BLUE, GREY, INK, KEY
from benchmarks.tables.results import NotMeasuredError, Results

FILE = "docs/replay.png"
STYLES: dict[str, tuple[str, Any, float]] = {  # colour, dashes and width
    "frozen": (GREY, "-", 2.0),
    "folded": ("#d0803c", "-", 2.4),
    "updated": (BLUE, "-", 3.4),
    "warm": ("#6b9a8b", (0, (4, 2)), 2.0),
    "full": (INK, (0, (1, 1.4)), 2.0),
}
SHORT = POLICIES | {"updated": "updates", "warm": "warm refits", "full": "full refits"}
ROOM = 0.55  # times the length of the lines, for labels right of them
APART = 0.065  # of a panel's height, between two labels

Panels = Mapping[str, Any]


def panels(results: Results) -> Panels:
    """What is drawn; empty if nothing was measured."""
    try:
        found = next(iter(results.of("replay").values()))
    except NotMeasuredError:
        return {}
    first, withheld = found["streams"]
    return {
        "ratings": first["ratings"],
        "rmse": {name: first["policies"][name]["so_far"]["rmse"] for name in POLICIES},
        "unseen_items": {
            name: withheld["policies"][name]["so_far"]["rmse_unseen_items"] for name in POLICIES if name != "frozen"
        },
        "cpu_seconds": {name: first["policies"][name]["cpu_seconds"] for name in POLICIES},
    }


def digest(found: Panels) -> str:
    """Of all that is drawn."""
    return hashlib.sha256(json.dumps(found).encode()).hexdigest()


def draw(found: Panels, file: Path) -> None:
    """Draw three panels side by side."""
    figure = Figure(figsize=(17, 6.2), layout=ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.1, wspace=0.03))
    every, items, cost = figure.subplots(1, 3, width_ratios=(1.25, 1.25, 1.0))
    lines(every, found["rmse"], found["ratings"])
    title(every, "All ratings", "RMSE so far, each rating predicted at its moment")
    lines(items, found["unseen_items"], found["ratings"])
    title(items, "Items that the first fit never saw", "RMSE so far, a tenth of the items withheld")
    bars(cost, found["cpu_seconds"])
    title(cost, "What it costs", "processor seconds for new versions")
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=110, metadata={KEY: digest(found), "Software": None})


def lines(axes: Axes, values: Mapping[str, Sequence[float | None]], ratings: int) -> None:
    """A line for each policy, its name and last value beside its end."""
    steps = len(next(iter(values.values())))
    x = np.arange(1, steps + 1) / steps * ratings / 1000
    ends = {}
    for name, found in values.items():
        colour, dashes, width = STYLES[name]
        y = np.array([np.nan if value is None else value for value in found], float)
        axes.plot(x, y, color=colour, linestyle=dashes, linewidth=width, solid_capstyle="round")
        ends[name] = float(y[-1])
    low, high = axes.get_ylim()
    last, length = x[-1], x[-1] - x[0]
    for name, place in spread({name: (end - low) / (high - low) for name, end in ends.items()}).items():
        colour, height = STYLES[name][0], low + place * (high - low)
        weight = "bold" if name == "updated" else "normal"
        axes.plot([last + 0.01 * length, last + 0.06 * length], [ends[name], height], color=colour, linewidth=0.9)
        axes.text(last + 0.075 * length, height, f"{SHORT[name]} {ends[name]:.4f}", color=colour, fontsize=14,
                  va="center", fontweight=weight)  # fmt: skip
    axes.set_xlim(x[0], last + ROOM * length)
    axes.set_ylim(low, high)
    axes.hlines(axes.get_yticks(), x[0], last, color="#e4e7eb", linewidth=1, zorder=0)
    axes.set_xlabel("thousand ratings that have arrived", fontsize=14, color=INK, loc="left")
    axes.set_xticks(np.linspace(0, ratings / 1000, 5)[1:].round())
    plain(axes)


def spread(places: Mapping[str, float]) -> dict[str, float]:
    """Heights of labels in [0, 1], in the order of what they name, far enough apart to be read."""
    order = sorted(places, key=lambda name: places[name])
    heights = np.array([places[name] for name in order])
    for _ in range(200):
        gaps = APART - np.diff(heights)
        push = np.maximum(gaps, 0) / 2
        heights[:-1] -= push
        heights[1:] += push
        heights = np.clip(heights, 0.01, 0.99)
    return dict(zip(order, heights.tolist(), strict=True))


def bars(axes: Axes, values: Mapping[str, float]) -> None:
    """A bar for each policy."""
    names = list(values)[::-1]
    for place, name in enumerate(names):
        colour, weight = STYLES[name][0], "bold" if name == "updated" else "normal"
        axes.barh(place, values[name], height=0.5, color=colour)
        axes.text(0, place + 0.33, SHORT[name], color=INK, fontsize=14, va="bottom")
        text = f" {seconds(values[name])} s" if values[name] else "0 s"
        axes.text(values[name], place, text, color=colour, fontsize=14, va="center", fontweight=weight)
    axes.set_xlim(0, 1.25 * max(values.values()))
    axes.set_ylim(-0.5, len(names) - 0.1)
    axes.set_yticks([])
    axes.set_xticks([])
    plain(axes)


def plain(axes: Axes) -> None:
    """No frame, nothing darker than the lines."""
    axes.tick_params(labelsize=12, colors=INK, length=0)
    axes.set_axisbelow(True)
    axes.spines[:].set_visible(False)


def title(axes: Axes, text: str, below: str) -> None:
    axes.set_title(f"{text}\n", fontsize=17, color=INK, loc="left", pad=8, fontweight="bold")
    axes.annotate(below, (0, 1), (0, 12), xycoords="axes fraction", textcoords="offset points", fontsize=14, color=INK)
