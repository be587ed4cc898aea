from __future__ import annotations

import pandas as pd
import pytest

from recsys.data.columns import GENRES, ITEM_ID, TITLE, YEAR
from recsys.data.readers.items import items_frame, title_year


@pytest.mark.parametrize(
    ("title", "year"),
    [
        ("Toy Story (1995)", 1995),
        ("Heidi Fleiss: Hollywood Madam (1995) ", 1995),
        ("Land Before Time III (1995) (V)", 1995),
        ("(500) Days of Summer (2009)", 2009),
        ("1984 (1956) remade (1984)", 1984),
        ("Mosaic (2006\u20132007)", 2006),
        ("The Bible (2013- )", 2013),
        ("Babylon 5", None),
        ("unknown", None),
        ("2001", None),
        ("", None),
    ],
)
def test_title_year(title: str, year: int | None) -> None:
    assert title_year(title) == year


def test_items_frame() -> None:
    frame = items_frame([1, 2, 3], [" Heat (1995) ", "X", "Y"], [["Crime", "Drama"], ["unknown"], [""]])
    assert list(frame.columns) == [ITEM_ID, TITLE, YEAR, GENRES]
    assert frame[TITLE].tolist() == ["Heat (1995)", "X", "Y"]
    assert frame[YEAR].tolist() == [1995, pd.NA, pd.NA]
    assert frame[GENRES].tolist() == ["Crime|Drama", "", ""]


def test_years_given_are_not_taken_from_titles() -> None:
    assert items_frame(["a", "b"], ["Heat (1995)", "X"], [[], []], [None, 7])[YEAR].tolist() == [pd.NA, 7]


def test_no_items() -> None:
    assert items_frame([], [], []).dtypes.astype(str).tolist()[1:] == ["str", "Int64", "str"]


def test_what_a_bundle_would_refuse_is_cut() -> None:
    frame = items_frame([1, 2], ["x" * 20_000, "  Heat  "], [["y" * 20_000, "Drama"], []])
    assert [len(title) for title in frame["title"]] == [10_000, 4]
    assert [len(genre) for genre in frame["genres"][0].split("|")] == [10_000, 5]
