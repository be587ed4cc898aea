from __future__ import annotations

import sys
import zipfile
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import pytest

from recsys.data.columns import ITEM_ID, RATING, USER_ID
from recsys.data.errors import DataError
from recsys.data.readers import Format, SourceFile, expand, read_rows, read_texts, sample_rows
from recsys.data.readers.format import RowCounts
from tests.data.readers.reading import FIELDS, listed

TYPE = "http://schemas.openxmlformats.org/"
ROWS = [[], [USER_ID, ITEM_ID, RATING, "note"], [1, "a", 3.5, True], [2.0, "b & c", None, "x"], [3, "c", 5, "1,5"]]


def sheet(path: Path, rows: list[list[Any]], name: str = "Ratings") -> SourceFile:
    """A workbook with one sheet, as small as Excel takes it."""
    cells = [
        f'<row r="{r}">' + "".join(_cell(f"{chr(65 + c)}{r}", value) for c, value in enumerate(row)) + "</row>"
        for r, row in enumerate(rows, start=1)
    ]
    parts = {
        "[Content_Types].xml": f'<Types xmlns="{TYPE}package/2006/content-types"><Default Extension="xml" ContentType='
        '"application/xml"/><Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships'
        '+xml"/></Types>',
        "_rels/.rels": _relation("officeDocument", "xl/workbook.xml"),
        "xl/workbook.xml": f'<workbook xmlns="{TYPE}spreadsheetml/2006/main" xmlns:r="{TYPE}officeDocument/2006/'
        f'relationships"><sheets><sheet name="{name}" sheetId="1" r:id="r1"/></sheets></workbook>',
        "xl/_rels/workbook.xml.rels": _relation("worksheet", "worksheets/sheet1.xml"),
        "xl/worksheets/sheet1.xml": f'<worksheet xmlns="{TYPE}spreadsheetml/2006/main"><sheetData>{"".join(cells)}'
        "</sheetData></worksheet>",
    }
    with zipfile.ZipFile(path, "w") as archive:
        for part, content in parts.items():
            archive.writestr(part, '<?xml version="1.0"?>' + content)
    return SourceFile(path)


def _relation(kind: str, target: str) -> str:
    return (
        f'<Relationships xmlns="{TYPE}package/2006/relationships"><Relationship Id="r1" Target="{target}" '
        f'Type="{TYPE}officeDocument/2006/relationships/{kind}"/></Relationships>'
    )


def _cell(place: str, value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return f'<c r="{place}" t="b"><v>{int(value)}</v></c>'
    if isinstance(value, str):
        return f'<c r="{place}" t="inlineStr"><is><t>{escape(value)}</t></is></c>'
    return f'<c r="{place}"><v>{value}</v></c>'


def test_a_sheet(tmp_path: Path) -> None:
    (file,) = expand(tmp_path, sheet(tmp_path / "r.xlsx", ROWS).path.name)
    rows = read_rows([file], Format("excel"), FIELDS)
    assert rows.counts == RowCounts(3)
    assert listed(rows.values[USER_ID]) == [1, 2, 3]
    assert listed(rows.values[ITEM_ID]) == ["a", "b & c", "c"]
    assert listed(rows.values[RATING]) == [3.5, None, 5]
    assert read_texts(file, Format("excel", sheet="Ratings"), ["note"])["note"] == ["true", "x", "1,5"]
    sample = sample_rows(file, Format("excel"), 2)
    assert (sample.columns, sample.lines) == ([USER_ID, ITEM_ID, RATING, "note"], [3, 4])


def test_bad_sheets(tmp_path: Path) -> None:
    file = sheet(tmp_path / "r.xlsx", [*ROWS, [4, "d", "good", ""]])
    with pytest.raises(DataError, match=r"r.xlsx, row 6: rating must be a number, got 'good'"):
        read_rows([file], Format("excel"), FIELDS)
    with pytest.raises(DataError, match=r"no sheet 'Rating'; the sheets are Ratings"):
        read_rows([file], Format("excel", sheet="Rating"), FIELDS)
    with pytest.raises(DataError, match=r"r.xlsx: the sheet is empty"):
        read_rows([sheet(tmp_path / "r.xlsx", [])], Format("excel"), FIELDS)
    (tmp_path / "r.xlsx").write_text("user_id\n")
    with pytest.raises(DataError, match=r"r.xlsx: not a readable Excel file"):
        read_rows([file], Format("excel"), FIELDS)


def test_without_the_extra_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "python_calamine", None)
    with pytest.raises(DataError, match=r"r.xlsx: Excel files need the extra `excel`: pip install"):
        sample_rows(sheet(tmp_path / "r.xlsx", ROWS), Format("excel"))
