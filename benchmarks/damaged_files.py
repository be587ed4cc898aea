"""Read damaged CSV files and account for every row: python benchmarks/damaged_files.py [--files 2000].

Each file is written from a seed: a separator, an encoding, quotes or none, a header or none, then one to four kinds of
damage. It is read in one block or in many, with `bad_rows=error` and with `bad_rows=drop`. Either a DataError names the
file, and the line where a row is at fault, or the counts of rows add up to what this script counts on its own, and with
`drop` each row without damage of its own is there.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from recsys.data.errors import DataError
from recsys.data.readers import AnyId, Format, Rows, SourceFile, Stars, Time, lines, read_rows

RESULTS = Path(__file__).parent / "results" / "damaged_files.json"
SEPARATORS = (",", ";", "\t", "|", "::", " ")
ENCODINGS = ("utf-8", "utf-8", "utf-8", "latin-1", "cp1252", "utf-16", "utf-8-sig")
COLUMNS = ("user", "item", "rating", "time", "text")
LONGEST_TEXT = 6  # lines, with those that damage puts in between
CONTINUED = "continued"  # in each line of a text but its first
WHOLE_FILE = re.compile(
    "no column|is empty|no ratings|none of the|must be utf-16|without a line end|more than one column"
)


@dataclass
class File:
    """A file that is being damaged.

    Attributes:
        lines: Its lines, without line ends.
        damaged: Whether each line was damaged.
        format: How it was written.
        random: Draws the damage.
    """

    lines: list[str]
    damaged: list[bool]
    format: Format
    random: np.random.Generator

    def place(self) -> int:
        """A line, and that it is damaged now; rarely the header."""
        first = int(self.format.header and self.random.random() < 0.95)
        place = int(self.random.choice([n for n, line in enumerate(self.lines) if n >= first and line.strip()]))
        self.damaged[place] = True
        return place

    def insert(self, place: int, line: str) -> None:
        self.lines.insert(place, line)
        self.damaged.insert(place, True)


def stray_quote(file: File) -> None:
    for _ in range(int(file.random.integers(1, 4))):
        place = file.place()
        cells = file.lines[place].split(file.format.separator)
        cell = int(file.random.integers(len(cells)))
        cells[cell] = file.random.choice(
            ['"' + cells[cell], cells[cell] + '"', cells[cell][:1] + '"' + cells[cell][1:]]
        )
        file.lines[place] = file.format.separator.join(cells)


def fewer_columns(file: File) -> None:
    place = file.place()
    file.lines[place] = file.lines[place].replace(file.format.separator, "", 1)


def more_columns(file: File) -> None:
    place = file.place()
    file.lines[place] += file.format.separator * int(file.random.integers(1, 4))


def other_separator(file: File) -> None:
    place = file.place()
    file.lines[place] = file.lines[place].replace(file.format.separator, str(file.random.choice(SEPARATORS)))


def nul(file: File) -> None:
    place = file.place()
    cut = int(file.random.integers(len(file.lines[place]) + 1))
    file.lines[place] = file.lines[place][:cut] + "\0" * int(file.random.integers(1, 5)) + file.lines[place][cut:]


def control_characters(file: File) -> None:
    place = file.place()
    cut = int(file.random.integers(len(file.lines[place]) + 1))
    sign = str(file.random.choice(["\x0b", "\x0c", "\x1c", "\x1f", "\x1a", "\x85", "\xa0"]))
    file.lines[place] = file.lines[place][:cut] + sign + file.lines[place][cut:]


def long_line(file: File) -> None:
    file.lines[file.place()] += str(file.random.choice(["x", "9", '"', " "])) * int(file.random.integers(1000, 200_000))


def blank_lines(file: File) -> None:
    for _ in range(int(file.random.integers(1, 6))):
        file.insert(int(file.random.integers(len(file.lines) + 1)), str(file.random.choice(["", "", " ", "  \u3000"])))


def empty_values(file: File) -> None:
    place = file.place()
    file.lines[place] = file.format.separator * int(file.random.integers(2, 6))


def swapped_columns(file: File) -> None:
    place = file.place()
    cells = file.lines[place].split(file.format.separator)
    file.lines[place] = file.format.separator.join(file.random.permutation(np.array(cells, dtype=object)))


def bad_value(file: File) -> None:
    place = file.place()
    cells = file.lines[place].split(file.format.separator)
    values = ["", "NA", "nan", "1_0", "0x1F", "1e400", "\uff11", "five", "-1", "99", "=1+1", "x" * 600]
    cells[int(file.random.integers(len(cells)))] = str(file.random.choice(values))
    file.lines[place] = file.format.separator.join(cells)


def header_again(file: File) -> None:
    place = int(file.random.integers(len(file.lines)))
    if CONTINUED not in file.lines[place]:  # what is within a text is text
        file.insert(place, file.lines[0])


def repeated_line(file: File) -> None:
    file.insert(len(file.lines), file.lines[file.place()])


def open_at_the_end(file: File) -> None:
    file.damaged[-1] = True
    file.lines[-1] = '"' + file.lines[-1]


DAMAGE: tuple[Callable[[File], None], ...] = (
    stray_quote, stray_quote, fewer_columns, more_columns, other_separator, nul, control_characters, long_line,
    blank_lines, empty_values, swapped_columns, bad_value, header_again, repeated_line, open_at_the_end,
)  # fmt: skip


def written(seed: int) -> tuple[File, bytes]:
    """A damaged file, and its bytes."""
    random = np.random.default_rng(seed)
    separator = str(random.choice(SEPARATORS))
    header, quoting = bool(random.random() < 0.7), bool(random.random() < 0.6)
    encoding = str(random.choice(ENCODINGS))
    form = Format(separator=separator, header=header, quoting=quoting, encoding=encoding)
    lines = [separator.join(COLUMNS)] if header else []
    texts = bool(random.random() < 0.5) and quoting
    name = str(random.choice(["", "u", "\u00e9"]))
    for row in range(int(random.integers(12, 80))):
        user = f"{name}{random.integers(1, 30)}"
        text = f"t{row}"
        if texts and random.random() < 0.2:
            more = [f"{CONTINUED} {row}" for _ in range(int(random.integers(1, 4)))]
            text = '"' + "\n".join([text, *more]) + '"' if separator != " " else '"a b"'
        cells = [user, str(random.integers(1, 50)), str(random.integers(1, 6)), str(1_000_000 + row), text]
        lines += separator.join(f'"{cell}"' if quoting and random.random() < 0.1 and cell != text else cell
                                for cell in cells).split("\n")  # fmt: skip
    file = File(lines, [False] * len(lines), form, random)
    for damage in random.choice(np.array(DAMAGE, dtype=object), int(random.integers(1, 5))):
        goes_on = [CONTINUED in line for line in file.lines]
        damage(file)
        for place, was in enumerate(goes_on[: len(file.lines)]):
            if was and len(goes_on) == len(file.lines) and CONTINUED not in file.lines[place]:
                file.lines[place] += CONTINUED  # still no row of its own
    return file, _bytes(file, encoding)


def _bytes(file: File, encoding: str) -> bytes:
    """The lines with line ends, encoded, and damaged as bytes."""
    random = file.random
    ends = [["\n"], ["\r\n"], ["\r"], ["\n", "\r\n", "\r"]][int(random.choice(4, p=[0.6, 0.2, 0.05, 0.15]))]
    text = "".join(line + str(random.choice(ends)) for line in file.lines)
    content = text.encode(encoding, "ignore")
    kind = random.random()
    if kind < 0.1:  # truncation
        content = content[: int(random.integers(len(content) // 2, len(content)))]
        file.damaged[:] = [True] * len(file.damaged)
    elif kind < 0.2 and not any(CONTINUED in line for line in file.lines):  # other bytes
        for _ in range(int(random.integers(1, 4))):
            place = int(random.integers(len(content)))
            content = content[:place] + bytes([int(random.integers(128, 256))]) + content[place + 1 :]
        file.damaged[:] = [True] * len(file.damaged)
    elif kind < 0.23:  # a byte order mark that is none
        content = [b"\xef\xbb\xbf", b"\xff\xfe"][int(random.integers(2))] + content
        file.damaged[:] = [True] * len(file.damaged)
    return content


def counted(content: bytes, form: Format) -> tuple[int, int]:
    """Fewest and most rows of a file: its lines without blank ones and the header, which may be texts that go on."""
    bom = content.startswith((b"\xff\xfe", b"\xfe\xff"))
    text = (
        content.removeprefix(b"\xef\xbb\xbf")
        .decode("utf-16" if bom else form.encoding, "replace")
        .removeprefix("\ufeff")
    )
    lines = [
        line
        for line in re.split("\r\n|\r|\n", text)
        if line.strip() or (form.separator != " " and form.separator in line)
    ]
    if content and not text.endswith(("\n", "\r")) and any(CONTINUED in line for line in lines):
        lines[-1] += CONTINUED  # what says so may be cut off
    rows = lines[1:] if form.header else lines
    return sum(CONTINUED not in line for line in rows), len(rows)


def outcome(seed: int, folder: Path) -> Counter[str]:
    """What became of one file: counts of files by outcome, and of rows lost without a count.

    Raises:
        AssertionError: An error names no file or line, or rows are not accounted for.
    """
    file, content = written(seed)
    path = folder / f"{seed}.csv"
    path.write_bytes(content)
    lines.BLOCK = 300 if seed % 2 else 8 << 20
    found: Counter[str] = Counter(files=1)
    for bad_rows in ("error", "drop"):
        try:
            rows = _read(path, file.format, bad_rows)
        except DataError as error:
            message = str(error)
            assert str(path) in message, message
            assert WHOLE_FILE.search(message) or re.search(r", line \d+: ", message), message
            found[f"refused with a sentence ({bad_rows})"] += 1
            continue
        found[f"read ({bad_rows})"] += 1
        fewest, most = counted(content, file.format)
        counts = rows.counts
        assert counts.kept == len(rows.values["user"]) == counts.total - counts.refused - sum(counts.dropped.values())
        found["rows lost without a count"] += max(0, fewest - counts.total) + max(0, counts.total - most)
        if bad_rows == "drop":
            found["undamaged rows lost"] += _lost(file, rows)
            found["rows"] += counts.total
            found["rows refused"] += counts.refused
    path.unlink()
    return found


def _read(path: Path, form: Format, bad_rows: str) -> Rows:
    names = COLUMNS if form.header else tuple(map(str, range(len(COLUMNS))))
    fields = (AnyId("user"), AnyId("item"), Stars("rating", missing=()), Time("time"))
    return read_rows([SourceFile(path)], form, dict(zip(names, fields, strict=False)), bad_rows=bad_rows)


def _lost(file: File, rows: Rows) -> int:
    """Number of undamaged lines whose time, which each line has alone, was not read."""
    if file.format.header and file.damaged[0]:
        return 0
    times = set(np.asarray(rows.values["time"]).tolist())
    lost = 0
    for place, line in enumerate(file.lines):
        cells = line.replace('"', "").split(file.format.separator)
        several = line.count('"') % 2 * LONGEST_TEXT  # a text that goes on is damaged by what is in between
        whole = not any(file.damaged[place : place + 1 + several]) and CONTINUED not in line
        lost += whole and len(cells) == len(COLUMNS) and cells[3].isdigit() and int(cells[3]) not in times
    return lost


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=2000)
    parser.add_argument("--first", type=int, default=0, help="seed of the first file")
    arguments = parser.parse_args()
    total: Counter[str] = Counter(crashes=0)
    with tempfile.TemporaryDirectory(prefix="damaged-") as folder:
        for seed in range(arguments.first, arguments.first + arguments.files):
            try:
                found = outcome(seed, Path(folder))
                total.update(found)
                if found["rows lost without a count"] + found["undamaged rows lost"]:
                    print(f"seed {seed}: {dict(found)}")
            except Exception as error:
                total["crashes"] += 1
                print(f"seed {seed}: {type(error).__name__}: {error}")
    results: dict[str, Any] = {
        "seeds": [arguments.first, arguments.first + arguments.files - 1],
        **dict(sorted(total.items())),
    }
    text = json.dumps(results, indent=2)
    print(text)
    if arguments.files >= 2000:
        RESULTS.write_text(text + os.linesep)


if __name__ == "__main__":
    main()
