"""Figures of a run."""

from __future__ import annotations

from pathlib import Path

import pandas as pd


def learning_curve(metrics: Path, out: Path) -> None:
    """Validation RMSE, training loss and learning rate by epoch, from a run's `metrics.csv` to a PNG."""
    from matplotlib.figure import Figure  # half a second to import; a resumed run may not need it

    rows = pd.read_csv(metrics)
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    best = int(rows["val/rmse"].to_numpy().argmin())
    epoch = rows["epoch"] + 1
    loss_axes = axes.twinx()
    loss_axes.plot(epoch, rows["train/loss"], color="#9aa5b1", linewidth=1.5)
    loss_axes.set_ylabel("training loss (stars²)", color="#6b7785")
    axes.plot(epoch, rows["val/rmse"], color="#1f5fbf", linewidth=2.2)
    axes.scatter([epoch[best]], [rows["val/rmse"][best]], color="#1f5fbf", zorder=3)
    axes.annotate(
        f"{rows['val/rmse'][best]:.4f} at epoch {epoch[best]}",
        (epoch[best], rows["val/rmse"][best]), xytext=(0, 14), textcoords="offset points", ha="center",
    )  # fmt: skip
    for change in epoch[rows.filter(like="lr-").iloc[:, 0].diff() < 0]:
        axes.axvline(change, color="#d98c3f", linewidth=1, linestyle=":")
    axes.set(xlabel="epoch", title="Learning curve (dotted: learning rate lowered)")
    axes.set_ylabel("validation RMSE (stars)", color="#1f5fbf")
    axes.set_zorder(loss_axes.get_zorder() + 1)
    axes.patch.set_visible(False)
    axes.spines["top"].set_visible(False)
    loss_axes.spines["top"].set_visible(False)
    figure.savefig(out, dpi=144)
