from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from recsys.data.columns import ITEM_ID, RATING, USER_ID
from recsys.data.errors import DataError
from recsys.data.readers import AnyId, Format, Stars, read_rows, sample_rows
from recsys.data.readers.format import RowCounts
from tests.data.readers.reading import listed, read, write


def rows_of(*values: Any) -> str:
    return "".join(json.dumps(value) + "\n" for value in values)


def row(user: Any, item: Any, rating: Any, **more: Any) -> dict[str, Any]:
    return {USER_ID: user, ITEM_ID: item, RATING: rating, **more}


@pytest.mark.parametrize("as_list", [False, True])
def test_keys_are_columns(as_list: bool, tmp_path: Path) -> None:
    values = [
        row(1, "a", 3.5, tags=["x"]),
        {"rating": 4, ITEM_ID: "b", USER_ID: 2},
        row(3, "c", None),
        row(None, "d", 1),
    ]
    rows = read(tmp_path, json.dumps(values, indent=1) if as_list else rows_of(*values), kind="jsonl")
    assert rows.counts == RowCounts(4, dropped={"no user id": 1})
    assert listed(rows.values[USER_ID]) == [1, 2, 3]
    assert listed(rows.values[ITEM_ID]) == ["a", "b", "c"]
    assert listed(rows.values[RATING]) == [3.5, 4, None]


def test_numbers_and_texts_of_one_key(tmp_path: Path) -> None:
    rows = read(tmp_path, rows_of(row(1, "7", 3), row("2", 8, "4"), row(2**60 + 1, 9.0, 5)), kind="jsonl")
    assert listed(rows.values[USER_ID]) == [1, 2, 2**60 + 1]
    assert listed(rows.values[ITEM_ID]) == [7, 8, 9]
    assert listed(rows.values[RATING]) == [3, 4, 5]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"user_id": 1, ', r"line 3: must be a JSON object, got '\{\"user_id\": 1, '"),
        ("[1, 2]", r"line 3: must be a JSON object, got '\[1, 2\]'"),
        ('{"user_id": 1}{"user_id": 2}', "line 3: must be a JSON object"),
        (rows_of(row(1, 2, "x")).strip(), "line 3: rating must be a number, got 'x'"),
        (rows_of(row(1, [2], 3)).strip(), r"line 3: item_id must be a text or a number, got \[2\]"),
    ],
)
def test_bad_rows(line: str, message: str, tmp_path: Path) -> None:
    text = rows_of(row(1, 2, 3)) + "\n" + line + "\n" + rows_of(row(4, 5, 1))
    with pytest.raises(DataError, match=message):
        read(tmp_path, text, kind="jsonl")
    assert read(tmp_path, text, kind="jsonl", bad_rows="drop").counts == RowCounts(3, refused=1)


def test_no_json(tmp_path: Path) -> None:
    for text in ("user_id,item_id\n1,2\n", "\n", "[1,", "{}\n"):
        with pytest.raises(DataError, match=r"r.csv"):
            read(tmp_path, text, kind="jsonl")


def test_a_sample(tmp_path: Path) -> None:
    sample = sample_rows(write(tmp_path, rows_of(row(1, "a", 3.0, deep={"x": 1}), row(2, "b", True))), Format("jsonl"))
    assert sample.columns == [USER_ID, ITEM_ID, RATING, "deep.x"]
    assert sample.rows == [["1", "a", "3.0", "1"], ["2", "b", "true", ""]]
    assert dict(sample.types) == {USER_ID: "int64", ITEM_ID: "string", "deep.x": "int64"}


def test_keys_of_nested_objects(tmp_path: Path) -> None:
    text = rows_of(
        {"user": {"id": "u1"}, "item": {"ref": {"sku": 7}}, "rating": 3},
        {"user": {"id": "u2"}, "item": {"ref": {"sku": 8}}, "rating": 4},
    )
    fields = {"user.id": AnyId(USER_ID), "item.ref.sku": AnyId(ITEM_ID), "rating": Stars(RATING)}
    rows = read_rows(write(tmp_path, text), Format("jsonl"), fields)
    assert rows.values[USER_ID].to_pylist() == ["u1", "u2"]
    assert rows.values[ITEM_ID].tolist() == [7, 8]
    assert rows.counts == RowCounts(2)
