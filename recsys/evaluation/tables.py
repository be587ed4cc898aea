"""Test metrics as tables on the terminal, the model beside the baselines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from recsys.bundle.ranking import Order
from recsys.evaluation.calibration import format_coverage
from recsys.evaluation.registry import (
    BASELINES,
    CASE_SUBSETS,
    NDCG,
    RMSE,
    SUBSETS,
    TARGETS,
    Group,
    Metric,
    in_group,
    popularity_prefix,
    ranking_prefix,
)
from recsys.evaluation.remarks import remarks
from recsys.progress import printable

Row = tuple[str, Sequence[float | None]]


def print_metrics(metrics: Mapping[str, Any], title: str, model: Mapping[str, Any] | None = None) -> None:
    """Print tables of the rating, prequential and ranking metrics that there are, and remarks on them.

    Args:
        metrics: By their keys in `metrics.json`.
        title: Of the tables.
        model: Arguments of the model.
    """
    title = printable(title)
    if RMSE.test_key in metrics:
        _print_ratings(metrics, f"{title}: test errors")
    if "prequential/rmse" in metrics:
        _print_prequential(metrics)
    _print_ranking(metrics, f"{title}: full-catalogue ranking")
    for sentence in remarks(metrics, model):
        print(f"warning: {printable(sentence)}")


def _print_ratings(metrics: Mapping[str, Any], title: str) -> None:
    share = metrics["test/share_cold"] or 0.0
    rows: list[Row] = [
        (label, [metrics[f"baseline/{name}{subset}"] for subset in SUBSETS])
        for name, label in BASELINES["rating"].items()
    ]
    for metric in _recorded("rating", metrics):
        name = "model" if metric is RMSE else f"model, {metric.label}"
        rows.append((name, [metrics[metric.test_key + subset] for subset in SUBSETS]))
    caption = f"{share:.1%} of test rows are cold"
    _print_table(title, f"RMSE in {RMSE.unit}", ("all", "warm", "cold"), caption, rows)
    if coverage := format_coverage(metrics):
        print(coverage)


def _print_prequential(metrics: Mapping[str, Any]) -> None:
    share = metrics["prequential/share_unseen"] or 0.0
    caption = f"each predicted from the user's earlier ratings\n{share:.1%} are of users unseen in training"
    rows: list[Row] = [
        (name, [metrics[key + subset] for subset in ("", "_unseen")])
        for name, key in (("running biases", "baseline/running_biases"), ("model", "prequential/rmse"))
    ]
    columns = ["all", "unseen users"]
    if "prequential/rmse_items_fold_in" in metrics:
        columns.append("unseen items")
        caption += f", {metrics['prequential/share_unseen_items'] or 0.0:.1%} of items"
        frozen = [None, metrics["prequential/rmse_unseen_items"]]
        rows = [(name, [*values, last]) for (name, values), last in zip(rows, frozen, strict=True)]
        folded = [metrics["prequential/rmse_items_fold_in"], None, metrics["prequential/rmse_unseen_items_fold_in"]]
        rows.append(("model, items folded in", folded))
    _print_table("\nprequential test RMSE", f"RMSE in {RMSE.unit}", columns, caption, rows)


def _print_ranking(metrics: Mapping[str, Any], title: str) -> None:
    """Print a table for each kind of targets that there is."""
    for targets in TARGETS:
        if NDCG.ranking_key(targets) not in metrics:
            continue
        rows: list[Row] = [
            (
                metric.label,
                [metrics.get(popularity_prefix(targets) + metric.name), metrics[metric.ranking_key(targets)]],
            )
            for metric in in_group("ranking")
            if metric.ranking_key(targets) in metrics
        ]
        caption = ["higher is better", *_cases(metrics, targets)]
        whose = "" if targets == "all" else f", {targets} items"
        _print_table(title + whose, "metric", (*BASELINES["ranking"].values(), "model"), "\n".join(caption), rows)


def _cases(metrics: Mapping[str, Any], targets: str) -> list[str]:
    """Lines about the cases: how many there are, what the model makes of the cold ones, and what is tied."""
    prefix = ranking_prefix(targets)
    if f"{prefix}cases" not in metrics:  # of an older run
        return []
    lines = []
    for subset in CASE_SUBSETS[1:]:
        value, n = metrics[NDCG.ranking_key(targets) + subset], metrics[f"{prefix}cases{subset}"]
        if value is not None:
            lines.append(f"{subset.strip('_').replace('_', ' ')}: {NDCG.label} {value:.4f} of {n:,} cases")
    absent = metrics[f"{prefix}share_absent"]
    lines.append(f"{metrics[f'{prefix}cases']:,} cases; {absent:.1%} of targets are not in the fit")
    if (tied := metrics[f"{prefix}share_tied"]) is not None:
        lines[-1] += f"; equal times decide the target in {tied:.1%} of cases"
    return lines


def print_orders(metrics: Mapping[str, Mapping[str, Any]], orders: Mapping[str, Order] | None = None) -> None:
    """Print the ranking metrics of one model's lists in several orders, side by side.

    Args:
        metrics: As `evaluate_ranking` gives them, by order.
        orders: By the same names, for their thresholds; None if they are not of this model.
    """
    found = {name: {key.rpartition("/")[2]: one for key, one in of.items()} for name, of in metrics.items()}
    rows: list[Row] = [
        (metric.label, [of[metric.name] for of in found.values()])
        for metric in in_group("ranking")
        if all(metric.name in of for of in found.values())
    ]
    least = ", ".join(f"{name} {order.min_ratings}" for name, order in (orders or {}).items())
    caption = f"with min_ratings: {least}" if least else "higher is better"
    _print_table("\nranking metrics by order", "metric", tuple(found), caption, rows)


def _recorded(group: Group, metrics: Mapping[str, Any]) -> list[Metric]:
    return [metric for metric in in_group(group) if metric.test_key in metrics]


def _print_table(title: str, first: str, columns: Sequence[str], caption: str, rows: Sequence[Row]) -> None:
    """Plain text, since rich would take longer to import than all else here to run."""
    cells = [[first, *columns]]
    cells += [[name, *("–" if value is None else f"{value:.4f}" for value in values)] for name, values in rows]
    lines = aligned(cells)
    rule = "─" * len(lines[0])
    print(title, rule, lines[0], rule, *lines[1:], rule, caption, sep="\n")


def aligned(cells: Sequence[Sequence[str]]) -> list[str]:
    """Rows of cells as lines of equal length: the first column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = []
    for name, *texts in cells:
        padded = [text.rjust(width) for text, width in zip(texts, widths[1:], strict=True)]
        lines.append("  ".join([name.ljust(widths[0]), *padded]))
    return lines
