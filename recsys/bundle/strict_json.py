"""JSON from a stranger: measured before it is parsed, and nothing that JSON or an answer cannot carry."""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from recsys.bundle.budget import Spending
from recsys.bundle.errors import BundleError

BLOCK = 1 << 20  # bytes looked at together
LONGEST_NUMBER = 400  # characters; a float has about 25
INTEGERS = range(-(2**63), 2**64)  # that an answer can carry


class Outline(NamedTuple):
    """What a text of JSON would become, counted without parsing it."""

    depth: int
    values: int
    objects: int
    lists: int
    keys: int

    def memory(self, content: bytes) -> int:
        """Bytes that the text and what is parsed take at most."""
        width = 1 if content.isascii() else 4  # of a character, in a text whose widest one is wide
        text = (1 + 2 * width) * len(content)
        return text + 64 * self.values + 300 * self.objects + 100 * self.lists + 170 * self.keys


def outline(content: bytes) -> Outline:
    """Count brackets, commas and colons outside of texts."""
    if b"\\" in content:  # pairs first, so that what is left before a quote escapes it
        content = content.replace(b"\\\\", b"  ").replace(b'\\"', b"  ")
    inside, level, deepest = 0, 0, 0
    counts = dict.fromkeys("{[,:", 0)
    for start in range(0, len(content), BLOCK):
        block = np.frombuffer(content, np.uint8, min(BLOCK, len(content) - start), start)
        within = (np.cumsum(block == ord('"'), dtype=np.uint8) + np.uint8(inside)) & 1
        plain = block[within == 0]
        inside = int(within[-1])
        opening, closing = (plain == ord("{")) | (plain == ord("[")), (plain == ord("}")) | (plain == ord("]"))
        levels = np.cumsum(opening.astype(np.int32) - closing)
        if len(levels):
            deepest, level = max(deepest, level + int(levels.max())), level + int(levels[-1])
        for sign in counts:
            counts[sign] += int(np.count_nonzero(plain == ord(sign)))
    objects, lists, commas, colons = counts.values()
    return Outline(deepest, 1 + commas + objects + lists, objects, lists, colons)


def parsed_json(file: Path, content: bytes, spending: Spending, limit: str = "values") -> Any:
    """What a text of JSON says.

    It is UTF-8, has no NaN or infinities, which JSON itself does not know, no integers beyond 64 bits and no halves of
    characters, which no answer can carry, and names nothing twice.

    Args:
        file: Where it is from.
        content: The text.
        spending: Of the budget.
        limit: Of the budget, for the number of values.

    Raises:
        BundleError: It says anything else, or is beyond the budget.
    """
    found = outline(content)
    spending.budget.check("depth", found.depth, f"{file} is nested in … levels")
    spending.budget.check(limit, found.values, f"{file} has about … values")
    spending.take(found.memory(content), f"texts of {file.name}")
    try:
        parsed = json.loads(
            content.decode(),
            parse_constant=_refused,
            parse_float=_finite,
            parse_int=_integer,
            object_pairs_hook=_object,
        )
        if b"\\u" in content:  # an escape may stand for half a character
            json.dumps(parsed, ensure_ascii=False).encode()
        return parsed
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{file} cannot be parsed: {error}") from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    named = dict(pairs)
    if len(named) < len(pairs):
        twice = Counter(name for name, _ in pairs).most_common(1)[0][0]
        raise ValueError(f"it names {twice!r:.80} twice")
    return named


def _finite(text: str) -> float:
    number = float(text) if len(text) <= LONGEST_NUMBER else math.inf
    return number if math.isfinite(number) else _refused(text)


def _integer(text: str) -> int:
    if len(text) > 20 or (number := int(text)) not in INTEGERS:
        raise ValueError(f"{text:.30} is beyond 64 bits")
    return number


def _refused(constant: str) -> Any:
    raise ValueError(f"{constant:.30} is not a number")
