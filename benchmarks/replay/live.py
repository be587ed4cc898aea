"""The ratings arrive through the API of a service that follows an alias; `recsys update` runs once before each step."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

from benchmarks.load.service import Client, running
from benchmarks.replay.answers import Answer, ask, compared
from benchmarks.replay.bookkeeping import bookkeeping
from benchmarks.replay.place import ALIAS, Place, event_of, wait_for
from benchmarks.replay.plan import Plan
from benchmarks.replay.policies import FIRST, keep, remove_update, step_of, updated_bundle
from benchmarks.replay.processes import ONE_THREAD, run_python
from benchmarks.replay.stream import Stream
from recsys.bundle import Bundle
from recsys.files import read_json, write_json

BATCH = 1000  # events of a request
UPDATE = ("-m", "recsys", "update", "--max-distance", "4")  # the policy of updates alone: never fitted again as a whole


def arrive(folder: Path, plan: Plan, *, with_bookkeeping: bool) -> dict[str, Any]:
    """Let a stream arrive, an update before each step but the first; the figures are kept once it is through.

    Args:
        folder: With the stream and the first version.
        plan: How much is asked.
        with_bookkeeping: Whether to ask afterwards what was served when, and to forget people.
    """
    done = folder / "live.json"
    if (found := read_json(done)) is not None:
        return found
    stream, place = Stream.load(folder / "stream.npz"), Place(folder / "live")
    shutil.rmtree(place.folder, ignore_errors=True)
    place.folder.mkdir()
    for number in range(stream.steps):
        remove_update(folder, number)
    publish_first(place, Bundle.load(folder / FIRST))
    options = ("-m", "serve", "--alias", ALIAS, "--workers", "2", "--poll-seconds", "0.1", "--log-level", "warning")
    with running(*options, environment=place.environment | ONE_THREAD) as service:
        figures, answers = replay_live(folder, stream, place, service.port, plan)
        if with_bookkeeping:
            figures["bookkeeping"] = bookkeeping(place, service.port, answers, plan)
    shutil.rmtree(place.folder)
    write_json(done, figures)
    return figures


def publish_first(place: Place, bundle: Bundle) -> None:
    """Let the alias name the first version."""
    with place.versions() as versions:
        first = versions.publish(bundle, parent=None, cut=0, made_by="fit", metrics={}, configuration={})
        versions.promote(ALIAS, first.version, "replay", "fitted on what came before")


def replay_live(
    folder: Path, stream: Stream, place: Place, port: int, plan: Plan
) -> tuple[dict[str, Any], list[Answer]]:
    """All steps: update, predict what comes next, send it. Returns figures, and what the service answered."""
    answers: list[Answer] = []
    differences: list[float] = []
    updates: list[dict[str, Any]] = []
    sent, seconds = 0, 0.0
    for number in range(stream.steps):
        rows, cost = stream.rows(number), None
        acknowledged = time.perf_counter()
        if number:
            cost = run_python(*UPDATE, "--runs", str(place.folder / "runs"), environment=place.environment)
        version, bundle = place.champion()
        wait_for(Client(port), version.short)
        if cost is not None:
            bundle.save(updated_bundle(folder, number))
            updates.append(
                {
                    "promoted": version.cut == rows.start - stream.fitted,
                    "distance": version.metrics.get("distance"),
                    "served_after": round(time.perf_counter() - acknowledged, 2),
                }
            )
        keep(folder, "updated", number, step_of(stream, bundle, number, stream.fitted + version.cut, "updated", cost))
        client = Client(port)  # a new one, as the service closes connections that nobody uses for long
        middle = (rows.start + rows.stop) // 2
        seconds += post(client, stream, rows.start, middle)
        found = ask(client, stream, slice(middle, rows.stop), plan.asked)
        differences += compared(stream, bundle, stream.fitted + version.cut, middle, found)
        answers += found
        seconds += post(client, stream, middle, rows.stop)
        sent += rows.stop - rows.start
        print(f"step {number + 1} of {stream.steps}: served by {version.short}", flush=True)
    return {
        "updates": updates,
        "events_per_second": round(sent / seconds),
        "compared": {"answers": len(differences), "largest_difference": max(differences)},
    }, answers  # fmt: skip


def post(client: Client, stream: Stream, start: int, stop: int) -> float:
    """Send ratings in their order. Returns the seconds that it took."""
    begun = time.perf_counter()
    for first in range(start, stop, BATCH):
        events = [event_of(stream, row) for row in range(first, min(stop, first + BATCH))]
        status, answer = client.post("/events/", {"events": events})
        if status != 200:
            raise SystemExit(f"error: the service did not take events: {status} {answer}")
    return time.perf_counter() - begun
