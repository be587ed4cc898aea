"""What `benchmarks/quality.py` measured: every experiment on every split, and what each ingredient brings."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean

from benchmarks.quality import ABLATION, QUALITY
from benchmarks.tables.markdown import bold, by_device, each, paragraphs, stars, table
from benchmarks.tables.results import Entry, Results, about


def quality(results: Results) -> str:
    """Experiments by data set and split."""
    return by_device(results, "quality", _quality)


def ablation(results: Results) -> str:
    """One change a row."""
    return by_device(results, "ablation", _ablation)


def _quality(rows: list[Entry]) -> str:
    header = ["data, split", "model", "biases", "validation", "test", "each seed", "epochs", "command"]
    cells = []
    for row in ordered(rows, QUALITY):
        protocol, _, model = row["name"].rpartition(" ")
        data, _, split = protocol.partition(" ")
        epochs = " ".join(map(str, row["epochs"]))
        test = each(row["test_rmse"])
        cells.append([
            protocol_name(data, split), f"`{model}`", stars(row["biases_rmse"]), stars(mean(row["val_rmse"])),
            bold(stars(mean(row["test_rmse"]))), test, epochs, f"`{row['command']}`",
        ])  # fmt: skip
    return paragraphs(table(header, cells, "llrrrlll"), about(rows))


def _ablation(rows: list[Entry]) -> str:
    cells = [
        [row["name"], stars(mean(row["val_rmse"])), stars(mean(row["test_rmse"])), each(row["test_rmse"]),
         f"`{row['command']}`"]
        for row in ordered(rows, ABLATION)
    ]  # fmt: skip
    return paragraphs(table(["change", "validation", "test", "each seed", "command"], cells, "lrrll"), about(rows))


def ordered(rows: list[Entry], plan: Sequence[tuple[str, str]]) -> list[Entry]:
    """Rows as the benchmark lists them, since a results file has those measured again at its end."""
    order = [name for name, _ in plan]
    return sorted(rows, key=lambda row: order.index(row["name"]) if row["name"] in order else len(order))


def protocol_name(data: str, split: str) -> str:
    """As tables call it: ML-1M `kfold` fold 0."""
    rule, _, rest = split.partition(" ")
    return " ".join([data.upper().replace("_", "-"), f"`{rule}`", *rest.split()])
