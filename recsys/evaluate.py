"""Test figures of a run, from its bundle alone: `python -m recsys.evaluate run=<folder>`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table

from recsys.analysis import held_out
from recsys.baselines import Biases, fit_biases, fit_item_means
from recsys.bundle import Bundle
from recsys.cli import command
from recsys.metrics import rating_figures

Figures = dict[str, float | None]


def evaluate(bundle: Bundle) -> Figures:
    """Test figures of a bundle, and of the baselines fitted on the same rows.

    Returns:
        `test/rmse`, `test/mae`, each also `_warm` and `_cold`, `test/share_cold`, and `baseline/<name>` (RMSE) for
        the global mean, item means and biases, also `_warm` and `_cold`; None for an empty group.

    Raises:
        ValueError: The model was fitted on the test rows, or there are none.
    """
    test, rated = held_out(bundle), bundle.ratings
    user, item = test.user, test.item
    warm = torch.from_numpy((user < bundle.n_users) & (item < bundle.n_items))
    truth = torch.from_numpy(test.rating)

    def measure(predicted: NDArray[Any]) -> Figures:
        return rating_figures(torch.from_numpy(predicted), truth, warm)

    figures: Figures = {f"test/{name}": value for name, value in measure(bundle.predict_rows(user, item)).items()}
    baselines = _baselines(
        rated.users()[test.fitted], rated.item[test.fitted].astype(np.int64), rated.rating[test.fitted], bundle
    )
    user, item = np.where(user < bundle.n_users, user, -1), np.where(item < bundle.n_items, item, -1)
    for name, baseline in baselines.items():
        found = measure(baseline.predict(user, item).clip(*bundle.scale))
        figures |= {f"baseline/{name}{group}": found[f"rmse{group}"] for group in ("", "_warm", "_cold")}
    return figures


def _baselines(
    user: NDArray[np.int64], item: NDArray[np.int64], rating: NDArray[np.float32], bundle: Bundle
) -> dict[str, Biases]:
    items = fit_item_means(item, rating, bundle.n_users, bundle.n_items)
    return {
        "global_mean": Biases(items.mu, np.zeros(bundle.n_users), np.zeros(bundle.n_items)),
        "item_mean": items,
        "biases": fit_biases(user, item, rating, bundle.n_users, bundle.n_items),
    }


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


@command("evaluate")
def main(cfg: DictConfig) -> None:
    folder = Path(cfg.run)
    bundle = Bundle.load(folder / "bundle")
    figures = evaluate(bundle)
    print_figures(figures, f"{bundle.manifest['model']} on {bundle.manifest['data']}: test RMSE")
    recorded = json.loads((folder / "metrics.json").read_text())
    differing = [name for name, value in figures.items() if recorded.get(name) != value]
    if differing:
        lines = (f"{name}: {figures[name]} here, {recorded.get(name)} recorded" for name in differing)
        raise ValueError(f"{folder / 'metrics.json'} has other figures:\n" + "\n".join(lines))
    print(f"all {len(figures)} figures equal {folder / 'metrics.json'}")


if __name__ == "__main__":
    main()
