from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import feather, ipc

from recsys.data.columns import ITEM_ID, RATING, USER_ID
from recsys.data.errors import DataError
from recsys.data.readers import AnyId, Format, Rows, column_names, lines, read_rows, sample_rows, stored, text_columns
from recsys.data.readers.format import RowCounts
from tests.data.readers.reading import FIELDS, HEADER, listed, read, write


def ids(rows: Rows) -> list[list[object]]:
    return [listed(rows.values[name]) for name in (USER_ID, ITEM_ID, RATING)]


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        (HEADER + "1,2,3\n4,5,1\n", {}),
        ("\n \n" + HEADER + "1,2,3\n\n  \n4,5,1", {}),
        ((HEADER + "1,2,3\n4,5,1\n").replace("\n", "\r"), {}),
        ((HEADER + "1,2,3\n4,5,1\n").replace(",", "::"), {"separator": "::"}),
        ((HEADER + "1,2,3\n4,5,1\n").replace(",", "||"), {"separator": "||"}),
        ((HEADER + "1,2,3\n4,5,1\n").replace(",", "\t "), {"separator": " "}),
        (" user_id   item_id rating \n1 2  3\n\t4 5 1 \n", {"separator": " "}),
        ((HEADER + "1,2,3\n4,5,1\n").replace(",", "§"), {"separator": "§"}),
        (
            ('"a"' + HEADER + '"1",2,3\n4,5,"1"\n').replace('"a"', "").replace(",", "::"),
            {"separator": "::", "quoting": True},
        ),
        ('user_id  item_id rating\n"1" 2 3\n4 "5"  1\n', {"separator": " ", "quoting": True}),
        ("1,2,3\n4,5,1\n", {"header": False, "columns": (USER_ID, ITEM_ID, RATING)}),
        ("a,b,c\n1,2,3\n4,5,1\n", {"columns": (USER_ID, ITEM_ID, RATING)}),
        ("rating,x,item_id,user_id\n3,,2,1\n1,,5,4\n", {}),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "utf-32", "cp1252"])
def test_forms_of_text(text: str, arguments: dict[str, object], encoding: str, tmp_path: Path) -> None:
    if "§" in text and encoding == "cp1252":
        pytest.skip("its separator is one byte")
    rows = read(tmp_path, text.encode(encoding), encoding=encoding, **arguments)
    assert ids(rows) == [[1, 4], [2, 5], [3, 1]]
    assert rows.counts == RowCounts(2)


def test_a_byte_order_mark_goes_before_the_encoding(tmp_path: Path) -> None:
    for encoding in ("utf-8-sig", "utf-16", "utf-32"):
        assert ids(read(tmp_path, (HEADER + "ü,2,3\n").encode(encoding), encoding="latin-1"))[0] == ["ü"]


def test_encodings(tmp_path: Path) -> None:
    for encoding, text in (
        ("latin-1", "é"),
        ("cp1252", "œ"),
        ("shift_jis", "表"),
        ("gb18030", "\u4e00"),
        ("cp037", "a"),
    ):
        rows = read(tmp_path, (HEADER + f"{text},b,3\n").encode(encoding), encoding=encoding)
        assert ids(rows) == [[text], ["b"], [3]]
    with pytest.raises(DataError, match=r"r.csv, line 3: must be cp1252, got byte 0x81"):
        read(tmp_path, HEADER.encode() + b"a,b,3\n\x81,b,3\n", encoding="cp1252")
    with pytest.raises(DataError, match=r"encoding must be one that Python knows, such as latin-1, got 'latin-99'"):
        read(tmp_path, HEADER, encoding="latin-99")
    with pytest.raises(DataError, match=r"must be utf-16, got"):
        read(tmp_path, (HEADER + "1,2,3\n").encode("utf-16")[:-1] + b"\xd8\x01", encoding="utf-16")


def test_bytes_of_other_columns_do_not_matter(tmp_path: Path) -> None:
    text = b"user_id,item_id,rating,title\n1,2,3,Caf\xe9\n4,5,1,\x00\n"
    assert ids(read(tmp_path, text)) == [[1, 4], [2, 5], [3, 1]]


@pytest.mark.parametrize("size", [16, 1 << 20])
def test_bad_rows(size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(lines, "BLOCK", size)
    bad = ["1,2", "1,2,3,4", "1,2,x", "\x00,2,3", "1,2,inf"]
    text = HEADER + "".join(f"{n},{n},1\n\n{row}\n" for n, row in enumerate(bad))
    with pytest.raises(DataError, match=r"r.csv, line 4: must have 3 columns, got 2"):
        read(tmp_path, text)
    rows = read(tmp_path, text, bad_rows="drop")
    assert rows.counts == RowCounts(10, refused=5)
    assert ids(rows)[0] == [0, 1, 2, 3, 4]
    assert [record.getMessage().partition("r.csv, ")[2][:22] for record in caplog.records] == [
        "line 4: row dropped: m",
        "line 7: row dropped: m",
        "line 10: row dropped: ",
    ]
    with pytest.raises(ValueError, match=r"bad_rows must be one of error, drop, got 'keep'"):
        read(tmp_path, text, bad_rows="keep")


def test_the_first_bad_line_is_named_of_many_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "BLOCK", 64)
    text = HEADER + "".join(f"{n},{n},{'x' if n in (200, 201, 300) else 1}\n" for n in range(500))
    with pytest.raises(DataError, match=r"r.csv, line 202: rating must be a number, got 'x'"):
        read(tmp_path, text)


def test_rows_without_an_id_are_dropped_and_counted(tmp_path: Path) -> None:
    rows = read(tmp_path, HEADER + "1,2,3\n,2,3\n1,  ,3\n,,\n4,5,1\n")
    assert rows.counts == RowCounts(5, dropped={"no user id": 2, "no item id": 1})
    assert ids(rows) == [[1, 4], [2, 5], [3, 1]]


def test_words_for_missing_ids(tmp_path: Path) -> None:
    rows = read(tmp_path, HEADER + "1.0,2,3\nNA,2,3\nnan,2,1\n4,5,1\n")
    assert (rows.counts, ids(rows)[0]) == (RowCounts(4, dropped={"no user id": 2}), [1, 4])
    rows = read(tmp_path, HEADER + "anna,2,3\nNA,2,3\n")
    assert (rows.counts, ids(rows)[0]) == (RowCounts(2), ["anna", "NA"])


def test_several_files(tmp_path: Path) -> None:
    files = [
        write(tmp_path, "item_id,rating,user_id\n2,3,1\n", "a.csv"),
        write(tmp_path, HEADER + "x,5,1\n", "b.csv"),
    ]
    rows = read_rows(files, Format(), FIELDS)
    assert (ids(rows), rows.counts) == ([["1", "x"], [2, 5], [3, 1]], RowCounts(2))
    files.append(write(tmp_path, "item_id,user_id\n2,1\n", "c.csv"))
    with pytest.raises(DataError, match=r"c.csv: no column 'rating'; the columns are item_id, user_id"):
        read_rows(files, Format(), FIELDS)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "r.csv: the file is empty"),
        ("\n \n", "r.csv: the file is empty"),
        (HEADER, "r.csv: the file has no ratings"),
        (
            "user,item_id,rating\n1,2,3\n",
            "no column 'user_id'; the columns are user, item_id, rating; did you mean 'user'",
        ),
    ],
)
def test_no_rows(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        read(tmp_path, text)


def test_none_of_the_rows_can_be_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="none of the 2 rows can be read"):
        read(tmp_path, HEADER + "1,2\n3,4\n", bad_rows="drop")


def test_a_line_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "BLOCK", 1000)
    monkeypatch.setattr(lines, "LONGEST_LINE", 5000)
    with pytest.raises(DataError, match=r"r.csv, line 3: more than .* without a line end"):
        read(tmp_path, HEADER + "1,2,3\n" + "9" * 10_000)


def test_columns_by_position(tmp_path: Path) -> None:
    rows = read(tmp_path, "7,x,8\n9,y,8\n", {"2": AnyId(ITEM_ID), "0": AnyId(USER_ID)}, header=False)
    assert listed(rows.values[USER_ID]) == [7, 9]
    assert column_names(tmp_path / "r.csv", Format(header=False)) == ["0", "1", "2"]
    with pytest.raises(DataError, match="line 1: must have 2 columns, got 3"):
        column_names(tmp_path / "r.csv", Format(header=False, columns=("a", "b")))


def test_a_sample_leaves_bad_rows_out(tmp_path: Path) -> None:
    sample = sample_rows(write(tmp_path, "\n" + HEADER + "1,2\n1,2,x\n\n1,2,3\n"), Format())
    assert (sample.columns, sample.rows, sample.lines) == (
        [USER_ID, ITEM_ID, RATING],
        [["1", "2", "x"], ["1", "2", "3"]],
        [4, 6],
    )


FRAME = {USER_ID: [1.0, 2.0, None], ITEM_ID: ["a", "b", "c"], RATING: [3, 4, 5], "tags": [["x"], [], None]}


@pytest.mark.parametrize("kind", ["parquet", "feather", "stream", "parquet in zst"])
def test_typed_files(kind: str, tmp_path: Path) -> None:
    table = pa.table(FRAME)
    path = tmp_path / "r.data"
    if kind.startswith("parquet"):
        pd.DataFrame(FRAME).to_parquet(path)
    elif kind == "feather":
        feather.write_feather(table, path)
    else:
        with ipc.new_stream(path, table.schema) as stream:
            stream.write_table(table, max_chunksize=2)
    if kind == "parquet in zst":
        path.write_bytes(pa.compress(path.read_bytes(), "zstd", asbytes=True))
    form = Format("parquet" if kind.startswith("parquet") else "arrow")
    rows = read_rows(path, form, FIELDS)
    assert ids(rows) == [[1, 2], ["a", "b"], [3, 4]]
    assert rows.counts == RowCounts(3, dropped={"no user id": 1})
    sample = sample_rows(path, form, 2)
    assert [row[:3] for row in sample.rows] in (
        [["1", "a", "3"], ["2", "b", "4"]],
        [["1.0", "a", "3"], ["2.0", "b", "4"]],
    )
    assert sample.types[USER_ID] == "double"
    assert text_columns(path, form) == [USER_ID, ITEM_ID, RATING]


@pytest.mark.parametrize("batch", [10, 1000])
def test_row_groups_of_any_size(batch: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored, "BATCH", batch)
    frame = pd.DataFrame({USER_ID: range(300), ITEM_ID: 7, RATING: [1.0] * 299 + [float("inf")]})
    frame.to_parquet(tmp_path / "r.parquet", row_group_size=100)
    with pytest.raises(DataError, match="row 300: rating must be finite, got inf"):
        read_rows(tmp_path / "r.parquet", Format("parquet"), FIELDS)
    rows = read_rows(tmp_path / "r.parquet", Format("parquet"), FIELDS, bad_rows="drop")
    assert rows.counts == RowCounts(300, refused=1)
    assert listed(rows.values[USER_ID]) == list(range(299))


def test_no_arrow_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"r.csv: not a readable Arrow or Feather file"):
        read(tmp_path, HEADER + "1,2,3\n", kind="arrow")
