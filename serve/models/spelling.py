"""Spelling: which words of a vocabulary are a typo away from another, all at once in NumPy.

A typo is a letter left out, put in or exchanged, or two neighbours that changed places (optimal string alignment).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

LONGEST = 64  # letters of a word that is compared: one bit each
MAX_COMPARED = 20_000  # words that are compared letter by letter for one; of more, those that share most letters


class SimilarWords(NamedTuple):
    """Words of a vocabulary that may be meant by a word that was typed."""

    places: NDArray[np.int64]  # (n,) ascending
    typos: NDArray[np.int64]  # (n,) between the two


class Spelling:
    """The vocabulary's words by the letters that occur in them: 10 bytes for each.

    Args:
        words: Not empty.
    """

    def __init__(self, words: Sequence[str]) -> None:
        self.words = words
        lengths = np.fromiter(map(len, words), np.int64, len(words))
        self._length = lengths.astype(np.uint16)
        codes = _codes("".join(words))
        starts = np.append(0, np.cumsum(lengths))[:-1]
        self._letters = np.bitwise_or.reduceat(_bit(codes), starts) if len(words) else np.zeros(0, np.uint64)

    def similar(self, word: str, most: int, *, prefix: bool) -> SimilarWords:
        """Words that are at most so many typos away.

        Args:
            word: At most `LONGEST` letters, or nothing is similar.
            most: Typos.
            prefix: Whether the word may be the beginning of the other one.
        """
        nothing = np.zeros(0, np.int64)
        if not 0 < len(word) <= LONGEST:
            return SimilarWords(nothing, nothing)
        letters = np.bitwise_or.reduce(_bit(_codes(word)))
        missing = np.bitwise_count(letters & ~self._letters)
        possible = (missing <= most) & (self._length + most >= len(word))
        if not prefix:
            extra = np.bitwise_count(self._letters & ~letters)
            possible &= (extra <= most) & (self._length <= len(word) + most)
        places = np.flatnonzero(possible)
        if len(places) > MAX_COMPARED:
            places = np.sort(places[np.argsort(missing[places], kind="stable")[:MAX_COMPARED]])
        typos = _typos(word, [self.words[place] for place in places.tolist()], most, prefix=prefix)
        found = typos <= most
        return SimilarWords(places[found], typos[found])


def _codes(text: str) -> NDArray[np.uint32]:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)


def _bit(codes: NDArray[np.uint32]) -> NDArray[np.uint64]:
    """A bit for each character; those of other scripts share one with a letter."""
    return np.left_shift(np.uint64(1), (codes & 63).astype(np.uint64))


def _typos(word: str, others: Sequence[str], most: int, *, prefix: bool) -> NDArray[np.int64]:
    """Typos between a word and each of others, or the best beginning of each; right up to `most`.

    Bit-parallel over the letters of the word (Hyyro 2003, "A bit-vector algorithm for computing Levenshtein and
    Damerau edit distances"), side by side over the others.
    """
    longest = len(word) + most  # letters of the others that matter
    if not others:
        return np.zeros(0, np.int64)
    one, letters = np.uint64(1), list(dict.fromkeys(word))
    codes = _codes("".join(other[:longest].ljust(longest, "\0") for other in others)).reshape(-1, longest).T
    length = np.fromiter(map(len, others), np.int64, len(others))
    last = one << np.uint64(len(word) - 1)
    matches = np.zeros(codes.shape, np.uint64)  # of each letter of the others: where it occurs in the word
    for letter in letters:
        at = sum(1 << place for place, other in enumerate(word) if other == letter)
        matches[codes == ord(letter)] = np.uint64(at)
    plus = np.full(len(others), ~np.uint64(0))
    minus, diagonal, before = (np.zeros(len(others), np.uint64) for _ in range(3))
    typos = np.full(len(others), len(word), np.int64)
    best = np.where(length == 0, typos, len(word) if prefix else longest + most)
    for place, match in enumerate(matches):
        swapped = ((~diagonal & match) << one) & before
        diagonal = (((match & plus) + plus) ^ plus) | match | minus | swapped
        up, down = minus | ~(diagonal | plus), diagonal & plus
        typos += (up & last != 0).astype(np.int64) - (down & last != 0)
        up, down = (up << one) | one, down << one
        plus, minus, before = down | ~(diagonal | up), up & diagonal, match
        counts = length > place if prefix else length == place + 1
        best = np.where(counts & (typos < best), typos, best)
    return best
