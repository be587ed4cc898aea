"""Results of the micro-benchmarks: from the reports of a few passes, and in a small file."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.comparison.results import DEVICE
from benchmarks.comparison.results import RESULTS as FOLDER
from benchmarks.micro.passes import name_of


class ResultsError(ValueError):
    """A results file is absent or cannot be used; the message names the file and the reason."""


@dataclass(frozen=True)
class Figures:
    """One benchmark, over all passes."""

    ratios: tuple[float, ...]  # of every pass: its fastest round, in units of the calibration's time around it
    min: float  # seconds of the fastest round
    median: float  # seconds, the median over the passes of each one's median round
    rounds: int

    def __post_init__(self) -> None:
        numbers = (*self.ratios, self.min, self.median, self.rounds)
        if not self.ratios or not all(isinstance(number, int | float) and number > 0 for number in numbers):
            raise ValueError(f"ratios, min, median and rounds must be numbers > 0, got {self}")

    @property
    def ratio(self) -> float:
        """The middle pass's."""
        return median(self.ratios)

    @property
    def spread(self) -> float:
        """Three times the median distance of a pass from the middle one, as a share: a disturbed pass or two is none.

        Were the passes normal, that were two standard deviations.
        """
        return 3 * median(abs(ratio / self.ratio - 1) for ratio in self.ratios)


@dataclass(frozen=True)
class Results:
    machine: Mapping[str, Any]  # device, processor, threads, and versions of Python and packages
    git_commit: str | None  # of the code that was measured, with `+` where files differed from it
    benchmarks: Mapping[str, Figures]


def of_passes(reports: Sequence[Mapping[str, Any]]) -> Results:
    """Put together what pytest-benchmark reported of each pass; one that has fewer benchmarks adds to these."""
    by_name: dict[str, list[Mapping[str, Any]]] = {}
    for report in reports:
        for measured in report["benchmarks"]:
            by_name.setdefault(name_of(measured["fullname"]), []).append(measured)
    commit = reports[0]["commit_info"]
    known = commit["id"] != "unversioned"
    return Results(
        machine=reports[0]["machine_info"],
        git_commit=commit["id"][:12] + ("+" if commit["dirty"] else "") if known else None,
        benchmarks={name: _figures(passes) for name, passes in by_name.items()},
    )


def _figures(passes: Iterable[Mapping[str, Any]]) -> Figures:
    stats = [one["stats"] for one in passes]
    ratios = [one["stats"]["min"] / one["extra_info"]["calibration"] for one in passes]
    return Figures(
        ratios=tuple(_significant(ratio) for ratio in ratios),
        min=_significant(min(one["min"] for one in stats)),
        median=_significant(median(one["median"] for one in stats)),
        rounds=sum(one["rounds"] for one in stats),
    )


def _significant(number: float) -> float:
    return float(f"{number:.4g}")


def save(results: Results, file: Path) -> None:
    """A line a benchmark."""
    lines = [f"  {json.dumps(name)}: {json.dumps(asdict(figures))}" for name, figures in results.benchmarks.items()]
    about = {"machine": dict(results.machine), "git_commit": results.git_commit}
    head = json.dumps(about, indent=1).removesuffix("\n}")
    file.write_text(head + ',\n "benchmarks": {\n' + ",\n".join(lines) + "\n }\n}\n")


def load(file: Path) -> Results:
    """What `save` wrote.

    Raises:
        ResultsError: There is no such file, or it holds something else.
    """
    try:
        found = json.loads(file.read_text())
        benchmarks = {
            str(name): Figures(**figures | {"ratios": tuple(figures["ratios"])})
            for name, figures in found["benchmarks"].items()
        }
        return Results(dict(found["machine"]), found["git_commit"], benchmarks)
    except OSError as error:
        raise ResultsError(f"{file} cannot be read ({error.strerror}); --store makes it") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ResultsError(f"{file} is damaged ({type(error).__name__}: {error}); --store makes it again") from error


def stored_file(folder: Path = FOLDER, device: str = DEVICE) -> Path:
    """The file of this device; without it, another device's."""
    own = folder / f"micro-{device}.json"
    others = sorted(folder.glob("micro-*.json"))
    return own if own.exists() or not others else others[0]
