"""Test figures of a run, from its bundle alone: `python -m recsys.evaluate run=<folder> [evaluation=prequential]`."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table

from recsys.bundle import Bundle
from recsys.cli import command
from recsys.evaluation.calibration import calibration_figures, sentence
from recsys.evaluation.error_analysis import HeldOut, held_out, measuring
from recsys.evaluation.metrics import LENGTHS, catalogue_figures, rating_figures
from recsys.evaluation.monitor import NDCG, RMSE
from recsys.evaluation.prequential import check_evaluation, prequential

CALIBRATION = ("test/inside_50", "test/inside_90", "test/mean_std")

Figures = dict[str, float | None]


def evaluate(bundle: Bundle, test: HeldOut | None = None, *, ranking: bool = False) -> Figures:
    """Test figures of a bundle, and of the baselines fitted on the same rows.

    Args:
        bundle: The model.
        test: Its test rows, where `held_out` has found them already.
        ranking: Give `ranked`'s figures, too; of a ranking model they are all that there is.

    Returns:
        `test/rmse`, `test/mae`, each also `_warm` and `_cold`, `test/share_cold`, and `baseline/<name>` (RMSE) for
        the global mean, item means and biases, also `_warm` and `_cold`; None for an empty group. Of a bundle that
        says how sure it is, also `test/inside_50`, `test/inside_90` and `test/mean_std`.

    Raises:
        ValueError: The model was fitted on the test rows, or there are none.
    """
    if bundle.ranks_only:
        return ranked(bundle)
    test = test or held_out(bundle)
    warm = torch.from_numpy((test.user < bundle.n_users) & (test.item < bundle.fitted_items))
    truth = torch.from_numpy(test.rating)
    figures: Figures = {}
    for name, value in rating_figures(torch.from_numpy(test.predicted), truth, warm).items():
        figures[f"test/{name}"] = value
    for name, predicted in test.baselines.items():
        found = rating_figures(torch.from_numpy(predicted), truth, warm)
        figures |= {f"baseline/{name}{group}": found[f"rmse{group}"] for group in ("", "_warm", "_cold")}
    figures |= {f"test/{name}": value for name, value in calibration_figures(bundle, test).items()}
    return figures | ranked(bundle) if ranking else figures


def ranked(bundle: Bundle) -> Figures:
    """How far up each test user's list the test items are, and for comparison in the list of the most rated items.

    Every item that the model was fitted on may be in a list, but for those that it was fitted on with this user. A
    user that it was not fitted on has the average user's list, which is what the bundle serves them; an item that it
    was not fitted on is in no list and counts as missed. All test items count alike, however they were rated.

    Returns:
        `ranking/<figure>` and `baseline/popularity_<figure>`, where a figure is recall, ndcg or hr at 10 and at 20.

    Raises:
        ValueError: The model was fitted on the test rows, or there are none.
    """
    test, fitted = measuring(bundle)
    user, item = torch.from_numpy(bundle.ratings.users()), torch.from_numpy(bundle.ratings.item).long()
    known, wanted = ((user[rows], item[rows]) for rows in (torch.from_numpy(fitted), torch.from_numpy(test)))
    popularity = torch.bincount(known[1], minlength=bundle.n_items).float()
    lists = {
        "ranking/": lambda users: torch.from_numpy(bundle.factors.scores_of(users.numpy())),
        "baseline/popularity_": lambda users: popularity.expand(len(users), -1),
    }
    return {
        f"{prefix}{name}": value
        for prefix, scores in lists.items()
        for name, value in catalogue_figures(scores, known, wanted).items()
    }


def print_figures(figures: Mapping[str, Any], title: str) -> None:
    """Tables of what there is: RMSE on all, warm and cold test rows, and ranking, the model beside the baselines."""
    if RMSE.test in figures:
        _print_ratings(figures, f"{title}: test RMSE")
    if "prequential/rmse" in figures:
        _print_prequential(figures)
    if NDCG.test in figures:
        _print_ranking(figures, f"{title}: test items in the full catalogue")


def _print_ratings(figures: Mapping[str, Any], title: str) -> None:
    share = figures["test/share_cold"] or 0.0
    table = _table(title, "RMSE in stars", ("all", "warm", "cold"), f"{share:.1%} of test rows are cold")
    rows = [("global mean", "baseline/global_mean"), ("item mean", "baseline/item_mean"),
            ("biases", "baseline/biases"), ("model", "test/rmse")]  # fmt: skip
    for name, key in rows:
        _add_row(table, name, [figures[key + group] for group in ("", "_warm", "_cold")])
    Console().print(table)
    if said := sentence(figures):
        Console(highlight=False).print(said)


def _print_prequential(figures: Mapping[str, Any]) -> None:
    share = figures["prequential/share_unseen"] or 0.0
    caption = f"each from its user's earlier ratings\n{share:.1%} are of users unseen in training"
    table = _table("\nprequential test RMSE", "RMSE in stars", ("all", "unseen users"), caption)
    for name, key in (("running biases", "baseline/running_biases"), ("model", "prequential/rmse")):
        _add_row(table, name, [figures[key + group] for group in ("", "_unseen")])
    Console().print(table)


def _print_ranking(figures: Mapping[str, Any], title: str) -> None:
    columns = [(metric, k) for metric in ("ndcg", "recall", "hr") for k in LENGTHS]
    names = [f"{'recall' if metric == 'recall' else metric.upper()}@{k}" for metric, k in columns]
    table = _table(title, "ranking", names, "means over users; higher is better")
    for name, prefix in (("popularity", "baseline/popularity_"), ("model", "ranking/")):
        _add_row(table, name, [figures[f"{prefix}{metric}@{k}"] for metric, k in columns])
    Console().print(table)


def _table(title: str, first: str, columns: Sequence[str], caption: str) -> Table:
    table = Table(title=title, caption=caption)
    table.add_column(first)
    for name in columns:
        table.add_column(name, justify="right")
    return table


def _add_row(table: Table, name: str, values: Sequence[float | None]) -> None:
    shown = ["–" if value is None else f"{value:.4f}" for value in values]
    table.add_row(name, *shown, style="bold" if name == "model" else None)


@command("evaluate")
def main(cfg: DictConfig) -> None:
    check_evaluation(cfg.evaluation)
    folder = Path(cfg.run)
    bundle = Bundle.load(folder / "bundle")
    recorded = json.loads((folder / "metrics.json").read_text())
    figures = evaluate(bundle, ranking=NDCG.test in recorded)
    ahead = prequential(bundle) if cfg.evaluation == "prequential" else {}
    more = ranked(bundle) if cfg.ranking and NDCG.test not in figures else {}
    print_figures(figures | ahead | more, f"{bundle.manifest['model']} on {bundle.manifest['data']}")
    # A run of an older version has no figures of calibration.
    figures = {name: value for name, value in figures.items() if name in recorded or name not in CALIBRATION}
    compared = figures | {name: value for name, value in ahead.items() if name in recorded}
    # How a matrix product sums up depends on the number of threads; all else is the same to the last bit.
    close = [name for name in compared if name in ahead and _close(compared[name], recorded[name])]
    differing = [name for name in compared if name not in close and recorded.get(name) != compared[name]]
    if differing:
        lines = (f"{name}: {compared[name]} here, {recorded.get(name)} recorded" for name in differing)
        raise ValueError(f"{folder / 'metrics.json'} has other figures:\n" + "\n".join(lines))
    lacking = [name for name, found in (("prequential", ahead), ("ranking", more)) if found.keys() - recorded.keys()]
    others = f", which has no {' or '.join(lacking)} ones" if lacking else ""
    print(f"all {len(compared)} figures equal {folder / 'metrics.json'}{others}")


def _close(a: float | None, b: float | None) -> bool:
    return a is not None and b is not None and math.isclose(a, b, rel_tol=1e-6)


if __name__ == "__main__":
    main()
