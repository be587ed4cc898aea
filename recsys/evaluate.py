"""Test figures of a run, from its bundle alone: `python -m recsys.evaluate run=<folder> [evaluation=prequential]`."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table

from recsys.analysis import HeldOut, held_out
from recsys.bundle import Bundle
from recsys.cli import command
from recsys.metrics import rating_figures
from recsys.prequential import check_evaluation, prequential

Figures = dict[str, float | None]


def evaluate(bundle: Bundle, test: HeldOut | None = None) -> Figures:
    """Test figures of a bundle, and of the baselines fitted on the same rows.

    Args:
        bundle: The model.
        test: Its test rows, where `held_out` has found them already.

    Returns:
        `test/rmse`, `test/mae`, each also `_warm` and `_cold`, `test/share_cold`, and `baseline/<name>` (RMSE) for
        the global mean, item means and biases, also `_warm` and `_cold`; None for an empty group.

    Raises:
        ValueError: The model was fitted on the test rows, or there are none.
    """
    test = test or held_out(bundle)
    warm = torch.from_numpy((test.user < bundle.n_users) & (test.item < bundle.n_items))
    truth = torch.from_numpy(test.rating)
    figures: Figures = {}
    for name, value in rating_figures(torch.from_numpy(test.predicted), truth, warm).items():
        figures[f"test/{name}"] = value
    for name, predicted in test.baselines.items():
        found = rating_figures(torch.from_numpy(predicted), truth, warm)
        figures |= {f"baseline/{name}{group}": found[f"rmse{group}"] for group in ("", "_warm", "_cold")}
    return figures


def print_figures(figures: Mapping[str, Any], title: str) -> None:
    """Tables of RMSE, the model beside the baselines: on all, warm and cold test rows; then the prequential, if any."""
    share = figures["test/share_cold"] or 0.0
    table = Table(title=title, caption=f"{share:.1%} of test rows are cold")
    rows = {"global mean": "baseline/global_mean", "item mean": "baseline/item_mean", "biases": "baseline/biases",
            "model": "test/rmse"}  # fmt: skip
    _fill(table, figures, rows, {"all": "", "warm": "_warm", "cold": "_cold"})
    Console().print(table)
    if "prequential/rmse" in figures:
        share = figures["prequential/share_unseen"] or 0.0
        caption = f"each from its user's earlier ratings\n{share:.1%} are of users unseen in training"
        table = Table(title="\nprequential test RMSE", caption=caption)
        rows = {"running biases": "baseline/running_biases", "model": "prequential/rmse"}
        _fill(table, figures, rows, {"all": "", "unseen users": "_unseen"})
        Console().print(table)


def _fill(table: Table, figures: Mapping[str, Any], rows: Mapping[str, str], groups: Mapping[str, str]) -> None:
    """A row a contender, whose figures' names begin so; a column a group of test rows, whose figures' names end so."""
    table.add_column("RMSE in stars")
    for group in groups:
        table.add_column(group, justify="right")
    for name, key in rows.items():
        cells = [figures[key + ending] for ending in groups.values()]
        shown = ["–" if value is None else f"{value:.4f}" for value in cells]
        table.add_row(name, *shown, style="bold" if name == "model" else None)


@command("evaluate")
def main(cfg: DictConfig) -> None:
    check_evaluation(cfg.evaluation)
    folder = Path(cfg.run)
    bundle = Bundle.load(folder / "bundle")
    test = held_out(bundle)
    ahead = prequential(bundle, test) if cfg.evaluation == "prequential" else {}
    figures = evaluate(bundle, test) | ahead
    print_figures(figures, f"{bundle.manifest['model']} on {bundle.manifest['data']}: test RMSE")
    recorded = json.loads((folder / "metrics.json").read_text())
    unrecorded = ahead.keys() - recorded.keys()
    compared = [name for name in figures if name not in unrecorded]
    # How a matrix product sums up depends on the number of threads; all else is the same to the last bit.
    close = [name for name in compared if name in ahead and _close(figures[name], recorded[name])]
    differing = [name for name in compared if name not in close and recorded.get(name) != figures[name]]
    if differing:
        lines = (f"{name}: {figures[name]} here, {recorded.get(name)} recorded" for name in differing)
        raise ValueError(f"{folder / 'metrics.json'} has other figures:\n" + "\n".join(lines))
    others = ", which has no prequential ones" if unrecorded else ""
    print(f"all {len(compared)} figures equal {folder / 'metrics.json'}{others}")


def _close(a: float | None, b: float | None) -> bool:
    return a is not None and b is not None and math.isclose(a, b, rel_tol=1e-6)


if __name__ == "__main__":
    main()
