"""Download a MovieLens release from GroupLens, or ml-100k from a package on the user's Python index.

Downloads are trusted by checksum only, which is verified before they are read.
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
from recsys.data.download.archives import check_sums, copy_bounded, extract_members
from recsys.data.errors import DataError
from recsys.files import scratch_folder
from recsys.progress import progress

logger = logging.getLogger(__name__)

GROUPLENS = "https://files.grouplens.org/datasets/movielens"
TIMEOUT = 10.0  # seconds, to connect and to read
LARGEST_ARCHIVE = 2 << 30  # bytes


@dataclass(frozen=True)
class Archive:
    """A release's zip: the folder in it, and its published checksums."""

    folder: str
    md5: str | None = None
    sha256: str | None = None


ARCHIVES = {
    "ml-100k": Archive("ml-100k", md5="0e33842e24a9c977be4e0107933c0723"),
    "ml-1m": Archive(
        "ml-1m",
        md5="c4d9eecfca2ab87c1945afe126590906",
        sha256="a6898adb50b9ca05aa231689da44c217cb524e7ebd39d264c56e2832f2c54e20",
    ),
    "ml-10m": Archive(
        "ml-10M100K",
        md5="ce571fd55effeba0271552578f2648bd",
        sha256="813c411ccb6122564edfe752e7f80c4dcc5aa25fa94c93622f6877a7ba252862",
    ),
    "ml-20m": Archive("ml-20m", md5="cd245b17a1ae2cc31bb14903e1204af3"),
    "ml-25m": Archive("ml-25m", md5="6b51fb2759a8657d3bfcbfc42b592ada"),
    "ml-32m": Archive("ml-32m", md5="d472be332d4daa821edc399621853b57"),
    "ml-latest-small": Archive(
        "ml-latest-small", sha256="696d65a3dfceac7c45750ad32df2c259311949efec81f0f144fdfb91ebc9e436"
    ),
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
        f"Download {GROUPLENS}/{name}.zip elsewhere, extract it and pass its folder as data.root=<folder>; "
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
    path = folder / "archive.zip"
    verified = _download(f"{GROUPLENS}/{name}.zip", path)
    check_sums(path, md5=archive.md5, sha256=archive.sha256)
    if not verified:
        logger.warning(
            "the certificate of %s could not be verified; the download is used since its checksum is correct",
            GROUPLENS,
        )
    extract_members(path, {f"{archive.folder}/{file}": folder / file for file in files})


def _download(url: str, path: Path) -> bool:
    """Download the URL to the path. Returns whether the certificate could be verified."""
    try:
        _stream(url, path, context=None)
    except urllib.error.URLError as error:
        if not isinstance(error.reason, ssl.SSLCertVerificationError):
            raise
        _stream(url, path, context=ssl._create_unverified_context())  # we trust the checksum
        return False
    return True


def _stream(url: str, path: Path, context: ssl.SSLContext | None) -> None:
    with urllib.request.urlopen(url, timeout=TIMEOUT, context=context) as answer, path.open("wb") as file:
        expected = answer.headers.get("Content-Length")
        with progress(url.rpartition("/")[2], int(expected) if expected else None, delay=0, in_bytes=True) as advance:
            size = copy_bounded(answer, file, LARGEST_ARCHIVE, url, advance)
    if expected and size != int(expected):
        raise DataError(f"{url} ended after {size} of {expected} bytes")
