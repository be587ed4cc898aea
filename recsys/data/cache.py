"""The user's cache folder, with parsed data as Parquet."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from recsys.data.inference.finding import Finding
from recsys.data.rating_data import RatingData
from recsys.data.readers.format import RowCounts
from recsys.files import atomic_write, folder_lock

logger = logging.getLogger(__name__)

PARSER_VERSION = 3  # increment when the same files and arguments are parsed differently
MANIFEST = b"recsys"
FRAMES = ("users", "items", "ratings")  # written in this order: if the ratings exist, so do the others


def cache_folder() -> Path:
    """`$RECSYS_CACHE`, else `$XDG_CACHE_HOME/recsys`, else `~/.cache/recsys`."""
    if own := os.environ.get("RECSYS_CACHE"):
        return Path(own)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "recsys"


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
    """The data cached under the key; None if missing or corrupt."""
    try:
        if not _path(key, "ratings").is_file():
            return None
        manifest = json.loads(parquet.read_schema(_path(key, "ratings")).metadata[MANIFEST])
        stored = manifest.pop("frames")
        frames: dict[str, Any] = dict.fromkeys(FRAMES)
        frames |= {name: _read(_path(key, name)) for name in stored}
        counts, findings = manifest.pop("counts"), manifest.pop("findings")
        manifest["counts"] = None if counts is None else RowCounts(**counts)
        manifest["findings"] = tuple(Finding(**finding) for finding in findings)
        manifest |= {name: tuple(manifest[name]) for name in ("notes", "warnings")}
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
    manifest = values | {"frames": list(frames)}
    try:
        for name, frame in frames.items():
            table = pa.Table.from_pandas(frame, preserve_index=False)
            table = table.replace_schema_metadata(
                {**(table.schema.metadata or {}), MANIFEST: json.dumps(manifest).encode()}
            )
            with atomic_write(_path(key, name)) as partial:
                parquet.write_table(table, partial, compression="lz4", write_page_checksum=True)
    except OSError as error:
        logger.warning("cannot cache the parsed ratings in %s: %s", cache_folder(), error)


def _path(key: str, frame: str) -> Path:
    return cache_folder() / "parsed" / f"{key}-{frame}.parquet"


def _read(path: Path) -> Any:
    """Read a frame; frees each column of the table once it is converted."""
    table = parquet.read_table(path, page_checksum_verification=True)
    return table.to_pandas(split_blocks=True, self_destruct=True)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
