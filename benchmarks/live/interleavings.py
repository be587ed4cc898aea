"""Whether people see what they have just done, whichever worker answers: `python -m benchmarks.live.interleavings`.

Threads send events of people and ask about these people over connections drawn at random, while the bundle is swapped
every second for one that is made of all events up to then. Events are new, corrected, late, withdrawn, of fitted users
and of new ones. A violation is a history that is not that of all acknowledged events, or a recommendation of an item
that the person has rated.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import random
import signal
import threading
import time
import uuid
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

os.environ |= dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"), "1")

import numpy as np

from benchmarks.comparison.results import DEVICE, RESULTS, provenance, write
from benchmarks.live.events import TIME, databases
from benchmarks.load.service import KEEPS_ANSWERS, Client, Running, running, worker_processes
from recsys.bundle import Bundle
from recsys.database import Database
from recsys.events import EventLog
from recsys.events.merge import merge_ratings, ratings_of
from serve.models.pointer import write_pointer
from tests.bundles import make_bundle, random_factors

INTERLEAVINGS, THREADS, CONNECTIONS = 20_000, 4, 12  # connections of each thread
USERS, NEW, ITEMS = 200, 200, 150
SWAP_SECONDS = 1.0

Rated = dict[str, tuple[int, float | None]]  # time and stars by item; None: withdrawn


def main() -> None:
    parser = argparse.ArgumentParser("python -m benchmarks.live.interleavings", description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--short", action="store_true", help="seconds instead of minutes; stores nothing")
    arguments = parser.parse_args()
    count = 500 if arguments.short else INTERLEAVINGS
    of = provenance("benchmarks.live.interleavings", [])
    figures = {}
    with TemporaryDirectory(prefix="recsys-interleavings-") as folder:
        for name, database in databases(Path(folder)):
            with database as url:
                figures[name] = measure(Path(folder) / name, url, count, arguments.workers)
            print(name, figures[name], flush=True)
    if not arguments.short:
        write({**of, "figures": figures}, RESULTS / f"live_interleavings-{DEVICE}.json")


def measure(folder: Path, url: str, count: int, workers: int) -> dict[str, Any]:
    """How often an answer did not hold what was acknowledged before it was asked for."""
    base = bundle()
    base.save(folder / "0")
    pointer = folder / "serving"
    write_pointer(pointer, folder / "0")
    database = Database.open(url)
    command = ["-m", "serve", "--pointer", str(pointer), "--poll-seconds", "0.05", "--workers", str(workers)]
    environment = {"RECSYS_DATABASE": url, **KEEPS_ANSWERS}
    done, swaps = threading.Event(), itertools.count()
    with (
        running(*command, "--log-level", "error", "--idle-seconds", "3600", environment=environment) as service,
        ThreadPoolExecutor(THREADS + 1) as pool,
    ):
        clients = _spread(service, workers)
        swapping = pool.submit(_swap, base, EventLog(database), folder, pointer, done, swaps)
        began = time.perf_counter()
        try:
            askers = [pool.submit(Asker(clients, base, number).ask, count // THREADS) for number in range(THREADS)]
            found = sum((asker.result() for asker in askers), Counter())
        finally:
            done.set()
        seconds = time.perf_counter() - began
        swapping.result()
        connections = list(_sockets(service).values())
    database.close()
    kinds = ("stale histories", "recommended though rated", "refused")
    return {
        "interleavings": found["interleavings"], "violations": sum(found[kind] for kind in kinds),
        **{kind: found[kind] for kind in kinds}, "versions": len([one for one in found if one.startswith("version ")]),
        "swaps": next(swaps), "connections of each worker": connections, "seconds": round(seconds, 1),
    }  # fmt: skip


def bundle() -> Bundle:
    """A small one, so that it is swapped in time."""
    rng = np.random.default_rng(0)
    rated = [
        (user, int(item), float(rng.integers(1, 6)), 0)
        for user in range(USERS)
        for item in np.sort(rng.choice(ITEMS, 20, replace=False))
    ]
    factors = random_factors(n_users=USERS, n_items=ITEMS, dim=8)
    ids = list(range(1, USERS + 1)), list(range(1, ITEMS + 1))
    return make_bundle(factors, *ids, rated, times=[TIME - 1_000 + n % 20 for n in range(len(rated))])


def _swap(
    base: Bundle, log: EventLog, folder: Path, pointer: Path, done: threading.Event, swaps: itertools.count[int]
) -> None:
    """Every second serve a bundle whose ratings are those of all events up to now."""
    number = 0
    while not done.wait(SWAP_SECONDS):
        cut, number = log.cut(), number + 1
        merged = merge_ratings(base, log.since(0, cut))
        manifest = base.manifest | {"cut": cut, "number": number}
        newer = replace(base, manifest=manifest, user_ids=merged.user_ids, ratings=merged.ratings)
        newer.save(folder / str(number))
        write_pointer(pointer, folder / str(number))
        next(swaps)


class Asker:
    """Sends events of people of its own, and asks about them.

    Args:
        clients: Connections to all workers, as many for each asker.
        base: With the ratings before all events.
        number: Of this one among all.
    """

    def __init__(self, clients: Sequence[Client], base: Bundle, number: int) -> None:
        self.random = random.Random(number)
        self.clients = clients[number::THREADS]
        self.items = list(map(str, base.item_ids.tolist()))
        self.rated: dict[str, Rated] = {str(USERS + 1 + n): {} for n in range(number, NEW, THREADS)}
        for user in range(number, USERS, THREADS):
            self.rated[str(base.user_ids[user])] = {
                str(base.item_ids[item]): (at, stars)
                for item, stars, at in zip(*(column.tolist() for column in ratings_of(base, user)), strict=True)
            }

    def ask(self, count: int) -> Counter[str]:
        """So many events, each with a question after it."""
        found: Counter[str] = Counter()
        people = list(self.rated)
        user = people[0]
        for _ in range(count):
            if self.random.random() < 0.5:  # else the same again, whose answers a worker keeps
                user = self.random.choice(people)
            found["refused"] += not self._tell(user)
            found["interleavings"] += 1
            self._check(user, found)
            if self.random.random() < 0.3:
                self._check(user, found)
        return found

    def _tell(self, user: str) -> bool:
        """Send an event of somebody, and know its effect once it is acknowledged."""
        rated, item = self.rated[user], self.random.choice(self.items)
        if rated and self.random.random() < 0.4:  # say something else of an item
            item = self.random.choice(list(rated))
        at = TIME + self.random.randint(-2_000, 2_000)  # also late ones
        stars = None if self.random.random() < 0.2 else float(self.random.randint(1, 5))
        event = {"event_id": str(uuid.uuid4()), "user_id": user, "item_id": item, "timestamp": at}
        event |= {"kind": "withdrawal"} if stars is None else {"rating": stars}
        status, _ = self._client().post("/events/", {"events": [event]})
        if status == 200 and (item not in rated or at >= rated[item][0]):
            rated[item] = at, stars
        return status == 200

    def _check(self, user: str, found: Counter[str]) -> None:
        wanted = {item: stars for item, (_, stars) in self.rated[user].items() if stars is not None}
        if self.random.random() < 0.5:
            status, answer = self._client().get(f"/users/{user}?limit=1000")
            given = {one["item_id"]: one["rating"] for one in answer["ratings"]} if status == 200 else None
            found["stale histories"] += given != wanted and not (status == 404 and not wanted)
        else:
            status, answer = self._client().get(f"/users/{user}/recommendations?k=1000")
            given = {one["item_id"] for one in answer["recommendations"]} if status == 200 else set()
            found["recommended though rated"] += given != set(self.items) - wanted.keys()
        found["refused"] += status not in (200, 404)
        found[f"version {answer.get('model_version')}"] += 1

    def _client(self) -> Client:
        return self.random.choice(self.clients)


def _spread(service: Running, workers: int) -> list[Client]:
    """Connections to all workers: those to one are made while the others are stopped."""
    while True:
        pids = list(_sockets(service))
        clients = []
        for worker in pids if len(pids) == workers else []:
            others = [other for other in pids if other != worker]
            _tell(others, signal.SIGSTOP)
            try:
                made = [Client(service.port) for _ in range(THREADS * CONNECTIONS // workers)]
                for client in made:
                    client.get("/health/live")
            finally:
                _tell(others, signal.SIGCONT)
            clients += made
        if clients and list(_sockets(service)) == pids:  # none was replaced since it did not answer
            random.Random(0).shuffle(clients)
            return clients
        time.sleep(1)


def _tell(pids: Sequence[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def _sockets(service: Running) -> dict[int, int]:
    """How many each worker has open, by its process."""
    found = {}
    for worker in worker_processes(service.process.pid):
        links = [str(one.readlink()) for one in Path(f"/proc/{worker}/fd").iterdir()]
        found[worker] = sum(link.startswith("socket:") for link in links)
    return found


if __name__ == "__main__":
    main()
