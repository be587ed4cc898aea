"""The store at a URL: a folder, or any that fsspec knows."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import unquote, urlsplit

from recsys.bundle import Budget
from recsys.versions.bundle_store import BundleStore
from recsys.versions.folder_store import FolderStore
from recsys.versions.object_store import ObjectStore

VARIABLE = "RECSYS_STORE"
DEFAULT_URL = "outputs/versions"


def open_store(url: str | Path | None = None, *, budget: Budget | None = None) -> BundleStore:
    """The store at a URL.

    Args:
        url: A folder, or such as `s3://bucket/versions`; None: that of the variable `RECSYS_STORE`, or else
            `outputs/versions`.
        budget: What a bundle may cost; None for `Budget.from_environment()`.

    Raises:
        VersionError: There is no such file system, or its package is missing.
    """
    given = str(url or os.environ.get(VARIABLE) or DEFAULT_URL)
    budget = Budget.from_environment() if budget is None else budget
    if given.startswith("file://"):
        given = unquote(urlsplit(given).path)
    return ObjectStore(given, budget) if "://" in given else FolderStore(Path(given), budget)
