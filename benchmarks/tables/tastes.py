"""What `benchmarks/tastes.py` measured."""

from __future__ import annotations

from benchmarks.tables.markdown import paragraphs, table
from benchmarks.tables.results import Entry, Results

SHOWN = 3  # tastes whose lists are shown


def tastes(results: Results) -> str:
    """Hits by model and order, and a few lists side by side."""
    rows: list[Entry] = results.one("tastes")
    pairs = [*rows[0]["pairs"]]
    hits = [
        [one["name"], _order(one), f"{one['hits']:.2f}", f"{min(one['pairs'].values()):.1f}",
         f"{max(one['pairs'].values()):.1f}"]
        for one in rows
    ]  # fmt: skip
    header = ["model", "`rank_by`", "hits of 10", "fewest of a taste", "most"]
    return paragraphs(table(header, hits, "llrrr"), *(_lists(rows, pair) for pair in pairs[:SHOWN]))


def _lists(rows: list[Entry], pair: str) -> str:
    """The first lists of a taste, one column for each model's default order."""
    chosen = [one for one in rows if one["is_default"] or one["rank_by"] == "stars"]
    chosen = [one for one in chosen if pair in one["lists"]]
    given = "; ".join(chosen[0]["lists"][pair]["given"])
    lists = [one["lists"][pair] for one in chosen]
    length = max(len(one["best"]) for one in lists)
    cells = [[str(place + 1), *(one["best"][place] for one in lists)] for place in range(length)]
    cells.append(["hits", *(str(one["hits"]) for one in lists)])
    header = ["", *(f"{one['name'].partition(',')[0]}, {_order(one)}" for one in chosen)]
    return paragraphs(f"{pair.replace('+', ' and ')}: {given}.", table(header, cells, "r" + "l" * len(chosen)))


def _order(row: Entry) -> str:
    name = f"`{row['rank_by']}`" if row["rank_by"] else "its own"
    return f"{name} (default)" if row["is_default"] and row["rank_by"] else name
