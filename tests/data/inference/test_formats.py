from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import feather, parquet

from recsys.data.errors import DataError, UndecidedError
from recsys.data.inference.formats import infer_format
from recsys.data.readers.format import Format, SourceFile
from tests.data.readers.test_excel import sheet

ROWS = [f"{n // 5},{n % 7 + 100},{(n % 9 + 2) / 2},{1128816302 + n}" for n in range(40)]


def inferred(folder: Path, content: str | bytes, name: str = "ratings.csv", **given: Any) -> Format:
    file = folder / name
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return infer_format([SourceFile(file)], given)[0]


def lines(*rows: str, end: str = "\n") -> str:
    return "".join(row + end for row in rows)


@pytest.mark.parametrize("separator", [",", "\t", ";", "|", "::", "||", " ", "   ", "\x01"])
@pytest.mark.parametrize("header", [True, False])
def test_separator_and_header(tmp_path: Path, separator: str, header: bool) -> None:
    rows = (["user,item,rating,timestamp"] if header else []) + ROWS
    found = inferred(tmp_path, lines(*(row.replace(",", separator) for row in rows)))
    assert (found.separator, found.header) == (separator if separator.strip(" ") else " ", header)
    assert (found.layout, found.decimal, found.encoding) == ("long", ".", "utf-8")


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_blank_lines_at_the_beginning(tmp_path: Path, end: str) -> None:
    assert inferred(tmp_path, lines("", "user_id,item_id,rating,timestamp", *ROWS, end=end)).header
    assert not inferred(tmp_path, lines("", *ROWS, end=end)).header


def test_five_rows_are_enough(tmp_path: Path) -> None:
    found = inferred(tmp_path, "u,i,r\n1,10,3\n1,11,4\n2,10,5\n2,12,1\n3,11,2\n")
    assert (found.separator, found.header) == (",", True)
    assert not inferred(tmp_path, "1,10,3\n1,11,4\n2,10,5\n2,12,1\n3,11,2\n").header


def test_names_with_blanks_are_one_column(tmp_path: Path) -> None:
    rows = [f"Ann Smith {n // 5},Film {n % 7},{n % 5 + 1}" for n in range(30)]
    found = inferred(tmp_path, lines("Name,Movie,Stars", *rows))
    assert (found.separator, found.header) == (",", True)
    assert inferred(tmp_path, lines(*rows)).separator == ","


def test_rows_with_numbers_of_their_own_as_r_writes_them(tmp_path: Path) -> None:
    rows = [f'"{n}" {n // 5} {n % 7} {n % 5 + 1}' for n in range(30)]
    found = inferred(tmp_path, lines('"user" "item" "rating"', *rows))
    assert (found.separator, found.header, found.columns) == (" ", True, ("row", "user", "item", "rating"))


def test_a_date_with_blanks_is_one_column(tmp_path: Path) -> None:
    found = inferred(tmp_path, lines(*(f"{row[:-11]},2005-10-09 02:05:{n:02}" for n, row in enumerate(ROWS))))
    assert found.separator == ","


def test_texts_with_a_separator_are_quoted(tmp_path: Path) -> None:
    found = inferred(tmp_path, lines(*(f'{n // 5},"Game, The {n % 7}",{n % 5 + 1}' for n in range(30))))
    assert (found.separator, found.quoting, found.header) == (",", True, False)


def test_stray_quotes_leave_quoting_on_so_that_the_reader_refuses(tmp_path: Path) -> None:
    rows = [*ROWS[:20], '"Bob,1,2,1128816302', *ROWS[20:], '"Eve,1,2,1128816302', *ROWS]
    found = inferred(tmp_path, lines("user,item,rating,time", *rows))
    assert (found.separator, found.quoting, found.header) == (",", True, True)


def test_decimal_comma(tmp_path: Path) -> None:
    rows = [row.replace(",", ";").replace(".", ",") for row in ROWS]
    found = inferred(tmp_path, lines("user;item;rating;time", *rows))
    assert (found.separator, found.decimal) == (";", ",")
    assert inferred(tmp_path, lines(*rows)).decimal == ","
    assert not inferred(tmp_path, lines(*rows)).header
    assert inferred(tmp_path, lines(*(f'{n // 5},{n % 7},"{n % 5 + 1},5"' for n in range(30)))).decimal == ","


@pytest.mark.parametrize(
    ("encoding", "expected"),
    [("utf-8", "utf-8"), ("utf-8-sig", "utf-8"), ("latin-1", "latin-1"), ("cp1252", "cp1252"), ("utf-16", "utf-16"),
     ("utf-16-le", "utf-16-le"), ("utf-16-be", "utf-16-be")],
)  # fmt: skip
def test_encoding(tmp_path: Path, encoding: str, expected: str) -> None:
    text = "Café" + ("€" if encoding != "latin-1" else "")
    content = lines("user,item,rating", *(f"{text} {n // 5},{n % 7},{n % 5 + 1}" for n in range(30)))
    found = inferred(tmp_path, content.encode(encoding))
    assert (found.encoding, found.separator, found.header) == (expected, ",", True)


@pytest.mark.parametrize("encoding", ["cp1251", "gb18030"])
def test_an_encoding_that_cannot_be_told_is_asked_for(tmp_path: Path, encoding: str) -> None:
    words = {"cp1251": "фильм", "gb18030": "电影电影"}[encoding]
    content = lines(f"user,item,{words}", *(f"{words} {n // 5},{n % 7},{n % 5 + 1}" for n in range(30)))
    with pytest.raises(UndecidedError, match=r"data\.encoding"):
        inferred(tmp_path, content.encode(encoding))
    assert inferred(tmp_path, content.encode(encoding), encoding=encoding).header


def test_bytes_beyond_the_first_that_are_no_utf8(tmp_path: Path) -> None:
    content = lines("user,item,rating", *ROWS * 2000).encode() + "Café,1,2\n".encode("latin-1")
    assert len(content) > 1 << 20
    assert inferred(tmp_path, content).encoding == "latin-1"


def test_a_character_cut_at_the_end_of_the_first_bytes(tmp_path: Path) -> None:
    content = "é" * ((1 << 20) // 2)
    assert inferred(tmp_path, f"user,item,rating\nx{content},1,2\n1,2,3\n").encoding == "utf-8"


def test_kinds_by_content(tmp_path: Path) -> None:
    table = pa.table({"user": [1], "item": [2]})
    parquet.write_table(table, tmp_path / "a")
    feather.write_feather(table, tmp_path / "b")
    assert infer_format([SourceFile(tmp_path / "a")], {})[0].kind == "parquet"
    assert infer_format([SourceFile(tmp_path / "b")], {})[0].kind == "arrow"
    assert inferred(tmp_path, '{"user": 1, "item": 2}\n', "log.txt").kind == "jsonl"
    assert inferred(tmp_path, '{"user": 1, "item": 2}\n', "log.json").kind == "jsonl"
    assert inferred(tmp_path, '[\n  {"user": 1, "item": 2}\n]\n', "log.json").kind == "jsonl"
    assert inferred(tmp_path, gzip.compress(lines(*ROWS).encode()), "r.csv.gz").kind == "csv"


def test_a_sheet_with_and_without_names(tmp_path: Path) -> None:
    pytest.importorskip("python_calamine", reason="of the extra excel")
    cells = [[float(value) for value in row.split(",")] for row in ROWS]
    named = sheet(tmp_path / "named.xlsx", [["user", "item", "rating", "time"], *cells])
    assert infer_format([named], {})[0].header
    assert not infer_format([sheet(tmp_path / "bare.xlsx", cells)], {})[0].header


def test_layout_of_blocks(tmp_path: Path) -> None:
    found = inferred(tmp_path, "1:\n10,3,2005-01-01\n11,4,2005-01-02\n2:\n10,3,2005-01-01\n")
    assert (found.layout, found.separator, found.header) == ("blocks", ",", False)


def matrix(code: str, separator: str = "\t", *, count: bool = True) -> list[str]:
    cells = [[f"{(user * item) % 41 / 2 - 10:.2f}" if (user + item) % 3 else code for item in range(30)]
             for user in range(20)]  # fmt: skip
    counts = [[str(sum(cell != code for cell in row))] * count for row in cells]
    return [separator.join([*first, *row]) for first, row in zip(counts, cells, strict=True)]


@pytest.mark.parametrize("code", ["99", "", "NA"])
def test_layout_of_a_matrix_with_counts(tmp_path: Path, code: str) -> None:
    found = inferred(tmp_path, lines(*matrix(code)))
    assert (found.layout, found.header, found.ignored_columns) == ("matrix", False, ("0",))


@pytest.mark.parametrize("names", [[f"Item {n}" for n in range(30)], [str(n) for n in range(30)]])
def test_layout_of_a_matrix_with_names(tmp_path: Path, names: list[str]) -> None:
    rows = [f"user {n},{row}" for n, row in enumerate(matrix("", ",", count=False))]
    found = inferred(tmp_path, lines(",".join(["user", *names]), *rows))
    assert (found.layout, found.header, found.ignored_columns) == ("matrix", True, ())


def test_many_columns_with_known_names_are_no_matrix(tmp_path: Path) -> None:
    names = "user_id,item_id,rating,timestamp,a,b,c,d,e,f,g"
    assert inferred(tmp_path, lines(names, *(f"{n},{n % 3},1,2,0,0,0,0,0,0,0" for n in range(20)))).layout == "long"


def test_what_is_given_is_kept(tmp_path: Path) -> None:
    given = {"separator": ";", "header": False, "quoting": False, "encoding": "cp1252", "columns": ["a", "b"]}
    found = inferred(tmp_path, "a;b\n1;2\n", **given)
    assert found == Format(separator=";", header=False, quoting=False, encoding="cp1252", columns=("a", "b"))


def test_names_that_are_given_beside_a_header(tmp_path: Path) -> None:
    assert inferred(tmp_path, lines("u,i,r,t", *ROWS), columns=["user", "item", "rating", "time"]).header
    assert not inferred(tmp_path, lines(*ROWS), columns=["user", "item", "rating", "time"]).header


def test_names_above_texts_alone(tmp_path: Path) -> None:
    rows = [f"u{n // 5},i{n % 7}" for n in range(30)]
    assert inferred(tmp_path, lines("user,item", *rows)).header
    assert not inferred(tmp_path, lines(*rows)).header


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", "is empty"),
        ("\n\n", "is empty"),
        ("one\ntwo\n", r"no separator .* data\.separator"),
        ("%PDF-1.4\n", "not a file of rows"),
    ],
)
def test_files_that_cannot_be_read_say_why(tmp_path: Path, content: str, expected: str) -> None:
    with pytest.raises(DataError, match=expected):
        inferred(tmp_path, content)


def test_an_unknown_encoding_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="encoding must be the name of an encoding"):
        inferred(tmp_path, "1,2\n", encoding="klingon")


@pytest.mark.parametrize("mark", ["#", "%"])
@pytest.mark.parametrize("separator", [" ", "\t", ","])
def test_comments_above_rows_are_no_rows(tmp_path: Path, mark: str, separator: str) -> None:
    rows = [row.replace(",", separator) for row in ROWS]
    found = inferred(tmp_path, lines(f"{mark} Ratings of 2005: all of them", f"{mark} 40 8 7", *rows))
    assert (found.comments, found.separator, found.header, found.columns) == (True, separator, False, None)
    named = separator.join(("user", "item", "rating", "time"))
    assert inferred(tmp_path, lines(f"{mark} Ratings", named, *rows)).header
    found = inferred(tmp_path, lines(f"{mark} Ratings", f"{mark} {named}", *rows))
    assert (found.comments, found.header, found.columns) == (True, False, ("user", "item", "rating", "time"))


def test_a_header_that_begins_with_a_number_sign(tmp_path: Path) -> None:
    found = inferred(tmp_path, lines("#user_id,item_id,rating,timestamp", *ROWS))
    assert (found.header, found.columns) == (False, ("user_id", "item_id", "rating", "timestamp"))
    found = inferred(tmp_path, lines("#user_id,item_id,rating,timestamp", *ROWS), header=True)
    assert (found.header, found.columns, found.comments) == (True, None, False)


def test_ids_that_begin_with_a_number_sign_are_rows(tmp_path: Path) -> None:
    assert not inferred(tmp_path, lines(*("#" * (n < 2) + row for n, row in enumerate(ROWS)))).comments
    assert not inferred(tmp_path, lines(*("#" + row for row in ROWS))).comments
    assert not inferred(tmp_path, lines("#cats,Ann", "#dogs,Bob", "birds,Ann", "birds,Bob")).comments


def test_a_first_line_of_excel_names_the_separator(tmp_path: Path) -> None:
    rows = [row.replace(",", ";") for row in ROWS]
    found = inferred(tmp_path, lines("sep=;", "user;item;rating;time", *rows, end="\r\n"))
    assert (found.separator, found.header, found.comments) == (";", True, True)


def test_quotes_after_a_backslash(tmp_path: Path) -> None:
    rows = [f'"{n // 5}";"He said \\"hi; {n % 7}\\"";"{n % 5 + 1}"' for n in range(30)]
    found = inferred(tmp_path, lines('"user";"title";"rating"', *rows))
    assert (found.separator, found.quoting, found.backslash, found.header) == (";", True, True, True)
    late = [f'"{n}";"A title";"{n % 5 + 1}"' for n in range(90_000)]
    assert inferred(tmp_path, lines('"user";"title";"rating"', *late, *rows)).backslash
    assert not inferred(tmp_path, lines('"user";"title";"rating"', *late)).backslash
    paths = [f'"{n // 5}","C:\\films\\","{n % 5 + 1}"' for n in range(30)]
    assert not inferred(tmp_path, lines("user,title,rating", *paths)).backslash
    assert not inferred(
        tmp_path, lines("user,title,rating", *(f'{n // 5},5\\" disc,{n % 5 + 1}' for n in range(30)))
    ).backslash
