"""Test figures of a run, from its bundle alone: `python -m recsys.evaluate run=<folder>`."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table

from recsys.analysis import HeldOut, held_out
from recsys.bundle import Bundle
from recsys.calibration import calibration_figures, sentence
from recsys.cli import command
from recsys.metrics import rating_figures

CALIBRATION = ("test/inside_50", "test/inside_90", "test/mean_std")

Figures = dict[str, float | None]


def evaluate(bundle: Bundle, test: HeldOut | None = None) -> Figures:
    """Test figures of a bundle, and of the baselines fitted on the same rows.

    Args:
        bundle: The model.
        test: Its test rows, where `held_out` has found them already.

    Returns:
        `test/rmse`, `test/mae`, each also `_warm` and `_cold`, `test/share_cold`, and `baseline/<name>` (RMSE) for
        the global mean, item means and biases, also `_warm` and `_cold`; None for an empty group. Of a bundle that
        says how sure it is, also `test/inside_50`, `test/inside_90` and `test/mean_std` (`recsys.calibration`).

    Raises:
        ValueError: The model was fitted on the test rows, or there are none.
    """
    test = test or held_out(bundle)
    warm = torch.from_numpy((test.user < bundle.n_users) & (test.item < bundle.fitted_items))
    truth = torch.from_numpy(test.rating)
    figures: Figures = {}
    for name, value in rating_figures(torch.from_numpy(test.predicted), truth, warm).items():
        figures[f"test/{name}"] = value
    for name, predicted in test.baselines.items():
        found = rating_figures(torch.from_numpy(predicted), truth, warm)
        figures |= {f"baseline/{name}{group}": found[f"rmse{group}"] for group in ("", "_warm", "_cold")}
    return figures | {f"test/{name}": value for name, value in calibration_figures(bundle, test).items()}


def print_figures(figures: Figures, title: str) -> None:
    """A table of RMSE on all, warm and cold test rows: the model beside the baselines."""
    share = figures["test/share_cold"] or 0.0
    table = Table(title=title, caption=f"{share:.1%} of test rows are cold")
    table.add_column("RMSE in stars")
    for group in ("all", "warm", "cold"):
        table.add_column(group, justify="right")
    rows = [("global mean", "baseline/global_mean"), ("item mean", "baseline/item_mean"),
            ("biases", "baseline/biases"), ("model", "test/rmse")]  # fmt: skip
    for name, key in rows:
        cells = [figures[key + group] for group in ("", "_warm", "_cold")]
        shown = ["–" if value is None else f"{value:.4f}" for value in cells]
        table.add_row(name, *shown, style="bold" if name == "model" else None)
    Console().print(table)
    if said := sentence(figures):
        Console(highlight=False).print(said)


@command("evaluate")
def main(cfg: DictConfig) -> None:
    folder = Path(cfg.run)
    bundle = Bundle.load(folder / "bundle")
    figures = evaluate(bundle)
    print_figures(figures, f"{bundle.manifest['model']} on {bundle.manifest['data']}: test RMSE")
    recorded = json.loads((folder / "metrics.json").read_text())
    # A run of an older version has no figures of calibration.
    figures = {name: value for name, value in figures.items() if name in recorded or name not in CALIBRATION}
    differing = [name for name, value in figures.items() if recorded.get(name) != value]
    if differing:
        lines = (f"{name}: {figures[name]} here, {recorded.get(name)} recorded" for name in differing)
        raise ValueError(f"{folder / 'metrics.json'} has other figures:\n" + "\n".join(lines))
    print(f"all {len(figures)} figures equal {folder / 'metrics.json'}")


if __name__ == "__main__":
    main()
