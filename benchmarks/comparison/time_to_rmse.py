"""Seconds to a given RMSE: that of Surprise SVD as documented, on the same rows, in the same session; or to `--target`.

Every competitor climbs its ladder of budgets until fits with three seeds reach the target on the test rows. That budget
is then fitted anew in each of five rounds, in which all take turns: what else the machine does hits all alike. What
speed is compared with, the pace, is Surprise SVD's; with a target of one's own, which that may miss, tuned LIBMF's.
The budget is chosen on test rows, for every competitor alike: this measures speed, not quality.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from dataclasses import dataclass, field
from typing import Any

from benchmarks.comparison import selection
from benchmarks.comparison.competitors import Competitor, Settings, chosen
from benchmarks.comparison.measure import Bench, measured
from benchmarks.comparison.protocols import Protocol
from benchmarks.comparison.results import DEVICE, RESULTS, Entry, keep, provenance

PACE = "surprise-svd"
PACE_TO_TARGET = ("libmf", "tuned")
ROUNDS = 5
SEEDS = 3  # that must reach the target: a single one may be lucky
TOO_SLOW = 60  # times Surprise SVD's own fit: the climb ends there
KEY = ("competitor", "settings_name", "data", "split", "target")


@dataclass
class Climber:
    """A competitor with settings, and how far it came."""

    competitor: Competitor
    settings_name: str
    settings: Settings
    steps: list[dict[str, Any]] = field(default_factory=list)  # of the ladder: budget, rmse, fit_seconds or error
    rounds: list[dict[str, Any]] = field(default_factory=list)


def run(bench: Bench, protocol: Protocol, arguments: argparse.Namespace) -> None:
    """Climb, then take turns; after each round an entry is kept for every competitor and its settings.

    Raises:
        ValueError: What sets the target or the pace failed.
    """
    first = Climber(chosen(PACE), "documented", chosen(PACE).settings(protocol.data))
    goal = measured(bench, first.competitor, first.settings, seed=0)
    if "error" in goal:
        raise ValueError(f"{PACE} sets the target and failed: {goal['error']}")
    if arguments.target:
        goal["rmse"] = arguments.target
    print(f"{protocol.data} {protocol.split}: target {goal['rmse']:.4f}", flush=True)
    climbers = climbing(protocol, arguments)
    arrived = [climber for climber in climbers if climb(climber, bench, goal)]
    if arguments.target:
        pace = of_target(arrived)
    else:
        pace, climbers, arrived = first, [first, *climbers], [first, *arrived]
    for seed in range(ROUNDS):
        for climber in arrived:
            climber.rounds.append(short(measured(bench, climber.competitor, climber.settings, seed)))
        for climber in climbers:
            entry = summary(climber, pace, goal["rmse"], protocol, bench) | {"target": arguments.target}
            keep(entry, RESULTS / f"time_to_rmse-{DEVICE}.json", KEY)
    for climber in climbers:
        print(outcome(summary(climber, pace, goal["rmse"], protocol, bench)), flush=True)


def of_target(arrived: list[Climber]) -> Climber:
    """Who sets the pace to a target of one's own.

    Raises:
        ValueError: That competitor did not take part, or did not get there.
    """
    for climber in arrived:
        if (climber.competitor.name, climber.settings_name) == PACE_TO_TARGET:
            return climber
    raise ValueError(f"{' '.join(PACE_TO_TARGET)} sets the pace to a target, and did not reach it")


def climbing(protocol: Protocol, arguments: argparse.Namespace) -> list[Climber]:
    """Who climbs: all that have a budget; Surprise SVD as documented sets the pace."""
    return [
        Climber(competitor, name, dict(settings))
        for competitor in selection.competitors(protocol, arguments.only, quick=arguments.quick)
        if competitor.budget
        for name, settings in selection.settings(competitor, protocol.data, tuple(arguments.settings))
        if arguments.target or (competitor.name, name) != (PACE, "documented")
    ]


def climb(climber: Climber, bench: Bench, goal: dict[str, Any]) -> bool:
    """Raise the budget until the goal's RMSE is reached; whether it was. The settings keep that budget."""
    budget = climber.competitor.budget
    assert budget is not None
    for value in budget.ladder:
        climber.settings[budget.name] = value
        found = of_seeds(climber, bench, goal["rmse"])
        climber.steps.append({"budget": value, **found})
        print(f"  {climber.competitor.name} ({climber.settings_name}): {climber.steps[-1]}", flush=True)
        if "error" in found or found["rmse"] <= goal["rmse"]:
            return "error" not in found
        if found["fit_seconds"] > TOO_SLOW * goal["fit_seconds"]:
            return False
    return False


def of_seeds(climber: Climber, bench: Bench, target: float) -> dict[str, Any]:
    """The fit of the first seed that fails or misses the target; if none does, the last one's."""
    found: dict[str, Any] = {}
    for seed in range(1 if climber.competitor.deterministic else SEEDS):
        found = short(measured(bench, climber.competitor, climber.settings, seed))
        if "error" in found or found["rmse"] > target:
            break
    return found


def short(found: dict[str, Any]) -> dict[str, Any]:
    """What is kept of a fit."""
    return {name: found[name] for name in ("rmse", "fit_seconds", "fit_cpu_seconds", "error") if name in found}


def summary(climber: Climber, pace: Climber, target: float, protocol: Protocol, bench: Bench) -> Entry:
    """An entry of the results file; `median_seconds` is null where the target was not reached."""
    return {
        "competitor": climber.competitor.name, "label": climber.competitor.label,
        "settings_name": climber.settings_name,
        "data": protocol.data, "split": protocol.split, "settings": climber.settings, "threads": bench.threads,
        "target_rmse": target, "median_seconds": median(climber), "pace": pace.competitor.label,
        "pace_median_seconds": median(pace),
        "steps": climber.steps, "rounds": climber.rounds, **provenance("benchmarks.comparison", sys.argv[1:]),
    }  # fmt: skip


def median(climber: Climber) -> float | None:
    """Of the rounds' fits, in seconds; a round that failed counts for none."""
    seconds = [found["fit_seconds"] for found in climber.rounds if "error" not in found]
    return round(statistics.median(seconds), 3) if seconds else None


def outcome(entry: Entry) -> str:
    """A line for the terminal."""
    name = f"{entry['competitor']} ({entry['settings_name']})"
    if entry["median_seconds"] is None:
        return f"{name}: not reached"
    times = entry["pace_median_seconds"] / entry["median_seconds"]
    rmse = " ".join(f"{found.get('rmse', float('nan')):.4f}" for found in entry["rounds"])
    return f"{name}: {entry['median_seconds']:.2f} s, {times:.1f} times as fast as {entry['pace']}, RMSE {rmse}"
