"""Acknowledged events after SIGKILLs, and syncs of the disk: `python -m benchmarks.live.durability [--short]`.

Of the service, a worker of it, a client of the database and `recsys update`, on SQLite and PostgreSQL, 100 in all.
Senders repeat what was not acknowledged, so that an event may arrive twice; it must be there once, and count once in
the versions that updates make. A kill tells nothing about the disk: how often it is synced for each commit of an
acknowledged event is counted by strace.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import itertools
import json
import multiprocessing
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import make_url, select

from benchmarks.comparison.results import DEVICE, RESULTS, provenance, write
from benchmarks.live.events import TIME, bundle_folder, databases
from benchmarks.load.service import ROOT, Client, free_port, worker_processes
from recsys.bundle import Bundle, UserRatings
from recsys.database import Database
from recsys.database.tables import events
from recsys.events import Event, EventLog
from recsys.events.merge import merge_ratings
from recsys.versions import open_versions

KILLS = {"service": 18, "worker": 8, "client": 14, "update": 10}  # of each database
UPDATED = 300  # events between two updates
UPDATES_LOG = "updates.log"
SENDERS = 4
COMMITS = 200  # whose syncs are counted

Figures = dict[str, float]


def main() -> None:
    parser = argparse.ArgumentParser("python -m benchmarks.live.durability", description=__doc__.splitlines()[0])
    parser.add_argument("--short", action="store_true", help="a few kills; stores nothing")
    short = parser.parse_args().short
    of = provenance("benchmarks.live.durability", [])
    kills = dict.fromkeys(KILLS, 1) if short else KILLS
    figures: dict[str, Figures] = {}
    with bundle_folder() as folder:
        for name, database in databases(folder):
            with database as url:
                figures[name] = _database(folder, url, kills)
            print(name, *(f"{key}={value:,.6g}" for key, value in figures[name].items()), flush=True)
    if not short:
        write({**of, "figures": figures}, RESULTS / f"live_durability-{DEVICE}.json")
    wrong = sum(found[name] for found in figures.values() for name in ("lost", "doubled", "wrong_ratings"))
    if wrong or any(found["syncs_per_commit"] < 1 for found in figures.values()):
        sys.exit("error: does not hold")


def _database(folder: Path, url: str, kills: dict[str, int]) -> Figures:
    moments = random.Random(0)
    acknowledged = _killed_services(folder, url, kills, moments) | _killed_clients(url, kills["client"], moments)
    found = _there(url)
    lost = acknowledged - found.keys()
    updates = _killed_updates(folder, url, kills["update"], moments)
    return {
        "kills": sum(kills.values()), "acknowledged": len(acknowledged), "lost": len(lost),
        "doubled": sum(count > 1 for count in found.values()), **updates, **_syncs(folder, url),
    }  # fmt: skip


def _there(url: str) -> Counter[tuple[str, int]]:
    """How often each event is in the database, by its user and time, of which each event has its own."""
    database = Database.open(url)
    with database.reading() as connection:
        found = Counter((row[0], row[1]) for row in connection.execute(select(events.c.user_id, events.c.timestamp)))
    database.close()
    return found


# The service


def _killed_services(folder: Path, url: str, kills: dict[str, int], moments: random.Random) -> set[tuple[str, int]]:
    port, ended = free_port(), threading.Event()
    senders = [_Sender(port, number, ended) for number in range(1, SENDERS + 1)]
    left = ["service"] * kills["service"] + ["worker"] * kills["worker"]
    moments.shuffle(left)
    process = _start(folder, url, port)
    try:
        for sender in senders:
            sender.start()
        for victim in left:
            _until_ready(port)
            before = sum(len(sender.acknowledged) for sender in senders)
            while sum(len(sender.acknowledged) for sender in senders) <= before:
                time.sleep(0.005)
            time.sleep(moments.uniform(0, 0.5))
            if victim == "worker":
                os.kill(moments.choice(worker_processes(process.pid)), signal.SIGKILL)
                continue
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            process = _start(folder, url, port)
        _until_ready(port)
        ended.set()
        for sender in senders:
            sender.join(30)
    finally:
        ended.set()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    return {one for sender in senders for one in sender.acknowledged}


def _start(folder: Path, url: str, port: int, *before: str, workers: int = 2) -> subprocess.Popen[bytes]:
    """A service, in a group of processes of its own."""
    command = [*before, sys.executable, "-m", "serve", "--bundle", str(folder / "bundle"), "--port", str(port),
               "--workers", str(workers), "--log-level", "error"]  # fmt: skip
    environment = os.environ | {"RECSYS_DATABASE": url, "OPENBLAS_NUM_THREADS": "1", "RECSYS_DRAIN_SECONDS": "0"}
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )


def _until_ready(port: int) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        with contextlib.suppress(OSError, http.client.HTTPException, ValueError):
            if Client(port).get("/health/ready")[0] == 200:
                return
        time.sleep(0.02)
    raise SystemExit("error: the service did not get ready")


class _Sender(threading.Thread):
    """Sends events, one or ten at a time, each request again until it is acknowledged."""

    def __init__(self, port: int, number: int, ended: threading.Event) -> None:
        super().__init__(daemon=True)
        self.port, self.number, self.ended = port, number, ended
        self.acknowledged: list[tuple[str, int]] = []

    def run(self) -> None:
        time_, client = 0, None
        while not self.ended.is_set():
            count = 1 if time_ % 3 else 10
            times = range(time_, time_ + count)
            body = {
                "events": [
                    {
                        "event_id": f"s{self.number}-{at}", "user_id": str(self.number), "item_id": "1",
                        "rating": 4, "timestamp": at,
                    }
                    for at in times
                ]
            }  # fmt: skip
            while not self.ended.is_set():
                try:
                    client = client or Client(self.port)
                    status, _ = client.post("/events/", body)
                except (OSError, http.client.HTTPException, json.JSONDecodeError):
                    client = None
                    time.sleep(0.02)
                    continue
                if status == 200:
                    self.acknowledged += [(str(self.number), at) for at in times]
                    break
                if status != 503:
                    raise SystemExit(f"error: status {status}")
                time.sleep(0.02)
            time_ += count


# A client of the database


def _killed_clients(url: str, kills: int, moments: random.Random) -> set[tuple[str, int]]:
    context, acknowledged = multiprocessing.get_context("spawn"), -1
    for _ in range(kills):
        mine, theirs = context.Pipe(duplex=False)
        process = context.Process(target=_append, args=[url, max(acknowledged - 2, 0), theirs], daemon=True)
        process.start()
        theirs.close()
        acknowledged = max(acknowledged, mine.recv())
        time.sleep(moments.uniform(0, 0.5))
        process.kill()
        process.join()
        with contextlib.suppress(EOFError):
            while True:
                acknowledged = max(acknowledged, mine.recv())
    return {("client", 10 * number + n) for number in range(acknowledged + 1) for n in range(10)}


def _append(url: str, number: int, told: Connection) -> None:
    """Append ten events at a time, from this request on, without end."""
    log = EventLog(Database.open(url))
    while True:
        few = [Event(f"client-{at}", "client", "1", "rating", 4.0, at) for at in range(10 * number, 10 * (number + 1))]
        log.append(few)
        told.send(number)
        number += 1


# Updates


def _killed_updates(folder: Path, url: str, kills: int, moments: random.Random) -> Figures:
    """Kill updates at random moments. At the end the served version has each event up to its cut once."""
    versions = open_versions(url, folder / f"store-{make_url(url).get_backend_name()}")
    first = Bundle.load(folder / "bundle")
    log, item_side = EventLog(versions.database), first.factors.item_factors[:, 0]  # (i, d)
    base = versions.publish(first, parent=None, cut=0, made_by="fit", metrics={}, configuration={})
    versions.promote("champion", base.version, "benchmark", "the first one")
    numbers, seconds = itertools.count(), 0.0

    def more() -> None:
        """Events by new people, each of whom likes what lies in one direction, so that updates find something."""
        few = []
        for number in itertools.islice(numbers, UPDATED):
            person, item = number // 30, moments.randrange(first.n_items)
            likes = item_side[item] @ item_side[person % first.n_items] > 0
            ids = str(100_000 + person), str(first.item_ids[item])
            few.append(Event(f"update-{number}", *ids, "rating", 5.0 if likes else 1.0, TIME + number))
        log.append(few)

    for number in range(kills + 1):
        more()
        start = time.monotonic()
        process = _update(folder, url, str(versions.store))
        if number == 0:  # undisturbed, to see how long it takes
            process.wait()
            seconds = time.monotonic() - start
            continue
        time.sleep(moments.uniform(0, seconds))
        process.kill()
        process.wait()
    if _update(folder, url, str(versions.store)).wait() != 0:
        told = (folder / UPDATES_LOG).read_text().splitlines()
        raise SystemExit(f"error: the update after the last kill fails: {told[-1] if told else ''}")
    version, bundle = versions.champion()
    merged = merge_ratings(first, log.read(0, version.cut))
    expected = _rows(merged.ratings, merged.user_ids, merged.item_ids)
    there = _rows(bundle.ratings, bundle.user_ids, bundle.item_ids)
    wrong = sum(((expected - there) + (there - expected)).values())
    found: Figures = {"updates": len(versions.aliases.history("champion")) - 1, "wrong_ratings": wrong}
    versions.database.close()
    return found


def _update(folder: Path, url: str, store: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "recsys.update", "--store", store, "--runs", str(folder / "updates"),
               "--max-distance", "100"]  # fmt: skip
    environment = os.environ | {"RECSYS_DATABASE": url, "OPENBLAS_NUM_THREADS": "1"}
    with (folder / UPDATES_LOG).open("a") as told:
        return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=told, stderr=told)


def _rows(ratings: UserRatings, user_ids: Any, item_ids: Any) -> Counter[tuple[str, str, float, int]]:
    """How often each rating is there, with its time if it has one."""
    times = np.zeros(len(ratings.item), np.int64) if ratings.timestamp is None else ratings.timestamp
    columns = user_ids[ratings.user_index()], item_ids[ratings.item], ratings.rating, times
    return Counter(zip(*(column.tolist() for column in columns), strict=True))


# Syncs


def _syncs(folder: Path, url: str) -> Figures:
    """How often the disk is synced for each commit, of single events one after the other."""
    port, trace = free_port(), folder / "trace"
    trace.unlink(missing_ok=True)
    with contextlib.ExitStack() as stack:
        if url.startswith("sqlite"):
            process = _start(folder, url, port, *_traced(trace), workers=1)
        else:
            stack.enter_context(_traced_server(url, trace))
            process = _start(folder, url, port, workers=1)
        try:
            _until_ready(port)
            client, before, start = Client(port), _counted(trace), _commits(port)
            for at in range(COMMITS):
                one = {"event_id": f"sync-{at}", "user_id": "9", "item_id": "1", "rating": 4, "timestamp": at}
                status, _ = client.post("/events/", {"events": [one]})
                if status != 200:
                    raise SystemExit(f"error: status {status}")
            syncs, commits = _counted(trace) - before, _commits(port) - start
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    return {"commits": commits, "syncs": syncs, "syncs_per_commit": syncs / commits}


def _traced(trace: Path) -> list[str]:
    if shutil.which("strace") is None:
        raise SystemExit("error: syncs are counted by strace: apt-get install strace")
    return ["strace", "-f", "-y", "-e", "trace=fsync,fdatasync", "-o", str(trace)]


@contextlib.contextmanager
def _traced_server(url: str, trace: Path) -> Iterator[None]:
    """Trace a server, and the processes that it starts from now on."""
    file = Path(str(make_url(url).query["host"])) / "data" / "postmaster.pid"
    process = subprocess.Popen(
        [*_traced(trace), "-p", file.read_text().split()[0]], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        time.sleep(0.5)  # until it has attached itself
        yield
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(10)


def _counted(trace: Path) -> int:
    """Syncs so far of the log that is written ahead."""
    if not trace.exists():
        return 0
    return len(re.findall(r"sync\(\d+<[^>]*(?:live\.db-wal|/pg_wal/)", trace.read_text()))


def _commits(port: int) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("GET", "/metrics")
    found = re.search(r"^recsys_commit_seconds_count (\S+)$", connection.getresponse().read().decode(), re.M)
    assert found is not None
    return int(float(found[1]))


if __name__ == "__main__":
    main()
