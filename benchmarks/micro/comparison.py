"""What two results say of each other: slower, faster, or no more apart than noise."""

from __future__ import annotations

import math
from dataclasses import dataclass

from benchmarks.micro.results import Figures, Results

FLOOR = 0.25  # of noise, as a share; with it 3,000 comparisons of unchanged code, resampled passes, gave no alarm
ELSEWHERE = 0.75  # the same where the file is of another machine: memory and cores differ by different factors
MACHINE = ("device", "processor", "threads")

SLOWER, FASTER, SAME, MISSING, NEW = "slower", "faster", "same", "missing", "new"


@dataclass(frozen=True)
class Row:
    """One benchmark in both results."""

    name: str
    stored: Figures | None
    now: Figures | None
    noise: float  # the change that means nothing, as a share

    @property
    def change(self) -> float:
        """0.5: takes half as long again; -0.5: takes half as long; NaN where one of the two is absent."""
        if self.stored is None or self.now is None:
            return math.nan
        return self.now.ratio / self.stored.ratio - 1

    @property
    def verdict(self) -> str:
        """Judged by factors, so that going back to where it was is as much as going away."""
        if self.stored is None:
            return NEW
        if self.now is None:
            return MISSING
        factor = 1 + self.change
        if max(factor, 1 / factor) <= 1 + self.noise:
            return SAME
        return SLOWER if factor > 1 else FASTER


def compare(stored: Results, now: Results) -> list[Row]:
    """A row a benchmark, in the order of the suite; those that are gone come last."""
    floor = ELSEWHERE if other_machine(stored, now) else FLOOR
    names = dict.fromkeys([*now.benchmarks, *stored.benchmarks])
    rows = []
    for name in names:
        before, after = stored.benchmarks.get(name), now.benchmarks.get(name)
        rows.append(Row(name, before, after, max(floor, _spread(before, after))))
    return rows


def _spread(*figures: Figures | None) -> float:
    """Of both results together; they are independent, so that their squares add up."""
    return math.hypot(*(one.spread for one in figures if one is not None))


def other_machine(stored: Results, now: Results) -> list[str]:
    """What differs of the machines, in words."""
    return _differing(stored, now, MACHINE)


def other_versions(stored: Results, now: Results) -> list[str]:
    """Versions that differ, in words: a change may be theirs."""
    return _differing(stored, now, [name for name in now.machine if name not in MACHINE])


def _differing(stored: Results, now: Results, names: tuple[str, ...] | list[str]) -> list[str]:
    return [
        f"{name} {stored.machine.get(name)} then, {now.machine.get(name)} now"
        for name in names
        if stored.machine.get(name) != now.machine.get(name)
    ]
