"""What `benchmarks/training_loop.py`, `scaling.py`, `data_loading.py` and the micro-benchmarks measured."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median

from benchmarks.tables.markdown import ABSENT, bold, by_device, paragraphs, seconds, span, stars, table, times
from benchmarks.tables.results import Entry, NotMeasuredError, Results, about, is_gpu


def speed(results: Results) -> str:
    """The training loop beside others, and a rating's price as data grows; rows of their own for every device."""
    whats: list[tuple[str, Callable[[dict[str, Entry]], str]]] = [("training_loop", loops), ("scaling", growth)]
    parts: list[str] = []
    measured: list[Entry] = []
    for what, build in whats:
        try:
            found = results.of(what)
        except NotMeasuredError as absent:  # the other may have been
            parts.append(f"Not measured: {absent}.")
            continue
        parts.append(build(found))
        measured += found.values()
    return paragraphs(*parts, " ".join([about(measured), results.gpu_line("training_loop", "scaling")]).strip())


def loops(found: dict[str, Entry]) -> str:
    """An epoch of ML-1M's shape by case, and ratios in the sense that a reader asks for."""
    some = next(iter(found.values()))
    header = [
        f"an epoch of ML-1M's shape, batch {some['batch_size']:,}, dim {some['embedding_dim']}", "recsys",
        "a bare loop, same tensors", "recsys ÷ bare", "the usual `DataLoader` loop", "usual ÷ recsys",
    ]  # fmt: skip
    rows = []
    for device, content in found.items():
        for case in content["cases"]:
            usual = case.get("dataloader")
            rows.append([
                case["name"] + (f", {device}" if is_gpu(device) else ""),
                f"{seconds(median(case['lightning']))} s", f"{seconds(median(case['bare']))} s",
                times(case["lightning_over_bare"]), f"{seconds(median(usual))} s" if usual else ABSENT,
                bold(times(case["dataloader_over_lightning"])) if usual else ABSENT,
            ])  # fmt: skip
    return table(header, rows, "lrrrrr")


def growth(found: dict[str, Entry]) -> str:
    """What a rating costs in small and large data, and what the large batch does to RMSE."""
    rows, fits = [], []
    for device, content in found.items():
        suffix = f", {device}" if is_gpu(device) else ""
        for name in ("small", "large"):
            it = content[name]
            rows.append([
                f"{it['ratings'] / 1e6:.0f} million{suffix}", f"{it['batch_size']:,}",
                f"{seconds(median(it['epoch_seconds']))} s",
                f"{it['ns_per_rating']:.0f} ns" + (f" ({times(content['ratio'])})" if name == "large" else ""),
            ])  # fmt: skip
        fits += [
            f"{stars(fit['rmse'])} with batch {fit['batch_size']:,} after {fit['epochs']} epochs in "
            f"{seconds(fit['fit_seconds'])} s{suffix}"
            for fit in content["rmse"]
        ]
    text = f"RMSE on the larger data: {'; '.join(fits)}." if fits else ""
    return paragraphs(table(["ratings", "batch", "an epoch", "a rating"], rows, "lrrr"), text)


def _model(name: str) -> str:
    """A model's name as code, and what is said behind a comma."""
    model, comma, more = name.partition(",")
    return f"`{model}`{comma}{more}"


def scaling_sweeps(results: Results) -> str:
    """What a rating costs a sweep in small and large data, and what a large fit holds."""
    return by_device(results, "scaling_sweeps", _growth_sweeps)


def _growth_sweeps(found: Entry) -> str:
    rows = [
        [_model(name),
         *(f"{median(it['ns_per_rating'][size]):.0f} ns" for size in ("small", "large")), bold(times(it["ratio"])),
         f"{median(it['ns_per_rating']['large_first']):.0f} ns"]
        for name, it in found["models"].items()
    ]  # fmt: skip
    header = [f"a sweep, dim {found['embedding_dim']}", "a rating of 1 million", "of 25 million", "ratio",
              "the first sweep, which groups 25 million"]  # fmt: skip
    return paragraphs(table(header, rows, "lrrrr"), in_memory(found.get("memory")), about([found]))


def processes(results: Results) -> str:
    """A sweep of two processes that share the ratings, beside two that do not."""
    return by_device(results, "processes", _processes)


def _processes(found: Entry) -> str:
    rows = [
        [_model(name),
         *(span(median(it["seconds"][kind])) for kind in ("shared", "apart")), bold(times(it["ratio"])),
         f"{it['largest_difference']:.2g} after {it['sweeps_compared']}"]
        for name, it in found["models"].items()
    ]  # fmt: skip
    header = [f"a sweep over {found['ratings']:,} ratings, dim {found['embedding_dim']}", "shared", "apart", "ratio",
              "difference from one process after sweeps"]  # fmt: skip
    return paragraphs(table(header, rows, "lrrrr"), about([found]))


def ials_sweep(results: Results) -> str:
    """A sweep of iALS by library and solver, and what the lists are worth after some."""
    return by_device(results, "ials_sweep", _ials_sweep)


def _ials_sweep(found: Entry) -> str:
    solvers: dict[str, Entry] = found["solvers"]
    fastest = min(median(it["cpu_seconds"]) for name, it in solvers.items() if name.startswith("implicit"))
    rows = [
        [name, span(median(it["seconds"])), span(median(it["cpu_seconds"])),
         bold(times(fastest / median(it["cpu_seconds"]))), span(median(it["first"])),
         *(f"{sum(values) / len(values):.4f}" for values in zip(*it["ndcg"], strict=True))]
        for name, it in solvers.items()
    ]  # fmt: skip
    header = [f"dim {found['embedding_dim']}, {found['ratings']:,} pairs", "a sweep", "its processor time",
              "implicit's fastest ÷ it", "the first sweep",
              *(f"NDCG@10 after {count}" for count in found["sweeps"])]  # fmt: skip
    return paragraphs(table(header, rows, "l" + "r" * (len(header) - 1)), about([found]))


def in_memory(found: Entry | None) -> str:
    """The large fit in a sentence."""
    if found is None:
        return ""
    return (
        f"{found['ratings'] / 1e6:.0f} million ratings from a file to a bundle of {found['samples']} samples of "
        f"{found['embedding_dim']} coordinates ({found['bundle_gb']:.1f} GB): at most {found['peak_gib']:.1f} GiB of "
        f"memory, in {seconds(found['seconds'])} s. `{found['command']}`"
    )


def reading(results: Results) -> str:
    """From a file to numbered rows."""
    return by_device(results, "data_loading", _reading)


def _reading(found: Entry) -> str:
    heads = ["what", "all", "read", "split", "ids", "processor time", "peak memory"]
    parts = ("seconds", "read_seconds", "split_seconds", "ids_seconds", "cpu_seconds")
    rows = [
        [f"{name.replace('ml-1m', 'ML-1M').replace('25000000', '25 million')}, {when}",
         *(f"{seconds(it[part])} s" if part in it else "" for part in parts), f"{it['peak_gib']:.1f} GiB"]
        for name, content in found.items() if isinstance(content, dict) and "first" in content
        for when, it in (("first time", content["first"]), ("from cache", content["cached"]))
    ]  # fmt: skip
    return paragraphs(table(heads, rows, "lrrrrrr"), about([found]))


def micro(results: Results) -> str:
    """The stored micro-benchmarks."""
    return by_device(results, "micro", _micro)


def _micro(found: Entry) -> str:
    rows = [
        [f"`{name}`", span(it["min"]), span(it["median"]), f"{median(it['ratios']):.3g}"]
        for name, it in found["benchmarks"].items()
    ]
    return paragraphs(table(["benchmark", "fastest", "median", "in calibrations"], rows, "lrrr"), about([found]))
