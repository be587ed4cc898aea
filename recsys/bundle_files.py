"""A bundle's folder: arrays as safetensors, items as JSON, and a manifest that vouches for every file.

The manifest is written last and names every other file with its size and SHA-256; reading verifies them before
anything is parsed.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save_file

SCHEMA_VERSION = 2  # 1 had one term of the prior, with exponent 1
ARRAYS = ("factors", "ids", "ratings")
FILES = (*(f"{name}.safetensors" for name in ARRAYS), "items.json")

Arrays = Mapping[str, NDArray[Any]]


class BundleError(ValueError):
    """A folder is not a bundle that this version can trust; the message names the file and the reason."""


class Contents(NamedTuple):
    manifest: dict[str, Any]
    sha256: str  # of manifest.json, which names every other file's: one bundle, one value
    arrays: dict[str, dict[str, NDArray[Any]]]  # by file: factors, ids, ratings
    items: Any


def write_folder(path: Path, manifest: Mapping[str, Any], arrays: Mapping[str, Arrays], items: Any) -> None:
    """Write the folder `path`: beside it under another name first, synced, then renamed into place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    working = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    try:
        _write(working, manifest, arrays, items)
        working.chmod(0o755)
        if path.exists():
            old = working.with_name(working.name + "-old")
            path.rename(old)
            try:
                working.rename(path)
            except BaseException:
                old.rename(path)
                raise
            shutil.rmtree(old)
        else:
            working.rename(path)
        _sync(path.parent)
    finally:
        shutil.rmtree(working, ignore_errors=True)


def _write(folder: Path, manifest: Mapping[str, Any], arrays: Mapping[str, Arrays], items: Any) -> None:
    for name in ARRAYS:
        # Contiguous, since safetensors writes another order's bytes as they lie.
        contiguous = {key: np.ascontiguousarray(array) for key, array in arrays[name].items()}
        save_file(contiguous, folder / f"{name}.safetensors")
    (folder / "items.json").write_text(json.dumps(items, ensure_ascii=False), encoding="utf-8")
    files = {}
    for file in sorted(folder.iterdir()):
        _sync(file)
        files[file.name] = {"size": file.stat().st_size, "sha256": _sha256(file.read_bytes())}
    version = {"schema_version": SCHEMA_VERSION}
    text = json.dumps(
        version | dict(manifest) | version | {"files": files}, indent=2, ensure_ascii=False, allow_nan=False
    )
    (folder / "manifest.json").write_text(text + "\n", encoding="utf-8")
    _sync(folder / "manifest.json")
    _sync(folder)


def read_folder(path: Path) -> Contents:
    """Read a bundle's folder; what is parsed is the very bytes that were verified.

    Raises:
        BundleError: The folder is missing, truncated, altered or of a newer schema.
    """
    manifest, manifest_sha256 = read_manifest(path)
    verified = {name: _verified(path / name, manifest["files"][name]) for name in FILES}
    try:
        arrays = {name: load(verified[f"{name}.safetensors"]) for name in ARRAYS}
        items = json.loads(verified["items.json"])
    except (SafetensorError, ValueError) as error:
        raise BundleError(f"{path} is not a usable bundle: {error}") from error
    return Contents(manifest, manifest_sha256, arrays, items)


def read_manifest(path: Path) -> tuple[dict[str, Any], str]:
    """The manifest of a bundle's folder, and the SHA-256 of its bytes; the other files are not looked at.

    Raises:
        BundleError: There is none, it is of a newer schema, or it does not name just the files of a bundle.
    """
    file = path / "manifest.json"
    try:
        content = file.read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise BundleError(f"{path} is not a bundle: it has no manifest.json") from error
    except OSError as error:
        raise BundleError(f"{file} cannot be read: {error.strerror}") from error
    try:
        manifest: dict[str, Any] = json.loads(content)
        version, listed = int(manifest["schema_version"]), manifest["files"]
        if version > SCHEMA_VERSION:
            raise BundleError(f"{file} has schema version {version}; this recsys reads up to {SCHEMA_VERSION}")
        for name in FILES:
            int(listed[name]["size"]), str(listed[name]["sha256"])
        if others := sorted(set(listed) - set(FILES)):
            raise BundleError(f"{file} names {others[0]!r}, which is no file of a bundle")
    except BundleError:
        raise
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise BundleError(f"{file} is not a bundle's manifest: {error!r}") from error
    return manifest, _sha256(content)


def _verified(file: Path, expected: Mapping[str, Any]) -> bytes:
    """The content of a file, once its size and SHA-256 are what the manifest says."""
    try:
        if (found := file.stat().st_size) != int(expected["size"]):
            raise BundleError(f"{file} has {found} bytes, the manifest says {expected['size']}")
        content = file.read_bytes()
    except FileNotFoundError as error:
        raise BundleError(f"{file} is missing") from error
    except OSError as error:
        raise BundleError(f"{file} cannot be read: {error.strerror}") from error
    if _sha256(content) != expected["sha256"]:
        raise BundleError(f"{file} was altered: its SHA-256 is not the manifest's")
    return content


def packed_ids(side: str, ids: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """Integers as they are; strings as UTF-8 bytes and the offsets between them."""
    if ids.dtype.kind == "i":
        return {f"{side}_ids": ids.astype(np.int64)}
    encoded = [str(value).encode() for value in ids]
    return {
        f"{side}_ids_utf8": np.frombuffer(b"".join(encoded), np.uint8).copy(),
        f"{side}_ids_offsets": np.cumsum([0, *map(len, encoded)], dtype=np.int64),
    }


def unpacked_ids(side: str, arrays: Arrays) -> NDArray[Any]:
    if f"{side}_ids" in arrays:
        return arrays[f"{side}_ids"]
    text, offsets = arrays[f"{side}_ids_utf8"].tobytes(), arrays[f"{side}_ids_offsets"].tolist()
    return np.array([text[a:b].decode() for a, b in pairwise(offsets)], dtype=object)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
