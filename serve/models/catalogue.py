"""The item catalogue: title search, and filters by genre, year and number of ratings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys.bundle import Bundle
from serve.models.levels import rating_levels
from serve.models.rows_by_text import RowsByText
from serve.models.search import IdSearch, TitleSearch
from serve.rounding import rounded

MAX_RATING_LEVELS = 100  # distinct ratings; with more the scale counts as continuous
NO_STARS: Mapping[int, Sequence[float]] = MappingProxyType({})


class Catalogue:
    """Titles, genres, years and counts of a bundle's items, by item row.

    Args:
        bundle: With the items.
        stars: Of all ratings of some items, by row, in the place of the bundle's own.
    """

    def __init__(self, bundle: Bundle, stars: Mapping[int, Sequence[float]] = NO_STARS) -> None:
        items, rated = len(bundle.items), bundle.ratings
        self.n_ratings = np.bincount(rated.item, minlength=items)
        values = np.unique(rated.rating) if not bundle.kind_ratings else np.full(1, bundle.scale[1], np.float32)
        steps = np.diff(values)
        even = 0 < len(steps) < MAX_RATING_LEVELS and np.allclose(steps / steps.min(), np.round(steps / steps.min()))
        self.rating_step: float | None = rounded(steps.min()) if even else None
        self.levels = rating_levels(bundle, values, self.rating_step)
        self.lowest_rating: float | None = rounded(values[0]) if len(values) else None
        total = np.bincount(rated.item, weights=rated.rating, minlength=items)
        for row, of_row in stars.items():
            self.n_ratings[row], total[row] = len(of_row), sum(of_row)
        self.mean_rating = np.divide(total, self.n_ratings, out=np.full(items, np.nan), where=self.n_ratings > 0)
        self._popular = np.argsort(-self.n_ratings, kind="stable").astype(np.int32)
        self._titles = TitleSearch(map(bundle.title, range(items)), self._popular)
        self._ids = IdSearch(bundle, self._popular)
        self._genres = RowsByText(set(about["genres"]) for about in bundle.items)
        self._year = np.array([_year(about) for about in bundle.items])

    @property
    def genres(self) -> list[str]:
        return list(self._genres.texts)

    def has_genre(self, genre: str) -> bool:
        """Whether some item has it."""
        return genre in self._genres

    def rows_of_genre(self, genre: str) -> NDArray[np.int32]:
        """Rows of the items that have it."""
        return self._genres.rows_of(genre)

    @property
    def years(self) -> tuple[int, int] | None:
        """The first and last year; None if no item has a year."""
        known = self._year[np.isfinite(self._year)]
        return (int(known.min()), int(known.max())) if len(known) else None

    def popular(self, limit: int) -> list[int]:
        """Rows of the items with the most ratings."""
        found: list[int] = self._popular[:limit].tolist()
        return found

    def search(self, query: str, limit: int) -> list[int]:
        """Rows of items by what people type: that of the id, those with the title, those whose ids begin so.

        Titles are found as by `TitleSearch.find`.
        """
        row, begin_so = self._ids.find(query)
        rows = [row] if row >= 0 else []
        for found in (self._titles.find(query), begin_so):
            rows += found[:limit].tolist()
        return list(dict.fromkeys(rows))[:limit]

    def search_work(self, query: str) -> int:
        """Multiplications in whose time `search` answers, from above."""
        return self._titles.work(query)

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
