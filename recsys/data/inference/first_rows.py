"""Infer from the first rows whether they begin with names, and what a row is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from recsys.data.inference.decimals import decimal_comma
from recsys.data.inference.finding import Finding
from recsys.data.inference.layouts import infer_layout
from recsys.data.inference.texts import is_missing, is_number, is_time, present
from recsys.data.inference.vocabulary import known_role
from recsys.data.readers.format import Format


def infer_from_rows(rows: list[list[str]], form: Format, given: Mapping[str, Any]) -> tuple[Format, list[Finding]]:
    """Infer decimal sign, header and layout.

    Args:
        rows: The first rows as texts, with those of the header; at least one.
        form: Format so far.
        given: Fields of it that are known.
    """
    findings: list[Finding] = []
    blocks = form.layout == "blocks"
    if "decimal" not in given and (text := decimal_comma(rows)) is not None:
        form = replace(form, decimal=",")
        findings.append(Finding("decimal", ",", f"numbers such as {text}"))
    if "header" not in given and not blocks:
        header, why = _header(rows, form)
        form = replace(form, header=header)
        findings.append(Finding("header", header, why))
    if form.header and "columns" not in given and _lacks_a_name(rows):
        form = replace(form, columns=("row", *rows[0]))
        findings.append(
            Finding("columns", list(form.columns or ()), "the rows have one value more than there are names")
        )
    if "layout" not in given and not blocks:
        form, found = infer_layout(rows, form, given)
        findings += found
    return form, findings


def _lacks_a_name(rows: list[list[str]]) -> bool:
    """Whether the rows begin with a number or name that has no name of a column, as R writes them."""
    return (
        len(rows) > 1
        and not rows[0][0].startswith(("#", "%"))
        and all(len(row) == len(rows[0]) + 1 for row in rows[1:])
    )


def _header(rows: list[list[str]], form: Format) -> tuple[bool, str]:
    """Whether the first row has the names of the columns."""
    first, rest = [cell.strip() for cell in rows[0]], rows[1:]
    numbers = [cell for cell in first if is_number(cell, form.decimal) or is_time(cell)]
    shift = int(_lacks_a_name(rows))
    below = [[row[place + shift] for row in rest if len(row) == len(first) + shift] for place in range(len(first))]
    texts = [not (is_missing(cell) or is_number(cell, form.decimal) or is_time(cell)) for cell in first]
    ids = len(first) > 8 and not is_number(first[0]) and len(set(first)) == len(first) == 1 + len(numbers)  # a matrix
    if numbers and not ids:
        return False, f"the first row has the value {numbers[0]}"
    if ids:
        return True, "the first row has a different number for each column"
    for cell, text, column in zip(first, texts, below, strict=True):
        values = present(column)
        if (
            text
            and values
            and sum(is_number(value, form.decimal) or is_time(value) for value in values) > 0.9 * len(values)
        ):
            return True, f"{cell!r} stands above numbers" if is_number(
                values[0], form.decimal
            ) else f"{cell!r} stands above times"
    known = [cell for cell in first if cell and known_role(cell)]
    if len(known) >= 2 or (known and not rest):
        return True, f"{known[0]!r} is a name"
    return False, "the first row looks like the others"
