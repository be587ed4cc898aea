"""RowsByText: in which rows a text occurs."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray


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

    def rows_at(self, places: Sequence[int]) -> NDArray[np.int32]:
        """The rows of the texts at some places of `texts`, one after another."""
        pieces = [self._between(place, place + 1) for place in places]
        return np.concatenate(pieces) if pieces else np.zeros(0, np.int32)

    def _between(self, first: int, last: int) -> NDArray[np.int32]:
        return self._rows[self._bounds[first] : self._bounds[last]]
