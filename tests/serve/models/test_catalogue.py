"""Titles are found as people type them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from recsys.bundle import Bundle
from recsys.bundle.factors import Factors
from serve.models.catalogue import Catalogue
from tests.bundles import make_bundle
from tests.serve.conftest import ABOUT, rich


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return Catalogue(rich())


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("matrix the", {0, 8}),
        ("the matrix", {0, 8}),
        ("MATRIX, THE", {0, 8}),
        ("matrix 1999", {0}),
        ("matrix 19", {0}),
        ("19 matrix", set()),  # only the last word is a prefix
        ("mat", {0, 8}),
        ("m", {0, 8, 11}),
        ("m ", {0, 8, 11}),
        ("m 1931", {11}),
        ("amelie", {1}),
        ("AMÉLIE", {1}),
        ("Ame\u0301lie destin", {1}),
        ("schindlers list", {2}),
        ("schindler's", {2}),
        ("schindler’s", {2}),
        ("d'amelie", {1}),
        ("千と", {3}),
        ("千と千尋の神隠し", {3}),
        ("2001", {1, 3, 4}),
        ("２００１ odyssey", {4}),
        ("office", {5}),
        ("oﬃ", {5}),
        ("strasse", {6}),
        ("STRASSE nach angs", {6}),
        ("ångström", {6}),
        ("toy story", {9, 10}),
        ("toy story 2", {10}),
        ("toy toy", {9, 10}),
        ("quoted film", {7}),
        ("<b>film</b>", {7}),
        ("unfitted", {12}),
        ("zebra", set()),
        ("zebra toy", set()),
        ("", set()),
        ("  ?! ", set()),
        ("_", set()),
        ("\x00\ud800", set()),
    ],
)  # fmt: skip
def test_search(catalogue: Catalogue, query: str, found: set[int]) -> None:
    assert set(catalogue.search(query, 100)) == found


def test_the_most_rated_come_first_and_the_limit_holds(catalogue: Catalogue) -> None:
    everything = catalogue.search("t", 100)
    counts = [int(catalogue.n_ratings[row]) for row in everything]
    assert counts == sorted(counts, reverse=True)
    assert len(everything) > 3
    assert catalogue.search("t", 2) == everything[:2]


def test_equal_counts_go_by_row(bare: Bundle) -> None:
    assert Catalogue(bare).search("film", 100) == [0, 1, 2]


@pytest.fixture
def bare(small: Bundle) -> Bundle:
    return replace(
        small,
        ratings=small.ratings._replace(
            indptr=small.ratings.indptr * 0,
            item=small.ratings.item[:0],
            rating=small.ratings.rating[:0],
            part=small.ratings.part[:0],
        ),
        items=[{"title": f"Film {row}", "year": None, "genres": []} for row in range(3)],
    )


def test_filters(catalogue: Catalogue) -> None:
    assert catalogue.allowed(None, None, None) is None
    years = [about[1] for about in ABOUT]
    assert catalogue.allowed(None, 1999, 2001).tolist() == [y is not None and 1999 <= y <= 2001 for y in years]
    assert catalogue.allowed("Drama", None, None).tolist() == ["Drama" in genres for *_, genres in ABOUT]
    assert catalogue.allowed("Drama", 1960, None).tolist() == [
        "Drama" in genres and bool(year and year >= 1960) for _, year, genres in ABOUT
    ]
    assert catalogue.allowed(None, None, None, 2).tolist() == (catalogue.n_ratings >= 2).tolist()
    assert not any(catalogue.allowed("drama", None, None))
    assert (catalogue.has_genre("Drama"), catalogue.has_genre("drama")) == (True, False)
    assert catalogue.years == (1931, 2024)
    assert catalogue.genres == sorted({genre for *_, genres in ABOUT for genre in genres})


@pytest.mark.parametrize(
    ("stars", "step"),
    [
        ([1, 2, 3, 5], 1.0),
        ([0.5, 1.0, 5.0], 0.5),
        ([1, 3, 5], 2.0),
        ([1.0, 1.5, 2.2], None),
        ([4, 4], None),
        ([], None),
    ],
)
def test_the_step_between_ratings(two_by_three: Factors, stars: list[float], step: float | None) -> None:
    rated = [(0, row % 3, value, 0) for row, value in enumerate(stars)]
    assert Catalogue(make_bundle(two_by_three, [1, 2], [1, 2, 3], rated)).rating_step == step
