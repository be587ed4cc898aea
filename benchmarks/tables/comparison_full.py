"""The long tables of the comparison: every figure of every seed, rankings, and the settings that were found."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import mean, median
from typing import Any

from benchmarks.comparison.competitors import COMPETITORS
from benchmarks.tables.comparison import (
    Place,
    Row,
    Show,
    cell,
    failures,
    figure,
    fit_seconds,
    grouped,
    peak_memory,
    places,
    rmse,
)
from benchmarks.tables.markdown import ABSENT, bold, each, paragraphs, plain, seconds, stars, table, whole
from benchmarks.tables.quality import protocol_name
from benchmarks.tables.results import Entry, NotMeasuredError, Results, about, read

RATING: dict[str, Show] = {
    "RMSE": rmse,
    "each seed": lambda done: each(entry["rmse"] for entry in done),
    "warm": figure("rmse_warm", stars, mean),
    "cold": figure("rmse_cold", stars, mean),
    "MAE": figure("mae", stars, mean),
    "fit, s": fit_seconds,
    "fit, CPU s": figure("fit_cpu_seconds", seconds, median),
    "predict, s": figure("predict_seconds", seconds, median),
    "peak, MiB": peak_memory,
    "before, MiB": figure("memory_before_fit_mib", whole, median),
}
RANKING: dict[str, Show] = {
    **{f"{name}@{k}": figure(f"{name}@{k}", stars, mean) for k in (10, 20) for name in ("recall", "ndcg", "hr")},
    "fit, s": fit_seconds,
    "predict, s": figure("predict_seconds", seconds, median),
    "peak, MiB": peak_memory,
}


def comparison_full(results: Results) -> str:
    """A table a protocol, then the documented settings and where they come from.

    Raises:
        NotMeasuredError: There is no results file.
    """
    return tables_of(results, "rating", RATING)


def ranking(results: Results) -> str:
    """Rankings over the full catalogue; a table a data set.

    Raises:
        NotMeasuredError: There is no results file, or no ranking in it.
    """
    return tables_of(results, "ranking", RANKING)


def tables_of(results: Results, kind: str, columns: Mapping[str, Show]) -> str:
    """All tables of one kind of task."""
    entries = [entry for entry in results.entries("comparison") if entry["task"] == kind]
    if not entries:
        raise NotMeasuredError(f"`comparison-<device>.json` has no {kind}")
    rows = grouped(entries)
    tables = [table_of(rows, place, columns) for place in places(rows, kind)]
    return paragraphs(*tables, failures(rows), settings(rows), versions(entries), about(entries))


def table_of(rows: list[Row], place: Place, columns: Mapping[str, Show]) -> str:
    """All competitors on one protocol."""
    taking_part = [row for row in rows if place in row.entries]
    some = next(iter(taking_part)).entries[place][0]
    title = f"**{protocol_name(*place)}**: {some['n_train']:,} ratings to fit on, {some['n_test']:,} to predict"
    cells = [[full_name(row), *(cell(row, place, show) for show in columns.values())] for row in taking_part]
    align = "l" + "".join("l" if name == "each seed" else "r" for name in columns)
    return paragraphs(title, table(["competitor", *columns], cells, align))


def full_name(row: Row) -> str:
    name = row.label + row.suffix
    return bold(name) if row.ours else name


def settings(rows: list[Row]) -> str:
    """Documented settings, with their source, by data set where these differ."""
    cells: dict[tuple[str, str, str], list[str]] = {}
    for row in rows:
        if row.settings != "documented":
            continue
        for (data, _), entries in row.entries.items():
            key = (row.label, shown(entries[0]["settings"]), plain(entries[0]["source"]))
            names = cells.setdefault(key, [])
            if (name := data.upper().replace("_", "-")) not in names:
                names.append(name)
    found = [[label, ", ".join(names), chosen, source] for (label, chosen, source), names in cells.items()]
    return table(["documented settings", "data", "values", "from"], found, "llll") if found else ""


def versions(entries: list[Entry]) -> str:
    """Of all libraries that took part; one that two environments have in two versions has both."""
    found: dict[str, list[str]] = {}
    for entry in entries:
        for name, version in entry.get("versions", {}).items():
            if version not in found.setdefault(name, []):
                found[name].append(version)
    listed = ", ".join(f"{name} {' and '.join(of)}" for name, of in sorted(found.items()))
    return f"Versions: {listed}." if listed else ""


def shown(chosen: Mapping[str, Any] | None) -> str:
    """Settings as they are typed."""
    return "`" + " ".join(f"{name}={value}" for name, value in chosen.items()) + "`" if chosen else ABSENT


def tuned(results: Results) -> str:
    """Settings that were found by validation rows, beside what the documented ones give on these.

    Raises:
        NotMeasuredError: There is no results file.
    """
    files = sorted(results.folder.glob("tuned-*.json"))
    if not files:
        raise NotMeasuredError("there is no `tuned-<competitor>-<data>.json`")
    order = {name: number for number, name in enumerate(COMPETITORS)}
    found = sorted(map(read, files), key=lambda it: (it["target"], it["data"], order[it["competitor"]]))
    header = ["competitor", "data", "trials", "validation: documented", "tuned", "settings"]
    return paragraphs(table(header, [tuned_row(it) for it in found], "llrrrl"), about(found))


def tuned_row(found: Entry) -> list[str]:
    """The first trial has the documented settings."""
    trials, target = found["trials"], found["target"]
    failed = sum("error" in trial for trial in trials)
    return [
        COMPETITORS[found["competitor"]].label,
        protocol_name(found["data"], found["split"]),
        f"{len(trials)}" + (f" ({failed} failed)" if failed else ""),
        f"{target.upper()} {stars(trials[0].get(target))}",
        stars(found["best"]),
        shown(found["settings"]),
    ]
