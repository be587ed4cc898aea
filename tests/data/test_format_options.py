from __future__ import annotations

from typing import Any

import pytest

from recsys.data.format_options import FormatOptions, plain_separator, side_format


@pytest.mark.parametrize(
    ("text", "separator"),
    [
        ("tab", "\t"), ("comma", ","), ("semicolon", ";"), ("pipe", "|"), ("space", " "), (r"\t", "\t"), ("\t", "\t"),
        ("::", "::"), (";", ";"), ("  ", " "), (r"\x01", "\x01"), (" | ", " | "), ("auto", "auto"),
    ],
)  # fmt: skip
def test_separators_by_name_and_by_character(text: str, separator: str) -> None:
    assert plain_separator("separator", text) == separator


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"separator": '"'}, "separator must be tab, comma, .* got '\"'"),
        ({"separator": "tabulator"}, "separator must be .*, got 'tabulator'"),
        ({"separator": ""}, "separator must be .*, got ''"),
        ({"separator": r"\x"}, r"separator must be a text with escapes such as \\t"),
        ({"separator": None}, "separator must be .*, got None"),
        ({"format": "xml"}, "format must be one of auto, csv, jsonl, parquet, arrow, excel, got 'xml'"),
        ({"layout": "wide"}, "layout must be one of auto, long, matrix, blocks, got 'wide'"),
        ({"header": "yes"}, "header must be true, false or auto, got 'yes'"),
        ({"quoting": None}, "quoting must be true, false, backslash or auto, got None"),
        ({"decimal": "'"}, 'decimal must be one of auto, ., ,, got "\'"'),
        ({"encoding": "utf-9"}, "encoding must be a text encoding such as utf-8, latin-1 or cp1252, got 'utf-9'"),
        ({"encoding": "base64"}, "encoding must be a text encoding"),
        ({"columns": "user"}, r"columns must be a list of names such as \[user,item,rating\], got 'user'"),
        ({"columns": ["a", "b", "a"]}, "columns must have each name once, got 'a' twice"),
        ({"columns": []}, "columns must be null or a list of names"),
        ({"separator": "comma", "decimal": ","}, "separator and decimal must differ, got ',' for both"),
        ({"format": "csv", "sheet": "a"}, "sheet='a' needs format=excel, got csv"),
        ({"layout": "long", "ignored_columns": ["n"]}, "ignored_columns=.* needs layout=matrix, got long"),
    ],
)
def test_a_wrong_option_is_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FormatOptions(**options)


def test_what_is_set() -> None:
    assert FormatOptions().given() == {}
    options = FormatOptions("csv", "long", False, ["u", "i"], r"\t", "latin-1", ",", False, None, None)
    assert options.given() == {
        "kind": "csv", "layout": "long", "header": False, "columns": ("u", "i"), "separator": "\t",
        "encoding": "latin-1", "decimal": ",", "quoting": False, "ignored_columns": (),
    }  # fmt: skip
    assert side_format("users", "pipe", "auto") == {"separator": "|"}
    with pytest.raises(ValueError, match="items_encoding must be a text encoding"):
        side_format("items", "auto", "nothing")
