"""Lists of one rating bundle in every order, and those that a ranking bundle orders for it.

    python -m benchmarks.list_orders [--ml-1m-root FOLDER] [--runs-root FOLDER]

ML-1M, `leave_one_out`: each run is `python -m recsys.train` as a process of its own, with settings and orders chosen on
validation rows; how much of the gain is mixed into the ranking model's scores is fitted with runs of `refit=none`.
Then what the default order costs a request for a top 10 (`benchmarks.list_speed`).
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from benchmarks.comparison.results import DEVICE, RESULTS, keep, provenance
from benchmarks.ensembles import run
from benchmarks.list_speed import measured
from recsys.bundle import Bundle
from recsys.evaluation.evaluate import evaluate_ranking
from recsys.evaluation.list_orders import orders_of
from recsys.evaluation.rank_with import evaluate_rank_with, fit_mix
from recsys.evaluation.registry import Metrics
from serve.models.served_model import ServedModel

FILE = RESULTS / f"list_orders-{DEVICE}.json"
RATING, RANKING = "experiment=ml_1m_mf data.split=leave_one_out", "experiment=ml_1m_slit"
FIGURES = ("ndcg@10", "hr@10", "recall@10", "coverage@10", "tail@10")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ml-1m-root")
    parser.add_argument("--runs-root", type=Path, help="folder of the runs, whose finished ones are used again")
    parser.add_argument("--rounds", type=int, default=100, help="of requests")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        runs = arguments.runs_root or Path(folder)
        bundles = {}
        for name, text in {"mf": RATING, "slit": RANKING}.items():
            for refit in ("train_val", "none"):
                root = [f"data.root={arguments.ml_1m_root}"] if arguments.ml_1m_root else []
                made = runs / f"lists-{name}-{refit}"
                run("recsys.train", *text.split(), f"refit={refit}", *root, folder=made)
                bundles[name, refit] = made / "bundle"
        rating, ranking = (Bundle.load(bundles[name, "train_val"]) for name in ("mf", "slit"))
        mix, _ = fit_mix(*(Bundle.load(bundles[name, "none"]) for name in ("mf", "slit")))
        found: dict[str, Metrics] = {
            f"mf by {name}": _by_name(evaluate_ranking(rating, order=order))
            for name, order in orders_of(rating).items()
        }
        found["slit"] = _by_name(evaluate_ranking(ranking))
        found["mf, ordered by slit"] = evaluate_rank_with(rating, ranking)
        found[f"the same, with {mix:.2g} of the gain"] = evaluate_rank_with(rating, ranking, mix)
        speed = asyncio.run(
            measured(ServedModel.load(bundles["mf", "train_val"]), bundles["mf", "train_val"], arguments.rounds)
        )
        entry = {
            "name": "ml_1m leave_one_out",
            "commands": [f"python -m recsys.train {text}" for text in (RATING, RANKING)],
            "default": rating.ranker.order().rank_by,
            "lists": {name: {figure: metrics[figure] for figure in FIGURES} for name, metrics in found.items()},
            "microseconds": speed,
        }
        keep(entry | provenance("benchmarks.list_orders", sys.argv[1:]), FILE, ("name",))
    for name, metrics in found.items():
        print(f"{name:40}" + "".join(f"{figure} {metrics[figure]:.4f}  " for figure in FIGURES))
    print(f"requests per second, default to stars: {speed['stars'] / speed['default']:.3f}")


def _by_name(metrics: Metrics) -> Metrics:
    return {name.removeprefix("ranking/"): value for name, value in metrics.items()}


if __name__ == "__main__":
    main()
