"""Words as they are compared."""

from __future__ import annotations

from serve.models.words import words


def test_words_are_bare() -> None:
    assert words("Ça_va: l'Été – №5, ½ ﬁn!") == words("CA VA LETE no5 1⁄2 fin")
    assert words("") == []


def test_letters_are_folded_also_where_unicode_knows_no_accent() -> None:
    assert words("Łódź Smørrebrød Þór Æon Œuvre Đorđe Ħal") == words("lodz smorrebrod thor aeon oeuvre dorde hal")
    assert words("Fast & Furious") == words("fast AND furious") != words("fast furious")


def test_a_search_looks_at_the_beginning_of_a_long_title() -> None:
    assert words("x " * 400 + "y" * 300 + " z")[-1] == "y" * 200
    assert words("é " * 300 + "ÿ" * 300 + " z")[-1] == "y" * 50  # with their accents apart
    assert len("".join(words("\ufdfa" * 1000))) <= 1000
    assert len("".join(words("æ" * 1000))) == 1000
