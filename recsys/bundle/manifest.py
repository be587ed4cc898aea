"""The manifest, which vouches for a bundle's other files, and its digest, which vouches for the manifest."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from recsys.bundle.budget import Budget, Spending
from recsys.bundle.errors import BundleError
from recsys.bundle.reading import read_within, reason
from recsys.bundle.signature import check_signature
from recsys.bundle.strict_json import parsed_json
from recsys.bundle.widths import KEY as WIDTHS

SCHEMA_VERSION = 6  # 1 had one term of the prior, with exponent 1; 2 had no digest of the manifest
WITHOUT_ITEM_WEIGHTS, WITHOUT_WIDTHS, WITHOUT_ENCODER = 3, 4, 5  # of a bundle that versions before them read, too
MANIFEST, DIGEST = "manifest.json", "manifest.sha256"
DIGEST_LINE = re.compile(rb"([0-9a-f]{64}) [ *]manifest\.json\n")  # as `sha256sum` writes it
LEGACY_KEYS = {"taken": "fold_in_target"}  # of manifests of version 0.1
LEGACY_MODELS = {
    "MatrixFactorization": "mf",
    "SVDPlusPlus": "svdpp",
    "ALS": "als",
    "ImplicitALS": "ials",
    "BayesianMF": "bayesian_mf",
}


def write_manifest(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Write the manifest, which lists the files that the folder has, and, last of all, its digest."""
    files = {file.name: listed(file.read_bytes()) for file in sorted(folder.iterdir())}
    without_widths = WITHOUT_WIDTHS if manifest.get("fold_in") == "items" else WITHOUT_ITEM_WEIGHTS
    without_encoder = WITHOUT_ENCODER if WIDTHS in manifest else without_widths
    version = {"schema_version": SCHEMA_VERSION if manifest.get("fold_in") == "encoder" else without_encoder}
    whole = version | dict(manifest) | version | {"files": files}
    content = (json.dumps(whole, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()
    (folder / MANIFEST).write_bytes(content)
    (folder / DIGEST).write_bytes(f"{sha256_of(content)}  {MANIFEST}\n".encode())


def listed(content: bytes) -> dict[str, int | str]:
    """What the manifest says of a file."""
    return {"size": len(content), "sha256": sha256_of(content)}


def read_manifest(
    path: Path,
    names: Iterable[str],
    sha256: str | None = None,
    spending: Spending | None = None,
    verify_key: Path | None = None,
) -> tuple[dict[str, Any], str]:
    """The manifest of a bundle's folder, and the SHA-256 of its bytes; the files that it lists are not looked at.

    Args:
        path: The folder.
        names: The files that it must list, and no others.
        sha256: That the manifest must have; None for any.
        spending: Of the budget; None for the default budget.
        verify_key: File of the public key that the manifest must be signed for; None for any signature or none.

    Raises:
        BundleError: There is none, it was altered, has another SHA-256, is not signed, is of a newer schema, lists
            other files, or is beyond the budget.
    """
    file, spending = path / MANIFEST, spending or Spending(path, Budget())
    content = manifest_bytes(path, spending.budget)
    found = sha256_of(content)
    recorded = _recorded(path / DIGEST, spending)
    if recorded not in (None, found):
        raise BundleError(f"{file} was altered: its SHA-256 is not that of {DIGEST}")
    if sha256 not in (None, found):
        raise BundleError(f"{file} is not the one wanted: its SHA-256 is {found}, not {sha256}")
    if verify_key is not None:
        check_signature(path, content, verify_key)
    manifest = parsed_json(file, content, spending, "manifest_values")
    version = manifest.get("schema_version") if isinstance(manifest, dict) else None
    if type(version) is not int or version < 1:
        raise BundleError(f"{file} is not a bundle's manifest: it names no schema_version")
    if version > SCHEMA_VERSION:
        raise BundleError(f"{file} has schema version {version}; this recsys reads up to {SCHEMA_VERSION}")
    if version >= 3 and recorded is None:
        raise BundleError(f"{path / DIGEST} is missing")
    _check_files(file, manifest.get("files"), set(names))
    manifest = {LEGACY_KEYS.get(key, key): value for key, value in manifest.items()}
    if isinstance(model := manifest.get("model"), str):
        manifest["model"] = LEGACY_MODELS.get(model, model)
    return manifest, found


def manifest_bytes(path: Path, budget: Budget) -> bytes:
    """The bytes of the manifest in a bundle's folder, not verified.

    Raises:
        BundleError: There is none, or it cannot be read, or is larger than the budget allows.
    """
    file = path / MANIFEST
    try:
        return read_within(file, budget, "manifest_bytes")
    except BundleError:
        raise
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:  # ValueError: a path with a zero byte
        found = "" if os.path.lexists(path) else ", as there is no such folder"
        raise BundleError(f"{path} is not a bundle: it has no {MANIFEST}{found}") from error
    except OSError as error:
        raise BundleError(f"{file} cannot be read: {reason(error)}") from error


def _recorded(file: Path, spending: Spending) -> str | None:
    """The SHA-256 of the manifest as its digest file has it; None if there is no such file."""
    try:
        line = DIGEST_LINE.fullmatch(read_within(file, spending.budget, "manifest_bytes"))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise BundleError(f"{file} cannot be read: {reason(error)}") from error
    if line is None:
        raise BundleError(f"{file} must have one line, as sha256sum {MANIFEST} prints it")
    return line[1].decode()


def _check_files(file: Path, listed: Any, names: set[str]) -> None:
    for name in sorted(names):
        entry = listed.get(name) if isinstance(listed, dict) else None
        known = isinstance(entry, dict) and type(entry.get("size")) is int and isinstance(entry.get("sha256"), str)
        if not known:
            raise BundleError(f"{file} is not a bundle's manifest: it has no size and sha256 of {name}")
    if others := sorted(set(listed) - names):
        raise BundleError(f"{file} names {others[0]!r:.80}, which is no file of a bundle")


def sha256_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
