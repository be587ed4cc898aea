"""FolderStore: versions in a folder of this machine, or one that several machines mount."""

from __future__ import annotations

import shutil
from pathlib import Path

from recsys.bundle import Budget
from recsys.bundle.manifest import DIGEST, read_manifest
from recsys.bundle.signature import SIGNATURE
from recsys.bundle.storage import FILES, verified_files
from recsys.files import atomic_folder, atomic_write, folder_lock, remove_folder, write_errors
from recsys.versions.bundle_store import BundleStore, Stored, check_version
from recsys.versions.version import SHA256, VersionError


class FolderStore(BundleStore):
    """A folder with a folder for each version, which gets its name once it is whole and on disk.

    Args:
        root: The folder; made when it is first written to.
        budget: What a bundle may cost.
    """

    def __init__(self, root: Path, budget: Budget) -> None:
        super().__init__(budget)
        self.root: Path = root

    def __str__(self) -> str:
        return str(self.root)

    def put(self, folder: Path) -> str:
        _, version = read_manifest(folder, FILES)
        target = self.root / version
        with folder_lock(self.root, "changes the versions"):
            if not self.is_whole(version):
                with atomic_folder(target) as working:
                    for name, content in verified_files(folder, self.budget, version):
                        (working / name).write_bytes(content)
            elif (folder / SIGNATURE).is_file() and not (target / SIGNATURE).is_file():
                with atomic_write(target / SIGNATURE) as partial:
                    shutil.copyfile(folder / SIGNATURE, partial)
        return version

    def sign(self, version: str, signature: bytes) -> None:
        with folder_lock(self.root, "changes the versions"):
            self._sizes_of(version)
            with atomic_write(self.root / version / SIGNATURE) as partial:
                partial.write_bytes(signature)

    def remove(self, version: str) -> None:
        check_version(version)
        if self.root.is_dir():
            with folder_lock(self.root, "changes the versions"):  # which removes what killed processes left, too
                remove_folder(self.root / version)

    def all(self) -> list[Stored]:
        found = []
        for folder in sorted(self.root.glob("*")):
            if SHA256.fullmatch(folder.name) and folder.is_dir():
                digest = folder / DIGEST
                is_whole = digest.is_file()
                found.append(Stored(folder.name, is_whole, (digest if is_whole else folder).stat().st_mtime))
        return found

    def sizes(self, version: str) -> dict[str, int]:
        check_version(version)
        try:
            return {file.name: file.stat().st_size for file in (self.root / version).iterdir()}
        except FileNotFoundError:  # also where it is removed meanwhile
            return {}

    def copy(self, version: str, name: str, file: Path) -> None:
        try:
            with write_errors(file):
                shutil.copyfile(self.root / version / name, file)
        except FileNotFoundError as error:
            raise VersionError(f"{self.root / version / name} is missing") from error
