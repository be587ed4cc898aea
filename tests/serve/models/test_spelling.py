"""Typos are counted as by the textbook's table, and found among all words at once."""

from __future__ import annotations

import itertools
import random

import pytest

from serve.models import spelling
from serve.models.spelling import Spelling


def table(one: str, other: str, *, prefix: bool = False) -> int:
    """Optimal string alignment by dynamic programming; to the best beginning of `other` if `prefix`."""
    rows = [[0] * (len(other) + 1) for _ in range(len(one) + 1)]
    for i, j in itertools.product(range(len(one) + 1), range(len(other) + 1)):
        if not i or not j:
            rows[i][j] = i + j
            continue
        rows[i][j] = min(rows[i - 1][j] + 1, rows[i][j - 1] + 1, rows[i - 1][j - 1] + (one[i - 1] != other[j - 1]))
        if i > 1 and j > 1 and one[i - 1] == other[j - 2] and one[i - 2] == other[j - 1]:
            rows[i][j] = min(rows[i][j], rows[i - 2][j - 2] + 1)
    return min(rows[-1]) if prefix else rows[-1][-1]


@pytest.mark.parametrize("prefix", [False, True])
@pytest.mark.parametrize("most", [0, 1, 2])
def test_similar_words_are_those_of_the_table(most: int, prefix: bool) -> None:
    rng = random.Random(most)
    draw = lambda longest: "".join(rng.choices("abcdłé李🎬", k=rng.randint(1, longest)))  # noqa: E731
    words = sorted({draw(9) for _ in range(400)} | {draw(80) for _ in range(20)} | {"a" * 64, "a" * 65, "ab" * 32})
    known = Spelling(words)
    for word in [*words[:40], *(draw(12) for _ in range(40)), "a" * 64, "ab" * 32]:
        if len(word) > 64:
            continue
        wanted = {place: table(word, other, prefix=prefix) for place, other in enumerate(words)}
        found = known.similar(word, most, prefix=prefix)
        assert dict(zip(found.places.tolist(), found.typos.tolist(), strict=True)) == {
            place: typos for place, typos in wanted.items() if typos <= most
        }


def test_neighbours_that_changed_places_are_one_typo() -> None:
    known = Spelling(["father", "godfather", "godmother"])
    found = known.similar("godfahter", 2, prefix=False)
    assert (found.places.tolist(), found.typos.tolist()) == ([1], [1])


def test_nothing_is_similar_to_no_word_or_a_very_long_one() -> None:
    assert not len(Spelling(["a"]).similar("", 2, prefix=True).places)
    assert not len(Spelling(["a" * 65]).similar("a" * 65, 2, prefix=True).places)
    assert not len(Spelling([]).similar("a", 2, prefix=True).places)


def test_few_words_are_compared_letter_by_letter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spelling, "MAX_COMPARED", 3)
    words = ["abcdefgx", *(f"abcdef{end}" for end in ("xy", "xz", "yz")), "abcdefgh"]
    found = Spelling(words).similar("abcdefgh", 2, prefix=False)
    assert {words[place] for place in found.places.tolist()} >= {"abcdefgx", "abcdefgh"}
    assert len(found.places) == 3
