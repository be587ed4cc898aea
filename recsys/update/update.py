"""An update: a version made of the champion and of what happened since, promoted unless it is worse."""

from __future__ import annotations

import logging
import re
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from recsys.bundle import Bundle
from recsys.database import Database
from recsys.events import EventColumns, EventLog
from recsys.events.merge import MergedRatings, merge_ratings
from recsys.files import folder_lock
from recsys.update.distance import RATIO, estimated_distance, measured_distance, random_pairs
from recsys.update.gate import NOTHING, Verdict, compare
from recsys.update.known import known_beside
from recsys.update.refit import refit_configuration, refitted
from recsys.update.solve import updated, why_not
from recsys.update.window import touched_since
from recsys.versions import Version, Versions
from recsys.versions.version import CHAMPION, SHOWN

REFIT = re.compile(r"([0-9a-f]{12})(-\d+|\.rejected)")  # names in the folder of refits
WINDOW = 10  # the newest of so many parts of the events is the window on which versions are compared
SEED_SPREAD = 0.06  # quarters of the scale, by which ALS fits with different seeds differ on MovieLens 1M (RMS)
DAY = 86_400.0
RATIO_NAME = "distance_ratio"  # among the metrics of a version

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Policy:
    """What is updated, and when it is fitted again as a whole.

    Attributes:
        alias: Whose version is updated.
        refit_seconds: Fit again when the last fit is this old; None: only when the distance says so.
        max_distance: And when the estimated distance to a full refit is above this, in stars; None: above the spread
            of seeds.
        runs: Folder of the runs that fit again.
        who: Named in the history of the alias.
    """

    alias: str = CHAMPION
    refit_seconds: float | None = None
    max_distance: float | None = None
    runs: Path = Path("outputs/updates")
    who: str = "recsys update"


class Since(NamedTuple):
    """What happened after a version's cut."""

    cut: int  # the last event
    window_cut: int  # the last event before the window, the newest tenth
    events: list[EventColumns]
    known: MergedRatings  # up to `window_cut`
    after: MergedRatings  # up to `cut`


def update(versions: Versions, policy: Policy) -> Version | None:
    """Make a version of the champion and the events since its cut, and promote it unless it is worse.

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
        start = _Start(versions, policy)
        if start.reason is not None:
            if policy.refit_seconds is not None and not start.is_due():
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
        after = _Start(versions, policy)
        return made.version if after.was_rejected(DAY) else after.refit() or made.version


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
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def events_since(database: Database, bundle: Bundle) -> Since | None:
    """The events after a bundle's cut, merged with its ratings; None if none of them counts."""
    events = list(EventLog(database).since(cut_of(bundle)))
    if not events:
        return None
    seq = np.concatenate([chunk.seq for chunk in events])
    window_cut = int(seq[len(seq) - len(seq) // WINDOW - 1])
    merged = merge_ratings(bundle, events)
    if not len(merged.touched_users):
        return None
    known = merge_ratings(bundle, upto(events, window_cut))
    return Since(int(seq[-1]), window_cut, events, known, merged)


class _Made(NamedTuple):
    version: Version
    distance: float  # estimated, to a full refit, in stars


class _Start:
    """The version that an alias names, and what can be made of it."""

    def __init__(self, versions: Versions, policy: Policy) -> None:
        self.versions, self.policy = versions, policy
        self.version, self.bundle = versions.champion(policy.alias)
        self.reason = why_not(self.bundle)
        self.known = known_beside(versions.database, self.bundle)
        self.rejected = policy.runs / f"{self.version.short}.rejected"  # a refit of it

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
        fit: Version | None = self.version
        while fit is not None and fit.made_by != "fit" and fit.parent is not None:
            fit = self.versions.registry.get(fit.parent)
        return fit is None or time.time() - fit.created >= self.policy.refit_seconds

    def was_rejected(self, seconds: float) -> bool:
        """Whether a refit of it was worse, in the last so many seconds."""
        return self.rejected.exists() and time.time() - self.rejected.stat().st_mtime < seconds

    def solve(self) -> _Made | None:
        """Solve what the events touch; None if none counts, or the result is worse."""
        since = events_since(self.versions.database, self.bundle)
        if since is None:
            log.info("no event after %d counts", cut_of(self.bundle))
            return None
        candidate = updated(self.bundle, since.known, self.known)
        verdict = compare(self.bundle, candidate, since.known, since.after)
        if not _passes(verdict):
            return None
        whole = candidate
        if since.window_cut != since.cut:
            whole = updated(candidate, touched_since(since.known, since.after), self.known)
        ratio = self.version.metrics.get(RATIO_NAME, RATIO)
        distance = estimated_distance(whole, float(ratio), seed=since.cut)
        log.info("distance to a full refit: %.4f stars, standard error %.4f", *distance)
        metrics = verdict.metrics() | {"distance": distance.stars, "distance_error": distance.error, RATIO_NAME: ratio}
        version = self._publish(whole, since.cut, "update", metrics, self.version.configuration, verdict)
        return _Made(version, distance.stars)

    def refit(self) -> Version | None:
        """Fit again as a whole, or go on with a refit that was interrupted; None if the result is worse."""
        since = events_since(self.versions.database, self.bundle)
        own = cut_of(self.bundle)
        cut, window_cut = (own, own) if since is None else (since.cut, since.window_cut)
        folder = next(self.policy.runs.glob(f"{self.version.short}-*"), None)
        if folder is None:
            folder = self.policy.runs / f"{self.version.short}-{window_cut}"
        window_cut = int(folder.name.rpartition("-")[2])
        candidate = self._fitted(folder / "candidate", window_cut)
        verdict, metrics = NOTHING, {}
        if since is not None:
            known = merge_ratings(self.bundle, upto(since.events, window_cut))
            verdict = compare(self.bundle, candidate, known, since.after)
            if not _passes(verdict):
                shutil.rmtree(folder)
                self.rejected.touch()
                return None
            if self.reason is None:
                metrics = _distance_ratio(updated(self.bundle, known, self.known), candidate)
        whole = candidate
        if window_cut != cut and why_not(candidate) is None:
            assert since is not None
            merged = merge_ratings(candidate, after(since.events, window_cut))
            whole = updated(candidate, merged, known_beside(self.versions.database, candidate))
        elif window_cut != cut:
            whole = self._fitted(folder / "whole", cut)
        version = self._publish(
            whole, cut, "fit", verdict.metrics() | metrics, self._configuration(folder, cut), verdict
        )
        shutil.rmtree(folder)
        return version

    def _fitted(self, folder: Path, cut: int) -> Bundle:
        made = refitted(self._configuration(folder, cut), folder, self.versions.database)
        return replace(made, manifest=made.manifest | {"cut": cut})

    def _configuration(self, folder: Path, cut: int) -> dict[str, Any]:
        start = self.versions.cache.folder(self.version.version)
        return refit_configuration(self.version.configuration, folder.absolute(), start, cut)

    def _publish(
        self, bundle: Bundle, cut: int, made_by: str, metrics: Mapping[str, Any], configuration: Mapping[str, Any],
        verdict: Verdict,
    ) -> Version:  # fmt: skip
        new = self.versions.publish(
            bundle, parent=self.version.version, cut=cut, made_by=made_by, metrics=metrics, configuration=configuration
        )
        why = f"{made_by} on events up to {cut}. Without the newest tenth: {verdict}. Made once more with all events."
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
    return {"distance_measured": measured} | ({RATIO_NAME: measured / first} if first else {})


def cut_of(bundle: Bundle) -> int:
    """A bundle is made of all events with a `seq` up to this."""
    return int(bundle.manifest.get("cut", 0))


def upto(events: list[EventColumns], cut: int) -> list[EventColumns]:
    """The events with `seq <= cut`."""
    return [chunk.where(chunk.seq <= cut) for chunk in events]


def after(events: list[EventColumns], cut: int) -> list[EventColumns]:
    """The events with `seq > cut`."""
    return [chunk.where(chunk.seq > cut) for chunk in events]
