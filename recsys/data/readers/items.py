"""The items table: title, year and genres of each item, in the same form for all sources."""

from __future__ import annotations

import re
from collections.abc import Iterable

import pandas as pd

from recsys.bundle import Budget
from recsys.data.columns import GENRES, ITEM_ID, TITLE, YEAR

YEAR_IN_TITLE = re.compile(r"\((\d{4})(?:[-\u2013]\s?\d{0,4})?\)")  # also the first year of a series: "(2006-2007)"
LONGEST = Budget.text  # characters of a title or a genre that are kept: a bundle with longer ones would be refused
NO_GENRE = ("", "unknown", "(no genres listed)")


def items_frame(
    ids: Iterable[int] | Iterable[str],
    titles: Iterable[str],
    genres: Iterable[Iterable[str]],
    years: Iterable[int | None] | None = None,
) -> pd.DataFrame:
    """Build the frame `RatingData.items`; by default years are taken from the titles."""
    titles = [title.strip()[:LONGEST] for title in titles]
    joined = ["|".join(name[:LONGEST] for name in names if name not in NO_GENRE) for names in genres]
    year = pd.array(list(map(title_year, titles) if years is None else years), dtype="Int64")
    frame = pd.DataFrame({ITEM_ID: list(ids), TITLE: titles, YEAR: year, GENRES: joined})
    return frame.astype({TITLE: "str", GENRES: "str"})


def title_year(title: str) -> int | None:
    """The last year in parentheses: 1995 for "Toy Story (1995)", None for "Babylon 5"."""
    years = YEAR_IN_TITLE.findall(title)
    return int(years[-1]) if years else None
