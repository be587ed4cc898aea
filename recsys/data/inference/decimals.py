"""Tell a decimal comma from a comma between thousands."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from recsys.data.inference.texts import COMMA_NUMBER, is_grouped, numeric, present

WITH_POINT = re.compile(r"-?\d*\.\d+", re.ASCII)
SURELY_COMMA = re.compile(r"[-+]?\d{1,3}(\.\d{3})+,\d+|[-+]?\d{1,3}(\.\d{3}){2,}", re.ASCII)  # 1.234,5 or 1.234.567
FOUR_DIGITS = re.compile(r"[-+]?\d{4,}", re.ASCII)
FEWEST = 3  # distinct numbers such as 1.234 that are suspicious


def decimal_comma(rows: Sequence[Sequence[str]]) -> str | None:
    """A number with a decimal comma, if a column has nothing but numbers, some of them surely such."""
    width = Counter(map(len, rows)).most_common(1)[0][0]
    columns = list(zip(*(row for row in rows[1:] if len(row) == width), strict=True))
    found = None
    for column in columns:
        texts = [text.strip() for text in present(column)]
        if not numeric(texts, ","):
            continue
        points = any(WITH_POINT.fullmatch(text) and not is_grouped(text, ",") for text in texts)
        commas = [text for text in texts if COMMA_NUMBER.fullmatch(text)]
        sure = [text for text in texts if SURELY_COMMA.fullmatch(text)]
        sure += [text for text in commas if not is_grouped(text, ".")]
        if not sure and commas and not points and any(FOUR_DIGITS.fullmatch(text) for text in texts):
            sure = commas  # thousands would have a comma everywhere
        if sure and points:
            return None
        if sure:
            found = found or sure[0]
    return found


def undecided_number(texts: Sequence[str], *, points: bool, whole: bool) -> str | None:
    """A number of a column that may have either a decimal sign or a sign between thousands; None if that is clear.

    Args:
        texts: Values of the column that are not missing.
        points: Whether a point may stand between thousands.
        whole: Whether the column should have whole numbers, as counts are.
    """
    texts = [text.strip() for text in texts]
    if any(FOUR_DIGITS.fullmatch(text) for text in texts):
        return None
    commas = [text for text in texts if "," in text]
    if commas:
        plain = all(COMMA_NUMBER.fullmatch(text) and is_grouped(text, ".") for text in commas)
        return commas[0] if plain and not any("." in text for text in texts) else None
    dotted = [text for text in texts if "." in text]
    suspicious = points and len(set(dotted)) >= FEWEST and all(is_grouped(text, ",") for text in dotted)
    return dotted[0] if suspicious and (whole or len(dotted) < len(texts)) else None
