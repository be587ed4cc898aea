"""Cuts that are read while two processes write: `python -m benchmarks.live.cuts [--short]`.

In each trial the next cut n is read, then all events up to it. At the end they are read once more: whatever is there
then with `seq <= n` and was not at once is missing from the cut. As a control, PostgreSQL's own numbers without the
lock, where one writer commits only after later numbers: some are missing, or else the trials find nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import random
import sys
import time
from collections.abc import Iterator
from multiprocessing.synchronize import Barrier
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy import Connection, select

from benchmarks.comparison.results import DEVICE, RESULTS, provenance, write
from benchmarks.live.events import databases
from recsys.database import Database
from recsys.database.tables import events
from recsys.events import Event, EventLog

TRIALS, WRITERS = 10_000, 2
CONTROL = "postgresql without the lock (control)"
MOST = 3  # events of a commit
HELD = 20  # later numbers that are committed before each commit of the control's first writer


def main() -> None:
    parser = argparse.ArgumentParser("python -m benchmarks.live.cuts", description=__doc__.splitlines()[0])
    parser.add_argument("--short", action="store_true", help="200 trials; stores nothing")
    short = parser.parse_args().short
    of = provenance("benchmarks.live.cuts", [])
    figures: dict[str, dict[str, int]] = {}
    with TemporaryDirectory(prefix="recsys-live-") as folder:
        for name, database in databases(Path(folder)):
            with database as url:
                figures[name] = trials(url, 200 if short else TRIALS)
                if name == "postgresql":
                    figures[CONTROL] = trials(url, 200, locked=False)
    for name, found in figures.items():
        print(f"{name}: {found['trials']:,} trials, {found['events']:,} events, {found['missing']} missing", flush=True)
    if not short:
        write({**of, "figures": figures}, RESULTS / f"live_cuts-{DEVICE}.json")
    if any(found["missing"] for name, found in figures.items() if name != CONTROL):
        sys.exit("error: events were missing from a cut")
    if CONTROL in figures and not figures[CONTROL]["missing"]:
        sys.exit("error: the control shows no missing events, so these trials may not find any")


def trials(url: str, count: int, *, locked: bool = True) -> dict[str, int]:
    """Read so many cuts, each of which has new events, while two processes write; and what they missed."""
    database = Database.open(url)
    log = EventLog(database)
    start, last = log.cut(), log.cut()
    seen: list[int] = []
    context = multiprocessing.get_context("spawn")
    ready = context.Barrier(WRITERS + 1)
    writers = [context.Process(target=_write, args=[url, name, locked, ready], daemon=True) for name in range(WRITERS)]
    for writer in writers:
        writer.start()
    try:
        ready.wait(60)
        done = 0
        while done < count:
            cut = log.cut()
            if cut == last:
                time.sleep(0.0002)
                continue
            seen += _numbers(database, last, cut)
            last, done = cut, done + 1
    finally:
        for writer in writers:
            writer.kill()
            writer.join()
    there = _numbers(database, start, last)
    database.close()
    return {"trials": done, "events": len(there), "missing": len(set(there) - set(seen))}


def _numbers(database: Database, after: int, upto: int) -> list[int]:
    wanted = select(events.c.seq).where(events.c.seq > after, events.c.seq <= upto)
    with database.reading() as connection:
        return list(connection.execute(wanted).scalars())


def _write(url: str, name: int, locked: bool, ready: Barrier) -> None:
    """Append one to three events at a time, without end, once all are ready."""
    database = Database.open(url)
    log, moments, number = EventLog(database), random.Random(name), 0
    mode = "locked" if locked else "control"
    ready.wait(60)
    while True:
        few = [
            Event(f"{mode}{name}-{number + n}", str(name), str(n), "rating", 4.0, number)
            for n in range(moments.randint(1, MOST))
        ]
        number += len(few)
        with database.writing() if locked else _unlocked(database) as connection:
            log.insert(connection, [few])
            if not locked and name == 0:
                later = log.cut() + HELD
                while log.cut() < later:
                    time.sleep(0.0002)


@contextlib.contextmanager
def _unlocked(database: Database) -> Iterator[Connection]:
    """A transaction that waits for no other writer."""
    with database.engine.begin() as connection:
        yield connection


if __name__ == "__main__":
    main()
