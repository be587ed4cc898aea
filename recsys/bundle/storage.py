"""A bundle's folder: arrays as safetensors, items as JSON, and a manifest that vouches for every file.

The manifest is written after all other files and names each with its size and SHA-256; its own SHA-256 is written last.
Reading verifies them before anything is parsed.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save_file

from recsys.bundle.errors import BundleError
from recsys.bundle.manifest import MANIFEST, content_of, parsed_json, read_manifest, sha256_of, write_manifest
from recsys.bundle.schema import LEGACY_ARRAYS
from recsys.files import atomic_folder

ARRAYS = ("factors", "ids", "ratings")
FILES = (*(f"{name}.safetensors" for name in ARRAYS), "items.json")

Arrays = Mapping[str, NDArray[Any]]


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
    if path.exists() and not (path / MANIFEST).is_file() and (not path.is_dir() or any(path.iterdir())):
        raise BundleError(f"{path} is no bundle; it is left as it is")
    with atomic_folder(path) as working:
        _write(working, manifest, arrays, items)


def _write(folder: Path, manifest: Mapping[str, Any], arrays: Mapping[str, Arrays], items: Any) -> None:
    for name in ARRAYS:
        # Contiguous, since safetensors writes another order's bytes as they lie.
        contiguous = {key: np.ascontiguousarray(array) for key, array in arrays[name].items()}
        _write_arrays(folder / f"{name}.safetensors", contiguous)
    (folder / "items.json").write_text(json.dumps(items, ensure_ascii=False), encoding="utf-8")
    write_manifest(folder, manifest)


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
    manifest, manifest_sha256 = read_manifest(path, FILES, sha256)
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
    return Contents(manifest, manifest_sha256, arrays, parsed_json(path / "items.json", verified["items.json"]))


def _verified(file: Path, expected: Mapping[str, Any]) -> bytes:
    """The content of a file, once its size and SHA-256 are what the manifest says."""
    try:
        if file.is_file() and (found := file.stat().st_size) != expected["size"]:
            raise BundleError(f"{file} has {found} bytes, the manifest says {expected['size']}")
        content = content_of(file)
    except FileNotFoundError as error:
        raise BundleError(f"{file} is missing") from error
    except OSError as error:
        raise BundleError(f"{file} cannot be read: {error.strerror}") from error
    if sha256_of(content) != expected["sha256"]:
        raise BundleError(f"{file} was altered: its SHA-256 is not the manifest's")
    return content
