"""The manifest, which vouches for a bundle's other files, and its digest, which vouches for the manifest."""

from __future__ import annotations

import errno
import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from recsys.bundle.errors import BundleError

SCHEMA_VERSION = 3  # 1 had one term of the prior, with exponent 1; 2 had no digest of the manifest
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
    version = {"schema_version": SCHEMA_VERSION}
    whole = version | dict(manifest) | version | {"files": files}
    content = (json.dumps(whole, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()
    (folder / MANIFEST).write_bytes(content)
    (folder / DIGEST).write_bytes(f"{sha256_of(content)}  {MANIFEST}\n".encode())


def listed(content: bytes) -> dict[str, int | str]:
    """What the manifest says of a file."""
    return {"size": len(content), "sha256": sha256_of(content)}


def read_manifest(path: Path, names: Iterable[str], sha256: str | None = None) -> tuple[dict[str, Any], str]:
    """The manifest of a bundle's folder, and the SHA-256 of its bytes; the files that it lists are not looked at.

    Args:
        path: The folder.
        names: The files that it must list, and no others.
        sha256: That the manifest must have; None for any.

    Raises:
        BundleError: There is none, it was altered, has another SHA-256, is of a newer schema, or lists other files.
    """
    file = path / MANIFEST
    try:
        content = content_of(file)
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:  # ValueError: a path with a zero byte
        raise BundleError(f"{path} is not a bundle: it has no {MANIFEST}") from error
    except OSError as error:
        raise BundleError(f"{file} cannot be read: {error.strerror}") from error
    found = sha256_of(content)
    recorded = _recorded(path / DIGEST)
    if recorded not in (None, found):
        raise BundleError(f"{file} was altered: its SHA-256 is not that of {DIGEST}")
    if sha256 not in (None, found):
        raise BundleError(f"{file} is not the one wanted: its SHA-256 is {found}, not {sha256}")
    manifest = parsed_json(file, content)
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


def _recorded(file: Path) -> str | None:
    """The SHA-256 of the manifest as its digest file has it; None if there is no such file."""
    try:
        line = DIGEST_LINE.fullmatch(content_of(file))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise BundleError(f"{file} cannot be read: {error.strerror}") from error
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


def content_of(file: Path) -> bytes:
    if file.exists() and not file.is_file():  # reading a pipe would wait for ever
        raise OSError(errno.EINVAL, "it is not a file")
    return file.read_bytes()


def parsed_json(file: Path, content: bytes) -> Any:
    """What JSON says, without its NaN and infinities, which JSON itself does not know."""
    try:
        parsed = json.loads(content, parse_constant=_refused, parse_float=_finite)
        if b"\\u" in content:  # an escape may stand for half a character, which no answer can carry
            json.dumps(parsed, ensure_ascii=False).encode()
        return parsed
    except RecursionError as error:
        raise BundleError(f"{file} cannot be parsed: it is nested too deeply") from error
    except ValueError as error:
        raise BundleError(f"{file} cannot be parsed: {error}") from error


def _finite(text: str) -> float:
    number = float(text)
    return number if math.isfinite(number) else _refused(text)


def _refused(constant: str) -> Any:
    raise ValueError(f"{constant} is not a number")


def sha256_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
