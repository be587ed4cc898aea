"""BundleStore: bundles under the SHA-256 of their manifests.

A version is a folder of its own, whose digest is written last: without it there is no version.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from recsys.bundle import Budget, BundleError
from recsys.bundle.array_file import load_arrays, read_header
from recsys.bundle.budget import Spending
from recsys.bundle.ids import unpacked_ids
from recsys.bundle.manifest import DIGEST, MANIFEST, read_manifest
from recsys.bundle.signature import LINE_BYTES, SIGNATURE
from recsys.bundle.storage import FILES
from recsys.bundle.typing import Id
from recsys.files import atomic_folder, file_sha256, open_regular
from recsys.versions.version import SHA256, SHOWN, VersionError

DIGEST_BYTES = 128
IDS = "ids.safetensors"


class Stored(NamedTuple):
    """What the store has under a version's name."""

    version: str
    is_whole: bool  # whether it has a digest, which is written last
    modified: float  # unix seconds; of the file that was written last


class BundleStore(ABC):
    """A store of versions; `recsys.versions.store.open_store` gives one for a URL.

    Args:
        budget: What a bundle may cost.
    """

    root: Path | None = None  # where the store is a folder

    def __init__(self, budget: Budget) -> None:
        self.budget = budget

    @abstractmethod
    def put(self, folder: Path) -> str:
        """Store a bundle's folder, with its signature if it has one. What is there already stays as it is.

        Returns:
            Its version.

        Raises:
            BundleError: The folder is no bundle, or was altered.
            VersionError: The store cannot be written to.
        """

    @abstractmethod
    def sign(self, version: str, signature: bytes) -> None:
        """Write a version's signature, in the place of any other."""

    @abstractmethod
    def remove(self, version: str) -> None:
        """Remove a version, or what there is of one; it is gone at once for whoever reads."""

    @abstractmethod
    def all(self) -> list[Stored]:
        """What is in the store."""

    def folder(self, version: str) -> Path | None:
        """The folder of a version, where the store is one."""
        check_version(version)
        return None if self.root is None else self.root / version

    @abstractmethod
    def sizes(self, version: str) -> dict[str, int]:
        """Bytes of a version's files by name; none if there is no version."""

    @abstractmethod
    def copy(self, version: str, name: str, file: Path) -> None:
        """Copy a version's file to a file of this machine."""

    def fetch(self, version: str, folder: Path) -> None:
        """Copy a version to a folder of this machine, every file verified, whole or not at all.

        Raises:
            VersionError: There is no such version in the store, or the store cannot be read.
            BundleError: It is not what its name says, or beyond the budget.
            WriteError: The folder cannot be written.
        """
        sizes = self._sizes_of(version)
        with atomic_folder(folder) as working:
            files = self._copy_manifest(version, working, sizes)["files"]
            for name in FILES:
                self._copy_verified(version, name, files, working)
            self.copy_signature(version, working, sizes)

    def copy_signature(self, version: str, folder: Path, sizes: dict[str, int] | None = None) -> None:
        """Copy a version's signature, if it has one. It is not checked here."""
        size = (self.sizes(version) if sizes is None else sizes).get(SIGNATURE, 0)
        if 0 < size <= LINE_BYTES:
            self.copy(version, SIGNATURE, folder / SIGNATURE)

    def is_whole(self, version: str) -> bool:
        """Whether every file of a version is there, by name and size."""
        sizes = self.sizes(version)
        if not {MANIFEST, DIGEST, *FILES} <= set(sizes):
            return False
        with TemporaryDirectory() as working:
            try:
                self._copy_manifest(version, Path(working), sizes)
            except (BundleError, VersionError):
                return False
        return True

    def user_ids(self, version: str) -> list[Id]:
        """The ids of all users whose rows a version holds.

        Raises:
            VersionError: There is no such version in the store, or the store cannot be read.
            BundleError: It is not what its name says.
        """
        with TemporaryDirectory() as scratch:
            working = Path(scratch)
            files = self._copy_manifest(version, working, self._sizes_of(version))["files"]
            self._copy_verified(version, IDS, files, working)
            with open_regular(working / IDS) as stream:
                header = read_header(working / IDS, stream, Spending(working, self.budget))
                content = header.content + stream.read()
        ids: list[Id] = unpacked_ids("user", load_arrays(Path(IDS), content, header)).tolist()
        return ids

    def manifest(self, version: str) -> dict[str, Any]:
        """The manifest of a version.

        Raises:
            VersionError: There is no such version in the store, or the store cannot be read.
            BundleError: It is not what its name says.
        """
        with TemporaryDirectory() as scratch:
            return self._copy_manifest(version, Path(scratch), self._sizes_of(version))

    def _sizes_of(self, version: str) -> dict[str, int]:
        check_version(version)
        sizes = self.sizes(version)
        if not {MANIFEST, DIGEST} <= set(sizes):
            raise VersionError(f"{self} has no version {version[:SHOWN]}")
        return sizes

    def _copy_manifest(self, version: str, working: Path, sizes: dict[str, int]) -> dict[str, Any]:
        """Copy manifest and digest, and check them, and that all files are there. Returns the manifest."""
        for name, most in ((MANIFEST, self.budget.manifest_bytes), (DIGEST, DIGEST_BYTES)):
            if sizes[name] > most:
                raise BundleError(f"{self}/{version}/{name} has {sizes[name]:,} bytes, the limit is {most:,}")
            self.copy(version, name, working / name)
        manifest, _ = read_manifest(working, FILES, version, Spending(working, self.budget))
        files: dict[str, Any] = manifest["files"]
        total = sum(entry["size"] for entry in files.values())
        self.budget.check("bytes", total, f"version {version[:SHOWN]} has … bytes")
        for name, entry in files.items():
            if (found := sizes.get(name)) != entry["size"]:
                what = "is missing" if found is None else f"has {found} bytes, the manifest says {entry['size']}"
                raise BundleError(f"{self}/{version}/{name} {what}")
        return manifest

    def _copy_verified(self, version: str, name: str, files: dict[str, Any], working: Path) -> None:
        self.copy(version, name, working / name)
        if file_sha256(working / name) != files[name]["sha256"]:
            raise BundleError(f"{self}/{version}/{name} was altered: its SHA-256 is not the manifest's")


def check_version(version: str) -> None:
    """Check that a text is the name of a version, before it becomes part of a path.

    Raises:
        VersionError: It is none.
    """
    if not SHA256.fullmatch(version):
        raise VersionError(f"version must be the SHA-256 of a manifest, 64 digits, got {version!r:.80}")
