"""Tables of the comparison with other libraries: README's headline, all protocols, and time to a given RMSE."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from statistics import mean, median

from benchmarks.comparison.competitors import COMPETITORS
from benchmarks.comparison.protocols import PROTOCOLS
from benchmarks.tables.markdown import ABSENT, bold, paragraphs, plain, seconds, stars, table, times, whole
from benchmarks.tables.quality import protocol_name
from benchmarks.tables.results import Entry, Results, about, device_name, is_gpu

Place = tuple[str, str]  # data, split
Show = Callable[[list[Entry]], str]  # what a cell says of its entries, one a seed

TIMED: Place = ("ml_1m", "kfold fold 0")  # where README's seconds and memory are from
# The last rows, fastest first.
OURS = (
    "recsys-als-fast", "recsys-als", "recsys-mf-fast", "recsys-mf", "recsys-svdpp", "recsys-autorec",
    "recsys-bayesian-mf-ids", "recsys-bayesian-mf", "recsys-mf-ranking", "recsys-recent-popularity", "recsys-item-knn",
    "recsys-ease", "recsys-slit", "recsys-ials-same", "recsys-ials", "recsys-attention",
)  # fmt: skip
SAME_BUDGET = "myfm-100"  # as many sweeps as recsys bayesian_mf: in README beside its library's best
DIGITS = "⁰¹²³⁴⁵⁶⁷⁸⁹"
SHORT = {
    "surprise-baseline": "Surprise BaselineOnly", "lenskit-als": "LensKit ALS", "myfm": "myFM ids",
    "myfm-100": "myFM ids, 100 sweeps", "myfm-blocks": "myFM blocks", "recsys-mf-fast": "recsys mf fast",
    "recsys-als-fast": "recsys als fast", "recsys-bayesian-mf-ids": "recsys bayesian_mf ids, 100 sweeps",
}  # fmt: skip


@dataclass(frozen=True)
class Row:
    """A competitor with settings on a device; entries by data and split, one a seed."""

    competitor: str
    label: str
    settings: str  # documented or tuned
    device: str
    entries: dict[Place, list[Entry]] = field(default_factory=dict)

    @property
    def ours(self) -> bool:
        return self.competitor in OURS

    @property
    def library(self) -> str:
        return self.competitor.partition("-")[0]

    @property
    def name(self) -> str:
        """Short, as README has room for."""
        return SHORT.get(self.competitor, self.label) + self.suffix

    @property
    def suffix(self) -> str:
        tuned = ", tuned" if self.settings == "tuned" else ""
        return tuned + (f", {device_name(self.device)}" if is_gpu(self.device) else "")

    def done(self, place: Place) -> list[Entry]:
        """The entries that did not fail."""
        return [entry for entry in self.entries.get(place, []) if "error" not in entry]

    def failed(self) -> list[tuple[Place, Entry]]:
        return [(place, entry) for place, found in self.entries.items() for entry in found if "error" in entry]


def grouped(entries: Iterable[Entry]) -> list[Row]:
    """Rows in the competitors' order, documented settings before tuned ones, recsys last."""
    rows: dict[tuple[str, str, str], Row] = {}
    for entry in entries:
        key = (entry["competitor"], entry["settings_name"], entry["device"])
        row = rows.setdefault(key, Row(key[0], entry["label"], *key[1:]))
        row.entries.setdefault((entry["data"], entry["split"]), []).append(entry)
    return sorted(rows.values(), key=lambda row: (rank(row), row.settings, is_gpu(row.device), row.device))


def rank(row: Row) -> int:
    """The place of a competitor; one that takes part no more, but whose results are there, comes first."""
    order = [*(name for name in COMPETITORS if name not in OURS), *OURS]
    return order.index(row.competitor) if row.competitor in order else -1


def places(rows: Iterable[Row], kind: str = "rating") -> list[Place]:
    """Data sets and splits of a kind of task that were measured, in the bench's order."""
    measured = {place for row in rows for place in row.entries}
    return [(p.data, p.split) for p in PROTOCOLS if p.kind == kind and (p.data, p.split) in measured]


def cell(row: Row, place: Place, show: Show) -> str:
    """What `show` makes of the entries that did not fail; `failed` if all did."""
    if place not in row.entries:
        return ABSENT
    done = row.done(place)
    shown = show(done) if done else "failed"
    return bold(shown) if row.ours else shown


def figure(name: str, form: Callable[[float], str], middle: Callable[[list[float]], float]) -> Show:
    """A cell's text: the mean or median over seeds of one figure, which an empty group of rows does not have."""

    def text(done: list[Entry]) -> str:
        values = [entry[name] for entry in done if entry[name] is not None]
        return form(middle(values)) if values else ABSENT

    return text


rmse = figure("rmse", stars, mean)
fit_seconds = figure("fit_seconds", seconds, median)
peak_memory = figure("peak_memory_mib", whole, median)


def table_of_competitors(results: Results) -> str:
    """RMSE on every protocol; seconds and memory on one.

    Raises:
        NotMeasuredError: There is no results file.
    """
    entries = [entry for entry in results.entries("comparison") if entry["task"] == "rating"]
    rows = grouped(entries)
    columns, most = places(rows), most_seeds(rows)
    header = ["RMSE in stars", *(protocol_name(*place) for place in columns), "fit, s", "peak, MiB"]
    cells = [
        [name, *(cell(row, place, rmse) + seeds_mark(row, place, most) for place in columns),
         cell(row, TIMED, fit_seconds), cell(row, TIMED, peak_memory)]
        for name, row in zip(named(rows), rows, strict=True)
    ]  # fmt: skip
    seeds = ", ".join(map(str, sorted({entry["seed"] for entry in entries})))
    line = f"Means over seeds {seeds} (superscript: fewer seeds); seconds and memory are medians on "
    line += f"{protocol_name(*TIMED)}. {about(entries)}"
    notes = " ".join([line, results.gpu_line("comparison")]).strip()
    return paragraphs(table(header, cells, "l" + "r" * (len(header) - 1)), failures(rows), notes)


def headline(results: Results) -> str:
    """README's table: on ML-1M, the most accurate settings of each library, and each model of recsys.

    Raises:
        NotMeasuredError: There is no results file.
    """
    entries = [
        entry for entry in results.entries("comparison") if entry["task"] == "rating" and entry["data"] == TIMED[0]
    ]
    measured = [row for row in grouped(entries) if row.done(TIMED)]
    best: dict[str, Row] = {}
    for row in measured:
        name = row.competitor if row.ours or row.competitor == SAME_BUDGET else row.library
        best[name] = min(best.get(name, row), row, key=timed_rmse)
    rows, columns = list(best.values()), [place for place in places(measured) if place != TIMED]
    header = ["RMSE in stars", *(protocol_name(*place) for place in (TIMED, *columns)), "fit, s"]
    most = most_seeds(measured)
    cells = [
        [bold(row.name) if row.ours else row.name,
         *(cell(row, place, rmse) + seeds_mark(row, place, most) for place in (TIMED, *columns)),
         cell(row, TIMED, fit_seconds)]
        for row in rows
    ]  # fmt: skip
    seeds = f"Mean of {most} seeds (superscript: fewer)." if most > 1 else ""
    line = f"{seeds} Seconds are for {protocol_name(*TIMED)}. {about(entries)}"
    return paragraphs(table(header, cells, "l" + "r" * (len(header) - 1)), failures(rows), line.strip())


def timed_rmse(row: Row) -> float:
    return mean(entry["rmse"] for entry in row.done(TIMED))


def named(rows: Sequence[Row]) -> list[str]:
    """The first column; a competitor's tuned settings stand under its documented ones, without the name."""
    above = [(row.competitor, row.device) for row in rows]
    names = [
        f"· {row.settings}" if number and above[number - 1] == above[number] else row.name
        for number, row in enumerate(rows)
    ]
    return [bold(name) if row.ours else name for name, row in zip(names, rows, strict=True)]


def failures(rows: Sequence[Row]) -> str:
    """Who failed where, by reason."""
    reasons: dict[tuple[str, str], dict[str, list[str]]] = {}
    for row in rows:
        for place, entry in row.failed():
            where = reasons.setdefault((row.name, plain(entry["error"])), {})
            where.setdefault(protocol_name(*place), []).append(str(entry["seed"]))
    lines = []
    for (name, reason), where in reasons.items():
        listed = "; ".join(f"{place} (seed {', '.join(seeds)})" for place, seeds in where.items())
        lines.append(f"- {name}, {listed}: {reason}")
    return paragraphs("Failed:", "\n".join(lines)) if lines else ""


def most_seeds(rows: Sequence[Row]) -> int:
    return max((len(found) for row in rows for found in row.entries.values()), default=0)


def seeds_mark(row: Row, place: Place, most: int) -> str:
    """A superscript where a mean is over fewer seeds than others', except where a seed changes nothing."""
    if row.competitor in COMPETITORS and COMPETITORS[row.competitor].deterministic:
        return ""
    return DIGITS[len(row.done(place))] if 0 < len(row.done(place)) < most else ""


def time_to_rmse(results: Results) -> str:
    """Seconds to Surprise SVD's RMSE, then to others, and how many times as fast that is as whoever sets the pace.

    Raises:
        NotMeasuredError: There is no results file.
    """
    entries = results.entries("time_to_rmse")
    targets = dict.fromkeys(entry.get("target") for entry in entries)
    tables = [time_table([entry for entry in entries if entry.get("target") == target]) for target in targets]
    return paragraphs(*tables, about(entries))


def time_table(entries: list[Entry]) -> str:
    """One target's."""
    rows = grouped(entries)
    columns = places(rows)
    targets = {(entry["data"], entry["split"]): entry["target_rmse"] for entry in entries}
    pace = entries[0].get("pace", "Surprise SVD")
    header = [f"seconds to RMSE (times as fast as {pace})"]
    header += [f"{protocol_name(*place)}: {targets[place]:.4f}" for place in columns]
    cells = [
        [name, *(cell_of_time(row, place) for place in columns)] for name, row in zip(named(rows), rows, strict=True)
    ]
    return paragraphs(table(header, cells, "l" + "r" * len(columns)), above_target(rows))


def cell_of_time(row: Row, place: Place) -> str:
    """Seconds and speed-up, or how the climb ended."""
    if place not in row.entries:
        return ABSENT
    [entry] = row.entries[place]
    if entry["median_seconds"] is None:
        failed = any("error" in step for step in entry["steps"][-1:])
        return "failed" if failed else "not reached"
    text = f"{seconds(entry['median_seconds'])} ({times(entry['pace_median_seconds'] / entry['median_seconds'])})"
    return bold(text) if row.ours else text


def above_target(rows: Sequence[Row]) -> str:
    """Whose fits with other seeds missed the target that the first seed reached, and by how much at most."""
    worst: dict[str, float] = {}
    for row in rows:
        for [entry] in row.entries.values():
            over = [found["rmse"] - entry["target_rmse"] for found in entry["rounds"] if "rmse" in found]
            worst[row.name] = max([worst.get(row.name, 0.0), *over])
    missed = [f"{name} by {over:.4f}" for name, over in worst.items() if round(over, 4) > 0]
    return f"With another seed the same budget missed the target at most: {', '.join(missed)}." if missed else ""
