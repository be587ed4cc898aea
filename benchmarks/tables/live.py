"""The tables of what people do while a service runs: events, reads after them, answers given again, and updates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.tables.markdown import ABSENT, paragraphs, table
from benchmarks.tables.results import NotMeasuredError, Results, about

DATABASES = ("sqlite", "postgresql")
FILES = ("live_ingest", "live_durability", "live_cuts", "live_interleavings")


def events(results: Results) -> str:
    """The newest figures of each command, by database.

    Raises:
        NotMeasuredError: None was run.
    """
    found: dict[str, dict[str, Any]] = {}
    for name in FILES:
        try:
            found[name] = next(iter(results.of(name).values()))
        except NotMeasuredError:
            continue
    if not found:
        raise NotMeasuredError("there is no `live_ingest-<device>.json`")
    figures = {name: entry["figures"] for name, entry in found.items()}
    rows = [*_speed(figures.get("live_ingest", {})), *_safety(figures)]
    return paragraphs(table(["what", "SQLite", "PostgreSQL"], rows, "lrr"), about([*found.values()]))


def repeats(results: Results) -> str:
    """What an answer costs that was given before, beside a no-op.

    Raises:
        NotMeasuredError: It was not run.
    """
    entry = next(iter(results.of("live_repeats").values()))
    figures: dict[str, dict[str, Any]] = entry["figures"]
    names = [name for name in figures["without a database"] if name != "hit_rate"]
    rows = [[name, *(_beside_noop(one[name]) for one in figures.values())] for name in names]
    rows.append(["share of answers that were kept", *(f"{one['hit_rate']:.1%}" for one in figures.values())])
    header = ["requests/s (ratio to the no-op; lowest to highest)", *figures]
    return paragraphs(table(header, rows, "lrr"), about([entry]))


def reads(results: Results) -> str:
    """What a database costs those who ask, by model.

    Raises:
        NotMeasuredError: It was not run.
    """
    entry = next(iter(results.of("live_reads").values()))
    figures: dict[str, dict[str, Any]] = entry["figures"]
    names = list(next(iter(figures.values())))
    rows = [[name, *(_spread(one[name]) for one in figures.values())] for name in names]
    return paragraphs(table(["ratio (lowest to highest)", *figures], rows, "lrr"), about([entry]))


def updates(results: Results) -> str:
    """Seconds of an update and of the refit that it stands for, by model.

    Raises:
        NotMeasuredError: It was not run.
    """
    entry = next(iter(results.of("live_updates").values()))
    figures: dict[str, dict[str, float]] = entry["figures"]
    rows = [
        ["`recsys update`, its start included: seconds", *(f"{one['seconds']:.1f}" for one in figures.values())],
        ["CPU seconds", *(f"{one['cpu_seconds']:.1f}" for one in figures.values())],
        ["`recsys.train` on the same ratings: seconds", *(f"{one['refit_seconds']:,.0f}" for one in figures.values())],
        ["CPU seconds", *(f"{one['refit_cpu_seconds']:,.0f}" for one in figures.values())],
        ["share of its CPU seconds", *(f"1/{1 / one['share']:.0f}" for one in figures.values())],
    ]
    header = [f"after {entry['events']:,} events", *figures]
    return paragraphs(table(header, rows, "l" + "r" * len(figures)), about([entry]))


def _spread(found: Mapping[str, float]) -> str:
    return f"{found['ratio']:.2f} ({found['lowest']:.2f}–{found['highest']:.2f})"


def _beside_noop(found: Mapping[str, float]) -> str:
    return f"{found['requests_per_second']:,} ({found['ratio']:.2f}; {found['lowest']:.2f}–{found['highest']:.2f})"


def _speed(ingest: Mapping[str, Mapping[str, float]]) -> list[list[str]]:
    if not ingest:
        return []
    services = [ingest.get(f"service, {name}") for name in DATABASES]
    bare = ingest["bare SQLite"]
    return [
        ["events a second in batches of 100, two workers", *(_count(one, "batches") for one in services)],
        ["single events a second from 32 connections", *(_count(one, "singles") for one in services)],
        ["bare SQLite, transactions of 100 events", _count(bare, "batches"), ABSENT],
        ["bare SQLite, transactions of one event", _count(bare, "singles"), ABSENT],
    ]


def _safety(figures: Mapping[str, Mapping[str, Mapping[str, float]]]) -> list[list[str]]:
    killed = [figures.get("live_durability", {}).get(name) for name in DATABASES]
    cuts = [figures.get("live_cuts", {}).get(name) for name in DATABASES]
    rows = []
    if any(killed):
        rows = [
            ["SIGKILLs of service, worker, client and update", *(_count(one, "kills") for one in killed)],
            ["acknowledged events", *(_count(one, "acknowledged") for one in killed)],
            ["lost, doubled", *(_both(one, "lost", "doubled") for one in killed)],
            ["ratings that are wrong in what updates made", *(_count(one, "wrong_ratings") for one in killed)],
            ["syncs of the disk for each commit", *(_ratio(one, "syncs_per_commit") for one in killed)],
        ]
    if any(cuts):
        rows += [
            ["cuts that were read while two processes wrote", *(_count(one, "trials") for one in cuts)],
            ["events missing from them", *(_count(one, "missing") for one in cuts)],
        ]
        control = figures["live_cuts"].get("postgresql without the lock (control)")
        rows += [["control: missing from 200 cuts without the lock", ABSENT, _count(control, "missing")]]
    seen = [figures.get("live_interleavings", {}).get(name) for name in DATABASES]
    if any(seen):
        rows += [
            [
                "events, each with a question to any worker after it",
                *(_count(one, "interleavings") for one in seen),
            ],
            ["answers without what was acknowledged before", *(_count(one, "violations") for one in seen)],
        ]
    return rows


def _count(found: Mapping[str, float] | None, name: str) -> str:
    return ABSENT if found is None else f"{found[name]:,.0f}"


def _both(found: Mapping[str, float] | None, one: str, other: str) -> str:
    return ABSENT if found is None else f"{found[one]:,.0f}, {found[other]:,.0f}"


def _ratio(found: Mapping[str, float] | None, name: str) -> str:
    return ABSENT if found is None else f"{found[name]:.2f}"
