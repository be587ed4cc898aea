"""Search: items by what people type, which may be a title, the beginning of one, one with typos, or an id."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from functools import reduce
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from recsys.bundle import Bundle
from recsys.bundle.typing import IndexArray
from recsys.events.given_ids import INTEGER
from serve.models.rows_by_text import RowsByText
from serve.models.spelling import LONGEST, Spelling
from serve.models.words import words

MAX_FORGIVEN = 8  # words of a query in which typos are looked for
SHORTEST_ID = 2  # characters by which ids are found that begin so
NONE = np.int16(100)  # typos of an item that is not found
WORK = 50  # multiplications in whose time a word of the vocabulary is compared with one that was typed


def allowed_typos(word: str, *, alone: bool) -> int:
    """How many typos a word may have: none in a short one or in a number.

    Args:
        word: As it was typed.
        alone: Whether it is all that was typed.
    """
    if any(map(str.isdigit, word)) or len(word) < 3:
        return 0
    return 2 if len(word) >= 8 else 1 if len(word) >= 4 or not alone else 0


class IdSearch:
    """Items by their ids: four bytes for each, where ids are texts.

    Args:
        bundle: With the items.
        popular: All rows, the most rated first.
    """

    def __init__(self, bundle: Bundle, popular: IndexArray) -> None:
        self.popular, self._rows, self._ids = popular, bundle.item_row, bundle.item_ids
        self._integers = bundle.manifest["id_kind"] == "int"
        folded = [] if self._integers else [str(item).casefold() for item in self._ids.tolist()]
        self._ascending = np.array(sorted(range(len(folded)), key=folded.__getitem__), np.int32)

    def find(self, query: str) -> tuple[int, IndexArray]:
        """The row of the item whose id this is, -1 if there is none, and those whose ids begin so, most rated first.

        Case counts only where ids differ by nothing else. Integers are found whole.
        """
        text = query.strip()
        if self._integers:
            return self._rows.get(int(text), -1) if INTEGER.fullmatch(text) else -1, self.popular[:0]
        start = text.casefold()
        first = bisect_left(self._ascending, start, key=self._folded)
        last = bisect_right(self._ascending, start, first, key=lambda row: self._folded(row)[: len(start)])
        rows = self._ascending[first:last] if len(start) >= SHORTEST_ID else self._ascending[:0]
        equal = first < len(self._ascending) and self._folded(self._ascending[first]) == start
        otherwise = int(self._ascending[first]) if equal else -1
        mask = np.zeros(len(self.popular), bool)
        mask[rows] = True
        return self._rows.get(query, self._rows.get(text, otherwise)), self.popular[mask[self.popular]]

    def _folded(self, row: int) -> str:
        return str(self._ids[row]).casefold()


class TitleSearch:
    """The index of titles, by word.

    Args:
        titles: Of each item's row.
        popular: All rows, the most rated first.
    """

    def __init__(self, titles: Iterable[str], popular: IndexArray) -> None:
        self.popular = popular
        self.rows_by_word = RowsByText(set(words(title)) for title in titles)
        self._spelling = Spelling(self.rows_by_word.texts)

    def work(self, query: str) -> int:
        """Multiplications in whose time a query is answered, from above."""
        return (len(self.popular) + WORK * len(self.rows_by_word.texts)) * min(len(query), MAX_FORGIVEN)

    def find(self, query: str) -> IndexArray:
        """Rows of items whose title contains all words of `query`, the last one as a prefix; most rated first.

        If there are none, those with the fewest typos, or with words that were run together or apart.
        """
        typed = words(query)
        if not typed:
            return self.popular[:0]
        typos = self._exact(typed)
        if typos.min(initial=NONE) == NONE and len(typed) <= MAX_FORGIVEN:
            typos = reduce(np.minimum, self._forgiving(typed))
        typos = typos[self.popular]
        rows = np.flatnonzero(typos < NONE)
        return self.popular[rows[np.argsort(typos[rows], kind="stable")]]

    def _exact(self, typed: list[str]) -> NDArray[np.int16]:
        """0 for each item whose title has all words, else `NONE`."""
        *whole, last = typed
        found = self._mask(self.rows_by_word.rows_of_prefix(last))
        for word in whole:
            found &= self._mask(self.rows_by_word.rows_of(word))
        return np.where(found, np.int16(0), NONE)

    def _forgiving(self, typed: list[str]) -> Iterator[NDArray[np.int16]]:
        """Typos of each item's title, by each way to read the query."""
        last = len(typed) - 1
        each = [self._typos(word, prefix=place == last, alone=last == 0) for place, word in enumerate(typed)]
        yield np.minimum(reduce(np.add, each), NONE)
        for place, (left, right) in enumerate(pairwise(typed)):  # "spider man" for "Spiderman"
            yield np.maximum(self._exact([*typed[:place], left + right, *typed[place + 2 :]]), 1)

    def _typos(self, word: str, *, prefix: bool, alone: bool) -> NDArray[np.int16]:
        """Typos of each item's title in one word; `NONE` beyond those that are allowed."""
        typos = np.full(len(self.popular), NONE)
        most = allowed_typos(word, alone=alone)
        similar = self._spelling.similar(word, most, prefix=prefix)
        for count in range(max(most, 1), -1, -1):  # the fewest typos last
            if count == 1:
                for place in range(1, min(len(word), LONGEST)):  # "spiderman" for "Spider-Man"
                    left, right = self.rows_by_word.rows_of(word[:place]), word[place:]
                    of = self.rows_by_word.rows_of_prefix(right) if prefix else self.rows_by_word.rows_of(right)
                    if len(left) and len(of):
                        typos[self._mask(left) & self._mask(of)] = 1
            typos[self.rows_by_word.rows_at(similar.places[similar.typos == count].tolist())] = count
        return typos

    def _mask(self, rows: NDArray[np.int32]) -> NDArray[np.bool_]:
        mask = np.zeros(len(self.popular), bool)
        mask[rows] = True
        return mask
