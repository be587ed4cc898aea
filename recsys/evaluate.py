"""Test metrics of a run, from its bundle alone: `python -m recsys.evaluate run=<folder> [evaluation=prequential]`."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from recsys.bundle import Bundle
from recsys.cli import command
from recsys.evaluation.cases import check_targets
from recsys.evaluation.evaluate import Comparison, compare_metrics, evaluate, evaluate_ranking
from recsys.evaluation.list_orders import orders_of
from recsys.evaluation.protocol import cases_file
from recsys.evaluation.registry import NDCG, TARGETS
from recsys.evaluation.tables import print_metrics, print_orders
from recsys.experiments.run_folder import display_path
from recsys.files import read_json
from recsys.progress import printable


@command("evaluate")
def main(cfg: DictConfig) -> None:
    if not isinstance(cfg.ranking, bool):
        raise ValueError(f"ranking must be true or false, got {cfg.ranking}")
    check_targets(cfg.targets)
    if cfg.evaluation != "standard" or cfg["items"] != "frozen":
        from recsys.evaluation.prequential import check_evaluation  # here, for a quick start without it

        check_evaluation(cfg.evaluation, items=cfg["items"])
    folder = Path(cfg.run)
    bundle = Bundle.load(folder / "bundle")
    orders = {} if cfg.rank_by is None else orders_of(bundle, str(cfg.rank_by))
    recorded = _recorded(folder)
    metrics = evaluate(bundle, ranking=NDCG.test_key in recorded, folder=_keeping(folder, "all"))
    asked = [targets for targets in TARGETS[1:] if targets == cfg.targets or NDCG.ranking_key(targets) in recorded]
    for targets in asked:
        metrics |= evaluate_ranking(bundle, targets, folder=_keeping(folder, targets))
    if cfg.evaluation == "prequential":
        from recsys.evaluation.prequential import prequential

        metrics |= prequential(bundle, items=cfg["items"])
    if cfg.ranking and NDCG.test_key not in metrics:
        metrics |= evaluate_ranking(bundle, folder=_keeping(folder, "all"))
    title = f"{recorded.get('model', bundle.manifest['model'])} on {bundle.manifest['data']}"
    about = {"epochs": recorded.get("epochs"), "split": bundle.manifest.get("split")}
    print_metrics({**about, **metrics}, title, bundle.manifest.get("arguments"))
    if cfg.rank_by is not None:
        print_orders({name: evaluate_ranking(bundle, cfg.targets, order) for name, order in orders.items()}, orders)
    if cfg.rank_with is not None:
        _print_rank_with(bundle, Bundle.load(Path(cfg.rank_with) / "bundle"), cfg.rank_mix)
    _report(compare_metrics(metrics, recorded), folder / "metrics.json")


def _print_rank_with(bundle: Bundle, ranking: Bundle, mix: float | None) -> None:
    """Ranking metrics of the ranking bundle's own lists, and of those that it orders for the other."""
    from recsys.evaluation.rank_with import evaluate_rank_with, fit_mix

    if mix is None and {bundle.manifest["fit_on"], ranking.manifest["fit_on"]} == {"train"}:
        mix, ndcg = fit_mix(bundle, ranking)
        tried = ", ".join(f"{weight:g} {value:.4f}" for weight, value in ndcg.items())
        print(f"rank_mix={mix:g} by NDCG@10 on validation rows: {tried}")
    found = {"its own lists": evaluate_ranking(ranking), "rank_with": evaluate_rank_with(bundle, ranking)}
    if mix:
        found[f"rank_mix {mix:g}"] = evaluate_rank_with(bundle, ranking, float(mix))
    print_orders(found)


def _keeping(folder: Path, targets: str) -> Path | None:
    """The folder, if it can keep the metrics of each case and does not already."""
    return folder if os.access(folder, os.W_OK) and not os.path.lexists(folder / cases_file(targets)) else None


def _recorded(folder: Path) -> dict[str, Any]:
    """The content of the run's `metrics.json`.

    Raises:
        ValueError: It is missing or damaged.
    """
    metrics = read_json(folder / "metrics.json")
    if metrics is None:
        again = f"python -m recsys.train resume={display_path(folder)}"
        raise ValueError(f"{folder / 'metrics.json'} is missing or damaged: {again} writes it")
    return metrics


def _report(comparison: Comparison, file: Path) -> None:
    """Print how the computed metrics compare with the recorded ones.

    Raises:
        ValueError: One of them differs.
    """
    if comparison.different:
        lines = (f"{key}: computed {ours}, recorded {theirs}" for key, (ours, theirs) in comparison.different.items())
        raise ValueError(f"metrics differ from {file}:\n" + "\n".join(lines))
    print(f"all {len(comparison.equal)} metrics equal {file}")
    _print_keys("not recorded there", comparison.new)
    _print_keys("recorded there, not computed", comparison.missing)


def _print_keys(what: str, keys: Iterable[str]) -> None:
    if listed := printable(", ".join(keys)):
        print(f"{what}: {listed}")


if __name__ == "__main__":
    main()
