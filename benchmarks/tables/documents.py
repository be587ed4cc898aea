"""The documents: their blocks are filled from the results, all else stays byte for byte."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from benchmarks.tables import (
    comparison,
    comparison_full,
    list_orders,
    live,
    picture,
    quality,
    regularization,
    release,
    replay,
    replay_picture,
    robustness,
    runs,
    sequences,
    service,
    speed,
    tastes,
    trust,
    widths,
)
from benchmarks.tables.blocks import blocks, filled
from benchmarks.tables.results import NotMeasuredError, Results, TablesError

DOCUMENTS = ("README.md", "docs/benchmarks.md")
RESULTS = "benchmarks/results"
TABLES: dict[str, Callable[[Results], str]] = {
    "headline": comparison.headline,
    "comparison": comparison.table_of_competitors,
    "picture": picture.picture_link,
    "time_to_rmse": comparison.time_to_rmse,
    "speed": speed.speed,
    "scaling_sweeps": speed.scaling_sweeps,
    "processes": speed.processes,
    "ials_sweep": speed.ials_sweep,
    "samples": quality.samples,
    "widths": widths.widths,
    "comparison_full": comparison_full.comparison_full,
    "ranking": comparison_full.ranking,
    "tuned": comparison_full.tuned,
    "quality": quality.quality,
    "ablation": quality.ablation,
    "regularization": regularization.regularization,
    "bayesian": quality.bayesian,
    "attributes": quality.attributes,
    "ensembles": quality.ensembles,
    "sweeps": runs.sweeps,
    "report": runs.report,
    "serving": service.serving,
    "fold_in": service.fold_in,
    "list_orders": list_orders.list_orders,
    "sequences": sequences.sequences,
    "sequence_stars": sequences.stars,
    "encoder": sequences.encoder,
    "attention": sequences.attention,
    "tastes": tastes.tastes,
    "data_loading": speed.reading,
    "micro": speed.micro,
    "release": release.release,
    "cases": robustness.cases,
    "damaged_files": robustness.damaged_files,
    "run_kills": robustness.run_kills,
    "units": robustness.units,
    "defaults": robustness.defaults,
    "chaos": trust.chaos,
    "events": live.events,
    "reads": live.reads,
    "repeats": live.repeats,
    "updates": live.updates,
    "replay": replay.replay,
}
PICTURES = (picture, replay_picture)


def content(name: str, results: Results) -> str:
    """What belongs into a block.

    Raises:
        TablesError: No table has this name, or a results file lacks what the table shows.
    """
    if name not in TABLES:
        raise TablesError(f"table must be one of {', '.join(TABLES)}, got {name!r}")
    try:
        return TABLES[name](results)
    except NotMeasuredError as absent:
        return f"Not measured: {absent}."
    except (KeyError, TypeError, AttributeError) as error:
        raise TablesError(f"table {name}: its results file lacks what it shows ({error!r}): measure again") from error


def texts(root: Path) -> dict[str, tuple[str, str]]:
    """Every document as it is and as the results have it."""
    results = Results(root / RESULTS)
    return {name: both(root / name, name, results) for name in DOCUMENTS}


def both(file: Path, name: str, results: Results) -> tuple[str, str]:
    """A document's text and what the results make of it; bytes, since reading as text would change line ends."""
    try:
        text = file.read_bytes().decode()
        return text, filled(text, lambda block: content(block, results))
    except FileNotFoundError as error:
        raise TablesError(f"{name} does not exist") from error
    except TablesError as error:
        raise TablesError(f"{name}: {error}") from error


def differing(root: Path) -> list[str]:
    """`document: block` of all blocks that the results would change, and the pictures."""
    stale = [
        f"{name}: {old.name}"
        for name, (before, after) in texts(root).items()
        for old, new in zip(blocks(before), blocks(after), strict=True)
        if before[old.start : old.end] != after[new.start : new.end]
    ]
    results = Results(root / RESULTS)
    for one in PICTURES:
        panels = one.panels(results)
        if panels and picture.drawn_from(root / one.FILE) != one.digest(panels):
            stale.append(one.FILE)
    return stale


def write(root: Path) -> list[str]:
    """Fill the documents and draw the pictures; what was written."""
    for name, (_, after) in texts(root).items():
        (root / name).write_bytes(after.encode())
    results, drawn = Results(root / RESULTS), []
    for one in PICTURES:
        if panels := one.panels(results):
            one.draw(panels, root / one.FILE)
            drawn.append(one.FILE)
    return [*DOCUMENTS, *drawn]
