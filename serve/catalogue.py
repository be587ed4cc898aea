"""The item catalogue: title search, and filters by genre, year and number of ratings."""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys.bundle import Bundle
from serve.rounding import rounded

WORDS = re.compile(r"\w+")
MAX_RATING_LEVELS = 100  # distinct ratings; with more the scale counts as continuous
APOSTROPHES = str.maketrans("", "", "'’`")  # "schindlers" finds "Schindler's"


def words(text: str) -> list[str]:
    """The words of a text, ignoring case and accents."""
    # Normalize compatibility forms first: casefold alone does not map "ﬁ" and "Å" to "fi" and "A".
    decomposed = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    bare = "".join(char for char in decomposed if not unicodedata.combining(char))
    return WORDS.findall(bare.translate(APOSTROPHES).replace("_", " "))


class Catalogue:
    """Titles, genres, years and counts of a bundle's items, by item row."""

    def __init__(self, bundle: Bundle) -> None:
        items, rated = len(bundle.items), bundle.ratings
        self.n_ratings = np.bincount(rated.item, minlength=items)
        values = np.unique(rated.rating)
        steps = np.diff(values)
        even = 0 < len(steps) < MAX_RATING_LEVELS and np.allclose(steps / steps.min(), np.round(steps / steps.min()))
        self.rating_step: float | None = rounded(steps.min()) if even else None
        self.lowest_rating: float | None = rounded(values[0]) if len(values) else None
        stars = np.bincount(rated.item, weights=rated.rating, minlength=items)
        self.mean_rating = np.divide(stars, self.n_ratings, out=np.full(items, np.nan), where=self.n_ratings > 0)
        self._popular: list[int] = np.argsort(-self.n_ratings, kind="stable").tolist()
        self._place: list[int] = np.argsort(self._popular).tolist()  # popularity rank of each item
        postings: dict[str, set[int]] = {}
        genres: dict[str, list[int]] = {}
        for row, about in enumerate(bundle.items):
            for word in words(bundle.title(row)):
                postings.setdefault(word, set()).add(row)
            for genre in about["genres"]:
                genres.setdefault(genre, []).append(row)
        self._postings = postings
        self._vocabulary = sorted(postings)
        self._year = np.array([_year(about) for about in bundle.items])
        self._genre: dict[str, NDArray[np.bool_]] = {}
        for genre in sorted(genres):
            self._genre[genre] = np.zeros(items, bool)
            self._genre[genre][genres[genre]] = True

    @property
    def genres(self) -> list[str]:
        return list(self._genre)

    @property
    def years(self) -> tuple[int, int] | None:
        """The first and last year; None if no item has a year."""
        known = self._year[np.isfinite(self._year)]
        return (int(known.min()), int(known.max())) if len(known) else None

    def popular(self, limit: int) -> list[int]:
        """Rows of the items with the most ratings."""
        return self._popular[:limit]

    def search(self, query: str, limit: int) -> list[int]:
        """Rows of items whose title contains all words of `query`, the last one as a prefix; most rated first."""
        *whole, last = words(query) or [""]
        if not last:
            return []
        found: set[int] = set()
        for word in self._vocabulary[bisect_left(self._vocabulary, last) :]:
            if not word.startswith(last):
                break
            found |= self._postings[word]
        for word in whole:
            found &= self._postings.get(word, set())
        return sorted(found, key=self._place.__getitem__)[:limit]

    def allowed(
        self, genre: str | None, year_from: int | None, year_to: int | None, min_ratings: int = 0
    ) -> NDArray[np.bool_] | None:
        """Mask of the items that pass the filters, `(all items,)`; None without a filter.

        Items without a year do not match any range of years.

        Raises:
            KeyError: No item has that genre.
        """
        if genre is None and year_from is None and year_to is None and not min_ratings:
            return None
        allowed: NDArray[np.bool_] = self.n_ratings >= min_ratings
        if genre is not None:
            allowed &= self._genre[genre]
        if year_from is not None:
            allowed &= self._year >= year_from
        if year_to is not None:
            allowed &= self._year <= year_to
        return allowed


def _year(about: dict[str, Any]) -> float:
    return np.nan if about["year"] is None else float(about["year"])
