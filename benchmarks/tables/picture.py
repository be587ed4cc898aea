"""docs/quality_time.png: RMSE against seconds to fit, on ML-1M, a marker for each competitor and its settings."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean, median

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FixedLocator, NullFormatter, NullLocator
from PIL import Image

from benchmarks.tables.comparison import Place, Row, grouped
from benchmarks.tables.labels import place_labels
from benchmarks.tables.results import NotMeasuredError, Results

FILE = "docs/quality_time.png"
PANELS: dict[str, Place] = {
    "ML-1M, random ratings held out": ("ml_1m", "kfold fold 0"),
    "ML-1M, last ratings of each user held out": ("ml_1m", "user_time"),
}
ALT = "RMSE against seconds to fit on ML-1M, for recsys and its peers; lower and further left is better"
OURS = "recsys "  # which the stars say
MAKER = "Surprise "  # of four competitors: named once, below, where there is room
KEY = "Figures"  # under which the PNG says what it was drawn from
TICKS = {0.1: "0.1 s", 1: "1 s", 10: "10 s", 60: "1 min", 600: "10 min", 3600: "1 h"}
BLUE, GREY, INK = "#0058a3", "#8a8f98", "#3c4148"  # told apart in grey, and marked by shape too


@dataclass(frozen=True)
class Point:
    """A competitor with settings."""

    name: str  # without the settings
    ours: bool
    tuned: bool
    seconds: float
    rmse: float


Panels = Mapping[str, list[Point]]


def picture_link(results: Results) -> str:
    """The block in README.

    Raises:
        NotMeasuredError: There is nothing to draw.
    """
    if not panels(results):
        raise NotMeasuredError("no `comparison-<device>.json` has ML-1M")
    return f"![{ALT}]({FILE})"


def panels(results: Results) -> Panels:
    """What is drawn, by title; empty if nothing was measured."""
    try:
        rows = grouped(results.entries("comparison"))
    except NotMeasuredError:
        return {}
    found = {title: [point(row, place) for row in rows if row.done(place)] for title, place in PANELS.items()}
    return {title: points for title, points in found.items() if points}


def point(row: Row, place: Place) -> Point:
    done = row.done(place)
    seconds, rmse = median(entry["fit_seconds"] for entry in done), mean(entry["rmse"] for entry in done)
    name = row.name.removesuffix(", tuned").removeprefix(MAKER)
    if row.ours:
        name = name.removeprefix(OURS).partition(",")[0]
    return Point(name, row.ours, row.settings == "tuned", seconds, rmse)


def digest(found: Panels) -> str:
    """Of all that is drawn: the bytes of a PNG differ between versions of what draws it."""
    content = json.dumps({title: [asdict(it) for it in points] for title, points in found.items()})
    return hashlib.sha256(content.encode()).hexdigest()


def drawn_from(file: Path) -> str | None:
    """The digest that a picture was drawn from; None where there is no picture."""
    if not file.exists():
        return None
    with Image.open(file) as image:
        return str(image.info.get(KEY))


def draw(found: Panels, file: Path) -> None:
    """Draw the panels side by side."""
    figure = Figure(figsize=(6.2 * len(found), 7), layout=ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.12))
    axes = figure.subplots(1, len(found), squeeze=False)[0]
    for (title, points), panel in zip(found.items(), axes, strict=True):
        draw_points(panel, points)
        panel.set_title(title, fontsize=16, color=INK, loc="left", pad=10)
        panel.set_xlabel("time to fit", fontsize=15, color=INK)
        style(panel)
    axes[0].set_ylabel("RMSE in stars: lower is better", fontsize=15, color=INK)
    explain(figure, any(it.tuned for points in found.values() for it in points))
    figure.draw_without_rendering()  # labels are placed in pixels, which only exist once the layout is done
    figure.set_layout_engine("none")
    for points, panel in zip(found.values(), axes, strict=True):
        label(panel, points)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=150, metadata={KEY: digest(found), "Software": None})


def draw_points(axes: Axes, points: Iterable[Point]) -> None:
    """Documented settings hollow, tuned ones filled, a line between the two of a competitor."""
    for own in by_name(points):
        first, colour = own[0], BLUE if own[0].ours else GREY
        x, y = [it.seconds for it in own], [it.rmse for it in own]
        axes.plot(x, y, color=colour, linewidth=1.2, alpha=0.5, zorder=1)
        for it in own:
            axes.scatter(
                it.seconds, it.rmse, s=330 if first.ours else 90, marker="*" if first.ours else "o", zorder=3,
                edgecolors=colour, facecolors=colour if first.ours or it.tuned else "white", linewidths=1.8,
            )  # fmt: skip


def by_name(points: Iterable[Point]) -> list[list[Point]]:
    found: dict[str, list[Point]] = {}
    for it in points:
        found.setdefault(it.name, []).append(it)
    return list(found.values())


def style(axes: Axes) -> None:
    """Seconds, minutes and hours on a log axis, with room for labels at the sides."""
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    axes.set_xlim(low / 1.6, high * 1.6)
    axes.margins(y=0.08)
    inside = [tick for tick in TICKS if axes.get_xlim()[0] <= tick <= axes.get_xlim()[1]]
    axes.xaxis.set_major_locator(FixedLocator(inside))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xticks(inside, [TICKS[tick] for tick in inside])
    axes.tick_params(labelsize=14, colors=INK, length=0)
    axes.grid(color="#e4e7eb", linewidth=1)
    axes.set_axisbelow(True)
    axes.spines[:].set_visible(False)


def explain(figure: Figure, tuned: bool) -> None:
    """One line for the marks."""
    text = "★ recsys   ● others" + (", tuned   ○ as documented" if tuned else "")
    figure.supxlabel(f"{text}   (BaselineOnly, KNNBaseline, SVD, SVD++: Surprise)", fontsize=13, color=INK)


def label(axes: Axes, points: Iterable[Point]) -> None:
    """Every competitor's name once, beside its better marker; recsys first, so that its names have the best places."""
    groups = sorted(by_name(points), key=lambda own: not own[0].ours)
    best = [min(own, key=lambda it: it.rmse) for own in groups]
    styles = [(BLUE, "bold", 17) if it.ours else (INK, "normal", 14) for it in best]
    lines = [[(it.seconds, it.rmse) for it in own] for own in groups]
    anchors = [(it.seconds, it.rmse) for it in best]
    place_labels(axes, [it.name for it in best], anchors, lines, styles)
