"""Download a MovieLens release from GroupLens, or ml-100k from a package on the user's Python index.

Downloads are verified by SHA-256 before they are read. A release of which none is known is not downloaded, and neither
is any over a connection whose certificate cannot be verified.
"""

from __future__ import annotations

import http.client
import logging
import os
import ssl
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from recsys.data.download import recbole_mirror
from recsys.data.download.archives import check_sha256, copy_bounded, extract_members
from recsys.data.errors import DataError
from recsys.files import scratch_folder
from recsys.progress import progress

logger = logging.getLogger(__name__)

GROUPLENS = "https://files.grouplens.org/datasets/movielens"
TIMEOUT = 10.0  # seconds, to connect and to read
LARGEST_ARCHIVE = 2 << 30  # bytes


@dataclass(frozen=True)
class Archive:
    """A release's zip: the folder in it, and its SHA-256, if one is known that others have published, too."""

    folder: str
    sha256: str | None


ARCHIVES = {
    "ml-100k": Archive("ml-100k", "50d2a982c66986937beb9ffb3aa76efe955bf3d5c6b761f4e3a7cd717c6a3229"),
    "ml-1m": Archive("ml-1m", "a6898adb50b9ca05aa231689da44c217cb524e7ebd39d264c56e2832f2c54e20"),
    "ml-10m": Archive("ml-10M100K", "813c411ccb6122564edfe752e7f80c4dcc5aa25fa94c93622f6877a7ba252862"),
    "ml-20m": Archive("ml-20m", "96f243c338a8665f6bcc89c53edf6ee39162a846940de6b7c8c48aeada765ff3"),
    "ml-25m": Archive("ml-25m", "8b21cfb7eb1706b4ec0aac894368d90acf26ebdfb6aced3ebd4ad5bd1eb9c6aa"),
    "ml-32m": Archive("ml-32m", None),  # GroupLens publishes MD5 only, which can be forged
    "ml-latest-small": Archive("ml-latest-small", "696d65a3dfceac7c45750ad32df2c259311949efec81f0f144fdfb91ebc9e436"),
}


def fetch(name: str, files: Sequence[str], folder: Path) -> None:
    """Download the files of a release to the folder; each file is moved there atomically.

    Safe to run in two processes at once: both write the same files.

    Args:
        name: One of `ARCHIVES`.
        files: Names of the required files, the most important last.
        folder: Target folder; created if necessary.

    Raises:
        DataError: All sources failed; names each source with its error, and workarounds.
    """
    sources: dict[str, Callable[[Path], None]] = {
        f"{GROUPLENS}/{name}.zip": lambda to: _from_grouplens(name, files, to)
    }
    if name == "ml-100k":
        sources[f"{recbole_mirror.REQUIREMENT} from the Python package index"] = recbole_mirror.extract
    failures = []
    for source, extract in sources.items():
        try:
            with scratch_folder(folder) as scratch:
                extract(scratch)
                _move(scratch, files, folder)
            logger.info("%s: downloaded from %s to %s", name, source, folder)
            return
        except (OSError, DataError, http.client.HTTPException, zipfile.BadZipFile) as error:
            failures.append(f"  {source}: {error}")
            logger.debug("%s: %s failed", name, source, exc_info=True)
    raise DataError(
        f"{name} could not be downloaded. Tried:\n" + "\n".join(failures) + "\n"
        f"Download {GROUPLENS}/{name}.zip with a browser, extract it and pass its folder as data.root=<folder>; "
        "or, behind a proxy, set HTTPS_PROXY and try again."
    )


def _move(source: Path, files: Sequence[str], folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    for file in files:
        with (source / file).open("rb+") as whole:
            os.fsync(whole.fileno())
        (source / file).replace(folder / file)


def _from_grouplens(name: str, files: Sequence[str], folder: Path) -> None:
    archive = ARCHIVES[name]
    if archive.sha256 is None:
        raise DataError("no SHA-256 of it is known, so a download could not be verified")
    path = folder / "archive.zip"
    try:
        _stream(f"{GROUPLENS}/{name}.zip", path)
    except urllib.error.URLError as error:
        if isinstance(error.reason, ssl.SSLCertVerificationError):
            raise DataError(
                f"the server's certificate cannot be verified ({error.reason.verify_message or error.reason}), "
                "and nothing is downloaded without that"
            ) from error
        raise
    check_sha256(path, archive.sha256)
    extract_members(path, {f"{archive.folder}/{file}": folder / file for file in files})


def _stream(url: str, path: Path) -> None:
    with urllib.request.urlopen(url, timeout=TIMEOUT) as answer, path.open("wb") as file:
        expected = answer.headers.get("Content-Length")
        with progress(url.rpartition("/")[2], int(expected) if expected else None, delay=0, in_bytes=True) as advance:
            size = copy_bounded(answer, file, LARGEST_ARCHIVE, url, advance)
    if expected and size != int(expected):
        raise DataError(f"{url} ended after {size} of {expected} bytes")
