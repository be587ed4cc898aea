"""Time and memory of reading, splitting and mapping ratings: python benchmarks/data_loading.py [--rows 25000000].

Writes ratings of ML-25M's shape (162,541 users, 59,047 items, half stars, timestamps, sorted by user as released) into
a temporary folder, and measures read + user_time split + ids in fresh processes, without imports: the first time, which
parses and fills the cache, and from the cache. The CSV is read by `data=ml_25m` and by `data=tabular`, Parquet by
`data=tabular`; `--format` chooses one. With `--ml-1m FOLDER` ML-1M is measured too. Beside other work the processor
time of all threads says more than the time by the clock.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import csv, parquet

RESULTS = Path(__file__).parent / "results"
USERS, ITEMS = 162_541, 59_047
FIRST_SECOND, SECONDS = 789_652_009, 784_840_000  # ML-25M spans 1995 to 2019
PARTS = ("seconds", "cpu_seconds", "read_seconds", "split_seconds", "ids_seconds", "peak_gib")
SOURCES = {  # what is measured of a format, and how it is called
    "csv": {"ml-25m": "", "tabular csv": " of CSV, data=tabular"},
    "parquet": {"tabular parquet": " of Parquet, data=tabular"},
}
BYTES_A_ROW = 50  # of CSV and Parquet together, with room to spare


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=25_000_000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--format", choices=list(SOURCES), nargs="+", default=list(SOURCES))
    parser.add_argument("--ml-1m", metavar="FOLDER", help="folder with ML-1M's files")
    parser.add_argument("--device", default=f"cpu-{os.cpu_count()}core")
    parser.add_argument("--measure", nargs=2, metavar=("NAME", "FOLDER"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(measure(*arguments.measure)))
        return
    results = {
        "device": arguments.device,
        "python": platform.python_version(),
        "processor": platform.machine(),
        "load": round(os.getloadavg()[0], 2),  # processes at work in the minute before: what else was running
    }
    if arguments.ml_1m:
        results["ml-1m"] = compared("ml-1m", Path(arguments.ml_1m).resolve(), arguments.repeat)
    with tempfile.TemporaryDirectory(prefix="reading-") as folder:
        free = shutil.disk_usage(folder).free
        if free < 2 * BYTES_A_ROW * arguments.rows:
            raise SystemExit(f"{folder} must have {2 * BYTES_A_ROW * arguments.rows} bytes free, got {free}")
        write_ratings(Path(folder), arguments.rows)
        if "parquet" in arguments.format:
            parquet.write_table(csv.read_csv(Path(folder, "ratings.csv")), Path(folder, "ratings.parquet"))
        for kind in arguments.format:
            for name, label in SOURCES[kind].items():
                results[f"{arguments.rows} rows{label}"] = compared(name, Path(folder), arguments.repeat)
    RESULTS.mkdir(exist_ok=True)
    text = json.dumps(results, indent=2)
    (RESULTS / f"data_loading-{arguments.device}.json").write_text(text + "\n")
    print(as_table(results))


def as_table(results: dict[str, Any]) -> str:
    """A line for each measurement."""
    lines = [f"{'':48s}" + "".join(f"{part.removesuffix('_seconds'):>9s}" for part in PARTS)]
    for name, found in results.items():
        if isinstance(found, dict):
            for when, it in found.items():
                lines.append(f"{name + ', ' + when:48s}" + "".join(f"{it[part]:9.2f}" for part in PARTS))
    return "\n".join(lines)


def write_ratings(folder: Path, rows: int) -> None:
    """`ratings.csv` and `movies.csv`: popular items are rated more often, as in any catalogue."""
    generator = np.random.default_rng(0)
    drawn = rows + rows // 10  # some pairs are drawn twice
    user = generator.integers(0, USERS, drawn)
    item = (ITEMS * generator.random(drawn) ** 3).astype(np.int64)
    pair = np.unique(user * ITEMS + item)
    pair = np.delete(pair, generator.choice(len(pair), len(pair) - rows, replace=False))
    user, item = pair // ITEMS + 1, pair % ITEMS + 1
    table = pa.table(
        {
            "userId": user,
            "movieId": item,
            "rating": generator.integers(1, 11, rows) / 2,
            "timestamp": generator.integers(0, SECONDS, rows) + FIRST_SECOND,
        }
    )
    options = csv.WriteOptions(quoting_style="none")
    csv.write_csv(table, folder / "ratings.csv", options)
    titles = "".join(f'{n},"Film {n} ({1950 + n % 70})",Drama|Comedy\n' for n in range(1, ITEMS + 1))
    (folder / "movies.csv").write_text("movieId,title,genres\n" + titles)


def compared(name: str, folder: Path, repeat: int) -> dict[str, dict[str, float]]:
    """Median seconds and peak memory, first time and from the cache, each in a process of its own."""
    first, cached = [], []
    for _ in range(repeat):
        with tempfile.TemporaryDirectory(prefix="reading-cache-") as cache:
            first.append(in_new_process(name, folder, cache))
            cached.append(in_new_process(name, folder, cache))
    return {"first": summary(first), "cached": summary(cached)}


def in_new_process(name: str, folder: Path, cache: str) -> dict[str, float]:
    command = [sys.executable, __file__, "--measure", name, str(folder)]
    environment = {**os.environ, "RECSYS_CACHE": cache}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    measured: dict[str, float] = json.loads(done.stdout)
    return measured


def summary(runs: list[dict[str, float]]) -> dict[str, float]:
    return {key: round(statistics.median(run[key] for run in runs), 3) for key in runs[0]}


def measure(name: str, folder: str) -> dict[str, float]:
    from recsys.data.columns import ITEM_ID, USER_ID
    from recsys.data.ids import IdMap
    from recsys.data.sources import MovieLens, TabularRatings
    from recsys.data.splits import split_ratings

    source: Any = None
    if name.startswith("tabular"):
        columns = {"user_column": "userId", "item_column": "movieId", "timestamp_column": "timestamp"}
        source = TabularRatings(folder, f"ratings.{name.split()[1]}", rating_column="rating", **columns)
    start, worked = time.perf_counter(), time.process_time()
    ratings = (source or MovieLens(name, root=folder)).read().ratings
    read = time.perf_counter()
    split = split_ratings(ratings, "user_time")
    cut = time.perf_counter()
    for column in (USER_ID, ITEM_ID):
        ids = IdMap.fit(ratings[column].iloc[split.train])
        ids.rows(ratings[column])
    end = time.perf_counter()
    return {
        "rows": len(ratings),
        "seconds": end - start,
        "cpu_seconds": time.process_time() - worked,
        "read_seconds": read - start,
        "split_seconds": cut - read,
        "ids_seconds": end - cut,
        "peak_gib": peak_kib() / 2**20,
    }


def peak_kib() -> int:
    """Peak memory of this process alone; what `getrusage` says begins with the peak of the process that started it."""
    status = Path("/proc/self/status")
    if status.is_file():
        return int(next(line.split()[1] for line in status.read_text().splitlines() if line.startswith("VmHWM")))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    main()
