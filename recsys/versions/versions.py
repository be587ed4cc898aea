"""Versions: a database and a store, in which versions are published, promoted and found."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from recsys.bundle import Bundle, BundleError
from recsys.bundle.manifest import manifest_bytes, sha256_of
from recsys.bundle.signature import SigningError, read_private_key, signature_of
from recsys.bundle.typing import Id
from recsys.database import Database
from recsys.files import scratch_folder
from recsys.versions.aliases import ANY, AliasChange, Aliases
from recsys.versions.bundle_store import BundleStore
from recsys.versions.host_cache import HostCache
from recsys.versions.registry import Registry
from recsys.versions.store import open_store
from recsys.versions.version import CHAMPION, FIT, FORGET, Version, VersionConflictError, VersionError

TRIES = 5  # to store a version that retention removes meanwhile


class Champion(NamedTuple):
    """The version that an alias names, and its bundle."""

    version: Version
    bundle: Bundle


class Versions:
    """The versions of a database and a store.

    Args:
        database: With their rows.
        store: With their files.
        cache: Folder of this machine's copies of a distant store; None for `versions` in the user's cache.
        sign_with: File of an Ed25519 private key with which new versions are signed; None to sign none.
    """

    def __init__(
        self, database: Database, store: BundleStore, *, cache: Path | None = None, sign_with: Path | None = None
    ) -> None:
        self.database, self.store, self.sign_with = database, store, sign_with
        self.registry, self.aliases = Registry(database), Aliases(database)
        self.cache = HostCache(store, cache)
        self.scratch = store.root or self.cache.root  # where new versions are made

    def champion(self, alias: str = CHAMPION) -> Champion:
        """What an alias names now.

        Raises:
            VersionError: It names nothing, or its files are not in the store.
            BundleError: They are not what they should be.
            DatabaseError: The database does not answer.
        """
        current = self.aliases.current(alias)
        if current is None:
            raise VersionError(
                f"alias {alias} names no version in {self.database}: `recsys versions add RUN --alias {alias}` sets it"
            )
        version = self.registry.find(current)
        return Champion(version, self.load(version))

    def load(self, version: Version) -> Bundle:
        """The bundle of a version.

        Raises:
            VersionError: It is withdrawn, or its files are not in the store.
            BundleError: They are not what they should be.
        """
        if version.withdrawn is not None:
            raise VersionError(f"version {version.short} is withdrawn: {version.reason}")
        return Bundle.load(self.cache.folder(version.version), sha256=version.version, budget=self.store.budget)

    def manifest(self, alias: str = CHAMPION) -> dict[str, Any] | None:
        """The manifest of what an alias names; None if it names nothing.

        Raises:
            VersionError: Its files are not in the store.
            BundleError: They are not what they should be.
            DatabaseError: The database does not answer.
        """
        current = self.aliases.current(alias)
        return None if current is None else self.store.manifest(current)

    def id_kind(self) -> str | None:
        """`int` or `str`, of the ids of the champion; None if there is none that can be read.

        Raises:
            DatabaseError: The database does not answer.
        """
        try:
            manifest = self.manifest()
        except (BundleError, VersionError):
            return None
        return None if manifest is None else str(manifest["id_kind"])

    def find(self, name: str) -> Version:
        """The version that an alias names, or that begins with these digits.

        Raises:
            VersionError: There is none, or more than one.
        """
        current = self.aliases.current(name)
        return self.registry.find(name if current is None else current)

    def publish(
        self,
        bundle: Bundle,
        *,
        parent: str | None,
        cut: int,
        made_by: str,
        metrics: Mapping[str, Any],
        configuration: Mapping[str, Any],
    ) -> Version:
        """Make a version of a bundle: files first, then its row. The same bundle gives the same version again.

        Args:
            bundle: What it holds. The manifest gets `parent`, `cut` and `made_by`.
            parent: The version that it was made from.
            cut: It is made of all events with `seq <= cut`.
            made_by: `fit`, `update` or `forget`.
            metrics: What was measured of it.
            configuration: With which it was made; no passwords.

        Raises:
            VersionConflictError: Someone whose rows it holds was forgotten meanwhile; nothing is left of it.
            BundleError: The parts do not fit together.
            DatabaseError, VersionError, WriteError: It cannot be stored.
        """
        made = {"cut": cut, "made_by": made_by} | ({} if parent is None else {"parent": parent})
        new = replace(bundle, manifest={**bundle.manifest, **made}, sha256=None)
        with scratch_folder(self.scratch / "new") as scratch:  # what a killed process leaves, the next one removes
            new.save(scratch / "bundle")
            return self._add(scratch / "bundle", new, metrics, configuration)

    def add(self, folder: Path, metrics: Mapping[str, Any], configuration: Mapping[str, Any]) -> Version:
        """Make a version of a bundle's folder as it is, with its signature if it has one.

        Raises:
            BundleError: It is no bundle.
            DatabaseError, VersionError, WriteError: It cannot be stored.
        """
        return self._add(folder, Bundle.load(folder, budget=self.store.budget), metrics, configuration)

    def promote(
        self, alias: str, version: str, who: str, why: str, *, expected: Any = ANY, other_data: bool = False
    ) -> AliasChange:
        """Let an alias name a version; see `Aliases.set`. Services that follow it swap within their `poll_seconds`."""
        return self.aliases.set(alias, version, who, why, expected=expected, other_data=other_data)

    def sign(self, version: Version) -> None:
        """Sign a version with the key of `sign_with`, in the place of any other signature.

        Raises:
            SigningError: There is no key, or it cannot be used.
            BundleError, VersionError: The version is not what it should be, or not in the store.
        """
        if self.sign_with is None:
            raise SigningError("there is no key to sign with")
        folder = self.cache.folder(version.version)
        manifest = manifest_bytes(folder, self.store.budget)
        if sha256_of(manifest) != version.version:
            raise VersionError(f"version {version.short} was altered in {folder}")
        self.store.sign(version.version, signature_of(manifest, read_private_key(self.sign_with)))

    def _add(
        self, folder: Path, bundle: Bundle, metrics: Mapping[str, Any], configuration: Mapping[str, Any]
    ) -> Version:
        manifest = manifest_bytes(folder, self.store.budget)
        about, version = bundle.manifest, sha256_of(manifest)
        new = Version(
            version,
            about.get("parent"),
            int(about.get("cut", 0)),
            int(time.time()),
            str(about.get("made_by", FIT)),
            dict(metrics),
            dict(configuration),
            about.get("git_commit"),
        )
        key = None if self.sign_with is None else read_private_key(self.sign_with)
        new_users = self._new_users(new, bundle)
        for _ in range(TRIES):
            self.store.put(folder)
            if key is not None:
                self.store.sign(version, signature_of(manifest, key))
            try:
                added = self.registry.add(new, new_users)
            except VersionError:
                self.store.remove(version)
                raise
            if self.store.is_whole(version):  # retention may have removed it before it was registered again
                return added
        raise VersionError(f"{self.store} does not keep version {new.short}")

    def _new_users(self, version: Version, bundle: Bundle) -> list[str]:
        """Ids of the users whom a version has from events: they have some, unless they were forgotten meanwhile."""
        if version.made_by == FORGET or not (version.cut or version.parent):
            return []
        before: set[Id] = set()
        if version.parent is not None:
            try:
                before = set(self.store.user_ids(version.parent))
            except VersionError as error:
                raise VersionConflictError(f"the parent of version {version.short} is gone: {error}") from error
        return [str(user) for user in bundle.user_ids.tolist() if user not in before]


def open_versions(
    database: Database | str | None = None,
    store: BundleStore | str | Path | None = None,
    *,
    cache: Path | None = None,
    sign_with: Path | None = None,
) -> Versions:
    """The versions of a database and a store.

    Args:
        database: Or its URL; None: that of `RECSYS_DATABASE`, or else SQLite in `outputs/`.
        store: Or its URL; None: that of `RECSYS_STORE`, or else `outputs/versions`.
        cache: See `Versions`.
        sign_with: See `Versions`.

    Raises:
        DatabaseError: The database cannot be reached or written.
        VersionError: There is no such store.
    """
    found = database if isinstance(database, Database) else Database.open(database)
    kept = store if isinstance(store, BundleStore) else open_store(store)
    return Versions(found, kept, cache=cache, sign_with=sign_with)
