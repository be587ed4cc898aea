"""Labels beside markers, where they hide the least."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.text import Annotation
from matplotlib.transforms import Bbox

XY = tuple[float, float]
Style = tuple[str, str, float]  # colour, weight, size

DISTANCES = (11, 16, 24, 36, 50)  # points from the marker; the nearer the better
ANGLES = (0, 180, 90, 270, 45, 135, 315, 225)  # degrees; beside before above
FREE = 9  # pixels around a marker or a line that a label should leave free
STEPS = 12  # points of a line that are looked at
LINE, MARKER, OUTSIDE = 1.0, 6.0, 12.0  # what a covered pixel costs; of a name as much as of a marker

Taken = tuple[Bbox, float]  # what is there already, and what a pixel of it costs


def place_labels(
    axes: Axes, names: Sequence[str], anchors: Sequence[XY], lines: Sequence[Sequence[XY]], styles: Sequence[Style]
) -> None:
    """Write each name near its anchor, where it covers the least of markers, lines and names written before.

    Args:
        axes: Whose layout is final.
        names: What is written, the most important first.
        anchors: Which markers they belong to, in data's units.
        lines: The markers that are joined by a line, for each name.
        styles: Colour, weight and size of each name.
    """
    taken: list[Taken] = [(around(xy), LINE) for line in lines for xy in along(axes, line)]
    taken += [(around(xy), MARKER) for line in lines for xy in pixels(axes, line)]
    for name, anchor, (colour, weight, size) in zip(names, anchors, styles, strict=True):
        text = axes.annotate(
            name, anchor, (0, 0), textcoords="offset points", color=colour, weight=weight, fontsize=size
        )
        best = min(places(), key=lambda place: cost(axes, text, place, taken))
        put(text, best)
        taken.append((text.get_window_extent(), MARKER))
        if best[0] > DISTANCES[1]:
            arrow = {"arrowstyle": "-", "color": colour, "linewidth": 0.8, "alpha": 0.6, "shrinkB": 6}
            axes.annotate("", anchor, text.get_position(), textcoords="offset points", arrowprops=arrow)


def places() -> list[tuple[float, float]]:
    """Distance and angle of all places that are tried."""
    return [(distance, angle) for distance in DISTANCES for angle in ANGLES]


def put(text: Annotation, place: tuple[float, float]) -> None:
    """Move a name to a place around its marker, its near side towards it."""
    distance, angle = place
    x, y = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    text.set_position((distance * x, distance * y))
    text.set_horizontalalignment("left" if x > 0.1 else "right" if x < -0.1 else "center")
    text.set_verticalalignment("bottom" if y > 0.1 else "top" if y < -0.1 else "center")


def cost(axes: Axes, text: Annotation, place: tuple[float, float], taken: Sequence[Taken]) -> float:
    """What would be covered or lie outside the axes, and the distance: of two good places the nearer is better."""
    put(text, place)
    box = text.get_window_extent()
    area = box.width * box.height
    outside = area - shared(box, axes.get_window_extent())
    return OUTSIDE * outside + sum(weight * shared(box, other) for other, weight in taken) + 4 * place[0]


def shared(one: Bbox, other: Bbox) -> float:
    both = Bbox.intersection(one, other)
    return both.width * both.height if both is not None else 0.0


def pixels(axes: Axes, line: Sequence[XY]) -> list[XY]:
    return [(float(x), float(y)) for x, y in axes.transData.transform(line)]


def along(axes: Axes, line: Sequence[XY]) -> list[XY]:
    """Pixels between the markers of a line."""
    ends = itertools.pairwise(pixels(axes, line))
    return [(float(x), float(y)) for one, other in ends for x, y in np.linspace(one, other, STEPS)]


def around(xy: XY) -> Bbox:
    return Bbox.from_extents(xy[0] - FREE, xy[1] - FREE, xy[0] + FREE, xy[1] + FREE)
