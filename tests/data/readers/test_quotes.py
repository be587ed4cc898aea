"""Quotes that do not close take no row with them, and text over several lines is read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from recsys.data.columns import ITEM_ID, RATING, USER_ID
from recsys.data.errors import DataError
from recsys.data.readers import Format, csv, lines, read_texts
from recsys.data.readers.format import RowCounts
from tests.data.readers.reading import FIELDS, HEADER, listed, read, write

ROWS = "".join(f"{n},{n % 7},{1 + n % 5}\n" for n in range(100))
WITH_TEXT = "user_id,item_id,text,rating\n"


def two_stray_quotes() -> str:
    rows = ROWS.splitlines(keepends=True)
    rows[20], rows[60] = '"Bob,26,4\n', '"Eve,2,5\n'
    return HEADER + "".join(rows)


def test_two_stray_quotes_name_the_first_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"r.csv, line 22: a value begins with a quote .* data.quoting=false"):
        read(tmp_path, two_stray_quotes(), quoting=True)


def test_two_stray_quotes_cost_two_rows_or_none(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    dropped = read(tmp_path, two_stray_quotes(), quoting=True, bad_rows="drop")
    assert dropped.counts == RowCounts(100, refused=2)
    assert "r.csv, line 22: row dropped: a value begins with a quote" in caplog.text
    whole = read(tmp_path, two_stray_quotes())
    assert whole.counts == RowCounts(100)
    assert listed(whole.values[USER_ID])[20] == '"Bob'


@pytest.mark.parametrize("size", [64, 1000, 1 << 20])
def test_text_over_several_lines(size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "BLOCK", size)
    rows = [f'{n},{n % 7},"fine, but\n\nvery ""long""{" x" * (n % 40)}\n",{1 + n % 5}\n' for n in range(100)]
    found = read(tmp_path, WITH_TEXT + "".join(rows), quoting=True)
    assert found.counts == RowCounts(100)
    assert listed(found.values[RATING]) == [1 + n % 5 for n in range(100)]
    texts = read_texts(write(tmp_path, WITH_TEXT + "".join(rows)), Format(quoting=True), ["text"])["text"]
    assert texts[1] == 'fine, but\n\nvery "long" x\n'


@pytest.mark.parametrize("size", [64, 1 << 20])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_stray_quote_in_a_column_that_is_not_read(
    size: int, end: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "BLOCK", size)
    rows = [f"{n},{n % 7},text,{1 + n % 5}\n" for n in range(100)]
    rows[30] = '30,2,"5 inches,1\n'
    rows[70] = '70,0,"6 inches",1\n'
    text = (WITH_TEXT + "".join(rows)).replace("\n", end)
    with pytest.raises(DataError, match=r"line 32: a value begins with a quote .* before the next row"):
        read(tmp_path, text, quoting=True)
    assert read(tmp_path, text, quoting=True, bad_rows="drop").counts == RowCounts(100, refused=1)


def test_a_text_first_that_ends_on_the_line_of_the_other_columns(tmp_path: Path) -> None:
    text = 'text,user_id,item_id,rating\n"a\nb",1,2,3\nc,4,5,1\n'
    found = read(tmp_path, text, quoting=True)
    assert (found.counts.total, listed(found.values[USER_ID])) == (2, [1, 4])


@pytest.mark.parametrize(
    "row",
    ['"1",2,3', '1,"2" ,3', '1,2,"3"'],
)
def test_quotes_that_close(row: str, tmp_path: Path) -> None:
    found = read(tmp_path, HEADER + "4,5,1\n" + row + "\n", quoting=True)
    assert [listed(found.values[name])[1] for name in FIELDS] == [1, 2, 3]


def test_quotes_within_values_are_ordinary_characters(tmp_path: Path) -> None:
    found = read(tmp_path, HEADER + '5" nail,12" pipe,3\nsay "hi",b,4\n"",c,5\n', quoting=True)
    assert listed(found.values[USER_ID]) == ['5" nail', 'say "hi"']
    assert listed(found.values[ITEM_ID]) == ['12" pipe', "b"]
    assert found.counts == RowCounts(3, dropped={"no user id": 1})


def test_a_quote_open_at_the_end(tmp_path: Path) -> None:
    text = WITH_TEXT + '1,2,a,3\n4,5,"b,1\n'
    with pytest.raises(DataError, match=r"line 3: a value begins with a quote .* to the end of the file"):
        read(tmp_path, text, quoting=True)
    assert read(tmp_path, text, quoting=True, bad_rows="drop").counts == RowCounts(2, refused=1)


def test_a_record_of_several_lines_that_is_no_row_costs_its_first_line(tmp_path: Path) -> None:
    text = 'user_id item_id rating text\n1 2 3 "a b"\n2 2 4 "c\n3 2 5 "d e"\n4 2 1 "f g"\n'
    rows = read(tmp_path, text, separator=" ", quoting=True, bad_rows="drop")
    assert rows.counts == RowCounts(4, refused=1)
    assert listed(rows.values[USER_ID]) == [1, 3, 4]


def test_a_bad_first_row_does_not_set_the_number_of_columns(tmp_path: Path) -> None:
    fields = {str(place): field for place, field in enumerate(FIELDS.values())}
    for first in ("1,2", "1,2,3,4", '1,2,"3'):
        with pytest.raises(DataError, match="line 1: "):
            read(tmp_path, first + "\n2,3,4\n5,6,7\n", fields, header=False, quoting=True)
        rows = read(tmp_path, first + "\n2,3,4\n5,6,7\n", fields, header=False, quoting=True, bad_rows="drop")
        assert rows.counts == RowCounts(3, refused=1)


@pytest.mark.parametrize("size", [50, 1 << 20])
@pytest.mark.parametrize("seed", range(6))
def test_texts_by_arrow_and_line_by_line_give_the_same(
    seed: int, size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = np.random.default_rng(seed)
    monkeypatch.setattr(lines, "BLOCK", size)
    pieces = ["a", "b, c", '""', "\n", "\n\n", " \n", "1,2,3,4", "x,y,z\n", "\r\n", '"']
    rows = [
        f'{n},{n % 5},{1 + n % 5},"{"".join(random.choice(pieces, 3, p=[0.1] * 8 + [0.15, 0.05]))}"\n'
        for n in range(60)
    ]
    content = "user_id,item_id,rating,text\n" + "".join(rows)
    quick = read(tmp_path, content, quoting=True, bad_rows="drop")
    monkeypatch.setattr(csv._Reader, "with_texts", lambda *_: None)
    slow = read(tmp_path, content, quoting=True, bad_rows="drop")
    assert quick.counts == slow.counts
    for name in FIELDS:
        assert listed(quick.values[name]) == listed(slow.values[name])


def test_a_quote_open_at_the_end_beside_a_stray_one(tmp_path: Path) -> None:
    text = WITH_TEXT.replace("text,rating", "rating,text") + '1,2,3,5" nail\n4,5,1,"open\nto the end\n'
    with pytest.raises(DataError, match=r"line 3: a value begins with a quote"):
        read(tmp_path, text, quoting=True)


def test_a_bad_value_after_texts_names_its_line(tmp_path: Path) -> None:
    text = "user_id,item_id,rating,text\n" + '1,2,3,"a\n\nb"\n4,5,x,"c\nd"\n'
    with pytest.raises(DataError, match=r"line 5: rating must be a number, got 'x'"):
        read(tmp_path, text, quoting=True)


def test_quotes_after_a_backslash_are_part_of_the_value(tmp_path: Path) -> None:
    text = HEADER + '1,"a \\"b\\", c",3\n2,"\\\\",4\n"3\\\\n","\\N",5\n'
    rows = read(tmp_path, text, quoting=True, backslash=True)
    assert listed(rows.values[ITEM_ID]) == ['a "b", c', "\\", "\\N"]
    assert rows.counts.total == 3
