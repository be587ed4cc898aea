from __future__ import annotations

import numpy as np
import pytest

from recsys.data.id_matching import as_number, match_ids


@pytest.mark.parametrize(
    ("texts", "ids", "rule", "rows"),
    [
        (["1", "2"], [2, 1, 7], "exactly", [1, 0, -1]),
        (["0001", "0002"], [2, 1, 7], "as numbers", [1, 0, -1]),
        (["1.0", "2.00"], [2, 1], "as numbers", [1, 0]),
        (["1", "2"], ["0002", "0001", "x"], "as numbers", [1, 0, -1]),
        (["01", "1", "2"], [1, 2], "exactly", [1, 2]),  # as written goes first
        ([" abc", "DEF ", "ﬁ"], ["ABC", "def", "fi"], "trimmed", [0, 1, 2]),
        (["abc", "ABC"], ["ABC", "Abc"], "trimmed", [1, 0]),
        (["a", "a"], ["a"], "exactly", [0]),
        (["x", ""], [1, 2], "exactly", [-1, -1]),
        (["-07", "-0"], [-7, 0], "as numbers", [0, 1]),
        ([], ["a"], "exactly", [-1]),
    ],
)
def test_the_rule_that_matches_most(texts: list[str], ids: list[int] | list[str], rule: str, rows: list[int]) -> None:
    match = match_ids(texts, np.array(ids, dtype=object if isinstance(ids[0], str) else np.int64))
    assert match.rows.tolist() == rows
    assert match.rule.startswith(rule)
    assert match.found == sum(row >= 0 for row in rows)


@pytest.mark.parametrize(
    ("text", "number"),
    [("0001", "1"), ("1.0", "1"), ("1.", "1"), ("000", "0"), (" 7 ", "7"), ("1.5", None), ("1e3", None), ("", None)],
)
def test_numbers(text: str, number: str | None) -> None:
    assert as_number(text) == number
