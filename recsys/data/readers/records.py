"""Split lines into texts by the rules for quotes, one by one: exact, tolerant, and slower than Arrow."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from recsys.data.readers.format import Format
from recsys.data.readers.limits import LONGEST_LINE, LONGEST_VALUE, MOST_COLUMNS, in_words

QUOTED = re.compile(r'"((?:[^"]+|"")*+)"')
CLOSING = re.compile(r'(?:[^"]+|"")*+"')
NOT_UTF8 = re.compile("[\udc80-\udcff]")


@dataclass(frozen=True)
class Record:
    """A row, or why it is none.

    Attributes:
        line: Its first line, from 1.
        texts: Texts of its columns; empty if it is refused.
        problem: Why it is refused; None if it is a row.
        continued: Further lines that belong to it.
    """

    line: int
    texts: Sequence[str]
    problem: str | None = None
    continued: int = 0


@dataclass(frozen=True)
class Splitter:
    """Splits the lines of a file into records.

    Attributes:
        format: How the rows are written.
        width: Number of columns; None for any.
        used: Positions of the columns that are wanted.
        spanning: Whether a quoted value of a wanted column may span lines.
    """

    format: Format
    width: int | None = None
    used: Collection[int] = ()
    spanning: bool = False

    def records(self, lines: Sequence[str], first: int, *, last: bool = True) -> Iterator[Record]:
        """The records of lines numbered from `first`, without blank lines.

        With `last` unset, more lines will follow: a record that may go on in these is left out, with all after it.
        """
        place = 0
        while place < len(lines):
            line = lines[place]
            if not line or self.blank(line):
                place += 1
                continue
            if not self.format.quoting or '"' not in line:
                texts, end, problem = self._split(line), 1, None
            else:
                texts, end, problem = self._quoted(lines, place, last=last)
                if not end:
                    return
            checked, problem = self._checked(texts, problem)
            if problem is not None and end > 1:  # the lines after it may be rows
                end, problem = 1, _unclosed("on its line")
            yield Record(first + place, checked, problem, end - 1)
            place += end

    def width_of(self, line: str) -> int | None:
        """Number of columns of a line by itself; None if a quote does not close on it."""
        if not self.format.quoting or '"' not in line:
            return len(self._split(line))
        texts, _, problem = self._quoted([line], 0, last=True)
        return len(texts) if problem is None else None

    def blank(self, line: str) -> bool:
        return not line.strip() and (self.format.separator == " " or self.format.separator not in line)

    def _split(self, line: str) -> list[str]:
        return line.split(None if self.format.separator == " " else self.format.separator, MOST_COLUMNS)

    def _checked(self, texts: list[str], problem: str | None) -> tuple[Sequence[str], str | None]:
        if problem is None and self.width is not None and len(texts) != self.width:
            problem = f"must have {self.width} columns, got {len(texts)}"
        if problem is None:
            for place in self.used:
                if bad := NOT_UTF8.search(texts[place]):
                    encoding = "UTF-8" if self.format.encoding.lower() in ("utf-8", "utf8") else self.format.encoding
                    problem = f"must be {encoding}, got byte {ord(bad[0]) - 0xDC00:#04x}"
                elif "\0" in texts[place]:
                    problem = f"must be text, got a NUL character in {texts[place][:40]!r}"
        return ((), problem) if problem else (texts, None)

    def _quoted(self, lines: Sequence[str], place: int, *, last: bool) -> tuple[list[str], int, str | None]:
        """Texts, number of lines and problem of the record at `place`; 0 lines if it may go on after the end."""
        text = lines[place]
        texts: list[str] = []
        start, lines_taken = 0, 1
        while True:
            if self.format.separator == " ":
                start = len(text) - len(text[start:].lstrip(" \t"))
                if start == len(text) and texts:
                    return texts, lines_taken, None
            value = ""
            if text.startswith('"', start) and (quoted := QUOTED.match(text, start)) is not None:
                value, start = quoted[1].replace('""', '"'), quoted.end()
            elif text.startswith('"', start):
                parts, size, closing = [text[start + 1 :]], len(text), None
                while closing is None:
                    problem = self._open(lines, place, lines_taken, len(texts))
                    if problem is not None or size > LONGEST_LINE:
                        return [], 1, problem or _unclosed(f"within {in_words(LONGEST_LINE)}")
                    if place + lines_taken == len(lines):
                        return ([], 0, None) if not last else ([], 1, _unclosed("to the end of the file"))
                    text = lines[place + lines_taken]
                    lines_taken += 1
                    size += len(text)
                    closing = CLOSING.match(text)
                    parts.append(text if closing is None else text[: closing.end() - 1])
                value, start = "\n".join(parts).replace('""', '"'), closing.end()
            end, after = self._next_separator(text, start)
            texts.append(value + text[start:end])
            if end == len(text) or len(texts) > MOST_COLUMNS:
                return texts, lines_taken, None
            start = after

    def _next_separator(self, text: str, start: int) -> tuple[int, int]:
        """Where the next separator begins and ends; the length of the text if there is none."""
        if self.format.separator == " ":
            found = re.compile(r"[ \t]+").search(text, start)
            return (found.start(), found.end()) if found else (len(text), len(text))
        end = text.find(self.format.separator, start)
        return (end, end + len(self.format.separator)) if end >= 0 else (len(text), len(text))

    def _open(self, lines: Sequence[str], place: int, taken: int, column: int) -> str | None:
        """Why a quoted value may not go on after `taken` lines; None if it may."""
        if column in self.used and not self.spanning:
            return _unclosed("on its line")
        if taken > LONGEST_VALUE:
            return _unclosed(f"within {LONGEST_VALUE} lines")
        if place + taken == len(lines) or self.width in (None, 1):
            return None
        following = lines[place + taken]
        if self._like_row(following) and (self._like_row(lines[place]) or not self._closes(following, column)):
            return _unclosed("before the next row")
        return None

    def _like_row(self, line: str) -> bool:
        """Whether the line by itself has the columns of a row, with its quotes or without."""
        found = len(self._split(line))  # quotes can only join some of these
        return found == self.width or (found > (self.width or 0) and self.width_of(line) == self.width)

    def _closes(self, line: str, column: int) -> bool:
        """Whether the quote ends within this line, before a separator, and the rest completes the row."""
        closing = CLOSING.match(line)
        rest = self._split(line[closing.end() :]) if closing else [""]
        return closing is not None and not rest[0].strip() and column + len(rest) == self.width


def _unclosed(where: str) -> str:
    return (
        f'a value begins with a quote (") that does not close {where}; '
        "if quotes are ordinary characters in this file, set data.quoting=false"
    )
