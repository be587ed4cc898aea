"""What a service may do with new ratings, and each step of it, kept in a file so that a killed replay goes on.

Every policy begins with the same version, fitted on the ratings before the first step. `folded` makes users of all
their ratings at the moment of each request, and so do the three that make a new version before each later step.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.replay.plan import Plan
from benchmarks.replay.processes import Finished, run_python
from benchmarks.replay.scores import Scores, predict_pairs, rms_difference, score
from benchmarks.replay.stream import Stream
from recsys.bundle import Bundle
from recsys.bundle.typing import Float32Array
from recsys.files import atomic_write, read_json, write_json

REPLAYED = ("full", "warm", "folded", "frozen")  # by `replay`, the longest first; updates need a service
FIRST = "first"  # folder of the first version's bundle


@dataclass(frozen=True, eq=False)
class Step:
    """A step of a policy: the version that it began with, and what that said of the step's ratings."""

    scores: Scores
    pairs: Float32Array  # stars of pairs that are the same for all policies
    cpu_seconds: float  # that making the version took
    wall_seconds: float


def fit_first(folder: Path, plan: Plan) -> None:
    """Fit the version that all policies begin with, unless it is there."""
    bundle = folder / FIRST
    if not bundle.exists():
        _fit(folder, Stream.load(folder / "stream.npz").fitted, bundle, "--sweeps", str(plan.sweeps))


def replay(folder: Path, policy: str, plan: Plan) -> None:
    """All steps of a policy that needs no service."""
    stream = Stream.load(folder / "stream.npz")
    first = Bundle.load(folder / FIRST)
    before = folder / FIRST
    for number in range(stream.steps):
        if policy in ("frozen", "folded") or number == 0:
            if not is_done(folder, policy, number):
                keep(folder, policy, number, step_of(stream, first, number, stream.fitted, policy))
            continue
        place = folder / f"{policy}-{number}"
        if not is_done(folder, policy, number):
            shutil.rmtree(place, ignore_errors=True)
            cut = stream.rows(number).start
            noise = ("--noise", str(first.manifest["noise"]))
            warm, new = ("--sweeps", str(plan.warm_sweeps), "--warm-start", str(before)), ("--sweeps", str(plan.sweeps))
            cost = _fit(folder, cut, place, *noise, *(warm if policy == "warm" else new))
            keep(folder, policy, number, step_of(stream, Bundle.load(place), number, cut, policy, cost))
        if before != folder / FIRST:
            shutil.rmtree(before, ignore_errors=True)
        before = place


def refit_updated(folder: Path, number: int, plan: Plan) -> None:
    """Fit again what an update made, going on from it, and keep by how many stars predictions then differ (RMS)."""
    before = updated_bundle(folder, number)
    if moved_by_refit(folder, number) is None:
        stream, place = Stream.load(folder / "stream.npz"), folder / f"refit-{number}"
        shutil.rmtree(place, ignore_errors=True)
        noise = str(Bundle.load(folder / FIRST).manifest["noise"])
        cut = stream.rows(number).start
        _fit(folder, cut, place, "--noise", noise, "--sweeps", str(plan.sweeps), "--warm-start", str(before))
        moved = rms_difference(predict_pairs(stream, Bundle.load(place), cut), kept(folder, "updated", number).pairs)
        write_json(_distance_file(folder, number), {"stars": moved})
        shutil.rmtree(place)
    shutil.rmtree(before, ignore_errors=True)


def moved_by_refit(folder: Path, number: int) -> float | None:
    """By how many stars a refit moved what an update made; None if it was not fitted again."""
    found = read_json(_distance_file(folder, number))
    return None if found is None else float(found["stars"])


def remove_update(folder: Path, number: int) -> None:
    """Remove what an update made, and what was measured of it."""
    shutil.rmtree(updated_bundle(folder, number), ignore_errors=True)
    _distance_file(folder, number).unlink(missing_ok=True)


def updated_bundle(folder: Path, number: int) -> Path:
    """Where the bundle that an update made is kept until it was fitted again."""
    return folder / f"updated-{number}"


def step_of(stream: Stream, bundle: Bundle, number: int, cut: int, policy: str, cost: Finished | None = None) -> Step:
    """What the version of a policy says of a step.

    Args:
        stream: The ratings.
        bundle: The version.
        number: Of the step.
        cut: How many ratings of the stream the version was made of.
        policy: A key of `POLICIES`.
        cost: Of making the version; None for nothing.
    """
    scores = score(stream, bundle, number, cut, folds_in=policy != "frozen")
    cpu, wall = (cost.cpu_seconds, cost.wall_seconds) if cost else (0.0, 0.0)
    return Step(scores, predict_pairs(stream, bundle, cut), cpu, wall)


def is_done(folder: Path, policy: str, number: int) -> bool:
    return _file(folder, policy, number).exists()


def keep(folder: Path, policy: str, number: int, step: Step) -> None:
    """Write a step's file, whole or not at all."""
    arrays: dict[str, Any] = {part.name: getattr(step.scores, part.name) for part in fields(Scores)}
    with atomic_write(_file(folder, policy, number)) as part, part.open("wb") as stream:
        np.savez(stream, pairs=step.pairs, cost=[step.cpu_seconds, step.wall_seconds], **arrays)


def kept(folder: Path, policy: str, number: int) -> Step:
    """A step that is done."""
    with np.load(_file(folder, policy, number)) as arrays:
        found = {part.name: arrays[part.name] for part in fields(Scores)}
        found["ndcg"] = float(found["ndcg"])
        return Step(Scores(**found), arrays["pairs"], *arrays["cost"].tolist())


def _distance_file(folder: Path, number: int) -> Path:
    return folder / "steps" / f"distance-{number}.json"


def _file(folder: Path, policy: str, number: int) -> Path:
    return folder / "steps" / f"{policy}-{number}.npz"


def _fit(folder: Path, stop: int, bundle: Path, *options: str) -> Finished:
    return run_python("-m", "benchmarks.replay.fits", str(folder / "stream.npz"), str(stop), str(bundle), *options)
