"""HostCache: versions of a distant store on this machine, fetched once and verified."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from recsys.bundle.manifest import DIGEST
from recsys.bundle.signature import SIGNATURE
from recsys.files import cache_folder, folder_lock, remove_folder
from recsys.versions.bundle_store import BundleStore, check_version
from recsys.versions.version import SHA256


class HostCache:
    """A folder of versions that all processes of this machine share.

    A store that is a folder itself needs none: its versions are read where they are.

    Args:
        store: Where the versions are from.
        root: The folder; None for `versions` in the user's cache.
    """

    def __init__(self, store: BundleStore, root: Path | None = None) -> None:
        self.store = store
        self.root = cache_folder() / "versions" if root is None else root

    def place(self, version: str) -> Path:
        """Where the folder of a version is on this machine, or would be."""
        check_version(version)
        return self.store.folder(version) or self.root / version

    def folder(self, version: str) -> Path:
        """The folder of a version on this machine; one process fetches it while the others wait.

        A signature that came later is fetched, too.

        Raises:
            VersionError: There is no such version in the store, or the store cannot be read.
            BundleError: It is not what its name says, or beyond the budget.
            WriteError: The cache cannot be written.
        """
        if (place := self.store.folder(version)) is not None:
            return place
        target = self.place(version)
        if not (target / SIGNATURE).is_file():
            with folder_lock(self.root, "fetches a version"):
                if not (target / DIGEST).is_file():
                    self.store.fetch(version, target)
                elif not (target / SIGNATURE).is_file():
                    self.store.copy_signature(version, target)
        return target

    def versions(self) -> list[str]:
        """What is in the cache."""
        return sorted(path.name for path in self.root.glob("*") if SHA256.fullmatch(path.name))

    def remove(self, versions: Collection[str]) -> None:
        """Remove versions, if they are there."""
        found = set(versions) & set(self.versions())
        if found:
            with folder_lock(self.root, "fetches a version"):
                for version in sorted(found):
                    remove_folder(self.root / version)
