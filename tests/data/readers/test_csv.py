from __future__ import annotations

import gzip
from pathlib import Path

import pandas as pd
import pytest

from recsys.data.columns import USER_ID
from recsys.data.sources import DataError, TabularRatings
from tests.data.conftest import HEADER, read_csv
from tests.data.readers.reading import listed, read


def test_forms_of_csv(tmp_path: Path) -> None:
    plain = read_csv(tmp_path, HEADER + "1,2,3\n4,5,1\n").ratings
    quoted = read_csv(tmp_path, 'user_id,"item_id",rating,text\n1,"2",3,"a ""b"", c\nd"\n4,5,1,\n').ratings
    windows = read_csv(tmp_path, "\ufeffuser_id,item_id,rating\r\n1,2,3\r\n4,5,1\r\n").ratings
    blank = read_csv(tmp_path, HEADER + "1,2,3\n\n4,5,1").ratings
    with gzip.open(tmp_path / "z.csv.gz", "wt") as file:
        file.write(HEADER + "1,2,3\n4,5,1\n")
    packed = TabularRatings(str(tmp_path), "z.csv.gz").read()
    assert packed.name == "z"
    for other in (quoted, windows, blank, packed.ratings):
        pd.testing.assert_frame_equal(plain, other)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "r.csv: the file is empty"),
        (HEADER, "r.csv: .*no rows"),
        ("user,item_id,rating\n1,2,3\n", "no column 'user_id'; the columns are user, item_id, rating"),
        ("user_id,item_id,rating,rating\n1,2,3,3\n", "more than one column 'rating'"),
        (HEADER + "1,2,3\n1,3\n", "line 3: must have 3 columns, got 2"),
        (HEADER + "1,2,3\n1,3,4,5\n", "line 3: must have 3 columns, got 4"),
        (HEADER + "1,2,3\n1,3,x\n", "line 3: rating must be a number, got 'x'"),
        (HEADER + "1,2,3\n1,3,-inf\n", "line 3: rating must be finite, got -inf"),
        ((HEADER + "1,2,3\nJos\u00e9,3,4\n").encode("latin-1"), "line 3: must be UTF-8, got byte 0xe9"),
        (
            'user_id,item_id,rating,t\n1,2,3,"two\nlines"\n1,3,x,\n',
            "line 4: rating must be a number, got 'x'",
        ),
    ],
)
def test_broken_csv(text: str | bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        read_csv(tmp_path, text)


@pytest.mark.parametrize("damage", ["truncated", "plain", "flipped"])
def test_broken_gzip(damage: str, tmp_path: Path) -> None:
    whole = gzip.compress((HEADER + "".join(f"{n},{n * n % 9973},3\n" for n in range(20_000))).encode())
    middle = len(whole) // 2
    flipped = whole[:middle] + bytes(50) + whole[middle + 50 :]
    contents = {"truncated": whole[:middle], "plain": b"user_id\n", "flipped": flipped}[damage]
    (tmp_path / "r.csv.gz").write_bytes(contents)
    with pytest.raises(DataError, match=r"r.csv.gz"):
        TabularRatings(str(tmp_path), "r.csv.gz").read()


def test_a_quote_that_does_not_end(tmp_path: Path) -> None:
    rows = "".join(f"{n},{n},3\n" for n in range(50_000))
    with pytest.raises(DataError, match=r"r.csv, line 3: "):
        read_csv(tmp_path, HEADER + '1,2,3\n2,"3,4\n' + rows)


@pytest.mark.parametrize("first", ["# one, two\n\n% three\n", "sep=,\n"])
def test_comments_above_the_rows_are_counted_apart(tmp_path: Path, first: str) -> None:
    rows = read(tmp_path, first + HEADER + "1,2,3\n#2,2,3\n", comments=True)
    assert rows.counts.total == 2
    assert listed(rows.values[USER_ID]) == ["1", "#2"]
    with pytest.raises(DataError, match=f"line {first.count(chr(10)) + 3}: "):
        read(tmp_path, first + HEADER + "1,2,3\n2,2,many\n", comments=True)
    with pytest.raises(DataError, match="the file is empty"):
        read(tmp_path, first, comments=True)
