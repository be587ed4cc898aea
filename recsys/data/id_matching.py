"""Match the ids of a users or items file to those of the ratings, though they may be written differently."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

WHOLE = re.compile(r"(-?)0*([0-9]+)(?:\.0*)?", re.ASCII)


@dataclass(frozen=True)
class Match:
    """Which row of a file is that of each id of the ratings.

    Attributes:
        rule: How ids were matched, in words.
        rows: Row of the file of each id, from 0; -1 if there is none, int64 `(ids,)`.
    """

    rule: str
    rows: NDArray[np.int64]

    @property
    def found(self) -> int:
        """Number of ids with a row."""
        return int(np.count_nonzero(self.rows >= 0))


def match_ids(texts: Sequence[str], ids: NDArray[Any]) -> Match:
    """The rule by which the most ids have a row: exactly, else as numbers, else trimmed and case-folded.

    Under each rule an id that is in the file exactly as written has that row; of several rows the first counts.

    Args:
        texts: Id of each row of the file.
        ids: Distinct ids of the ratings, integers or texts.
    """
    wanted = [str(value) for value in ids.tolist()]
    exact = _first_rows(texts)
    rows = np.array([exact.get(text, -1) for text in wanted], dtype=np.int64)
    best = Match("exactly", rows)
    for rule, normal in RULES:
        if best.found == len(wanted):
            break
        known = _first_rows([normal(text) for text in texts])
        other = [
            row if row >= 0 else known.get(normal(text), -1) for row, text in zip(rows.tolist(), wanted, strict=True)
        ]
        match = Match(rule, np.array(other, dtype=np.int64))
        best = match if match.found > best.found else best
    return best


def as_number(text: str) -> str | None:
    """A whole number without leading zeros and decimals: "1" for "0001" and "1.0"; None for other texts."""
    found = WHOLE.fullmatch(text.strip())
    if not found:
        return None
    return "0" if found[2] == "0" else found[1] + found[2]


def folded(text: str) -> str | None:
    """A text without surrounding blanks, difference of case and of Unicode form; None if nothing is left."""
    return unicodedata.normalize("NFKC", text).strip().casefold() or None


RULES: tuple[tuple[str, Callable[[str], str | None]], ...] = (
    ("as numbers (0001 = 1 = 1.0)", as_number),
    ("trimmed and without regard to case", folded),
)


def _first_rows(keys: Sequence[str | None]) -> dict[str | None, int]:
    """The first row of each key; none for None."""
    found: dict[str | None, int] = {}
    for row, key in enumerate(keys):
        if key is not None:
            found.setdefault(key, row)
    return found
