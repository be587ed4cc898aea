"""What `benchmarks/serving.py` and `fold_in.py` measured."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.tables.markdown import by_device, paragraphs, stars, table
from benchmarks.tables.results import Entry, Results, about
from recsys.bundle.manifest import LEGACY_MODELS


def serving(results: Results) -> str:
    """Throughput beside a no-op, start, swaps, memory; a column a bundle."""
    return by_device(results, "serving", _serving)


def _serving(found: dict[str, Entry]) -> str:
    rows: list[tuple[str, Callable[[Entry], str]]] = [
        ("one rating: requests/s (ratio; lowest to highest)", lambda it: throughput(it, "one rating")),
        ("top-10, seen excluded, titles: the same", lambda it: throughput(it, "top-10")),
        ("top-10 with reasons: the same", lambda it: throughput(it, "top-10 with reasons")),
        ("the no-op: requests/s; without middleware and log", noop),
        ("process start to the first 200 on `/health/ready`: median; longest", start),
        ("hot swaps to the other model and back; requests meanwhile; failed; answers of two models", swaps),
        ("memory after 100,000 mixed requests; growth since the 20,000th", memory),
    ]
    cells = [[what, *(shown(one, cell) for one in found.values())] for what, cell in rows]
    header = ["what", *(model_name(name) for name in found)]
    return paragraphs(table(header, cells, "l" * len(header)), about(list(found.values())))


def shown(measured: Entry, cell: Callable[[Entry], str]) -> str:
    """A figure, or that `--only` left it out for this bundle."""
    try:
        return cell(measured)
    except KeyError:
        return "not measured"


def throughput(measured: Entry, route: str) -> str:
    it = measured["ratios"][route]
    rate = f"{it['requests_per_second']:,}"
    return f"{rate} ({it['ratio_to_noop']:.2f}; {it['lowest']:.2f}–{it['highest']:.2f})"


def noop(measured: Entry) -> str:
    with_all, bare = (measured["ratios"][name]["requests_per_second"] for name in ("no-op", "bare"))
    return f"{with_all:,}; {bare:,} ({1e6 / with_all - 1e6 / bare:.0f} µs a request)"


def start(measured: Entry) -> str:
    return f"{measured['start']['median_seconds']:.2f} s; {measured['start']['longest_seconds']:.2f} s"


def swaps(measured: Entry) -> str:
    it = measured["swaps"]
    return f"{it['swaps']}; {it['requests']:,}; {it['failed']}; {it['mixed']}"


def memory(measured: Entry) -> str:
    it = measured["memory"]
    return f"{it['mib']:.0f} MiB; {it['growth_mib']:.2f} MiB"


def model_name(name: str) -> str:
    """Title of a bundle measured by `benchmarks/serving.py`, such as `svdpp dim 64 on ml-1m`."""
    first, _, rest = name.partition(" ")
    return (
        f"`{LEGACY_MODELS.get(first, first)}` {rest}".replace("ml-", "ML-")
        .replace("-1m", "-1M")
        .replace("-100k", "-100K")
    )


def fold_in(results: Results) -> str:
    """How near a fold-in is to training, and what it brings to people never seen."""
    return by_device(results, "fold_in", lambda found: paragraphs(known(found["runs"]), unseen(found["unseen"])))


def known(runs: list[Entry]) -> str:
    """Correlation with trained predictions, and milliseconds."""
    rows = [
        [run_name(run["name"]), *(f"{run['correlation']['linear'][name]:.4f}" for name in ("median", "p10", "min")),
         *(f"{run['milliseconds'][name]:.3f}" for name in ("fold_in", "top10", "top10_with_reasons"))]
        for run in runs
    ]  # fmt: skip
    header = ["correlation per user", "median", "10th percentile", "lowest",
              "fold-in, ms", "top 10, ms", "with reasons, ms"]  # fmt: skip
    return paragraphs(table(header, rows, "lrrrrrr"), about(runs))


def unseen(runs: list[Entry]) -> str:
    """RMSE for users whom the model never saw, by how many ratings are folded in."""
    names = list(runs[0]["rmse"])
    rows: list[list[Any]] = [
        [run_name(run["name"].partition(",")[0]), *(stars(run["rmse"][name]) for name in names), f"`{run['command']}`"]
        for run in runs
    ]
    known_ratings = f"{runs[0]['ratings_known_a_user']:.0f} on average"
    header = ["RMSE", *(f"{name} ({known_ratings})" if name == "all folded in" else name for name in names), "command"]
    return paragraphs(table(header, rows, "l" + "r" * len(names) + "l"), about(runs))


def run_name(name: str) -> str:
    """Title of a run measured by `benchmarks/fold_in.py`, such as `ml-1m svdpp`."""
    data, _, model = name.partition(" ")
    return f"{data.upper()} `{LEGACY_MODELS.get(model, model)}`"
