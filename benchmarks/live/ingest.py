"""Events a second through `POST /events/`: `python -m benchmarks.live.ingest [--short]`.

Durable: every answer comes after a synced commit. In batches of 100 from 8 connections, and single events from 32; and
what SQLite alone does on this machine, in the same run.
"""

from __future__ import annotations

import argparse
import sqlite3
import time
from pathlib import Path

from benchmarks.comparison.results import DEVICE, RESULTS, provenance, write
from benchmarks.live.events import NewEvents, bundle_folder, databases, service
from benchmarks.load.kept import Kept
from benchmarks.load.service import Running
from recsys.database import Database
from recsys.events import Event, EventLog

BATCH, BATCH_CONNECTIONS, SINGLE_CONNECTIONS = 100, 8, 32
REPEATS = 3


def main() -> None:
    parser = argparse.ArgumentParser("python -m benchmarks.live.ingest", description=__doc__.splitlines()[0])
    parser.add_argument("--short", action="store_true", help="seconds instead of minutes; stores nothing")
    short = parser.parse_args().short
    of = provenance("benchmarks.live.ingest", [])
    figures = measure(seconds=2 if short else 10, repeats=1 if short else REPEATS)
    for name, found in figures.items():
        print(name, *(f"{key}={value:,.0f}" for key, value in found.items()), flush=True)
    if not short:
        write({**of, "figures": figures}, RESULTS / f"live_ingest-{DEVICE}.json")


def measure(seconds: float, repeats: int) -> dict[str, dict[str, float]]:
    """Events a second of each way, the median of several turns, in which all ways take part."""
    turns: dict[str, list[dict[str, float]]] = {}
    with bundle_folder() as folder:
        for turn in range(repeats):
            turns.setdefault("bare SQLite", []).append(_bare(folder / f"bare{turn}.db", seconds / 2))
            turns.setdefault("EventLog, SQLite", []).append(_log(folder / f"log{turn}.db", seconds / 2))
            for name, database in databases(folder / f"turn{turn}"):
                with database as url, service(folder, url) as running:
                    turns.setdefault(f"service, {name}", []).append(_service(running, url, f"{name}{turn}", seconds))
    return {
        name: {key: sorted(one[key] for one in found)[len(found) // 2] for key in found[0]}
        for name, found in turns.items()
    }


def _service(running: Running, url: str, name: str, seconds: float) -> dict[str, float]:
    """Through the service; afterwards each acknowledged event is there."""
    rates, least = {}, 0.0
    for way, count, connections in (("batches", BATCH, BATCH_CONNECTIONS), ("singles", 1, SINGLE_CONNECTIONS)):
        line = Kept(running, NewEvents(count, f"{name}-{way}"), connections, pause=0.01)
        line.rate(min(1.0, seconds / 4))  # to warm up
        rates[way] = count * line.rate(seconds)[0]
        line.close()
        least += rates[way] * seconds
    database = Database.open(url)
    there = EventLog(database).count()
    database.close()
    if there < least:
        raise SystemExit(f"error: {there} events are there, of {least:.0f} that were acknowledged")
    return rates


def _bare(file: Path, seconds: float) -> dict[str, float]:
    """The same rows by sqlite3 alone, in transactions of a batch and of one event, synced."""
    connection = sqlite3.connect(file, isolation_level=None)
    connection.executescript(
        "pragma journal_mode=wal; pragma synchronous=full; create table events (seq integer primary key autoincrement,"
        "event_id text not null unique, user_id text, item_id text, kind text, rating real, timestamp int,"
        "received int);"
        "create index by_user on events (user_id, seq); create index by_item on events (item_id, seq);"
    )

    def rate(count: int) -> float:
        number, start = 0, time.perf_counter()
        while (now := time.perf_counter()) < start + seconds / 2:
            rows = [
                (f"{count}-{number + n}", str(37 * n % 6040), str(101 * n % 3706), "rating", 4.0, n, n)
                for n in range(count)
            ]
            connection.execute("begin immediate")
            connection.executemany(
                "insert into events (event_id, user_id, item_id, kind, rating, timestamp, received) "
                "values (?, ?, ?, ?, ?, ?, ?)", rows,
            )  # fmt: skip
            connection.execute("commit")
            number += count
        return number / (now - start)

    found = {"batches": rate(BATCH), "singles": rate(1)}
    connection.close()
    return found


def _log(file: Path, seconds: float) -> dict[str, float]:
    """By `EventLog.append` in this process."""
    database = Database.open(f"sqlite:///{file}")
    log = EventLog(database)

    def rate(count: int) -> float:
        number, start = 0, time.perf_counter()
        while (now := time.perf_counter()) < start + seconds / 2:
            log.append(
                [
                    Event(f"{count}-{number + n}", str(37 * n % 6040), str(101 * n % 3706), "rating", 4.0, n)
                    for n in range(count)
                ]
            )
            number += count
        return number / (now - start)

    found = {"batches": rate(BATCH), "groups of 32": rate(32), "singles": rate(1)}
    database.close()
    return found


if __name__ == "__main__":
    main()
