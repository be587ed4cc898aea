"""Titles read as people say them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from recsys.bundle import Bundle
from recsys.bundle.titles import natural_title


@pytest.mark.parametrize(
    ("filed", "read"),
    [
        ("Godfather, The (1972)", "The Godfather (1972)"),
        ("Godfather, The", "The Godfather"),
        ("Godfather: Part II, The (1974)", "The Godfather: Part II (1974)"),
        ("Avventura, L' (1960)", "L'Avventura (1960)"),
        ("Avventura, L' (a.k.a. Adventure, The) (1960)", "L'Avventura (a.k.a. The Adventure) (1960)"),
        ("Close Shave, A (1995)", "A Close Shave (1995)"),
        ("Misérables, Les (1995)", "Les Misérables (1995)"),
        ("City of Lost Children, The (Cité des enfants perdus, La) (1995)",
         "The City of Lost Children (La Cité des enfants perdus) (1995)"),
        ("Eye of Vichy, The (Oeil de Vichy, L') (1993)", "The Eye of Vichy (L'Oeil de Vichy) (1993)"),
        ("Good, the Bad and the Ugly, The (Buono, il brutto, il cattivo, Il) (1966)",
         "The Good, the Bad and the Ugly (Il Buono, il brutto, il cattivo) (1966)"),
        ("Blechtrommel, Die (1979)", "Die Blechtrommel (1979)"),
    ],
)  # fmt: skip
def test_the_article_goes_in_front(filed: str, read: str) -> None:
    assert natural_title(filed) == read
    assert natural_title(read) == read


@pytest.mark.parametrize(
    "title",
    [
        "Die Hard (1988)",
        "The Matrix (1999)",
        "Les Misérables (1995)",
        "Blood In, Blood Out (a.k.a. Bound by Honor) (1993)",
        "Strike! (a.k.a. All I Wanna Do, The Hairy Bird) (1998)",
        "Me, Myself & Irene (2000)",
        "Wallace & Gromit: A Close Shave",
        "godfather, the",
        ", The",
        "The",
        "",
        "Game,The",
    ],
)
def test_other_titles_stay_as_they_are(title: str) -> None:
    assert natural_title(title) == title


def test_a_bundle_keeps_titles_as_they_were_and_shows_them_in_order(small: Bundle) -> None:
    filed = [item | {"title": "Godfather, The (1972)"} for item in small.items]
    bundle = replace(small, items=filed)
    assert bundle.title(0) == "The Godfather (1972)"
    assert bundle.items[0]["title"] == "Godfather, The (1972)"
    assert bundle.recommend(10, 1)[0].title == "The Godfather (1972)"


def test_very_long_titles_take_no_longer_than_their_length() -> None:
    for title in ("(, The" * 50_000, ", The" * 50_000, "(" * 200_000 + ", The"):
        assert len(natural_title(title)) >= len(title) - 1
