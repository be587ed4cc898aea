"""A bundle's folder: arrays as safetensors, items as JSON, and a manifest that vouches for every file.

The manifest is written last and names every other file with its size and SHA-256; reading verifies them before
anything is parsed.
"""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save_file

from recsys.bundle.schema import LEGACY_ARRAYS
from recsys.files import atomic_folder

SCHEMA_VERSION = 2  # 1 had one term of the prior, with exponent 1
ARRAYS = ("factors", "ids", "ratings")
FILES = (*(f"{name}.safetensors" for name in ARRAYS), "items.json")
LEGACY_KEYS = {"taken": "fold_in_target"}  # of manifests of version 0.1
LEGACY_MODELS = {
    "MatrixFactorization": "mf",
    "SVDPlusPlus": "svdpp",
    "ALS": "als",
    "ImplicitALS": "ials",
    "BayesianMF": "bayesian_mf",
}

Arrays = Mapping[str, NDArray[Any]]


class BundleError(ValueError):
    """A folder is not a bundle that this version can trust; the message names the file and the reason."""


class Contents(NamedTuple):
    manifest: dict[str, Any]
    sha256: str  # of manifest.json, which names every other file's: one bundle, one value
    arrays: dict[str, dict[str, NDArray[Any]]]  # by file: factors, ids, ratings
    items: Any


def write_folder(path: Path, manifest: Mapping[str, Any], arrays: Mapping[str, Arrays], items: Any) -> None:
    """Write the folder `path`: beside it under another name first, synced, then renamed into place.

    Raises:
        BundleError: What is at `path` already is no bundle, and would be lost.
    """
    if path.exists() and not (path / "manifest.json").is_file() and (not path.is_dir() or any(path.iterdir())):
        raise BundleError(f"{path} is no bundle; it is left as it is")
    with atomic_folder(path) as working:
        _write(working, manifest, arrays, items)


def _write(folder: Path, manifest: Mapping[str, Any], arrays: Mapping[str, Arrays], items: Any) -> None:
    for name in ARRAYS:
        # Contiguous, since safetensors writes another order's bytes as they lie.
        contiguous = {key: np.ascontiguousarray(array) for key, array in arrays[name].items()}
        _write_arrays(folder / f"{name}.safetensors", contiguous)
    (folder / "items.json").write_text(json.dumps(items, ensure_ascii=False), encoding="utf-8")
    files = {}
    for file in sorted(folder.iterdir()):
        files[file.name] = {"size": file.stat().st_size, "sha256": _sha256(file.read_bytes())}
    version = {"schema_version": SCHEMA_VERSION}
    text = json.dumps(
        version | dict(manifest) | version | {"files": files}, indent=2, ensure_ascii=False, allow_nan=False
    )
    (folder / "manifest.json").write_text(text + "\n", encoding="utf-8")


def _write_arrays(file: Path, arrays: Arrays) -> None:
    """Write them with the mode that the umask gives; safetensors would let nobody else read them.

    Raises:
        OSError: There is no space left, for example.
    """
    file.touch()
    mode = file.stat().st_mode
    try:
        save_file(dict(arrays), file)
    except SafetensorError as error:
        number = re.search(r"os error (\d+)", str(error))
        if number is None:
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1]))) from error
    file.chmod(mode)


def read_folder(path: Path, sha256: str | None = None) -> Contents:
    """Read a bundle's folder; what is parsed is the very bytes that were verified.

    Args:
        path: The folder.
        sha256: That the manifest must have; None for any.

    Raises:
        BundleError: The folder is missing, truncated, altered, another bundle or of a newer schema.
    """
    manifest, manifest_sha256 = read_manifest(path, sha256)
    verified = {name: _verified(path / name, manifest["files"][name]) for name in FILES}
    arrays = {}
    for name in ARRAYS:
        try:
            loaded = load(verified[f"{name}.safetensors"])
            arrays[name] = {LEGACY_ARRAYS.get(array, array): values for array, values in loaded.items()}
        except KeyError as error:
            raise BundleError(f"{path} is not a usable bundle: {name} has an array of type {error}") from error
        except (SafetensorError, ValueError) as error:
            raise BundleError(f"{path} is not a usable bundle: {name}: {error}") from error
    return Contents(manifest, manifest_sha256, arrays, _parsed(path / "items.json", verified["items.json"]))


def read_manifest(path: Path, sha256: str | None = None) -> tuple[dict[str, Any], str]:
    """The manifest of a bundle's folder, and the SHA-256 of its bytes; the other files are not looked at.

    Args:
        path: The folder.
        sha256: That the manifest must have; None for any.

    Raises:
        BundleError: There is none, it has another SHA-256, is of a newer schema, or does not name just the files of a
            bundle.
    """
    file = path / "manifest.json"
    try:
        content = _content(file)
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:  # ValueError: a path with a zero byte
        raise BundleError(f"{path} is not a bundle: it has no manifest.json") from error
    except OSError as error:
        raise BundleError(f"{file} cannot be read: {error.strerror}") from error
    if sha256 not in (None, found := _sha256(content)):
        raise BundleError(f"{file} is not the one wanted: its SHA-256 is {found}, not {sha256}")
    manifest = _parsed(file, content)
    version = manifest.get("schema_version") if isinstance(manifest, dict) else None
    if type(version) is not int or version < 1:
        raise BundleError(f"{file} is not a bundle's manifest: it names no schema_version")
    if version > SCHEMA_VERSION:
        raise BundleError(f"{file} has schema version {version}; this recsys reads up to {SCHEMA_VERSION}")
    listed = manifest.get("files")
    for name in FILES:
        entry = listed.get(name) if isinstance(listed, dict) else None
        known = isinstance(entry, dict) and type(entry.get("size")) is int and isinstance(entry.get("sha256"), str)
        if not known:
            raise BundleError(f"{file} is not a bundle's manifest: it has no size and sha256 of {name}")
    if others := sorted(set(listed) - set(FILES)):
        raise BundleError(f"{file} names {others[0]!r:.80}, which is no file of a bundle")
    manifest = {LEGACY_KEYS.get(key, key): value for key, value in manifest.items()}
    if isinstance(model := manifest.get("model"), str):
        manifest["model"] = LEGACY_MODELS.get(model, model)
    return manifest, found


def _verified(file: Path, expected: Mapping[str, Any]) -> bytes:
    """The content of a file, once its size and SHA-256 are what the manifest says."""
    try:
        if file.is_file() and (found := file.stat().st_size) != expected["size"]:
            raise BundleError(f"{file} has {found} bytes, the manifest says {expected['size']}")
        content = _content(file)
    except FileNotFoundError as error:
        raise BundleError(f"{file} is missing") from error
    except OSError as error:
        raise BundleError(f"{file} cannot be read: {error.strerror}") from error
    if _sha256(content) != expected["sha256"]:
        raise BundleError(f"{file} was altered: its SHA-256 is not the manifest's")
    return content


def _content(file: Path) -> bytes:
    if file.exists() and not file.is_file():  # reading a pipe would wait for ever
        raise OSError(errno.EINVAL, "it is not a file")
    return file.read_bytes()


def _parsed(file: Path, content: bytes) -> Any:
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


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
