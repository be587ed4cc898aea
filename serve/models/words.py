"""The words of titles and of what people type, folded so that they match: case, accents, apostrophes, `&`."""

from __future__ import annotations

import re
import unicodedata

from recsys.bundle.costs import SEARCHED

WORD = re.compile(r"\w+")
# Letters that Unicode does not take apart into a letter and its accent, and what joins or parts words.
PAIRS = dict(zip("łøđðħıŋŧ", "loddhint", strict=True)) | {"þ": "th", "æ": "ae", "œ": "oe"}
LETTERS = str.maketrans(PAIRS | {"'": "", "’": "", "`": "", "_": " ", "&": " and "})


def words(text: str) -> list[str]:
    """The words in the first `SEARCHED` characters of a text: "schindlers" of "Schindler's", "lodz" of "Łódź"."""
    bare = text[:SEARCHED].lower()
    if not bare.isascii():
        # Normalize compatibility forms first: casefold alone does not map "ﬁ" and "Å" to "fi" and "A".
        bare = unicodedata.normalize("NFKD", text[:SEARCHED])[:SEARCHED].casefold()
        decomposed = unicodedata.normalize("NFKD", bare)[:SEARCHED]  # normalizing makes up to 18 characters of one
        bare = "".join(char for char in decomposed if not unicodedata.combining(char))
    return WORD.findall(bare.translate(LETTERS)[:SEARCHED])
