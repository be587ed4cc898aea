"""Items are found as people type them: with typos, words run together, and by their ids."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from recsys.bundle import Bundle
from serve.models.search import IdSearch, TitleSearch
from tests.bundles import ITEMS
from tests.serve.conftest import ITEM_NAMES, KINDS

TITLES = [
    "The Godfather (1972)",
    "The Godfather: Part II (1974)",
    "Łódź, a City",
    "Spider-Man (2002)",
    "Batman Forever (1995)",
    "Toy Story (1995)",
    "Alien (1979)",
    "Alias",
    "Crouching Tiger, Hidden Dragon (2000)",
    "Romeo & Juliet (1968)",
    "Shoah",
    "Godmother",
    "E.T. the Extra-Terrestrial (1982)",
    "L.A. Confidential (1997)",
    "Apollo 13 (1995)",
]


@pytest.fixture(scope="module")
def search() -> TitleSearch:
    return TitleSearch(TITLES, np.arange(len(TITLES))[::-1])  # the last one is the most popular


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("godfahter", [1, 0]),
        ("godfather", [1, 0]),
        ("godfah", [1, 0]),  # while it is typed
        ("teh godfahter", [1, 0]),
        ("godfahter 1972", [0]),
        ("godfather 1973", []),  # a number is another one
        ("lodz", [2]),
        ("LODZ", [2]),
        ("lotz", [2]),
        ("spiderman", [3]),
        ("spider man", [3]),
        ("spidermna", []),  # together and misspelt
        ("bat man", [4]),
        ("toi story", [5]),
        ("toi", []),  # alone too short to guess
        ("allien", [6]),
        ("et the extra terrestrial", [12]),
        ("la confidential", [13]),
        ("apollo13", [14]),
        ("crouchng tigre", [8]),
        ("romeo and juliet", [9]),
        ("romeo juliett", [9]),
        ("zzzzzzzz", []),
        ("", []),
        ("a b c d e f g h i", []),
        ("x" * 200, []),
    ],
)  # fmt: skip
def test_titles_are_found(search: TitleSearch, typed: str, found: list[int]) -> None:
    assert search.find(typed).tolist() == found


def test_the_fewest_typos_come_first_then_the_most_popular() -> None:
    search = TitleSearch(["Barbarella", "Barbarina", "Barbarossa", "Barbaroza"], np.arange(4))
    assert search.find("barbaroxa").tolist() == [3, 1, 2]
    assert search.find("barbaroxsa").tolist() == [2, 3]


@pytest.mark.parametrize(
    ("typed", "row", "begin_so"),
    [
        ("a/b", 0, {0}),
        ("A/B", 0, {0}),
        (" a/b ", 0, {0}),
        ("SIMILAR TO", 11, {11}),
        ("simil", -1, {11}),
        ("0", -1, set()),  # one character begins too many
        ("00", -1, {10}),
        ("007", 10, {10}),
        ("7", 4, set()),
        ("", -1, set()),
        ("zz", -1, set()),
    ],
)
def test_ids_that_are_texts(typed: str, row: int, begin_so: set[int]) -> None:
    bundle = KINDS["str"]()
    found = IdSearch(bundle, np.arange(len(ITEM_NAMES), dtype=np.int32)).find(typed)
    assert (found[0], set(found[1].tolist())) == (row, begin_so)


def test_ids_that_are_integers(small: Bundle) -> None:
    ids = IdSearch(small, np.arange(len(ITEMS), dtype=np.int32))
    for typed, row in (("7", 0), ("99", 3), (" 3 ", 1), ("07", 0), ("9", -1), ("x", -1), ("9" * 200, -1), ("7.0", -1)):
        assert ids.find(typed)[0] == row
        assert len(ids.find(typed)[1]) == 0


def test_case_counts_where_ids_differ_by_nothing_else(small: Bundle) -> None:
    named = replace(
        small,
        manifest=small.manifest | {"id_kind": "str"},
        user_ids=np.array(["x", "y", "z"], object),
        item_ids=np.array(["abc", "ABC", "Abd", "e"], object),
    )
    ids = IdSearch(named, np.arange(4, dtype=np.int32)[::-1])
    assert [ids.find(typed)[0] for typed in ("abc", "ABC", "ABD", "aBc")] == [0, 1, 2, 0]
    assert ids.find("ab")[1].tolist() == [2, 1, 0]
