"""The user's cache folder, with parsed data as Parquet."""

from __future__ import annotations

import hashlib
import json
import logging
import mmap
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import asdict, fields
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from recsys.data.inference.finding import Finding
from recsys.data.rating_data import RatingData
from recsys.data.readers.format import RowCounts
from recsys.files import atomic_write, cache_folder, file_sha256, folder_lock, open_regular, read_regular

logger = logging.getLogger(__name__)

PARSER_VERSION = 4  # increment when the same files and arguments are parsed differently
MANIFEST = b"recsys"
FRAMES = ("users", "items", "ratings")
LIST_BYTES = 4096  # of the digests
LARGE = 64 << 20  # bytes of a file whose digest is kept in this process


def parse_key(files: Iterable[Path], arguments: Mapping[str, Any]) -> str:
    """Cache key of files parsed with these arguments: a SHA-256 of everything that the result depends on."""
    digests = [_sha256(file) if file.is_file() else None for file in files]
    subject = json.dumps([PARSER_VERSION, digests, arguments], sort_keys=True, default=repr)
    return hashlib.sha256(subject.encode()).hexdigest()[:32]


def load_or_parse(key: str, parse: Callable[[], RatingData]) -> RatingData:
    """Load the data cached under the key, or parse and cache it; of parallel jobs only one parses."""
    data = load(key)
    if data is not None:
        return data
    with cache_lock("parses ratings"):
        data = load(key)
        if data is None:
            data = parse()
            store(key, data)
    return data


def cache_lock(work: str) -> AbstractContextManager[None]:
    """Lock the cache against other processes; a read-only folder needs no lock."""
    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return nullcontext()
    return folder_lock(folder, work) if os.access(folder, os.W_OK) else nullcontext()


def load(key: str) -> RatingData | None:
    """The data cached under the key; None if missing or corrupt: every byte is verified before anything is parsed."""
    try:
        if not (_digests(key).is_file() and _path(key, "ratings").is_file()):
            return None
        with ExitStack() as stack:
            contents = {name: _verified(path, digest, stack) for name, path, digest in _listed(key)}
            manifest = json.loads(parquet.read_schema(pa.BufferReader(contents["ratings"])).metadata[MANIFEST])
            if manifest.pop("frames") != list(contents):
                raise ValueError("its digests are those of other files")
            frames: dict[str, Any] = dict.fromkeys(FRAMES)
            frames |= {name: _frame(contents.pop(name)) for name in list(contents)}
        counts, findings = manifest.pop("counts"), manifest.pop("findings")
        manifest["counts"] = None if counts is None else RowCounts(**counts)
        manifest["findings"] = tuple(Finding(**finding) for finding in findings)
        manifest |= {name: tuple(manifest[name]) for name in ("notes", "warnings", "events")}
        return RatingData(**frames, **manifest)
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
        logger.warning("corrupt cache entry %s (%s); rebuilding", _path(key, "ratings"), error)
        return None


def store(key: str, data: RatingData) -> None:
    """Cache the data under the key; warns if the folder is not writable."""
    frames = {name: getattr(data, name) for name in FRAMES if getattr(data, name) is not None}
    values = {field.name: getattr(data, field.name) for field in fields(data) if field.name not in FRAMES}
    values["counts"] = None if data.counts is None else asdict(data.counts)
    values["findings"] = [asdict(finding) for finding in data.findings]
    manifest, digests = values | {"frames": list(frames)}, list[str]()
    try:
        for name, frame in frames.items():
            table = pa.Table.from_pandas(frame, preserve_index=False)
            table = table.replace_schema_metadata(
                {**(table.schema.metadata or {}), MANIFEST: json.dumps(manifest).encode()}
            )
            with atomic_write(_path(key, name)) as partial:
                parquet.write_table(table, partial, compression="lz4")
                digests.append(f"{_sha256(partial)}  {_path(key, name).name}\n")
        with atomic_write(_digests(key)) as partial:
            partial.write_text("".join(digests))
    except OSError as error:
        logger.warning("cannot cache the parsed ratings in %s: %s", cache_folder(), error)


def _path(key: str, frame: str) -> Path:
    return cache_folder() / "parsed" / f"{key}-{frame}.parquet"


def _digests(key: str) -> Path:
    """Written last: the SHA-256 of each file, as `sha256sum` writes it."""
    return cache_folder() / "parsed" / f"{key}.sha256"


def _listed(key: str) -> Iterator[tuple[str, Path, str]]:
    """Each file with its SHA-256.

    Raises:
        OSError: There is no list of them.
        ValueError: The list is damaged.
    """
    for line in read_regular(_digests(key), LIST_BYTES).decode("ascii").splitlines(keepends=True):
        found = re.fullmatch(f"([0-9a-f]{{64}})  ({key}-({'|'.join(FRAMES)})\\.parquet)\n", line)
        if found is None:
            raise ValueError("its digests are damaged")
        yield found[3], _path(key, found[3]), found[1]


def _verified(path: Path, digest: str, stack: ExitStack) -> pa.Buffer:
    """The content of a file, mapped into memory, once its SHA-256 is this."""
    file = stack.enter_context(open_regular(path))
    content = pa.py_buffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    if hashlib.sha256(content).hexdigest() != digest:
        raise ValueError(f"the SHA-256 of {path.name} is not {digest}")
    return content


def _frame(content: pa.Buffer) -> Any:
    """A frame; frees each column of the table once it is converted."""
    return parquet.read_table(pa.BufferReader(content)).to_pandas(split_blocks=True, self_destruct=True)


def _sha256(path: Path) -> str:
    about = path.stat()
    if about.st_size < LARGE:
        return file_sha256(path)
    return _large_digest(path, about.st_size, about.st_mtime_ns, about.st_ino)


@lru_cache(maxsize=100)
def _large_digest(path: Path, *_: int) -> str:
    """Of a file that `inspect` reads in several ways, once."""
    return file_sha256(path)
