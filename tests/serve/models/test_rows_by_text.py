"""The rows in which texts occur."""

from __future__ import annotations

from serve.models.rows_by_text import RowsByText


def test_rows_by_text() -> None:
    rows = RowsByText([{"b", "a"}, set(), {"ab", "b"}, {"", "\U0010ffff"}])
    assert rows.texts == ["", "a", "ab", "b", "\U0010ffff"]
    for text, found in (("a", [0]), ("b", [0, 2]), ("ab", [2]), ("", [3]), ("abc", []), ("c", []), ("\U0010ffff", [3])):
        assert rows.rows_of(text).tolist() == found
        assert (text in rows) == bool(found)
    for prefix, found in (("a", [0, 2]), ("ab", [2]), ("b", [0, 2]), ("", [3, 0, 2, 0, 2, 3]), ("c", []), ("abc", [])):
        assert rows.rows_of_prefix(prefix).tolist() == found
    assert RowsByText([]).rows_of_prefix("a").tolist() == RowsByText([set()]).rows_of("").tolist() == []
    assert rows.rows_at([1, 4]).tolist() == [0, 3]
    assert rows.rows_at([]).tolist() == []
