"""Tell comments above the rows of a text file, as KONECT, SNAP and Excel write them, from a header and from rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from recsys.data.inference.finding import Finding
from recsys.data.inference.texts import is_number, is_time, numeric
from recsys.data.inference.vocabulary import known_role
from recsys.data.readers.format import Format

MARKS = "#% \t"


def infer_comments(
    marked: Sequence[str], rows: Sequence[Sequence[str]], form: Format, given: Mapping[str, Any]
) -> tuple[Format, list[Finding]]:
    """Infer whether the first lines are comments, and whether the last of these has the names of the columns.

    Args:
        marked: The first lines, as far as they begin with # or %, or are Excel's "sep=;".
        rows: The rows below them, with the header if there is one; at least one.
        form: Format so far, with the separator.
        given: Fields of it that are known.

    Returns:
        The format with `comments`, and with the names that stand in a comment; and why.
    """
    if not marked:
        return form, []
    last = marked[-1]
    names = tuple(_split(last.lstrip(MARKS), form.separator))
    if len(names) == 1:
        names = tuple(_split(last.lstrip(MARKS), " "))
    fits = len(names) == len(rows[0]) > 1
    if fits and _is_row(last, names, rows):
        return form, []
    form = replace(form, comments=True)
    if not fits or "columns" in given or given.get("header") is False or not _are_names(names, rows):
        return form, []
    if given.get("header") and len(marked) == 1:  # the marked line is the header that is set
        return replace(form, comments=False), []
    return replace(form, header=False, columns=names), [
        Finding("columns", list(names), f"the line {last[:80]!r} above the rows"),
        Finding("header", False, "the names stand in a comment"),
    ]


def _split(line: str, separator: str) -> list[str]:
    cells = line.split() if separator == " " else line.split(separator)
    return [cell.strip().strip('"') for cell in cells]


def _is_row(line: str, names: Sequence[str], rows: Sequence[Sequence[str]]) -> bool:
    """Whether a line that begins with # or % has the values of a row, such as the id "#1" and numbers like the rows."""
    if line.lstrip("#%")[:1].isspace():
        return False
    columns = list(zip(*(row for row in rows[1:] if len(row) == len(names)), strict=True))[1:]
    numbers = [place for place, column in enumerate(columns, start=1) if numeric(column)]
    if numbers:
        return all(is_number(names[place]) for place in numbers)
    return sum(known_role(name) is not None for name in names) < 2


def _are_names(names: Sequence[str], rows: Sequence[Sequence[str]]) -> bool:
    """Whether these are names of columns, and the first row has none."""
    known = sum(known_role(name) is not None for name in names)
    values = any(is_number(cell) or is_time(cell) for cell in rows[0])
    below = sum(known_role(cell) is not None for cell in rows[0])
    return known >= 2 and len(set(names)) == len(names) and (values or below < 2)
