"""Whoever reads the service's log stalls, comes back, stalls again and goes: requests go on as if nothing were."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import subprocess
import tempfile
import time
from pathlib import Path
from urllib.request import urlopen

from benchmarks.chaos.campaign import Figures, Row
from benchmarks.load.kept import post
from benchmarks.load.service import Running, running
from benchmarks.load.visitors import Answer, Visitors, get
from tests.bundles import make_bundle, random_factors

SUMMARY = "the reader of the log stalled, then gone, under load"
USERS, ITEMS = 500, 300
DRAIN = 0.5


def run(*, short: bool) -> Figures:
    seconds, slow = (1.0, 5.0) if short else (60.0, 1.0)  # a second may pass on a busy machine
    with tempfile.TemporaryDirectory() as place:
        factors = random_factors(n_users=USERS, n_items=ITEMS, dim=16)
        rated = [(user, user % ITEMS, 4.0, 0) for user in range(USERS)]
        make_bundle(factors, list(range(USERS)), list(range(ITEMS)), rated).save(Path(place) / "bundle")
        return _run(Path(place) / "bundle", seconds, slow)


def _run(bundle: Path, seconds: float, slow: float) -> Figures:
    long = f"X-Request-ID: {'x' * 128}"  # fills the queue sooner
    pair = json.dumps({"user_id": "1", "item_id": "2"})
    asked = [post("/predict/rating/", pair, [long]), get("/users/1/recommendations?k=3", long), get("/items/7", long)]
    reading, writing = os.pipe()
    options = ("--bundle", str(bundle), "--poll-seconds", "0.2")
    answers: list[Answer] = []
    figures: Figures = {"stalled_seconds": seconds, "slow_seconds": slow}
    environment = {"RECSYS_DRAIN_SECONDS": str(DRAIN)}
    with running("-m", "serve", *options, environment=environment, stderr=writing) as service:
        os.close(writing)
        with Visitors(service.port, [itertools.cycle(asked) for _ in range(2)], answers.append):
            end = time.monotonic() + seconds
            while time.monotonic() < end or not _dropped(service):
                time.sleep(0.2)
            figures["told"] = _told(reading)  # the reader is back
            time.sleep(seconds / 4)  # and stalls again
            os.close(reading)
            time.sleep(seconds / 4)
            figures |= {
                "dropped": _dropped(service),
                "requests": len(answers),
                "failed": sum(one.status != 200 for one in answers),
                "slow": sum(one.seconds > slow for one in answers),
                "longest": round(max(one.seconds for one in answers), 3),
            }
            start = time.perf_counter()
            service.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                service.process.wait(30)
            figures["status"] = service.process.poll()
            figures["stop_seconds"] = round(time.perf_counter() - start, 2)
    return figures


def _dropped(service: Running) -> int:
    """How many lines of the log were, so far."""
    with urlopen(f"{service.address}/metrics", timeout=30) as answer:
        found = re.search(rb"^recsys_log_lines_dropped_total (\S+)", answer.read(), re.M)
    return 0 if found is None else int(float(found[1]))


def _told(reading: int) -> int:
    """Read the log until it says how many lines were dropped. Returns how many."""
    content, end = b"", time.monotonic() + 30
    while time.monotonic() < end:
        content = content[-500:] + os.read(reading, 1 << 16)
        if found := re.search(rb"(\d+) log lines were dropped", content):
            return int(found[1])
    return 0


def rows(figures: Figures) -> list[Row]:
    what = f"log reader stalled for {figures['stalled_seconds']:g} s under load, then gone"
    found = (
        f"{figures['failed']:,} of {figures['requests']:,} requests failed, {figures['slow']:,} took more than "
        f"{figures['slow_seconds']:g} s (longest {1000 * figures['longest']:,.0f} ms); "
        f"{figures['dropped']:,} lines dropped and counted"
    )
    holds = not figures["failed"] and not figures["slow"] and 0 < figures["told"] <= figures["dropped"]
    stop = f"ended by itself after {figures['stop_seconds']:.1f} s, with status {figures['status']}"
    return [
        Row(what, found, holds),
        Row(f"SIGTERM then, with a drain of {DRAIN:g} s", stop, figures["status"] == 0 and _in_time(figures)),
    ]


def _in_time(figures: Figures) -> bool:
    return bool(figures["stop_seconds"] < DRAIN + 2)
