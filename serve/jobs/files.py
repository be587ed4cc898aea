"""The files of jobs: a partial result that grows line by line, and the result once it is whole."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from typing import Literal

Format = Literal["jsonl", "parquet"]

MEDIA_TYPES: dict[Format, str] = {"jsonl": "application/x-ndjson", "parquet": "application/vnd.apache.parquet"}
NAME = re.compile(r"(?P<job_id>[0-9a-f]{32})(?:-[0-9a-f]+\.(?:partial|parquet-partial)|\.(?:jsonl|parquet))")
READ = 1 << 20  # bytes at a time


class JobFiles:
    """Results by job, in a folder of their own for each database.

    Args:
        folder: Of all results.
        database: Its name, without a password.
    """

    def __init__(self, folder: Path, database: str) -> None:
        self.folder = folder / hashlib.sha256(database.encode()).hexdigest()[:12]

    def result(self, job_id: str, form: Format) -> Path:
        return self.folder / f"{job_id}.{form}"

    def job_ids(self) -> set[str]:
        """Of the jobs that have files."""
        return {name["job_id"] for file in self._files() if (name := NAME.fullmatch(file.name)) is not None}

    def remove(self, job_id: str) -> None:
        """Remove all files of a job."""
        for file in self._files():
            if (name := NAME.fullmatch(file.name)) is not None and name["job_id"] == job_id:
                file.unlink(missing_ok=True)

    def _files(self) -> list[Path]:
        try:
            return [*self.folder.iterdir()]
        except FileNotFoundError:
            return []


class OpenResult:
    """A result that is read, and closed once nobody does: a thread may still read when its client has gone.

    Attributes:
        size: In bytes.
    """

    def __init__(self, path: Path) -> None:
        self._descriptor: int | None = None
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self.size = os.fstat(self._descriptor).st_size

    def __del__(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)

    def read(self, most: int) -> bytes:
        """The next bytes; none at the end."""
        return os.read(self._descriptor, most) if self._descriptor is not None else b""


class PartialResult:
    """JSON lines of the users scored so far, which only this process writes, and only its owner may read.

    Another process may have scored some before, and may wake up and go on: its lines are copied, not its file.

    Args:
        files: Where it is.
        job_id: Of the job.
        token: Of this process.
        resume: Go on behind what other processes have written, instead of from the beginning.
    """

    def __init__(self, files: JobFiles, job_id: str, token: str, *, resume: bool) -> None:
        files.folder.mkdir(parents=True, exist_ok=True)
        self.path = files.folder / f"{job_id}-{token}.partial"
        others = [*files.folder.glob(f"{job_id}-*")]
        self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        self.lines = max((self._copied(file) for file in others if resume and file.suffix == ".partial"), default=0)
        for file in others:
            file.unlink(missing_ok=True)

    def __enter__(self) -> PartialResult:
        return self

    def __exit__(self, *error: object) -> None:
        os.close(self._descriptor)

    def append(self, lines: list[bytes]) -> None:
        """Append lines, which are on disk when this returns."""
        view = memoryview(b"".join(lines))
        while view:
            view = view[os.write(self._descriptor, view) :]
        os.fsync(self._descriptor)
        self.lines += len(lines)

    def _copied(self, file: Path) -> int:
        """Begin with the whole lines of another file, if these are more. Returns how many there are."""
        with file.open("rb") as stream:
            lines, end = _whole_lines(stream.fileno())
            if end > os.fstat(self._descriptor).st_size:
                os.lseek(self._descriptor, 0, os.SEEK_SET)
                while end and (piece := stream.read(min(READ, end))):
                    os.write(self._descriptor, piece)
                    end -= len(piece)
        return lines


def _whole_lines(descriptor: int) -> tuple[int, int]:
    """How many lines a file has that end, and where the last one of these does."""
    lines = end = at = 0
    while piece := os.pread(descriptor, READ, at):
        if found := piece.count(b"\n"):
            lines += found
            end = at + piece.rindex(b"\n") + 1
        at += len(piece)
    return lines, end


def write_parquet(lines: Path, result: Path) -> None:
    """Write JSON lines of users as rows of recommendations; needs pyarrow.

    The columns are those of `recsys.recommend`, with the standard deviation of a rating.
    """
    import orjson
    import pyarrow as pa
    import pyarrow.parquet as pq

    text, number = pa.string(), pa.float64()
    fields = {
        "item_id": text,
        "score": number,
        "title": text,
        "year": pa.int32(),
        "rating": number,
        "rating_std": number,
    }
    schema = pa.schema({"user_id": text, "rank": pa.int32(), **fields, "genres": text})
    working = lines.with_suffix(".parquet-partial")
    descriptor = os.open(working, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        with pq.ParquetWriter(stream, schema) as writer, lines.open("rb") as users:
            while block := users.readlines(READ):
                rows = [
                    {"user_id": user["user_id"], "rank": rank, "genres": "|".join(one["genres"])}
                    | {name: one[name] for name in fields}
                    for user in map(orjson.loads, block)
                    for rank, one in enumerate(user["recommendations"], 1)
                ]
                writer.write_table(pa.Table.from_pylist(rows, schema))
        stream.flush()
        os.fsync(stream.fileno())
    working.replace(result)
