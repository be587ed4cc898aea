"""Plots of a run."""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from recsys.evaluation.registry import Metric, monitor_of
from recsys.files import atomic_write

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, GREY, PALE, ORANGE, INK = "#1f5fbf", "#9aa5b1", "#dfe5ec", "#d98c3f", "#6b7785"


def learning_curve(metrics: Path, out: Path) -> None:
    """Plot validation metric, training loss and learning rate by epoch, from a run's `metrics.csv` to a PNG.

    Series that were not logged are omitted.
    """
    from matplotlib.ticker import MaxNLocator

    rows = pd.read_csv(metrics).set_index("epoch")
    rows.index += 1
    figure = _figure()
    axes = figure.subplots()
    loss_axes = axes.twinx()
    monitor = monitor_of(dict.fromkeys(rows.columns))
    _draw_loss(loss_axes, _logged(rows, "train/loss"), in_stars=monitor.unit == "stars")
    _draw_figure(axes, _logged(rows, monitor.validation_key), monitor)
    rates = [_logged(rows, name) for name in rows.columns.astype(str) if name.startswith("lr-")]
    change = rates[0].diff() if rates else pd.Series(dtype=float)
    is_curve = len(change) > 2 and bool(change[1:].ne(0).all())  # a schedule's, which is no event
    lowered = [] if is_curve else change.index[change < 0].tolist()
    for change in lowered:
        axes.axvline(change, color=ORANGE, linewidth=1, linestyle=":")
    axes.set(xlabel="epoch", title="Learning curve" + (" (dotted: learning rate lowered)" if lowered else ""))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set_zorder(loss_axes.get_zorder() + 1)
    axes.patch.set_visible(False)
    _open_top(axes, loss_axes)
    _save(figure, out)


def error_by_activity(analysis: Mapping[str, Any], out: Path) -> None:
    """Plot test RMSE of the model and the biases baseline by number of ratings per user, to a PNG.

    Args:
        analysis: Result of `recsys.evaluation.error_analysis.analyse`.
        out: The file.
    """
    groups = analysis["by_user_activity"]
    place, rows = range(len(groups)), [group["rows"] for group in groups]
    figure = _figure()
    axes, row_axes = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    for name, key, color in (("biases", "baseline", GREY), ("model", "rmse", BLUE)):
        axes.plot(place, [group[key] for group in groups], color=color, linewidth=2.2, marker="o", label=name)
    axes.set_ylabel("RMSE (stars)")
    axes.set_title("Test error by user activity", loc="left")
    axes.legend(frameon=False, loc="lower right", bbox_to_anchor=(1, 1), ncols=2, borderaxespad=0.2)
    bars = row_axes.bar(place, rows, color=PALE, width=0.7)
    row_axes.bar_label(bars, [f"{count:,}" for count in rows], color=INK, fontsize=8, padding=2)
    row_axes.margins(y=0.35)  # room for the labels
    row_axes.set_yticks([])
    row_axes.set_ylabel("test rows", color=INK)
    row_axes.set_xticks(place, [_range(group["from"], group["to"]) for group in groups])
    row_axes.set_xlim(-0.6, len(groups) - 0.4)
    row_axes.set_xlabel("fitted ratings of the user")
    _open_top(axes, row_axes)
    _save(figure, out)


def _figure() -> Figure:
    from matplotlib.figure import Figure  # takes half a second to import; a resumed run may not need it

    return Figure(figsize=(7, 4), layout="constrained")


def _save(figure: Figure, out: Path) -> None:
    picture = BytesIO()
    figure.savefig(picture, dpi=144, format="png")
    with atomic_write(out) as partial:
        partial.write_bytes(picture.getbuffer())


def _open_top(*all_axes: Axes) -> None:
    for axes in all_axes:
        axes.spines["top"].set_visible(False)


def _logged(rows: pd.DataFrame, name: str) -> pd.Series[float]:
    """The column's values by epoch; empty if there is no such column."""
    return rows[name].dropna().astype(float) if name in rows else pd.Series(dtype=float)


def _draw_loss(axes: Axes, loss: pd.Series[float], *, in_stars: bool) -> None:
    if loss.empty:
        axes.set_yticks([])
        return
    axes.plot(loss.index, loss, color=GREY, linewidth=1.5, marker="." if len(loss) == 1 else None)
    axes.set_ylabel("training loss (stars²)" if in_stars else "training loss", color=INK)


def _draw_figure(axes: Axes, figure: pd.Series[float], monitor: Metric) -> None:
    """Draw the curve and mark its best point; the label is on the far side of the curve."""
    if figure.empty:
        axes.set_yticks([])
        return
    lower = monitor.direction == "min"
    values = figure.to_numpy()
    epoch, best = figure.index.to_numpy(), int(values.argmin() if lower else values.argmax())
    axes.plot(epoch, figure, color=BLUE, linewidth=2.2)
    axes.scatter(epoch[best], values[best], color=BLUE, zorder=3)
    share = (epoch[best] - epoch[0]) / max(1, epoch[-1] - epoch[0])  # near an end, keep the label inside
    side = "right" if share > 0.8 else "left" if share < 0.1 and len(epoch) > 1 else "center"
    axes.annotate(
        f"{values[best]:.4f} at epoch {epoch[best]}", (epoch[best], values[best]), xytext=(0, -9 if lower else 9),
        textcoords="offset points", ha=side, va="top" if lower else "bottom",
    )  # fmt: skip
    axes.margins(y=0.14)
    axes.set_ylabel(f"validation {monitor.label}{' (stars)' if lower else ''}", color=BLUE)


def _range(start: int, end: int | None) -> str:
    return f"{start:,}+" if end is None else str(start) if start == end else f"{start}–{end}"
