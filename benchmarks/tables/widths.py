"""What `benchmarks/widths.py` measured: bytes and RMSE of narrower tables of factors."""

from __future__ import annotations

from benchmarks.tables.markdown import by_device, paragraphs, stars, table, whole
from benchmarks.tables.results import Entry, Results, about

WIDE = ("all coordinates", "one width", "widths by number of ratings", "trained with that many",
        "all coordinates in 16 bits", "widths in 16 bits")  # fmt: skip


def widths(results: Results) -> str:
    """One model a row."""
    return by_device(results, "widths", _widths)


def _widths(rows: list[Entry]) -> str:
    header = ["model", "tables", "coordinates a row", "bytes of all coordinates", "test", "file, MB"]
    cells, below = [], []
    for row in rows:
        for one in sorted(row["rows"], key=lambda one: WIDE.index(one["what"])):
            size = "" if one["file_bytes"] is None else f"{one['file_bytes'] / 1e6:.2f}"
            cells.append([
                row["name"], one["what"], f"{one['mean_width']:g}", f"{one['table_share']:.1%}",
                stars(one["test_rmse"]), size,
            ])  # fmt: skip
        rule = row["rule"]
        users, items, ratings = (whole(row[what]) for what in ("users", "items", "ratings"))
        power = f"n^{rule['exponent']:g}"
        below.append(
            f"- {row['name']}, {users} users, {items} items, {ratings} ratings: a user has {rule['users']:g} {power} "
            f"coordinates, an item {rule['items']:g} {power}, {rule['dim']} at most; fitted in "
            f"{whole(row['fit_seconds'])} s, chosen in {whole(row['choosing_seconds'])} s, beside a load of "
            f"{row['load'][0]:.0f}."
        )
    return paragraphs(table(header, cells, "llrrrr"), "\n".join(below), about(rows))
