"""What `benchmarks/regularization.py` measured: one change of the penalty a row."""

from __future__ import annotations

from statistics import mean

from benchmarks.tables.markdown import by_device, each, paragraphs, stars, table
from benchmarks.tables.quality import protocol_name
from benchmarks.tables.results import Entry, Results, about


def regularization(results: Results) -> str:
    """Validation and test RMSE by data set."""
    return by_device(results, "regularization", _regularization)


def _regularization(rows: list[Entry]) -> str:
    cells = []
    for row in rows:
        data, _, change = row["name"].partition(" ")
        val, test = row["val_rmse"], row["test_rmse"]
        cells.append([protocol_name(data, "user_time"), f"`{row['experiment']}`", change, stars(mean(val)), each(val),
                      stars(mean(test))])  # fmt: skip
    header = ["data", "experiment", "change", "validation", "each seed", "test"]
    return paragraphs(table(header, cells, "lllrlr"), about(rows))
