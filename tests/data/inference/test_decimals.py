from __future__ import annotations

import pytest

from recsys.data.inference.decimals import decimal_comma, undecided_number


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["2,5", "3"], "2,5"),
        (["0,500", "1,234"], "0,500"),
        (["1.234,5", "7,0"], "1.234,5"),
        (["1.234.567", "12"], "1.234.567"),
        (["1,234", "5000"], "1,234"),
        (["1,234", "12"], None),
        (["1,234,567", "12"], None),
        (["1,234.5", "12"], None),
        (["1,234", "0.5"], None),
        (["2,5", "0.5"], None),
    ],
)
def test_a_decimal_comma_is_inferred_only_where_it_is_one(texts: list[str], expected: str | None) -> None:
    assert decimal_comma([["x"], *([text] for text in texts)]) == expected


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["12", "1,234"], "1,234"),
        (["12", "1,234", "1,234,567"], None),
        (["0.5", "1,234"], None),
        (["12", "1.234", "5.678", "9.123"], "1.234"),
        (["1.234", "5.678", "9.123"], None),
        (["1.5", "1.234", "5.678", "9.123", "12"], None),
    ],
)
def test_numbers_that_are_thousands_or_decimals(texts: list[str], expected: str | None) -> None:
    assert undecided_number(texts, points=True, whole=False) == expected


def test_counts_with_a_point_are_suspicious() -> None:
    texts = ["1.234", "5.678", "9.123"]
    assert undecided_number(texts, points=True, whole=True) == "1.234"
    assert undecided_number(texts, points=False, whole=True) is None
