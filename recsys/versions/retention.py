"""Retention: which versions are kept, and how the others are removed."""

from __future__ import annotations

import time
from collections.abc import Mapping

from recsys.versions.aliases import AliasChange
from recsys.versions.registry import is_registered, withdrawn
from recsys.versions.rollback import before_current
from recsys.versions.version import RETENTION, Version, standing_in
from recsys.versions.versions import Versions

DAYS = 30.0  # for which a version that an alias named is kept
DAY = 86_400  # seconds
GRACE_SECONDS = DAY  # for which any version is kept: it may be about to be promoted


def needed(rows: Mapping[str, Version], history: list[AliasChange], since: int) -> set[str]:
    """The versions that an alias or a parent needs.

    Those are the versions that aliases name, or have named since a time, those that `rollback` would go back to, and
    of each of these its parent.

    Args:
        rows: Of all versions, by their digits.
        history: Of all aliases.
        since: In unix seconds.
    """
    kept = set[str]()
    for alias in {change.alias for change in history}:
        changes = [change for change in history if change.alias == alias]
        ends = [change.changed for change in changes[1:]] + [None]
        kept.update(change.version for change, end in zip(changes, ends, strict=True) if end is None or end >= since)
        if (before := before_current(changes, rows)) is not None:
            kept.add(before)
    kept = {found for version in kept if (found := standing_in(version, rows)) is not None}
    parents = {parent for version in kept if (parent := rows[version].parent) is not None}
    return kept | {found for version in parents if (found := standing_in(version, rows)) is not None}


def collect(versions: Versions, days: float = DAYS, *, dry_run: bool = False) -> list[str]:
    """Remove the versions that nobody needs any more; see `needed`. Their rows stay, marked as withdrawn.

    A version less than a day old is kept in any case. So is removed what is in the store and in no row of the
    database, once it is a day old: what killed processes left.

    Args:
        versions: Where from.
        days: For which a version is kept that an alias has named.
        dry_run: Remove nothing.

    Returns:
        The versions removed, or those that would be.

    Raises:
        DatabaseError, VersionError, WriteError: The database, the store or the cache cannot be written; run it again.
    """
    now, rows = int(time.time()), {one.version: one for one in versions.registry.all()}
    kept = needed(rows, versions.aliases.history(), now - int(days * DAY))
    unneeded = [
        one.version
        for one in rows.values()
        if one.withdrawn is None and one.version not in kept and one.created < now - GRACE_SECONDS
    ]
    left = [
        one.version for one in versions.store.all() if one.version not in rows and one.modified < now - GRACE_SECONDS
    ]
    if dry_run:
        return unneeded + left
    removed = versions.registry.withdraw(unneeded, RETENTION)
    for version in left:
        with versions.database.writing() as connection:  # nobody registers it meanwhile
            if not is_registered(connection, version):
                versions.store.remove(version)
    remove_withdrawn(versions)
    return removed + left


def remove_withdrawn(versions: Versions) -> None:
    """Remove the files of all versions that are withdrawn, from the store and from this machine's cache."""
    there = [one.version for one in versions.store.all()]
    for version in sorted(versions.registry.withdrawn(there)):
        with versions.database.writing() as connection:  # nobody registers it again meanwhile
            if withdrawn(connection, [version]):
                versions.store.remove(version)
    versions.cache.remove(versions.registry.withdrawn(versions.cache.versions()))
