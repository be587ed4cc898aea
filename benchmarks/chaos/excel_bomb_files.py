"""Sheets that take far more memory or time than their size tells."""

from __future__ import annotations

import zipfile
from pathlib import Path

from benchmarks.chaos.data_bomb_files import MIB, bomb

TYPES = (
    '<?xml version="1.0"?><Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
    '<Default Extension="xml" ContentType="application/xml"/></Types>'
)
WORKBOOK = (
    '<?xml version="1.0"?><workbook xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main" '
    'xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships">'
    '<sheets><sheet name="s" sheetId="1" r:id="rId1"/></sheets></workbook>'
)
RELATIONS = (
    '<?xml version="1.0"?><Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
    '<Relationship Id="rId1" Target="worksheets/sheet1.xml" '
    'Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/worksheet"/></Relationships>'
)
ROOT = RELATIONS.replace("worksheets/sheet1.xml", "xl/workbook.xml").replace('/worksheet"', '/officeDocument"')
SHEET = (
    '<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main">{}'
    "<sheetData>{}</sheetData></worksheet>"
)
NAMES = (
    '<row r="1"><c r="A1" t="str"><v>user_id</v></c><c r="B1" t="str"><v>item_id</v></c>'
    '<c r="C1" t="str"><v>rating</v></c></row>'
)


def _book(folder: Path, sheet: str, strings: str | None = None, repeat: int = 1) -> list[str]:
    with zipfile.ZipFile(folder / "r.xlsx", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in (
            ("[Content_Types].xml", TYPES), ("_rels/.rels", ROOT), ("xl/workbook.xml", WORKBOOK),
            ("xl/_rels/workbook.xml.rels", RELATIONS), ("xl/worksheets/sheet1.xml", sheet),
        ):  # fmt: skip
            archive.writestr(name, text)
        if strings is not None:
            head, _, tail = strings.partition("…")
            with archive.open("xl/sharedStrings.xml", "w", force_zip64=True) as file:
                file.write(head.encode())
                for _ in range(repeat):
                    file.write(b"<si><t>" + b"u" * MIB + b"</t></si>")
                file.write(tail.encode())
    return [str(folder / "r.xlsx")]


@bomb("Excel: 1.5 GB of shared strings")
def _strings(folder: Path) -> list[str]:
    strings = '<sst xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main" count="9" uniqueCount="9">…</sst>'
    return _book(folder, SHEET.format("", NAMES), strings, 1500)


@bomb("Excel: claims 10^6 x 16,384 cells")
def _dimension(folder: Path) -> list[str]:
    rows = NAMES + "".join(f'<row r="{n}"><c r="A{n}"><v>1</v></c></row>' for n in range(2, 1000))
    return _book(folder, SHEET.format('<dimension ref="A1:XFD1048576"/>', rows))


@bomb("Excel: two cells, the first and the last")
def _far(folder: Path) -> list[str]:
    return _book(folder, SHEET.format("", NAMES + '<row r="1048576"><c r="XFD1048576"><v>1</v></c></row>'))


@bomb("Excel: a row and a column, each long")
def _cross(folder: Path) -> list[str]:
    row = f"<row>{'<c><v>1</v></c>' * 16_000}</row>"
    return _book(folder, SHEET.format("", row + "<row><c><v>1</v></c></row>" * 200_000))


@bomb("Excel: billion laughs and an external entity")
def _laughs(folder: Path) -> list[str]:
    entities = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 10))
    doctype = f'<!DOCTYPE s [<!ENTITY a0 "lol"><!ENTITY x SYSTEM "file:///etc/passwd">{entities}]>'
    row = NAMES + '<row r="2"><c t="str"><v>&a9;</v></c><c t="str"><v>&x;</v></c><c><v>1</v></c></row>'
    return _book(folder, doctype + SHEET.format("", row))


@bomb("OpenDocument: a row repeated 10^9 times")
def _repeated(folder: Path) -> list[str]:
    names = "".join(
        f'<table:table-cell office:value-type="string"><text:p>{name}</text:p></table:table-cell>'
        for name in ("user_id", "item_id", "rating")
    )
    content = (
        '<office:document-content xmlns:office="urn:oasis:names:tc:opendocument:xmlns:office:1.0" '
        'xmlns:table="urn:oasis:names:tc:opendocument:xmlns:table:1.0" '
        'xmlns:text="urn:oasis:names:tc:opendocument:xmlns:text:1.0"><office:body><office:spreadsheet>'
        f'<table:table table:name="s"><table:table-row>{names}</table:table-row>'
        '<table:table-row table:number-rows-repeated="1000000000">'
        '<table:table-cell table:number-columns-repeated="16000" office:value-type="float" office:value="1"/>'
        "</table:table-row></table:table></office:spreadsheet></office:body></office:document-content>"
    )
    with zipfile.ZipFile(folder / "r.ods", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet")
        archive.writestr("content.xml", content)
    return [str(folder / "r.ods")]
