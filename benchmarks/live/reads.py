"""What a database costs those who ask, and what events of theirs do.

    python -m benchmarks.live.reads [--bundle RUN ...] [--short]

One worker, whose answers are not kept. `without events` are ratios of requests per second, by a service with a database
that has events of others, to one without a database: wrk asks both in turns. `first after an event` are ratios of the
time of a top-10 for somebody without events to that for somebody with 100 events after the bundle's cut, the last of
which came since they were asked about before; `read anew`: whom this worker has not been asked about before.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

os.environ |= dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"), "1")

import numpy as np

from benchmarks.comparison.results import DEVICE, RESULTS, provenance, write
from benchmarks.live.events import TIME
from benchmarks.load.kept import Kept
from benchmarks.load.ml_1m import save_bundle
from benchmarks.load.service import Running, pinned, running
from benchmarks.serving import GET, POST, need_wrk, of_rounds, script, wrk
from recsys.bundle import Bundle
from recsys.database import Database
from recsys.events import Event, EventLog
from serve.models.pointer import bundle_folder

OTHERS = 100_000  # events of people who are not asked about
EVENTS = 100  # of somebody, after the cut
GROUP = 600  # people who are asked about in a turn
AT_ONCE = 10_000  # events in a commit
REQUESTS = {"rating": POST.format(path="/predict/rating/"), "top-10": GET.format(query="")}


def main() -> None:
    parser = argparse.ArgumentParser("python -m benchmarks.live.reads", description=__doc__.splitlines()[0])
    parser.add_argument("--bundle", type=Path, nargs="+", help="folders of runs (default: two of the size of ML-1M)")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=int, default=4, help="of each measurement with wrk")
    parser.add_argument("--short", action="store_true", help="seconds instead of minutes; stores nothing")
    arguments = parser.parse_args()
    need_wrk()
    of = provenance("benchmarks.live.reads", [])
    rounds, seconds, group = (2, 1, 60) if arguments.short else (arguments.rounds, arguments.seconds, GROUP)
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as place:
        for number, folder in enumerate(map(bundle_folder, arguments.bundle or made(Path(place)))):
            bundle = Bundle.load(folder)
            _, samples, dim = bundle.factors.item_factors.shape
            name = f"{bundle.manifest.get('model', 'random factors')}, dim {dim}, samples {samples}"
            figures[name] = measure(folder, bundle, Path(place) / f"{number}.db", rounds, seconds, group)
            print(name, *(f"{what}: {one}" for what, one in figures[name].items()), sep="\n  ", flush=True)
    if not arguments.short:
        write({**of, "figures": figures}, RESULTS / f"live_reads-{DEVICE}.json")


def made(place: Path) -> Iterator[Path]:
    """Bundles of a point estimate and of 32 samples."""
    yield save_bundle(place / "point", dim=64)
    yield save_bundle(place / "samples", dim=64, samples=32, noisy=True)


def measure(folder: Path, bundle: Bundle, file: Path, rounds: int, seconds: int, group: int) -> dict[str, Any]:
    """Medians of the rounds' ratios."""
    people = [str(one) for one in np.random.default_rng(0).permutation(bundle.user_ids[: bundle.n_users]).tolist()]
    without, *groups = [people[start : start + group] for start in range(0, (rounds + 1) * group, group)]
    log = EventLog(Database.open(f"sqlite:///{file}"))
    events = Events(log, bundle)
    events.append([str(10**9 + n % 5_000) for n in range(OTHERS)])
    options = {"RECSYS_BUNDLE": str(folder), "RECSYS_ANSWER_CACHE_BYTES": "0", "RECSYS_LOG_LEVEL": "error"}
    options["RECSYS_MAX_WAIT_SECONDS"] = "60"  # the machine may be busy
    with pinned() as cores, running("-m", "serve", environment=options, cores={cores[-1]}) as plain:
        options["RECSYS_DATABASE"] = f"sqlite:///{file}"
        with running("-m", "serve", environment=options, cores={cores[-1]}) as live:
            found: dict[str, list[float]] = {}
            for name, request in REQUESTS.items():
                asked = file.with_name(f"{file.stem}.lua")
                asked.write_text(script(bundle, request))
                for _ in range(rounds):
                    beside = wrk(plain, asked, seconds)
                    found.setdefault(f"{name}, without events", []).append(wrk(live, asked, seconds) / beside)
            for some in groups:
                events.append([user for user in some for _ in range(EVENTS - 1)])
                anew = top(live, some)
                events.append(some)
                first = top(live, some)
                alone = top(live, without)
                found.setdefault("top-10, first after an event", []).append(alone / first)
                found.setdefault("top-10, first after an event, read anew", []).append(alone / anew)
    log.database.close()
    return {name: of_rounds(ratios) for name, ratios in found.items()}


def top(service: Running, people: Sequence[str]) -> float:
    """Seconds in which each of the people has had a top-10."""
    path = "GET /users/{}/recommendations?k=10 HTTP/1.1\r\nHost: localhost\r\n\r\n"
    line = Kept(service, [path.format(user).encode() for user in people])
    try:
        return line.once()
    finally:
        line.close()


class Events:
    """Ratings of items drawn at random, each at a later time than the one before."""

    def __init__(self, log: EventLog, bundle: Bundle) -> None:
        self.log, self.random, self.count = log, np.random.default_rng(1), 0
        self.items = [str(item) for item in bundle.item_ids[: bundle.n_items].tolist()]
        self.stars = np.linspace(*bundle.given_scale, 9).tolist()

    def append(self, people: Sequence[str]) -> None:
        """One event of each, in this order."""
        items = self.random.integers(0, len(self.items), len(people)).tolist()
        stars = self.random.integers(0, len(self.stars), len(people)).tolist()
        events = [
            Event(f"e{self.count + n}", user, self.items[item], "rating", self.stars[rating], TIME + self.count + n)
            for n, (user, item, rating) in enumerate(zip(people, items, stars, strict=True))
        ]
        self.count += len(people)
        for start in range(0, len(events), AT_ONCE):
            self.log.append(events[start : start + AT_ONCE])


if __name__ == "__main__":
    main()
