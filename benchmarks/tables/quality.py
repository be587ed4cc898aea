"""What `benchmarks/quality.py` measured: every experiment on every split, and what each ingredient brings."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean

from benchmarks.ensembles import PLAN as ENSEMBLES
from benchmarks.quality import ABLATION, ATTRIBUTES, BAYESIAN, QUALITY
from benchmarks.tables.markdown import bold, by_device, each, paragraphs, stars, table, whole
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


def bayesian(results: Results) -> str:
    """The posterior's figures: all, warm and cold rows, ahead in time, and whether it is as sure as it says."""
    return by_device(results, "bayesian", _bayesian)


def _bayesian(rows: list[Entry]) -> str:
    header = [
        "`bayesian_mf`",
        "biases",
        "RMSE",
        "warm",
        "cold",
        "prequential",
        "unseen users",
        "in 50%",
        "in 90%",
        "fit, s",
    ]
    cells = []
    for row in ordered(rows, BAYESIAN):
        data, _, split = row["name"].partition(" ")
        seeds, more = row["test_rmse"], {name: mean(values) for name, values in row["more"].items()}
        counted = " " + "¹²³"[len(seeds) - 1] if len(seeds) < 3 else ""
        cells.append([
            protocol_name(data, split), stars(row["biases_rmse"]), bold(stars(mean(seeds))) + counted.strip(),
            stars(more.get("test/rmse_warm")), stars(more.get("test/rmse_cold")), stars(more.get("prequential/rmse")),
            stars(more.get("prequential/rmse_unseen")), f"{more['test/inside_50']:.1%}",
            f"{more['test/inside_90']:.1%}", whole(mean(row["fit_seconds"])),
        ])  # fmt: skip
    return paragraphs(table(header, cells, "l" + "r" * 9), about(rows))


def attributes(results: Results) -> str:
    """The models fitted by gradient with attributes of users and items, and without."""
    return by_device(results, "attributes", _attributes)


def _attributes(rows: list[Entry]) -> str:
    header = ["data, split", "model", "attributes", "validation", "RMSE", "warm", "cold", "prequential", "unseen users"]
    cells = []
    for row in ordered(rows, ATTRIBUTES):
        name = row["name"].removesuffix(" with attributes")
        told = "no" if name == row["name"] else "yes"
        protocol, _, model = name.removesuffix(" without").rpartition(" ")
        seeds, more = row["test_rmse"], {name: mean(values) for name, values in row["more"].items()}
        counted = "¹²³"[len(seeds) - 1] if len(seeds) < 3 else ""
        cells.append([
            protocol_name(*protocol.split(" ", 1)), f"`{model}`", told, stars(mean(row["val_rmse"])),
            bold(stars(mean(seeds))) + counted, stars(more.get("test/rmse_warm")), stars(more.get("test/rmse_cold")),
            stars(more.get("prequential/rmse")), stars(more.get("prequential/rmse_unseen")),
        ])  # fmt: skip
    return paragraphs(table(header, cells, "lll" + "r" * 6), about(rows))


def ordered(rows: list[Entry], plan: Sequence[tuple[str, str]]) -> list[Entry]:
    """Rows as the benchmark lists them, since a results file has those measured again at its end."""
    order = [name for name, _ in plan]
    return sorted(rows, key=lambda row: order.index(row["name"]) if row["name"] in order else len(order))


def protocol_name(data: str, split: str) -> str:
    """As tables call it: ML-1M `kfold` fold 0."""
    rule, _, rest = split.partition(" ")
    return " ".join([data.upper().replace("_", "-"), f"`{rule}`", *rest.split()])


def samples(results: Results) -> str:
    """What more samples of a posterior bring and cost, and what compressing them does."""
    return by_device(results, "samples", _samples)


def _samples(rows: list[Entry]) -> str:
    header = ["data", "samples", "validation", "test", "factors, MB", "a prediction, ms", "top 10, ms", "fold-in, ms"]
    cells = [
        [protocol_name(row["data"], row["split"]), row["samples"], stars(row["val_rmse"]), stars(row["test_rmse"]),
         f"{row['factors_mb']:.1f}", *(f"{row[f'{what}_ms']:.3f}" for what in ("predict", "top10", "fold_in"))]
        for row in rows
    ]  # fmt: skip
    return paragraphs(table(header, cells, "ll" + "r" * 6), about(rows))


def ensembles(results: Results) -> str:
    """Each member's worth and cost, and the bundle that they make together."""
    return by_device(results, "ensembles", _ensembles)


def _ensembles(rows: list[Entry]) -> str:
    header = [
        "data, split",
        "model",
        "weight",
        "validation",
        "without it",
        "test",
        "fit, s",
        "MB",
        "top 10, ms",
        "command",
    ]
    cells = []
    for row in ordered(rows, [(name, "") for name in ENSEMBLES]):
        data, _, split = row["name"].partition(" ")
        for member in row["members"]:
            loss = member["loss_without"]
            cells.append([
                protocol_name(data, split), f"`{member['name']}`", f"{member['weight']:.2f}", stars(member["val_rmse"]),
                f"{loss:+.4f}", stars(member["test_rmse"]), whole(member["fit_seconds"]),
                f"{member['bytes'] / 1e6:.0f}", f"{member['top_10_ms']:.2f}", f"`{member['command']}`",
            ])  # fmt: skip
        cells.append([
            protocol_name(data, split), "**ensemble**", "", stars(row["val_rmse"]), "", bold(stars(row["rmse"])),
            whole(row["fit_seconds"]), f"{row['bytes'] / 1e6:.0f}", f"{row['top_10_ms']:.2f}", "",
        ])  # fmt: skip
    figures = ("rmse", "rmse_uncompressed", "rmse_warm", "rmse_cold")
    of_whole = [
        [protocol_name(*row["name"].split(" ", 1)), *(stars(row.get(figure)) for figure in figures)]
        for row in ordered(rows, [(name, "") for name in ENSEMBLES])
    ]
    words = ["RMSE of the ensemble", "all", "uncompressed", "warm", "cold"]
    return paragraphs(table(header, cells, "ll" + "r" * 7 + "l"), table(words, of_whole, "lrrrr"), about(rows))
