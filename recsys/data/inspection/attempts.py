"""Read ratings of which nothing is known, also where that needs a decision: each is said, none is silent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from recsys.data.errors import DataError, UndecidedError
from recsys.data.rating_data import RatingData
from recsys.data.sources.tabular import TabularRatings

MOST_DECISIONS = 4
MOST_REFUSED = 0.1  # share of rows that may be left out because they cannot be read


@dataclass(frozen=True)
class Attempt:
    """Ratings, and how they could be read.

    Attributes:
        data: The ratings.
        settings: Options that were typed or decided.
        warnings: The decisions and why they were needed.
    """

    data: RatingData
    settings: dict[str, Any]
    warnings: list[str] = field(default_factory=list)


def read_somehow(file: str, root: str | None, typed: Mapping[str, Any]) -> Attempt:
    """Read a ratings file, with a decision where the file alone does not say how.

    Args:
        file: The file as a person would type it.
        root: Folder that it is in.
        typed: Options of `TabularRatings` that are set.

    Raises:
        DataError: There is no way that an option would open.
    """
    settings, warnings = dict(typed), list[str]()
    for _ in range(MOST_DECISIONS):
        try:
            return Attempt(TabularRatings(root, file, **settings).read(), settings, warnings)
        except UndecidedError as error:
            choice = error.choices[0]
            if "timestamp_format" in choice:
                choice = {"timestamp_column": None}
            warnings.append(f"{error}; the command below has {_options(choice)}")
            settings |= choice
        except DataError as error:
            return _without_bad_rows(file, root, settings, warnings, error)
    return Attempt(TabularRatings(root, file, **settings).read(), settings, warnings)


def _without_bad_rows(
    file: str, root: str | None, settings: dict[str, Any], warnings: list[str], error: DataError
) -> Attempt:
    """Leave quotes as they are if one does not close, or leave out the rows that cannot be read, or the times."""
    ways: list[tuple[dict[str, Any], str]] = [({"bad_rows": "drop"}, "such rows are left out and counted")]
    if "quote" in str(error):
        ways.append(({"quoting": False}, "all rows are read"))
    tried: list[tuple[int, Attempt, str]] = []
    for way, reads in ways:
        if way.keys() & settings.keys():
            continue
        try:
            found = read_somehow(file, root, settings | way)
        except DataError:
            continue
        refused = 0 if found.data.counts is None else found.data.counts.refused
        tried.append((refused, found, f"{_options(way)} {reads}"))
    if not tried:
        raise error
    refused, found, said = min(tried, key=lambda one: one[0])
    total = 0 if found.data.counts is None else found.data.counts.total
    column = next((one.value for one in found.data.findings if one.option == "timestamp_column"), None)
    timed = column is not None and f": {column} must be " in str(error)
    if refused > MOST_REFUSED * total:
        if not timed:
            raise error
        untimed = {"timestamp_column": None}
        warnings = [
            *warnings,
            f"{error}; {refused / total:.0%} of the rows have such times: data.bad_rows=drop leaves them out, but "
            f"the command below has {_options(untimed)}",
        ]
        found = read_somehow(file, root, settings | untimed)
        return Attempt(found.data, found.settings, [*warnings, *found.warnings])
    said = f"{error}; with {said}" + ("; with data.timestamp_column=null all are read, without times" if timed else "")
    return Attempt(found.data, found.settings, [*warnings, said, *found.warnings])


def _options(settings: Mapping[str, Any]) -> str:
    texts = {None: "null", False: "false"}
    return " ".join(f"data.{name}={texts.get(value, value)}" for name, value in settings.items())
