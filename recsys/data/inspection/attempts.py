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
            options = " ".join(f"data.{name}={'null' if value is None else value}" for name, value in choice.items())
            warnings.append(f"{error}; the command below has {options}")
            settings |= choice
        except DataError as error:
            return _without_bad_rows(file, root, settings, warnings, error)
    return Attempt(TabularRatings(root, file, **settings).read(), settings, warnings)


def _without_bad_rows(
    file: str, root: str | None, settings: dict[str, Any], warnings: list[str], error: DataError
) -> Attempt:
    """Leave quotes as they are if one does not close, else leave out the rows that cannot be read."""
    option, value, reads = "bad_rows", "drop", "such rows are left out and counted"
    if "quote" in str(error):
        option, value, reads = "quoting", "false", "all rows are read"
    if option in settings:
        raise error
    found = read_somehow(file, root, settings | {option: value == "drop" and value})
    counts = found.data.counts
    if counts is not None and counts.refused > MOST_REFUSED * counts.total:
        raise error
    said = f"{error}; with data.{option}={value} {reads}"
    return Attempt(found.data, found.settings, [*warnings, said, *found.warnings])
