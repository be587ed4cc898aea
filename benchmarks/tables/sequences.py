"""What was measured of sequences: `benchmarks/{sequences,sequence_stars,encoder,attention}.py`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.tables.markdown import ABSENT, by_device, paragraphs, table
from benchmarks.tables.results import Entry, Results, about

FIGURES = {
    "ndcg@10": "NDCG@10",
    "hr@10": "HR@10",
    "ndcg@20": "NDCG@20",
    "coverage@10": "coverage",
    "tail@10": "long tail",
}
BATCHES = {"together": "requests/s, together to alone, 32 connections", "lone": "time of a lone request, likewise"}


def sequences(results: Results) -> str:
    """Quality of attention over histories by protocol."""
    return by_device(results, "sequences", _sequences)


def _sequences(rows: list[Entry]) -> str:
    cells = [
        [
            row["name"],
            *(f"{row[figure]:.4f}" for figure in FIGURES),
            f"{row['share_tied']:.0%}",
            f"{row['fit_seconds']:,.0f}",
            f"`{row['run']}`",
        ]
        for row in rows
    ]
    lines = []
    for row in rows:
        if (above := row.get("above_ials")) is not None:
            lines.append(
                f"{row['name']}: NDCG@10 is {above['mean']:.4f} above that of `ials` on the same cases, 95% interval "
                f"{above['low']:.4f} to {above['high']:.4f}."
            )
        if (same := row.get("in_file_order")) is not None:
            lines.append(
                f"{row['name']}: the row asks for any item of a user's last second, given all before it. For the very "
                "last one in the file's order, given all before that, as in the figures of others, the same model has "
                f"NDCG@10 {same['ndcg@10']:.4f} and HR@10 {same['hr@10']:.4f}."
            )
    fast = any(row["bfloat16"] for row in rows)
    lines.append(f"Matrix products in {'bfloat16, but where float32 is named' if fast else 'float32'}.")
    header = ["row", *FIGURES.values(), "tied", "fit, s", "command"]
    return paragraphs(table(header, cells, "l" + "r" * (len(FIGURES) + 2) + "l"), *lines, about(rows))


def stars(results: Results) -> str:
    """Error of stars that are to come."""
    return by_device(results, "sequence_stars", _stars)


def _stars(rows: list[Entry]) -> str:
    cells = [
        [
            row["name"],
            *(f"{row[figure]:.4f}" for figure in ("rmse", "rmse_unseen")),
            ABSENT if (found := row.get("difference")) is None else f"{found['mean']:.4f}",
            ABSENT if found is None else f"{found['low']:.4f} to {found['high']:.4f}",
            f"{row['fit_seconds']:,.0f}",
            f"`{row['run']}`",
        ]
        for row in rows
    ]
    first = rows[0]
    sentence = (
        f"Running biases have {first['biases']:.4f}, {first['biases_unseen']:.4f} for users unseen in training. "
        "Seconds are those of the epochs; a base is solved before."
    )
    header = ["model", "RMSE", "unseen users", "squared error less its base's", "95% interval", "fit, s", "command"]
    return paragraphs(table(header, cells, "lrrrrrl"), sentence, about(rows))


def encoder(results: Results) -> str:
    """What the encoder costs a service.

    Raises:
        NotMeasuredError: It was not measured.
    """
    entry = next(iter(results.of("encoder").values()))
    figures: dict[str, Any] = entry["figures"]
    events = [*figures["alone"]]
    names = {"vector": "vector, ms", "top10": "top 10, ms", "top10_with_reasons": "with reasons, ms"}
    rows = [[label, *(f"{figures['alone'][n][name]:.2f}" for n in events)] for name, label in names.items()]
    rows += [[label, *(_spread(figures[name].get(n)) for n in events)] for name, label in BATCHES.items()]
    cached, model = figures["cached"], entry["model"]
    sentence = (
        f"A model of dimension {model['dim']} with {model['blocks']} blocks. The top 10 of a person with events, whose "
        f"vector is known, makes {_spread(cached)} of the no-op's requests per second where answers are not kept, and "
        f"{_spread(figures['kept'])} where they are, as by default."
    )
    header = ["events of somebody new", *events]
    return paragraphs(table(header, rows, "l" + "r" * len(events)), sentence, about([entry]))


def attention(results: Results) -> str:
    """Milliseconds of attention, ours and PyTorch's.

    Raises:
        NotMeasuredError: It was not measured.
    """
    entry = next(iter(results.of("attention").values()))
    rows = [
        [name, *(f"{found[who][step]:.1f}" for who in ("pytorch", "ours") for step in ("forward", "backward"))]
        for name, found in entry["figures"].items()
    ]
    header = ["", "PyTorch, forward", "backward", "ours, forward", "backward"]
    return paragraphs(table(header, rows, "lrrrr"), about([entry]))


def _spread(found: Mapping[str, float] | None) -> str:
    if found is None:
        return ABSENT
    return f"{found['ratio']:.2f} ({found['lowest']:.2f}–{found['highest']:.2f})"
