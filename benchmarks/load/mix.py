"""`make load`: the service on the newest run under locust's visitors; throughput and percentiles of every route.

python -m benchmarks.load.mix [--bundle FOLDER] [--visitors 16] [--seconds 20] [--fresh]
"""

from __future__ import annotations

import argparse
import csv
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.load.service import ROOT, newest_bundle, running


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bundle", help="folder of a run or a bundle; the newest run's, if not given")
    parser.add_argument("--visitors", type=int, default=16)
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--workers", type=int, default=1, help="of the service")
    parser.add_argument("--fresh", action="store_true", help="a connection for each request")
    arguments = parser.parse_args()
    bundle = newest_bundle([arguments.bundle] if arguments.bundle else [])
    command = ("-m", "serve", "--bundle", str(bundle), "--workers", str(arguments.workers), "--log-level", "warning")
    with tempfile.TemporaryDirectory() as folder, running(*command) as service:
        locust = subprocess.run(
            [sys.executable, "-m", "locust", "-f", str(ROOT / "benchmarks/load/locustfile.py"), "--headless",
             "--only-summary", "--host", service.address, "-u", str(arguments.visitors),
             "-r", str(arguments.visitors), "-t", f"{arguments.seconds}s", "--csv", f"{folder}/load",
             "--reset-stats", "--loglevel", "ERROR", "FreshVisitor" if arguments.fresh else "Visitor"],
            check=False, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        if not (Path(folder) / "load_stats.csv").exists():
            sys.exit(f"error: locust ended with {locust.returncode}\n{locust.stderr}")
        with (Path(folder) / "load_stats.csv").open() as stream:
            rows = [row for row in csv.DictReader(stream) if not row["Name"].startswith("(")]
    kind = "visitors with fresh connections" if arguments.fresh else "visitors"
    table = Table(title=f"{arguments.visitors} {kind}, {arguments.seconds} s, {arguments.workers} worker(s)",
                  caption=f"{bundle}; client and service share {os.cpu_count()} cores")  # fmt: skip
    for name in ("route", "requests", "failed", "requests/s", "p50 ms", "p95 ms", "p99 ms"):
        table.add_column(name, justify="left" if name == "route" else "right", no_wrap=True)
    for row in rows:
        total = row["Name"] == "Aggregated"
        table.add_row(
            "all" if total else row["Name"], row["Request Count"], row["Failure Count"],
            f"{float(row['Requests/s']):,.0f}", row["50%"], row["95%"], row["99%"], style="bold" if total else None,
        )  # fmt: skip
    Console(width=110).print(table)
    if any(int(row["Failure Count"]) for row in rows):
        sys.exit("error: some requests failed")


if __name__ == "__main__":
    main()
