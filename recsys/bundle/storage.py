"""A bundle's folder: arrays as safetensors, items as JSON, and a manifest that vouches for every file.

The manifest is written after all other files and names each with its size and SHA-256; its own SHA-256 is written last.
Reading verifies them before anything is parsed, and reads no more than a budget allows.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from numpy.typing import NDArray

from recsys.bundle.array_file import Arrays, load_arrays, read_header, write_arrays
from recsys.bundle.budget import Budget, Spending
from recsys.bundle.costs import take_arrays
from recsys.bundle.errors import BundleError
from recsys.bundle.manifest import DIGEST, MANIFEST, manifest_bytes, read_manifest, sha256_of, write_manifest
from recsys.bundle.reading import reason, size_of
from recsys.bundle.signature import SIGNATURE, read_signature
from recsys.bundle.strict_json import parsed_json
from recsys.bundle.widths import KEY as WIDTHS
from recsys.bundle.widths import packed_tables
from recsys.files import atomic_folder, open_regular

ARRAYS = ("factors", "ids", "ratings")
ITEMS = "items.json"
FILES = (*(f"{name}.safetensors" for name in ARRAYS), ITEMS)


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
        packed = packed_tables(arrays[name]) if name == "factors" and WIDTHS in manifest else arrays[name]
        write_arrays(folder / f"{name}.safetensors", packed)
    (folder / ITEMS).write_text(json.dumps(items, ensure_ascii=False), encoding="utf-8")
    write_manifest(folder, manifest)


def read_folder(path: Path, spending: Spending, sha256: str | None = None, verify_key: Path | None = None) -> Contents:
    """Read a bundle's folder; what is parsed is the very bytes that were verified.

    Each file is opened once. Their sizes, and the headers of the arrays, which say what all will take, are checked
    before the rest of them is read.

    Args:
        path: The folder.
        spending: Of the budget.
        sha256: That the manifest must have; None for any.
        verify_key: File of the public key that it must be signed for; None for any signature or none.

    Raises:
        BundleError: The folder is missing, truncated, altered, another bundle, not signed, of a newer schema or beyond
            the budget.
    """
    manifest, manifest_sha256 = read_manifest(path, FILES, sha256, spending, verify_key)
    with ExitStack() as stack:
        files = {name: stack.enter_context(_opened(path / name, manifest["files"][name])) for name in FILES}
        sizes = [size_of(file) for file in files.values()]
        spending.budget.check("bytes", sum(sizes), f"{path} has … bytes")
        spending.budget.check("items_bytes", sizes[FILES.index(ITEMS)], f"{path / ITEMS} has … bytes")
        headers = {}
        for name in ARRAYS:
            file = f"{name}.safetensors"
            headers[name] = read_header(path / file, files[file], spending)
        take_arrays({name: header.arrays for name, header in headers.items()}, manifest["schema_version"], spending)
        spending.take(max(sizes), "largest file, which is held while its arrays are made,")
        arrays = {}
        for name in ARRAYS:
            file = f"{name}.safetensors"
            arrays[name] = load_arrays(path / file, _verified(path / file, files[file], manifest), headers[name])
        items = parsed_json(path / ITEMS, _verified(path / ITEMS, files[ITEMS], manifest), spending)
    return Contents(manifest, manifest_sha256, arrays, items)


def verified_files(path: Path, budget: Budget, sha256: str | None = None) -> Iterator[tuple[str, bytes]]:
    """The files of a bundle's folder, each with its content once that is verified, and at the end its digest.

    The manifest comes first, then the signature if there is one.

    Args:
        path: The folder.
        budget: What it may cost.
        sha256: That the manifest must have; None for any.

    Raises:
        BundleError: It is missing, truncated, altered or beyond the budget.
    """
    spending = Spending(path, budget)
    manifest, found = read_manifest(path, FILES, sha256, spending)
    content = manifest_bytes(path, budget)
    if sha256_of(content) != found:
        raise BundleError(f"{path / MANIFEST} was altered while it was read")
    budget.check("bytes", sum(entry["size"] for entry in manifest["files"].values()), f"{path} has … bytes")
    yield MANIFEST, content
    if (signature := read_signature(path)) is not None:
        yield SIGNATURE, signature
    for name in FILES:
        with _opened(path / name, manifest["files"][name]) as stream:
            yield name, _verified(path / name, stream, manifest)
    yield DIGEST, f"{found}  {MANIFEST}\n".encode()


def _opened(file: Path, listed: Mapping[str, Any]) -> BinaryIO:
    """The file, open, once its size is what the manifest says."""
    try:
        stream = open_regular(file)
    except FileNotFoundError as error:
        raise BundleError(f"{file} is missing") from error
    except OSError as error:
        raise BundleError(f"{file} cannot be read: {reason(error)}") from error
    if (found := size_of(stream)) != listed["size"]:
        stream.close()
        raise BundleError(f"{file} has {found} bytes, the manifest says {listed['size']}")
    return stream


def _verified(file: Path, stream: BinaryIO, manifest: Mapping[str, Any]) -> bytes:
    """The content of an open file, once its SHA-256 is what the manifest says."""
    listed = manifest["files"][file.name]
    try:
        stream.seek(0)
        content = stream.read(listed["size"])
    except OSError as error:
        raise BundleError(f"{file} cannot be read: {reason(error)}") from error
    if sha256_of(content) != listed["sha256"]:
        raise BundleError(f"{file} was altered: its SHA-256 is not the manifest's")
    return content
