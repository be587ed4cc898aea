"""ObjectStore: versions at a URL of fsspec, such as `s3://bucket/versions`. The package of its protocol is needed."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from recsys.bundle import Budget, BundleError
from recsys.bundle.manifest import DIGEST, read_manifest
from recsys.bundle.signature import SIGNATURE, read_signature
from recsys.bundle.storage import FILES, verified_files
from recsys.database.passwords import redacted
from recsys.versions.bundle_store import BundleStore, Stored, check_version
from recsys.versions.version import SHA256, VersionError


class ObjectStore(BundleStore):
    """A prefix of an object store: each file is one object, which is there as a whole or not at all.

    Credentials and endpoints are the file system's own: `AWS_ACCESS_KEY_ID`, `AWS_ENDPOINT_URL` and so on.

    Args:
        url: With the protocol.
        budget: What a bundle may cost.
    """

    def __init__(self, url: str, budget: Budget) -> None:
        super().__init__(budget)
        self.url = url.rstrip("/")
        try:
            import fsspec  # type: ignore[import-untyped]

            self.files, self.prefix = fsspec.url_to_fs(self.url, use_listings_cache=False)
        except ImportError as error:
            package = "recsys-lightning[live]" if error.name == "fsspec" else str(error).removeprefix("Install ")
            raise VersionError(f"store {self} needs a package: pip install {package!r}") from error
        except ValueError as error:
            raise VersionError(f"store {self}: {error}") from error

    def __str__(self) -> str:
        return redacted(self.url)

    def put(self, folder: Path) -> str:
        _, version = read_manifest(folder, FILES)
        with self._errors():
            if not self.is_whole(version):
                for name, content in verified_files(folder, self.budget, version):
                    self.files.pipe_file(self._path(version, name), content)
            elif (signature := read_signature(folder)) is not None and SIGNATURE not in self.sizes(version):
                self.files.pipe_file(self._path(version, SIGNATURE), signature)
        return version

    def sign(self, version: str, signature: bytes) -> None:
        with self._errors():
            self._sizes_of(version)
            self.files.pipe_file(self._path(version, SIGNATURE), signature)

    def remove(self, version: str) -> None:
        with self._errors():
            names = self.sizes(version)
            for name in sorted(names, key=lambda name: name != DIGEST):  # the digest first: then there is no version
                with contextlib.suppress(FileNotFoundError):
                    self.files.rm_file(self._path(version, name))
            with contextlib.suppress(FileNotFoundError, NotImplementedError):
                self.files.rmdir(f"{self.prefix}/{version}")  # where a prefix is a folder

    def all(self) -> list[Stored]:
        files: dict[str, dict[str, float]] = {}
        with self._errors():
            try:
                found = self.files.find(self.prefix, detail=True)
            except FileNotFoundError:
                return []
        for path, about in found.items():
            version, _, name = path.removeprefix(f"{self.prefix}/").partition("/")
            if SHA256.fullmatch(version):
                files.setdefault(version, {})[name] = _modified(about)
        return [Stored(version, DIGEST in names, max(names.values())) for version, names in sorted(files.items())]

    def sizes(self, version: str) -> dict[str, int]:
        check_version(version)
        with self._errors():
            try:
                found = self.files.ls(f"{self.prefix}/{version}", detail=True)
            except FileNotFoundError:
                return {}
        return {str(about["name"]).rpartition("/")[2]: int(about["size"]) for about in found if about["type"] == "file"}

    def copy(self, version: str, name: str, file: Path) -> None:
        with self._errors():
            try:
                self.files.get_file(self._path(version, name), str(file))
            except FileNotFoundError as error:
                raise VersionError(f"{self}/{version}/{name} is missing") from error

    def _path(self, version: str, name: str) -> str:
        check_version(version)
        return f"{self.prefix}/{version}/{name}"

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        """Each file system has its own kinds of errors."""
        try:
            yield
        except (VersionError, BundleError):
            raise
        except Exception as error:
            lines = redacted(str(error)).strip().split("\n")
            raise VersionError(f"store {self}: {lines[0] or type(error).__name__}") from error


def _modified(about: dict[str, Any]) -> float:
    """When a file was written, in unix seconds; now, where the file system does not tell: it is not old then."""
    for key in ("LastModified", "mtime", "last_modified", "updated", "created"):
        found = about.get(key)
        if isinstance(found, datetime):
            return found.timestamp()
        if isinstance(found, int | float):
            return float(found)
    return time.time()
