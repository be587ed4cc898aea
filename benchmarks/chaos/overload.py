"""Twice as many requests as the service can answer, each on a fresh connection, client and service on a core each.

The capacity is what a closed loop of 32 clients gets, before or after, whichever is more. Requests come at twice
what it was before, whatever becomes of them, and times count from when each was due.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.chaos.campaign import Figures, Row
from benchmarks.load.fresh import Fresh
from benchmarks.load.ml_1m import USERS, save_bundle
from benchmarks.load.service import pinned, running

SUMMARY = "twice the capacity, each request on a fresh connection"
PROBES = 25  # requests at a time, of which the slowest is looked at
PROBE_SECONDS = 0.01  # between them
LEAST = {"share": 0.6, "p99_ms": 1000, "readable": 0.99, "recovery": 2.0}
ON_TIME_MS = 50.0  # of the client: whoever is later than that measures itself


def run(*, short: bool) -> Figures:
    seconds, capacity_seconds = (2.0, 1.0) if short else (60.0, 10.0)
    paths = [f"/users/{user}/recommendations?k=10" for user in range(1, USERS + 1, 30)]
    with tempfile.TemporaryDirectory() as place:
        bundle = save_bundle(Path(place) / "bundle")
        options = ("--bundle", str(bundle), "--log-level", "warning")
        with pinned() as cores, running("-m", "serve", *options, cores={cores[-1]}) as service:
            client = Fresh(service.port, paths)
            client.closed_loop(capacity_seconds / 2)  # warm up
            quiet = _slowest(client)
            capacity = len(client.closed_loop(capacity_seconds).answered) / capacity_seconds
            overload = client.open_loop(2 * capacity, seconds)
            normal = 1.0 if short else max(3 * quiet, 0.02)
            recovery = _recovered(client, normal) - overload.ended
            after = len(client.closed_loop(capacity_seconds).answered) / capacity_seconds
            figures = overload.figures()
    larger = max(capacity, after)  # they differ if the machine did other things meanwhile
    return {
        "short": short,
        "cores": len(set(cores)),
        "seconds": seconds,
        "capacity_per_second": round(capacity, 1),
        "capacity_after_per_second": round(after, 1),
        **figures,
        "share_of_capacity": round(figures["answered_per_second"] / larger, 3),
        "offered_share": round(figures["offered_per_second"] / larger, 3),
        "quiet_ms": round(1000 * quiet, 2),
        "recovery_seconds": round(recovery, 3),
    }


def _slowest(client: Fresh) -> float:
    """Seconds for the slowest of some requests, one after another; infinite if one is not answered."""
    found = client.open_loop(1 / PROBE_SECONDS, PROBES * PROBE_SECONDS).answered
    return max(found) if len(found) == PROBES else float("inf")


def _recovered(client: Fresh, normal: float) -> float:
    """When requests began to be answered in that many seconds again."""
    end = time.perf_counter() + 30
    while (begun := time.perf_counter()) < end:
        if _slowest(client) <= normal:
            return begun
    return float("inf")


def rows(figures: Figures) -> list[Row]:
    """The short form only looks at what does not depend on what else the machine does."""
    answered, strict = figures["answered_ms"] or {"p50": np.inf, "p99": np.inf}, not figures["short"]
    readable = figures["readable_share_of_refused"]
    readable = 1.0 if readable is None else readable
    refused = figures["shed"] + figures["unreadable"] + figures["silent"]
    late = figures["client_late_ms"]["p99"]
    before, after = figures["capacity_per_second"], figures["capacity_after_per_second"]
    offered = f"{figures['offered_per_second']:,.0f} requests per second for {figures['seconds']:.0f} s"
    what = f"open loop, {offered}: {figures['offered_share']:.2f} times the capacity"
    return [
        Row(
            f"{what}: answered, as a share of the capacity ({before:,.0f} per second before, {after:,.0f} after)",
            f"{figures['share_of_capacity']:.2f}"
            + (f" (client {late:.0f} ms late at p99)" if late > ON_TIME_MS else ""),
            not strict or figures["share_of_capacity"] >= LEAST["share"],
        ),
        Row(
            "time of those that were answered, p50 / p99",
            f"{answered['p50']:.0f} ms / {answered['p99']:.0f} ms",
            answered["p99"] <= LEAST["p99_ms"] * (1 if strict else 10),
        ),
        Row(
            f"of {refused:,} others: 503 that clients could read",
            f"{100 * readable:.2f}%",
            readable >= LEAST["readable"] and figures["shed"] > 0,
        ),
        Row(
            "from the end of it until requests are answered as before",
            f"{figures['recovery_seconds']:.2f} s",
            figures["recovery_seconds"] <= (LEAST["recovery"] if strict else 30),
        ),
    ]
