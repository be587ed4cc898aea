"""The item catalogue: title search, and filters by genre, year and number of ratings."""

from __future__ import annotations

import re
import unicodedata
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys.bundle import Bundle
from recsys.bundle.costs import SEARCHED
from serve.rounding import rounded

WORDS = re.compile(r"\w+")
MAX_RATING_LEVELS = 100  # distinct ratings; with more the scale counts as continuous
NO_STARS: Mapping[int, Sequence[float]] = MappingProxyType({})
APOSTROPHES = str.maketrans("", "", "'’`")  # "schindlers" finds "Schindler's"


def words(text: str) -> list[str]:
    """The words in the first `SEARCHED` characters of a text, ignoring case and accents."""
    bare = text[:SEARCHED].lower()
    if not bare.isascii():
        # Normalize compatibility forms first: casefold alone does not map "ﬁ" and "Å" to "fi" and "A".
        bare = unicodedata.normalize("NFKD", text[:SEARCHED])[:SEARCHED].casefold()
        decomposed = unicodedata.normalize("NFKD", bare)[:SEARCHED]  # normalizing makes up to 18 characters of one
        bare = "".join(char for char in decomposed if not unicodedata.combining(char))
    return WORDS.findall(bare.translate(APOSTROPHES).replace("_", " "))


class RowsByText:
    """The rows in which each text occurs, in a few bytes for each time: texts ascend, and so do the rows of each.

    Args:
        rows: The texts of each row.
    """

    def __init__(self, rows: Iterable[set[str]]) -> None:
        number: dict[str, int] = {}
        texts, found = array("i"), array("i")
        for row, names in enumerate(rows):
            for text in names:
                texts.append(number.setdefault(text, len(number)))
                found.append(row)
        self.texts = sorted(number)
        place = np.empty(len(number), np.int32)
        place[[number[text] for text in self.texts]] = np.arange(len(number))
        of = place[np.asarray(texts)]
        self._rows: NDArray[np.int32] = np.asarray(found, np.int32)[np.argsort(of, kind="stable")]
        self._bounds = np.append(0, np.cumsum(np.bincount(of, minlength=len(number))))

    def __contains__(self, text: str) -> bool:
        start = bisect_left(self.texts, text)
        return start < len(self.texts) and self.texts[start] == text

    def rows_of(self, text: str) -> NDArray[np.int32]:
        """The rows of a text; none for one that does not occur."""
        return self._between(bisect_left(self.texts, text), bisect_right(self.texts, text))

    def rows_of_prefix(self, prefix: str) -> NDArray[np.int32]:
        """The rows of all texts that begin so, one after another."""
        length = len(prefix)
        first = bisect_left(self.texts, prefix)
        return self._between(first, bisect_right(self.texts, prefix, first, key=lambda text: text[:length]))

    def _between(self, first: int, last: int) -> NDArray[np.int32]:
        return self._rows[self._bounds[first] : self._bounds[last]]


class Catalogue:
    """Titles, genres, years and counts of a bundle's items, by item row.

    Args:
        bundle: With the items.
        stars: Of all ratings of some items, by row, in the place of the bundle's own.
    """

    def __init__(self, bundle: Bundle, stars: Mapping[int, Sequence[float]] = NO_STARS) -> None:
        items, rated = len(bundle.items), bundle.ratings
        self.n_ratings = np.bincount(rated.item, minlength=items)
        values = np.unique(rated.rating)
        steps = np.diff(values)
        even = 0 < len(steps) < MAX_RATING_LEVELS and np.allclose(steps / steps.min(), np.round(steps / steps.min()))
        self.rating_step: float | None = rounded(steps.min()) if even else None
        self.lowest_rating: float | None = rounded(values[0]) if len(values) else None
        total = np.bincount(rated.item, weights=rated.rating, minlength=items)
        for row, of_row in stars.items():
            self.n_ratings[row], total[row] = len(of_row), sum(of_row)
        self.mean_rating = np.divide(total, self.n_ratings, out=np.full(items, np.nan), where=self.n_ratings > 0)
        self._popular: list[int] = np.argsort(-self.n_ratings, kind="stable").tolist()
        self._place: list[int] = np.argsort(self._popular).tolist()  # popularity rank of each item
        self._words = RowsByText(set(words(bundle.title(row))) for row in range(items))
        self._genres = RowsByText(set(about["genres"]) for about in bundle.items)
        self._year = np.array([_year(about) for about in bundle.items])

    @property
    def genres(self) -> list[str]:
        return list(self._genres.texts)

    def has_genre(self, genre: str) -> bool:
        """Whether some item has it."""
        return genre in self._genres

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
        found = set(self._words.rows_of_prefix(last).tolist())
        for word in whole:
            found.intersection_update(self._words.rows_of(word).tolist())
        return sorted(found, key=self._place.__getitem__)[:limit]

    def allowed(
        self, genre: str | None, year_from: int | None, year_to: int | None, min_ratings: int = 0
    ) -> NDArray[np.bool_] | None:
        """Mask of the items that pass the filters, `(all items,)`; None without a filter.

        Items without a year do not match any range of years.
        """
        if genre is None and year_from is None and year_to is None and not min_ratings:
            return None
        allowed: NDArray[np.bool_] = self.n_ratings >= min_ratings
        if genre is not None:
            chosen = np.zeros(len(allowed), bool)
            chosen[self._genres.rows_of(genre)] = True
            allowed &= chosen
        if year_from is not None:
            allowed &= self._year >= year_from
        if year_to is not None:
            allowed &= self._year <= year_to
        return allowed


def _year(about: dict[str, Any]) -> float:
    return np.nan if about["year"] is None else float(about["year"])
