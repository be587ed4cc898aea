from __future__ import annotations

from pathlib import Path

import pytest

from recsys.data.columns import ITEM_ID, RATING, TIMESTAMP, USER_ID
from recsys.data.errors import DataError
from recsys.data.readers import AnyId, Field, Format, Stars, Time, lines, sample_rows
from recsys.data.readers.format import RowCounts
from tests.data.readers.reading import FIELDS, listed, read, write

BLOCK_FIELDS: dict[str, Field] = {
    "0": AnyId(USER_ID),
    ITEM_ID: AnyId(ITEM_ID),
    "1": Stars(RATING),
    "2": Time(TIMESTAMP, "iso8601"),
}


def test_a_matrix_with_users_and_items(tmp_path: Path) -> None:
    text = "who,a,b,c\nann,1,,3\nbob,,5,NA\n"
    fields: dict[str, Field] = {"who": AnyId(USER_ID), **{name: FIELDS[name] for name in (ITEM_ID, RATING)}}
    rows = read(tmp_path, text, fields, layout="matrix")
    assert rows.counts == RowCounts(6, dropped={"not rated": 2})
    assert listed(rows.values[USER_ID]) == ["ann", "ann", "bob", "bob"]
    assert listed(rows.values[ITEM_ID]) == ["a", "c", "b", "c"]
    assert listed(rows.values[RATING]) == [1, 3, 5, None]
    sample = sample_rows(tmp_path / "r.csv", Format(layout="matrix"), 2)
    assert (sample.columns, sample.rows, sample.lines) == (
        ["who", ITEM_ID, RATING],
        [["ann", "a", "1"], ["ann", "c", "3"]],
        [2, 2],
    )


@pytest.mark.parametrize("ignored", [("0",), ()])
def test_a_matrix_without_users(ignored: tuple[str, ...], tmp_path: Path) -> None:
    rows = read(tmp_path, "2\t1\t5\n2\t4\t3\n", layout="matrix", separator="\t", header=False, ignored_columns=ignored)
    first = [] if ignored else ["0"]
    assert listed(rows.values[USER_ID]) == [1] * (2 + len(first)) + [2] * (2 + len(first))
    assert list(map(str, listed(rows.values[ITEM_ID]))) == [*first, "1", "2"] * 2


def test_lines_of_a_matrix_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"line 3: rating must be a number, got 'x'"):
        read(tmp_path, "user_id,a,b\n1,2,3\n2,x,3\n", layout="matrix")
    with pytest.raises(DataError, match=r"line 3: must have 3 columns, got 2"):
        read(tmp_path, "user_id,a,b\n1,2,3\n2,3\n", layout="matrix")
    dropped = read(tmp_path, "user_id,a,b\n1,2,3\n2,3\n", layout="matrix", bad_rows="drop")
    assert dropped.counts == RowCounts(3, refused=1)
    with pytest.raises(DataError, match=r"no column 'n'; the columns are user_id, a, b"):
        read(tmp_path, "user_id,a,b\n1,2,3\n", layout="matrix", ignored_columns=("n",))


@pytest.mark.parametrize("size", [16, 1 << 20])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_blocks(size: int, end: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "BLOCK", size)
    text = "7:\n1,3,2007-06-16\n2,4,2006-03-19\n\n8 :\n9:\n3,5,2005-01-01\n".replace("\n", end)
    rows = read(tmp_path, text, BLOCK_FIELDS, layout="blocks", header=False)
    assert rows.counts == RowCounts(3)
    assert listed(rows.values[USER_ID]) == [1, 2, 3]
    assert listed(rows.values[ITEM_ID]) == [7, 7, 9]
    sample = sample_rows(tmp_path / "r.csv", Format(layout="blocks", header=False))
    assert sample.columns == [ITEM_ID, "0", "1", "2"]
    assert sample.rows[2] == ["9", "3", "5", "2005-01-01"]
    assert sample.lines == [2, 3, 7]


def test_blocks_with_names(tmp_path: Path) -> None:
    fields: dict[str, Field] = {"who": AnyId(USER_ID), "film": AnyId(ITEM_ID), "stars": Stars(RATING)}
    rows = read(tmp_path, "a:\n1,3\n", fields, layout="blocks", header=False, columns=("film", "who", "stars"))
    assert listed(rows.values[ITEM_ID]) == ["a"]
    fields = {"who": AnyId(USER_ID), ITEM_ID: AnyId(ITEM_ID), "stars": Stars(RATING)}
    rows = read(tmp_path, "a:\n1,3\n", fields, layout="blocks", header=False, columns=("who", "stars"))
    assert listed(rows.values[ITEM_ID]) == ["a"]
    with pytest.raises(DataError, match="the rows of blocks have 2 columns, but columns names 4"):
        read(tmp_path, "a:\n1,3\n", fields, layout="blocks", header=False, columns=("a", "b", "c", "d"))


def test_lines_of_blocks_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"line 4: 1 must be a number, got 'x'"):
        read(tmp_path, "7:\n1,3,2007-06-16\n\n2,x,2006-03-19\n", BLOCK_FIELDS, layout="blocks", header=False)
    file = write(tmp_path, "1,3,2007-06-16\n7:\n2,3,2006-03-19\n")
    del file
    rows = read(tmp_path, "1,3,2007-06-16\n7:\n2,3,2006-03-19\n", BLOCK_FIELDS, layout="blocks", header=False)
    assert rows.counts == RowCounts(2, dropped={"no item id": 1})
