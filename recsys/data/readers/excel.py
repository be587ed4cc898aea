"""Excel and OpenDocument sheets (.xlsx, .xls, .ods), by python-calamine of the extra `excel`."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

import pyarrow as pa

from recsys.data.errors import DataError
from recsys.data.readers.chunks import Chunk, places
from recsys.data.readers.format import Format, Sample, SourceFile
from recsys.data.readers.limits import RATIO, in_words
from recsys.data.readers.streams import open_bytes

PROGRAM = Path(__file__).with_name("sheet_process.py")
FREE_MEMORY = 384 << 20  # bytes that any sheet may take, beyond those for its size
FREE_SECONDS, BYTES_PER_SECOND = 2, 2_000_000  # of processor time: a million rows have 20 MB


class Sheet:
    """A sheet; rows have the numbers that Excel shows, and cells with numbers or times give texts in plain form.

    Attributes:
        names: Names of the columns.
    """

    def __init__(self, file: SourceFile, format: Format) -> None:
        self.file = file
        rows = [(number, row) for number, row in enumerate(_cells(file, format.sheet), start=1) if any(row)]
        if not rows:
            raise DataError(f"{file}: the sheet is empty")
        first = rows[0][1]
        if format.header:
            rows = rows[1:]
        self.rows = rows
        self.names = [name.strip() for name in first] if format.header else list(map(str, range(len(first))))
        if format.columns is not None:
            if len(format.columns) != len(first):
                raise DataError(f"{file}: must have {len(format.columns)} columns, got {len(first)}")
            self.names = list(format.columns)

    def chunks(self, columns: Sequence[str], *, spanning: bool = False) -> Iterator[Callable[[], Chunk]]:
        found = places(self.file, self.names, columns)
        texts = [[row[place] for _, row in self.rows] for place in found]
        values = {name: pa.array(column, pa.string()) for name, column in zip(columns, texts, strict=True)}
        yield lambda: Chunk(values, len(self.rows), lambda: [number for number, _ in self.rows], place="row")

    def sample(self, n: int) -> Sample:
        return Sample(self.names, [row for _, row in self.rows[:n]], [number for number, _ in self.rows[:n]])


def _cells(file: SourceFile, sheet: str | None) -> list[list[str]]:
    """Texts of all cells from the first row and column on, by a process of its own with limits.

    A sheet may claim 10^10 cells in a few bytes, in ways that only its parser knows, and this ends the process then.
    """
    if find_spec("python_calamine") is None:
        raise DataError(
            f"{file}: Excel files need the extra `excel`: pip install 'recsys-lightning[excel]', or save it as CSV"
        )
    with open_bytes(file) as stream:
        content = stream.read()
    memory = FREE_MEMORY + RATIO // 2 * len(content) if file.max_bytes is None else file.max_bytes
    seconds = FREE_SECONDS + len(content) // BYTES_PER_SECOND
    command = [sys.executable, "-I", str(PROGRAM), str(memory), str(seconds), *([] if sheet is None else [sheet])]
    try:
        done = subprocess.run(command, input=content, capture_output=True, timeout=20 * seconds, check=False)
        lines = done.stdout.split(b"\n") if done.returncode == 0 else []
    except subprocess.TimeoutExpired:
        lines = []
    if len(lines) < 2:
        raise DataError(
            f"{file}: the sheet takes more than {in_words(memory)} of memory or {seconds} s; save it as CSV, or set "
            "data.max_bytes to the memory that it may take"
        )
    about = json.loads(lines[0])
    if "error" in about:
        raise DataError(f"{file}: {about['error']}")
    return [json.loads(line) for line in lines[1:-1]]
