"""Forgetting a person: their events, their attributes, and every version that holds their rows.

Each step may be repeated. Whatever moment this is killed at, running it again does what is left to do.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import delete

from recsys.bundle import Bundle, BundleError
from recsys.bundle.forgetting import without_users
from recsys.database.jobs import forget_jobs
from recsys.database.tables import events, users
from recsys.events.merge import id_of
from recsys.files import remove_abandoned
from recsys.versions.aliases import confirm, named
from recsys.versions.retention import remove_withdrawn
from recsys.versions.version import FORGET, FORGOTTEN, Version, VersionConflictError, VersionError
from recsys.versions.versions import Versions

ROUNDS = 100  # of versions that are made from others meanwhile
WHY = "a person was forgotten"  # in the history of aliases, which never says who


@dataclass(frozen=True)
class Forgotten:
    """What forgetting came to."""

    is_known: bool  # whether there was anything of them
    events: int  # deleted
    jobs: int  # that named the person, or whose results did
    withdrawn: list[str]  # versions that held the person's rows, and are no longer in the store
    made: list[str]  # versions without them
    aliases: list[str]  # that name those now


def forget(versions: Versions, user_id: str, who: str) -> Forgotten:
    """Forget a person.

    First their events, attributes and jobs are deleted, so that no version is made of them any more. Of each version
    that holds their rows another one is made without them, from which everybody else gets the same answers; aliases are
    moved to it; then the former is marked as withdrawn, and its files are removed. The rows of versions and of the
    history of aliases stay: they say nothing of people. Each alias gets a row that somebody was forgotten, unless
    nothing is known of them.

    Args:
        versions: Where from.
        user_id: As text.
        who: Forgets them.

    Raises:
        DatabaseError, VersionError, WriteError: The database, the store or the cache cannot be written; run it again.
        BundleError: A version holds nobody else, or is damaged.
    """
    read: dict[str, bool] = {}
    held = {one.version for one in _holders(versions, user_id, read)}
    with versions.database.writing() as connection:
        deleted = int(connection.execute(delete(events).where(events.c.user_id == user_id)).rowcount)
        is_known = bool(deleted + connection.execute(delete(users).where(users.c.user_id == user_id)).rowcount)
        jobs = forget_jobs(connection, user_id, everyone=is_known or bool(held))
        confirmed = set[str]()  # so that services empty their caches, and that it is known if this ends here
        if is_known or jobs:
            confirmed = {alias for alias, version in named(connection).items() if version not in held}
            confirm(connection, sorted(confirmed), who, WHY)
    is_known = is_known or bool(jobs or held)
    versions.database.purge()
    withdrawn: list[str] = []
    made: list[str] = []
    moved = set[str]()
    for _ in range(ROUNDS):
        is_known |= _remove_unregistered(versions, user_id)
        holders = _holders(versions, user_id, read)
        if not holders:
            break
        others = {holder.version: _without(versions, holder, user_id) for holder in holders}
        made += [other.version for other in others.values() if other is not None]
        for alias, version in versions.aliases.all().items():
            if (other := others.get(version)) is not None and _moved(versions, alias, version, other.version, who):
                moved.add(alias)
        with versions.database.writing() as connection:
            others_named = set(named(connection)) - moved - confirmed
            confirm(connection, sorted(others_named), who, WHY)
            confirmed |= others_named
        withdrawn += versions.registry.withdraw(others, FORGOTTEN)  # but what an alias names again meanwhile
        remove_withdrawn(versions)
    else:
        raise VersionError("versions with rows of this person are made again and again; stop what makes them")
    remove_withdrawn(versions)
    for folder in (versions.cache.root, versions.scratch):
        if folder.is_dir():
            remove_abandoned(folder)
    return Forgotten(is_known, deleted, jobs, withdrawn, made, sorted(moved))


def _moved(versions: Versions, alias: str, before: str, after: str, who: str) -> bool:
    last = versions.aliases.last(alias)
    try:
        told = last is not None and last.other_data
        versions.promote(alias, after, who, WHY, expected=before, other_data=told)
    except VersionConflictError:  # the next round sees what it names now
        return False
    return True


def _holders(versions: Versions, user_id: str, read: dict[str, bool]) -> list[Version]:
    return [one for one in versions.registry.all() if one.withdrawn is None and _holds(versions, one, user_id, read)]


def _holds(versions: Versions, version: Version, user_id: str, read: dict[str, bool]) -> bool:
    """Whether a version holds a person's rows, or is damaged so that it may.

    Args:
        versions: Of which it is one.
        version: It.
        user_id: The person.
        read: What was found of versions whose ids were read, which never change; this one is added.
    """
    try:
        if version.version not in read:
            read[version.version] = _is_among(user_id, versions.store.user_ids(version.version))
        return read[version.version]
    except BundleError:
        return True
    except VersionError:
        if versions.store.sizes(version.version):
            raise
        return False  # there is nothing of it


def _is_among(user_id: str, ids: Iterable[int | str]) -> bool:
    return user_id in {str(one) for one in ids}


def _without(versions: Versions, version: Version, user_id: str) -> Version | None:
    """The version made of another one, without the person; None if none can be made, and no alias names it."""
    try:
        bundle = versions.load(version)
        new = without_users(bundle, [_row(bundle, user_id)])
    except BundleError as error:
        if version.version in versions.aliases.all().values():
            raise BundleError(f"version {version.short}, which an alias names: {error}") from error
        return None
    return versions.publish(
        new,
        parent=version.version,
        cut=version.cut,
        made_by=FORGET,
        metrics=version.metrics,
        configuration=version.configuration,
    )


def _row(bundle: Bundle, user_id: str) -> int:
    found = id_of(user_id, str(bundle.manifest["id_kind"]))
    assert found is not None  # it is among the bundle's ids
    return bundle.user_row[found]


def _remove_unregistered(versions: Versions, user_id: str) -> bool:
    """Remove from the store what has no row in the database and may hold the person: what killed processes left.

    Returns whether some of it did.

    Whoever is storing it at this moment finds that it is not whole, and stores it again.
    """
    known, found = {one.version for one in versions.registry.all()}, False
    for stored in versions.store.all():
        if stored.version in known:
            continue
        try:
            holds = not stored.is_whole
            if not holds and _is_among(user_id, versions.store.user_ids(stored.version)):
                holds = found = True
        except (VersionError, BundleError):
            holds = True
        if holds:
            versions.store.remove(stored.version)
    return found
