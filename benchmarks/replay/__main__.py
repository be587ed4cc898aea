"""Replay the last fifth of ML-1M under five policies: `python -m benchmarks.replay [--short] [--ml-1m-root FOLDER]`.

The ratings arrive in time, in 20 steps, through the API of a service that follows an alias; before each step but the
first, a policy may make a new version of what has arrived. All is done twice, the second time with a tenth of the items
withheld from the first fit. What is done is kept in `--work` until all is: a replay that was killed goes on.
Exit status 1 if something does not hold. A short replay, of ML-100K in two steps, takes two minutes and stores nothing.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import shutil
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.comparison.results import DEVICE, RESULTS, provenance, write
from benchmarks.replay.checks import checks
from benchmarks.replay.live import arrive
from benchmarks.replay.plan import FULL, SHORT, Plan
from benchmarks.replay.policies import REPLAYED, fit_first, refit_updated, replay
from benchmarks.replay.stream import WITHHELD, movielens
from benchmarks.replay.summary import summary

WORK = Path("outputs/replay")


def main() -> None:
    parser = argparse.ArgumentParser("python -m benchmarks.replay", description=__doc__.splitlines()[0])
    parser.add_argument("--short", action="store_true", help="two minutes instead of 30; stores nothing")
    parser.add_argument("--ml-1m-root", metavar="FOLDER", help="of the extracted files; downloaded by default")
    parser.add_argument("--ml-100k-root", metavar="FOLDER", help="the same, of --short")
    parser.add_argument("--work", type=Path, default=WORK, metavar="FOLDER", help=f"for what is done so far ({WORK})")
    arguments = parser.parse_args()
    plan = SHORT if arguments.short else FULL
    root = arguments.ml_100k_root if arguments.short else arguments.ml_1m_root
    of = provenance("benchmarks.replay", sys.argv[1:])
    figures = replayed(plan, root, arguments.work / plan.name)
    broken = []
    for what, found, holds in checks(figures):
        print(f"  {'holds ' if holds else 'BROKEN'}  {what}: {found}", flush=True)
        broken += [] if holds else [what]
    if not arguments.short:
        write({**of, **figures}, RESULTS / f"replay-{DEVICE}.json")
    shutil.rmtree(arguments.work / plan.name)
    if broken:
        sys.exit(f"error: does not hold: {', '.join(broken)}")


def replayed(plan: Plan, root: str | None, work: Path) -> dict[str, Any]:
    """The figures of all policies, with all items and with some withheld."""
    folders = {withheld: work / f"withheld-{withheld:g}" for withheld in (0.0, WITHHELD)}
    live = {}
    for withheld, folder in folders.items():
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "stream.npz").exists():
            movielens(plan.data, root, plan.steps, withheld=withheld).save(folder / "stream.npz")
        fit_first(folder, plan)
        live[withheld] = arrive(folder, plan, with_bookkeeping=not withheld)
    with ProcessPoolExecutor(os.cpu_count(), multiprocessing.get_context("spawn")) as pool:
        jobs = [pool.submit(replay, folder, policy, plan) for policy in REPLAYED for folder in folders.values()]
        jobs += [
            pool.submit(refit_updated, folder, number, plan)
            for number in range(1, plan.steps)
            for folder in folders.values()
        ]
        for job in jobs:
            job.result()
    streams = [{"withheld": withheld, **summary(folder), **live[withheld]} for withheld, folder in folders.items()]
    return {"data": plan.data, "steps": plan.steps, "sweeps": plan.sweeps, "warm_sweeps": plan.warm_sweeps,
            "streams": streams}  # fmt: skip


if __name__ == "__main__":
    main()
