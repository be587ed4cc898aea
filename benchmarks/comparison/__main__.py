"""Competitors beside each other on the same rows, each in a process of its own, one at a time.

    python -m benchmarks.comparison [--data ml_100k ml_1m] [--splits user_time] [--only surprise-svd libmf] [--quick]
    python -m benchmarks.comparison --time-to-rmse --data ml_1m

Entries go to `benchmarks/results/comparison-<device>.json` (`time_to_rmse-<device>.json`) as they come, each in place
of the one for the same competitor, settings, data, split and seed.
"""

from __future__ import annotations

import argparse
import sys

from benchmarks.comparison import selection, time_to_rmse
from benchmarks.comparison.competitors import COMPETITORS
from benchmarks.comparison.measure import Bench, measured
from benchmarks.comparison.protocols import PROTOCOLS, Protocol
from benchmarks.comparison.results import DEVICE, RESULTS, keep, progress, provenance


def parsed(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m benchmarks.comparison", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    splits = list(dict.fromkeys(protocol.split for protocol in PROTOCOLS))
    parser.add_argument("--data", nargs="+", choices=["ml_100k", "ml_1m"], default=["ml_100k", "ml_1m"])
    parser.add_argument("--splits", nargs="+", choices=splits, help="all by default")
    parser.add_argument("--only", nargs="+", choices=list(COMPETITORS), help="competitors; all by default")
    parser.add_argument("--settings", nargs="+", choices=["documented", "tuned"], default=["documented", "tuned"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--quick", action="store_true", help="ML-100K, one seed, and only what takes seconds")
    parser.add_argument("--time-to-rmse", action="store_true", help="seconds that each needs for Surprise SVD's RMSE")
    parser.add_argument("--target", type=float, help="an RMSE for --time-to-rmse in its place; LIBMF sets the pace")
    selection.add_shared_arguments(parser)
    chosen = parser.parse_args(arguments)
    if chosen.quick:
        chosen.data, chosen.seeds = ["ml_100k"], chosen.seeds[:1]
    return chosen


def main() -> None:
    arguments = parsed(sys.argv[1:])
    try:
        protocols = selection.protocols(arguments.data, arguments.splits)
    except ValueError as error:
        sys.exit(f"error: {error}")
    for protocol in protocols:
        if arguments.time_to_rmse and protocol.kind != "rating":
            continue
        if not selection.competitors(protocol, arguments.only, quick=arguments.quick):
            continue
        with selection.bench(protocol, arguments) as bench:
            if arguments.time_to_rmse:
                time_to_rmse.run(bench, protocol, arguments)
            else:
                run(bench, protocol, arguments)


def run(bench: Bench, protocol: Protocol, arguments: argparse.Namespace) -> None:
    """Every competitor with all its settings and seeds on one protocol."""
    for competitor in selection.competitors(protocol, arguments.only, quick=arguments.quick):
        for name, settings in selection.settings(competitor, protocol.data, tuple(arguments.settings)):
            for seed in arguments.seeds[:1] if competitor.deterministic else arguments.seeds:
                entry = {
                    "competitor": competitor.name, "label": competitor.label, "settings_name": name,
                    "data": protocol.data, "split": protocol.split, "seed": seed, "task": protocol.kind,
                    "settings": settings, "source": competitor.source if name == "documented" else "tuned",
                    "threads": bench.threads, "n_train": len(bench.task.train_user),
                    "n_test": len(bench.answers.rating), **provenance("benchmarks.comparison", sys.argv[1:]),
                }  # fmt: skip
                entry |= measured(bench, competitor, settings, seed)
                keep(entry, RESULTS / f"comparison-{DEVICE}.json")
                progress(entry)


if __name__ == "__main__":
    main()
