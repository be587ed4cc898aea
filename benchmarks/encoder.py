"""What a model of sequences costs a service: the encoder in NumPy, cached people, and histories encoded together.

    python -m benchmarks.encoder --bundle RUN [--short]

`alone` are milliseconds in this process, one thread: of the vector of somebody new, of their top-10 with it, and of the
same with reasons. The rest is of one worker that keeps no answers, but for `kept`, which is as by default. `cached` is
the ratio of requests per second to the no-op's for people whose events came after the bundle's cut and who were asked
about before; `kept` is the same question again. `together` is the ratio of
requests per second with histories encoded together to those with each alone, 32 connections, everybody new; `lone` the
ratio of the times of single requests, one connection. All take turns in one run; figures are medians of the rounds.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ |= dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"), "1")

import numpy as np

from benchmarks.comparison.results import DEVICE, RESULTS, provenance, write
from benchmarks.live.events import TIME
from benchmarks.load.kept import Kept, post
from benchmarks.load.service import KEEPS_ANSWERS, pinned, running
from benchmarks.serving import UVICORN, of_rounds
from recsys.bundle import Bundle
from recsys.database import Database
from recsys.events import Event, EventLog
from serve.models.pointer import bundle_folder

EVENTS = (5, 10, 20, 50, 100, 200)  # of somebody new
CACHED, OWN = 500, 20  # people with so many events each
CONNECTIONS = 32
REQUESTS = 4000  # of different people
TOP = "GET /users/{}/recommendations?k=10 HTTP/1.1\r\nHost: localhost\r\n\r\n"


def main() -> None:
    parser = argparse.ArgumentParser("python -m benchmarks.encoder", description=__doc__.splitlines()[0])
    parser.add_argument("--bundle", type=Path, required=True, help="folder of a run of model=attention")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=3, help="of each measurement of the service")
    parser.add_argument("--short", action="store_true", help="seconds instead of minutes; stores nothing")
    arguments = parser.parse_args()
    of = provenance("benchmarks.encoder", [])
    rounds, seconds = (1, 0.5) if arguments.short else (arguments.rounds, arguments.seconds)
    folder = bundle_folder(arguments.bundle)
    bundle = Bundle.load(folder)
    if bundle.encoder is None:
        raise SystemExit(f"error: {folder} has no encoder")
    figures: dict[str, Any] = {"alone": {n: alone(bundle, n, rounds) for n in EVENTS}}
    print(json.dumps(figures["alone"], indent=2), flush=True)
    with tempfile.TemporaryDirectory() as place:
        for name, keeps in (("cached", {}), ("kept", KEEPS_ANSWERS)):
            figures[name] = cached(folder, bundle, Path(place) / f"{name}.db", rounds, seconds, keeps)
            print(json.dumps({name: figures[name]}, indent=2), flush=True)
    figures |= together(folder, bundle, rounds, seconds)
    print(json.dumps({name: figures[name] for name in ("together", "lone")}, indent=2))
    if not arguments.short:
        model = {"dim": bundle.encoder.dim, "blocks": bundle.encoder.blocks, "heads": bundle.encoder.heads}
        write({**of, "model": model, "figures": figures}, RESULTS / f"encoder-{DEVICE}.json")


def alone(bundle: Bundle, n: int, rounds: int) -> dict[str, float]:
    """Median milliseconds for somebody with so many events."""
    items, stars, seconds = next(people(bundle, n))

    def vector() -> Any:
        return bundle.fold_in_rows(items, stars, time=seconds).vector

    def top() -> Any:
        return bundle.top_n(vector(), 10, seen=items)

    def reasons() -> Any:
        folded = bundle.fold_in_rows(items, stars, time=seconds)
        return folded.contributions(bundle.top_n(folded.vector, 10, seen=items)[0])

    return {name: round(_milliseconds(one, 30 * rounds), 2) for name, one in
            (("vector", vector), ("top10", top), ("top10_with_reasons", reasons))}  # fmt: skip


def _milliseconds(function: Callable[[], Any], repeat: int) -> float:
    function()
    found = []
    for _ in range(repeat):
        start = time.perf_counter()
        function()
        found.append(time.perf_counter() - start)
    return 1000 * statistics.median(found)


def people(bundle: Bundle, n: int) -> Iterator[tuple[Any, Any, Any]]:
    """Item rows, stars and times of people made up, over and over: items by popularity, some minutes apart."""
    random = np.random.default_rng(0)
    counts = np.bincount(bundle.ratings.item, minlength=bundle.n_items)[: bundle.n_items]
    levels = np.unique(bundle.ratings.rating)
    while True:
        items = random.choice(bundle.n_items, n, replace=False, p=counts / counts.sum())
        seconds = TIME + np.cumsum(random.integers(1, 600, n))
        yield items, random.choice(levels, n).astype(np.float32), seconds


def cached(
    folder: Path, bundle: Bundle, file: Path, rounds: int, seconds: float, keeps: dict[str, str]
) -> dict[str, float]:
    """Top-10 of people with events who were asked about before, beside the no-op."""
    known = [str(user) for user in bundle.user_ids[:CACHED].tolist()]
    log = EventLog(Database.open(f"sqlite:///{file}"))
    events, made = [], people(bundle, OWN)
    for user in known:
        for place, (item, stars, when) in enumerate(zip(*next(made), strict=True)):
            item_id = str(bundle.item_id(int(item)))
            events.append(Event(f"{user}-{place}", user, item_id, "rating", float(stars), int(when)))
    log.append(events)
    asked = [TOP.format(user).encode() for user in known]
    pair = post("/noop/rating/", json.dumps({"user_id": known[0], "item_id": str(bundle.item_ids[0])}))
    environment = {"RECSYS_BUNDLE": str(folder), "RECSYS_DATABASE": f"sqlite:///{file}", "RECSYS_LOG_LEVEL": "error"}
    environment |= keeps
    found = []
    with pinned() as cores, running(
        *UVICORN, "benchmarks.load.noop:with_noop", environment=environment, cores={cores[-1]}
    ) as service:  # fmt: skip
        tops, noop = Kept(service, asked, CONNECTIONS), Kept(service, [pair], CONNECTIONS)
        tops.once()
        for _ in range(rounds):
            beside = noop.rate(seconds)[0]
            found.append(tops.rate(seconds)[0] / beside)
        tops.close()
        noop.close()
    log.database.close()
    return of_rounds(found)


def together(folder: Path, bundle: Bundle, rounds: int, seconds: float) -> dict[str, dict[int, dict[str, float]]]:
    """Top-10 of new people, encoded together and each alone, by their number of events."""
    environment = {"RECSYS_BUNDLE": str(folder), "RECSYS_LOG_LEVEL": "error", "RECSYS_MAX_WAIT_SECONDS": "60"}
    rates: dict[int, list[float]] = {n: [] for n in EVENTS}
    lone: dict[int, list[float]] = {n: [] for n in EVENTS}
    with (
        pinned() as cores,
        running("-m", "serve", environment=environment, cores={cores[-1]}) as batched,
        running("-m", "serve", environment=environment | {"RECSYS_ENCODE_TOGETHER": "1"}, cores={cores[-1]}) as single,
    ):
        for n in EVENTS:
            asked = [one for one, _ in zip(requests(bundle, n), range(REQUESTS), strict=False)]
            for connections, found in ((CONNECTIONS, rates), (1, lone)):
                first, second = (Kept(service, asked, connections) for service in (batched, single))
                for _ in range(rounds):
                    a, b = first.rate(seconds)[0], second.rate(seconds)[0]
                    found[n].append(a / b if connections > 1 else b / a)  # of times, for a lone one
                first.close()
                second.close()
    return {
        "together": {n: of_rounds(ratios) for n, ratios in rates.items()},
        "lone": {n: of_rounds(ratios) for n, ratios in lone.items()},
    }


def requests(bundle: Bundle, n: int) -> Iterator[bytes]:
    """Top-10s of people who are new."""
    for items, stars, when in people(bundle, n):
        ratings = [
            {"item_id": str(bundle.item_id(int(item))), "rating": float(star), "timestamp": int(second)}
            for item, star, second in zip(items, stars, when, strict=True)
        ]
        yield post("/recommendations/", json.dumps({"ratings": ratings, "k": 10}))


if __name__ == "__main__":
    main()
