"""Infer whether each row is a rating, or a user with a column for each item."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from recsys.data.inference.finding import Finding
from recsys.data.inference.texts import is_missing, is_number, numbers, numeric, present
from recsys.data.inference.vocabulary import ITEM, USER, known_role
from recsys.data.readers.format import Format

FEWEST = 8  # columns of a matrix


def infer_layout(rows: list[list[str]], form: Format, given: Mapping[str, Any]) -> tuple[Format, list[Finding]]:
    """Tell a matrix of ratings from rows of a rating each.

    Args:
        rows: The first rows, with the header if there is one.
        form: Format so far.
        given: Fields that are known.
    """
    width = Counter(map(len, rows)).most_common(1)[0][0]
    body = [row for row in rows[form.header :] if len(row) == width]
    names = form.columns or (tuple(rows[0]) if form.header and len(rows[0]) == width else ())
    if width < FEWEST or _names_roles(names) or not body:
        return form, []
    columns = list(zip(*body, strict=True))
    items = [place for place, column in enumerate(columns) if numeric(column, form.decimal) or not present(column)]
    texts = [place for place in range(width) if place not in items]
    if texts not in ([], [0]):
        return form, []
    items = [place for place in items if place > 0]
    cells = Counter(value for place in items for value in numbers(columns[place], form.decimal))
    values = {value for value in cells if not math.isnan(value)}
    empty = sum(is_missing(text) for place in items for text in columns[place])
    most = max(cells.values(), default=0)
    if not values or (max(empty, most) < 0.15 * len(items) * len(body) and len(values) > 100):
        return form, []
    found = [Finding("layout", "matrix", f"{len(items)} of {width} columns hold numbers on one scale")]
    result = replace(form, layout="matrix")
    if "ignored_columns" not in given and not texts and _is_count(columns, items, form.decimal):
        result = replace(result, ignored_columns=(names[0] if names else "0",))
        found.append(Finding("ignored_columns", list(result.ignored_columns), "the number of rated cells of each row"))
    return result, found


def _names_roles(names: tuple[str, ...]) -> bool:
    """Whether the names are those of users, items and something that a row says of both."""
    roles = {known_role(name) for name in names} - {None}
    return {USER, ITEM} < roles


def _is_count(columns: list[tuple[str, ...]], items: list[int], decimal: str) -> bool:
    """Whether the first column is the number of cells of its row that are not the most frequent value."""
    counts = numbers(columns[0], decimal)
    frequent, _ = Counter(text.strip() for place in items for text in columns[place]).most_common(1)[0]
    for row, count in enumerate(counts):
        cells = [columns[place][row].strip() for place in items]
        if count != sum(cell != frequent and is_number(cell, decimal) for cell in cells):
            return False
    return True
