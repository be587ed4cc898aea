"""An update: a version made of the champion and of what happened since, promoted unless it is worse."""

from __future__ import annotations

import logging
import re
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from recsys.bundle import Bundle
from recsys.bundle.commit import git_commit
from recsys.database import Database
from recsys.events import EventColumns, EventLog
from recsys.events.merge import MergedRatings, merge_ratings
from recsys.files import folder_lock, read_json
from recsys.update.distance import RATIO, RATIO_WITHOUT_SWEEPS, estimated_distance, measured_distance, random_pairs
from recsys.update.gate import Verdict, compare
from recsys.update.known import known_beside
from recsys.update.refit import refit_configuration, refitted
from recsys.update.solve import default_sweeps, is_drawn, some_samples, updated, why_not
from recsys.update.window import touched_since
from recsys.versions import Champion, Version, Versions
from recsys.versions.version import CHAMPION, FIT, SHOWN, UPDATE, standing_in

REFIT = re.compile(r"([0-9a-f]{12})-\d+")  # the folder of a refit
WINDOW = 10  # the newest of so many parts of the events is the window on which versions are compared
SEED_SPREAD = 0.06  # quarters of the scale, by which ALS fits with different seeds differ on MovieLens 1M (RMS)
SAMPLES_COMPARED = 8  # of a posterior, of either version
DAY = 86_400.0
METRICS = "metrics.json"  # of a run
DISTANCE_RATIO, SWEPT = "distance_ratio", "sweeps"  # among the metrics of a version; the ratio is of so many sweeps

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Policy:
    """What is updated, and when it is fitted again as a whole.

    Attributes:
        alias: Whose version is updated.
        refit_seconds: Fit again when the last fit is this old; None: only when the distance says so.
        max_distance: And when the estimated distance to a full refit is above this, in stars; None: above the spread
            of seeds.
        sweeps: Over all users and items in an update; 0: only over those of new ratings; None: 1, and 0 of samples.
        runs: Folder of the runs that fit again.
        who: Named in the history of the alias.
    """

    alias: str = CHAMPION
    refit_seconds: float | None = None
    max_distance: float | None = None
    sweeps: int | None = None
    runs: Path = Path("outputs/updates")
    who: str = "recsys update"


class Since(NamedTuple):
    """What happened after a version's cut."""

    cut: int  # the last event
    window_cut: int  # the last event before the window, the newest tenth
    known: MergedRatings  # up to `window_cut`
    after: MergedRatings  # up to `cut`


def update(versions: Versions, policy: Policy) -> Version | None:
    """Make a version of the champion and the events since its cut, or fit again, and promote it unless it is worse.

    Nothing is changed before the version is whole. What was interrupted is made again of the same champion, so that no
    event counts twice.

    Returns:
        The version that the alias names now; None if that is the one before.

    Raises:
        VersionConflictError: Someone was forgotten meanwhile, or the alias was changed.
        RefitError: A refit failed.
        VersionError, DatabaseError, BundleError, WriteError: As `Versions` says.
    """
    with folder_lock(policy.runs, "updates"):
        remove_stale_refits(versions, policy.runs)
        start = _Updater(versions, policy)
        if start.reason is not None:
            if not start.is_due() if policy.refit_seconds is not None else start.was_rejected(DAY):
                return None
            log.info("this model can only be fitted again: %s", start.reason)
            return start.refit()
        if start.is_due():
            return start.refit()
        made = start.solve()
        if made is None:
            return None
        if made.distance <= start.max_distance:
            return made.version
        log.info("%.4f stars is far from a full refit: more than %.4f", made.distance, start.max_distance)
        return made.version if start.was_rejected(DAY) else _Updater(versions, policy).refit() or made.version


def remove_stale_refits(versions: Versions, runs: Path) -> None:
    """Remove what is left of refits of versions that no alias names any more: they hold everybody's ratings.

    Args:
        versions: Whose aliases count.
        runs: Folder of the refits, which no other process uses.
    """
    named = {version[:SHOWN] for version in versions.aliases.all().values()}
    for path in runs.glob("*"):
        found = REFIT.fullmatch(path.name)
        if found is not None and found[1] not in named:
            shutil.rmtree(path)


def events_since(database: Database, bundle: Bundle) -> Since | None:
    """The events after a bundle's cut, merged with its ratings; None if none of them counts."""
    events = list(EventLog(database).since(cut_of(bundle)))
    if not events:
        return None
    cut, window_cut = _cuts(events)
    merged = merge_ratings(bundle, events)
    if not len(merged.touched_users):
        return None
    return Since(cut, window_cut, merge_ratings(bundle, between(events, 0, window_cut)), merged)


def _cuts(events: list[EventColumns]) -> tuple[int, int]:
    """The last event, and the last one before the newest tenth."""
    seq = np.concatenate([chunk.seq for chunk in events])
    return int(seq[-1]), int(seq[len(seq) - len(seq) // WINDOW - 1])


class _Made(NamedTuple):
    version: Version
    distance: float  # estimated, to a full refit, in stars


class _Updater:
    """The version that an alias names, and what can be made of it."""

    def __init__(self, versions: Versions, policy: Policy) -> None:
        self.versions, self.policy = versions, policy
        self.version, self.bundle = versions.champion(policy.alias)
        self.reason = why_not(self.bundle)
        self.known = known_beside(versions.database, self.bundle)
        self.sweeps = default_sweeps(self.bundle) if policy.sweeps is None else policy.sweeps
        self.rejected = policy.runs / f"{self.last_fit.short}.rejected"  # a refit after that one was worse

    @property
    def max_distance(self) -> float:
        """From which on the model is fitted again, in stars."""
        low, high = self.bundle.scale
        given = self.policy.max_distance
        return SEED_SPREAD * (high - low) / 4 if given is None else given

    def is_due(self) -> bool:
        """Whether the last fit is old enough to fit again."""
        if self.policy.refit_seconds is None or self.was_rejected(self.policy.refit_seconds):
            return False
        return time.time() - self.last_fit.created >= self.policy.refit_seconds

    @cached_property
    def last_fit(self) -> Version:
        """The version that this one goes back to by updates; the first one if there was no fit."""
        version = self.version
        while version.made_by != FIT and version.parent is not None:
            before = self.versions.registry.get(version.parent)
            if before is None:
                break
            version = before
        return version

    def was_rejected(self, seconds: float) -> bool:
        """Whether a refit was worse, in the last so many seconds."""
        return self.rejected.exists() and time.time() - self.rejected.stat().st_mtime < seconds

    def solve(self) -> _Made | None:
        """Solve what the events touch; None if none counts, or the result is worse."""
        since = events_since(self.versions.database, self.bundle)
        if since is None:
            log.info("no event after %d counts", cut_of(self.bundle))
            return None
        champion = self.bundle
        if is_drawn(champion.factors) and champion.factors.samples > SAMPLES_COMPARED:
            champion = replace(champion, factors=some_samples(champion.factors, range(SAMPLES_COMPARED)))
        candidate = updated(champion, since.known, self.known, sweeps=self.sweeps)
        verdict = compare(champion, candidate, since.known, since.after)
        if not _passes(verdict):
            return None
        whole = candidate
        if champion is not self.bundle:
            whole = updated(self.bundle, since.after, self.known, sweeps=self.sweeps)
        elif since.window_cut != since.cut:
            merged = touched_since(since.known, since.after)
            whole = updated(candidate, merged, self.known, sweeps=self.sweeps)
        measured = self.version.metrics.get(DISTANCE_RATIO) if self.version.metrics.get(SWEPT) == self.sweeps else None
        ratio = measured or (RATIO if self.sweeps else RATIO_WITHOUT_SWEEPS)
        distance = estimated_distance(whole, float(ratio), seed=since.cut)
        log.info("distance to a full refit: %.4f stars, standard error %.4f", *distance)
        metrics = verdict.metrics() | {"distance": distance.stars, "distance_error": distance.error, SWEPT: self.sweeps}
        metrics |= {} if measured is None else {DISTANCE_RATIO: measured}
        version = self._publish(whole, since.cut, UPDATE, metrics, self.version.configuration, verdict)
        return _Made(version, distance.stars)

    def refit(self) -> Version | None:
        """Fit again as a whole, or go on with a refit that was interrupted; None if nothing came or it is worse.

        The window is the newest tenth of the events since the last fit. What it is compared with is the last version
        before the window, brought up to it by an update.
        """
        events = list(EventLog(self.versions.database).since(self.last_fit.cut))
        if not events:
            log.info("no event since the last fit, after %d", self.last_fit.cut)
            return None
        cut, window_cut = _cuts(events)
        folder = next(self.policy.runs.glob(f"{self.version.short}-*"), None)
        folder = folder or self.policy.runs / f"{self.version.short}-{window_cut}"
        window_cut = int(folder.name.rpartition("-")[2])  # of the start, where it was interrupted
        before = self._version_before(window_cut)
        window_cut = max(window_cut, before.version.cut)
        known = merge_ratings(before.bundle, between(events, before.version.cut, window_cut))
        merged = merge_ratings(before.bundle, between(events, before.version.cut, cut))
        candidate = self._fitted(folder / "candidate", before, window_cut)
        rival = before.bundle
        if window_cut > before.version.cut and why_not(rival) is None:
            rival = updated(rival, known, known_beside(self.versions.database, rival), sweeps=self.sweeps)
        verdict = compare(rival, candidate, known, merged)
        if not _passes(verdict):
            self.rejected.touch()
            shutil.rmtree(folder)
            return None
        metrics = (read_json(folder / "candidate" / METRICS) or {}) | verdict.metrics()
        if self.reason is None:
            metrics |= _distance_ratio(rival, candidate) | {SWEPT: self.sweeps}
        whole = candidate
        if window_cut != cut and why_not(candidate) is None:
            later = merge_ratings(candidate, between(events, window_cut, cut))
            whole = updated(candidate, later, known_beside(self.versions.database, candidate), sweeps=self.sweeps)
        elif window_cut != cut:
            whole = self._fitted(folder / "whole", before, cut)
        configuration = self._configuration(folder, before, cut)
        version = self._publish(whole, cut, FIT, metrics, configuration, verdict)
        self.rejected.unlink(missing_ok=True)
        shutil.rmtree(folder)
        return version

    def _version_before(self, cut: int) -> Champion:
        """The newest version since the last fit without events after a cut that the store has; else the champion."""
        rows = {one.version: one for one in self.versions.registry.all()}
        version: Version | None = self.version
        while version is not None:
            there = standing_in(version.version, rows)
            if there is not None and there != self.version.version and rows[there].cut <= cut:
                return Champion(rows[there], self.versions.load(rows[there]))
            is_last = version.parent is None or version.version == self.last_fit.version
            version = None if is_last else rows.get(str(version.parent))
        return Champion(self.version, self.bundle)

    def _fitted(self, folder: Path, before: Champion, cut: int) -> Bundle:
        made = refitted(self._configuration(folder, before, cut), folder, self.versions.database)
        return replace(made, manifest=made.manifest | {"cut": cut})

    def _configuration(self, folder: Path, before: Champion, cut: int) -> dict[str, Any]:
        start = self.versions.cache.folder(before.version.version)
        return refit_configuration(self.version.configuration, folder.absolute(), start, cut)

    def _publish(
        self, bundle: Bundle, cut: int, made_by: str, metrics: Mapping[str, Any], configuration: Mapping[str, Any],
        verdict: Verdict,
    ) -> Version:  # fmt: skip
        bundle = replace(bundle, manifest=bundle.manifest | {"git_commit": git_commit()})
        new = self.versions.publish(
            bundle, parent=self.version.version, cut=cut, made_by=made_by, metrics=metrics, configuration=configuration
        )
        gate = (
            f"Without the newest tenth: {verdict}. Made once more with all events." if verdict.ratings else str(verdict)
        )
        why = f"{made_by} on events up to {cut}. {gate}"
        self.versions.promote(self.policy.alias, new.version, self.policy.who, why, expected=self.version.version)
        log.info("%s is version %s: %s", self.policy.alias, new.short, why)
        return new


def _passes(verdict: Verdict) -> bool:
    """Whether the candidate is not worse; says so if it is."""
    if not verdict.passed:
        log.warning("not promoted, as it is worse: %s", verdict)
    return verdict.passed


def _distance_ratio(update: Bundle, refit: Bundle) -> dict[str, float]:
    """What the estimate of the distance must be multiplied by, measured where both versions are there."""
    measured = measured_distance(update, refit, random_pairs(update))
    first = estimated_distance(update, ratio=1.0).stars
    return {"distance_measured": measured} | ({DISTANCE_RATIO: measured / first} if first else {})


def cut_of(bundle: Bundle) -> int:
    """A bundle is made of all events with a `seq` up to this."""
    return int(bundle.manifest.get("cut", 0))


def between(events: list[EventColumns], after: int, cut: int) -> list[EventColumns]:
    """The events with `after < seq <= cut`."""
    return [chunk.where((chunk.seq > after) & (chunk.seq <= cut)) for chunk in events]
