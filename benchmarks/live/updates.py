"""An update after new events, against a full refit: `python -m benchmarks.live.updates --data-root FOLDER [--short]`.

A model of dimension 64 is fitted on all of MovieLens 1M but the last 20,000 ratings, which then come as events. What is
measured: `recsys update` as a whole, its own start included, in elapsed and in CPU seconds, and the training command on
all ratings that it stands for; of a point estimate (ALS) and of 32 samples (Bayesian matrix factorization).
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path

import pandas as pd

from benchmarks.comparison.results import DEVICE, RESULTS, provenance, write
from benchmarks.replay.processes import Finished, run_python
from recsys.bundle import Bundle
from recsys.data.columns import ITEM_ID, RATING, TIMESTAMP, USER_ID
from recsys.data.sources import MovieLens
from recsys.database import Database
from recsys.events import Event, EventLog
from recsys.versions import open_versions

AT_ONCE = 1000
SHORT = {  # of the fit before the events, of which only the size counts here
    "als, point estimate": ["trainer.max_epochs=5"],
    "bayesian_mf, 32 samples": ["trainer.max_epochs=40", "model.burn_in=8", "model.thin=1"],
}
MODELS = {
    "als, point estimate": ["model=als", "model.embedding_dim=64"],
    "bayesian_mf, 32 samples": ["model=bayesian_mf", "model.embedding_dim=64", "trainer.max_epochs=180"],
}


def main() -> None:
    parser = argparse.ArgumentParser("python -m benchmarks.live.updates", description=__doc__.splitlines()[0])
    parser.add_argument("--data-root", type=Path, required=True, help="folder of ml-1m, and of ml-100k for --short")
    parser.add_argument("--short", action="store_true", help="ml-100k and 2,000 events; stores nothing")
    parser.add_argument("--models", nargs="+", default=[*MODELS], choices=[*MODELS], help="default: both")
    arguments = parser.parse_args()
    of = provenance("benchmarks.live.updates", ["--data-root", "FOLDER"])
    data, events = ("ml-100k", 2000) if arguments.short else ("ml-1m", 20_000)
    ratings = MovieLens(data, str(arguments.data_root / data)).read().ratings.sort_values(TIMESTAMP, kind="stable")
    figures = {}
    for name in arguments.models:
        figures[name] = measure(ratings, events, name, repeats=1 if arguments.short else 3)
        print(name, *(f"{key}={value:,.3f}" for key, value in figures[name].items()), flush=True)
    if not arguments.short:
        write({**of, "events": events, "figures": figures}, RESULTS / f"live_updates-{DEVICE}.json")


def measure(ratings: pd.DataFrame, events: int, name: str, repeats: int) -> dict[str, float]:
    """Seconds of an update, the median of several, and of the refit; and the share of its CPU seconds."""
    with tempfile.TemporaryDirectory(prefix="recsys-") as scratch:
        folder = Path(scratch)
        _fit(ratings[:-events], folder / "before", [*MODELS[name], *SHORT[name]])
        full = _fit(ratings, folder / "full", MODELS[name])
        updates = [
            _update(ratings[-events:], folder / "before" / "bundle", folder / f"turn{k}") for k in range(repeats)
        ]
        cpu = statistics.median(one.cpu_seconds for one in updates)
        return {
            "seconds": statistics.median(one.wall_seconds for one in updates),
            "cpu_seconds": cpu,
            "refit_seconds": full.wall_seconds,
            "refit_cpu_seconds": full.cpu_seconds,
            "share": cpu / full.cpu_seconds,
        }


def _fit(ratings: pd.DataFrame, folder: Path, model: list[str]) -> Finished:
    file = folder.with_suffix(".parquet")
    ratings[[USER_ID, ITEM_ID, RATING, TIMESTAMP]].to_parquet(file)
    source = ["data=tabular", f"data.ratings_file={file}", "data.name=ml", "data.split=user_time"]
    where = [f"hydra.run.dir={folder}", "callbacks.progress=null"]
    return run_python("-m", "recsys.train", *source, *model, "refit=all", *where)


def _update(late: pd.DataFrame, bundle: Path, folder: Path) -> Finished:
    folder.mkdir()
    database = Database.open(f"sqlite:///{folder / 'recsys.db'}")
    versions = open_versions(database, folder / "versions")
    version = versions.add(bundle, {}, {})
    versions.promote("champion", version.version, "benchmark", "start")
    columns = (late[name].tolist() for name in (USER_ID, ITEM_ID, RATING, TIMESTAMP))
    rows = [
        Event(f"e{k}", str(u), str(i), "rating", float(r), t)
        for k, (u, i, r, t) in enumerate(zip(*columns, strict=True))
    ]
    log = EventLog(database)
    for start in range(0, len(rows), AT_ONCE):
        log.append(rows[start : start + AT_ONCE])
    where = ["--database", f"sqlite:///{folder / 'recsys.db'}", "--store", str(folder / "versions")]
    cost = run_python("-m", "recsys.update", *where, "--runs", str(folder / "runs"), "--max-distance", "9")
    made: Bundle = versions.champion().bundle
    if made.manifest["cut"] != log.cut():
        raise SystemExit("error: the update was not promoted")
    database.close()
    return cost


if __name__ == "__main__":
    main()
