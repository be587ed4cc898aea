"""Infer how a file is written: kind, encoding, separator, quoting, decimal sign, header and layout."""

from __future__ import annotations

import codecs
import csv
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice, takewhile
from typing import Any

from recsys.data.errors import DataError
from recsys.data.inference.comments import infer_comments
from recsys.data.inference.encodings import WHOLE, infer_encoding, read_bytes
from recsys.data.inference.finding import Finding
from recsys.data.inference.first_rows import infer_from_rows
from recsys.data.inference.texts import COMMA_NUMBER, is_missing, is_number, is_time
from recsys.data.readers import sample_rows
from recsys.data.readers.format import Format, SourceFile
from recsys.data.readers.limits import MOST_COLUMNS, check_columns
from recsys.data.readers.lines import COMMENT, double_quotes
from recsys.data.readers.streams import open_bytes

HEAD = 1 << 20  # bytes looked at
ESCAPED_LINES = 100  # lines with a quote after a backslash that are looked at
LINES = 1000  # lines looked at
END_OF_LINE = re.compile(rb"[\r\n]")
MAGIC = ((b"PAR1", "parquet"), (b"ARROW1", "arrow"), (b"FEA1", "arrow"), (b"\xff\xff\xff\xff", "arrow"),
         (b"\xd0\xcf\x11\xe0", "excel"), (b"PK\x03\x04", "excel"))  # fmt: skip
SUFFIXES = {
    "parquet": "parquet", "pq": "parquet", "arrow": "arrow", "feather": "arrow", "ipc": "arrow", "xlsx": "excel",
    "xls": "excel", "xlsm": "excel", "xlsb": "excel", "ods": "excel", "jsonl": "jsonl", "ndjson": "jsonl",
}  # fmt: skip
SEPARATORS = ("\t", ",", ";", "|", "::", "||", "\x01", "~", "^", " ")  # the earlier, if several split as well
NAMES = {"\t": "tab", ",": "comma", ";": "semicolon", "|": "pipe", " ": "a run of blanks"}
CLEAN = 0.9  # of the plausibility of values between blanks, which texts have too
COMPRESSED = re.compile(r"\.(gz|zst|bz2|xz|zip)$", re.IGNORECASE)


def infer_format(files: Sequence[SourceFile], given: Mapping[str, Any]) -> tuple[Format, list[Finding]]:
    """Infer how files are written, from the first that is not empty.

    Args:
        files: At least one; all of them are written alike.
        given: Fields of `Format` that are known already, by name.

    Raises:
        DataError: The files are empty, or are written in no known way.
    """
    file, head, complete = _first_bytes(files)
    kind, why = (given["kind"], "") if "kind" in given else _kind(file, head)
    result = replace(Format(), **_given(given), kind=kind)
    findings = [Finding("kind", kind, why)] if why and kind != "csv" else []
    if kind in ("parquet", "arrow"):
        return result, findings
    if kind == "excel":
        sheet = sample_rows(file, replace(result, header=False, columns=None), LINES)
        result, found = infer_from_rows(sheet.rows, result, given)
        return result, findings + found
    if "encoding" not in given:
        encoding, why = infer_encoding(file, head, complete)
        result = replace(result, encoding=encoding)
        findings += [Finding("encoding", encoding, why)] if encoding != "utf-8" else []
    lines = _lines(_decode(file, head, result.encoding), complete)
    if not lines:
        raise DataError(f"{file}: the file has no rows")
    if kind == "jsonl":
        return result, findings
    if given.keys().isdisjoint(("quoting", "backslash")) and b'"' in head:
        result, found = _infer_backslash(file, head, complete, lines, result)
        findings += found
    if result.backslash:
        lines = [double_quotes(line.encode("utf-8", "surrogateescape")).decode("utf-8", "replace") for line in lines]
    return _infer_text(file, lines, result, findings, given)


def _given(given: Mapping[str, Any]) -> dict[str, Any]:
    tuples = {name: tuple(map(str, given[name])) for name in ("columns", "ignored_columns") if given.get(name)}
    plain = ("separator", "quoting", "backslash", "encoding", "decimal", "header", "layout", "sheet")
    return {name: given[name] for name in plain if name in given} | tuples


def _first_bytes(files: Sequence[SourceFile]) -> tuple[SourceFile, bytes, bool]:
    """A file with content, its first bytes up to a line end, and whether these are all."""
    for file in files:
        with open_bytes(file) as stream:
            head = read_bytes(stream, HEAD)
            rest = stream.read(1)
        if head.strip(b"\r\n\t \0"):
            return file, head, not rest
    raise DataError(f"{files[0]}: the file is empty")


def _kind(file: SourceFile, head: bytes) -> tuple[str, str]:
    for magic, kind in MAGIC:
        if head.startswith(magic):
            return (
                kind,
                f"the file begins with {magic.decode('latin-1').strip()!r}" if magic.isalnum() else "its first bytes",
            )
    name = COMPRESSED.sub("", file.member or file.path.name)
    by_name = SUFFIXES.get(name.rpartition(".")[2].lower())
    if by_name == "jsonl":
        return by_name, "the name of the file"
    if by_name is not None:
        raise DataError(f"{file}: not a readable {by_name} file: it does not begin as one")
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if re.match(rb"\[\s*\{", text):
        return "jsonl", "it is a list of JSON objects"
    if text.startswith(b"{") and _is_object(text.split(b"\n", 1)[0]):
        return "jsonl", "the first line is a JSON object"
    if text.startswith(b"SQLite format"):
        raise DataError(f"{file}: a database; read it with data=sql data.url=sqlite:///{file} data.query='select …'")
    if text.startswith((b"\x89HDF", b"%PDF")):
        raise DataError(f"{file}: not a file of rows; export the ratings as CSV or Parquet")
    return "csv", ""


def _is_object(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _decode(file: SourceFile, head: bytes, encoding: str) -> str:
    try:
        return codecs.getincrementaldecoder(encoding)("replace").decode(head).removeprefix("\ufeff")
    except LookupError as error:
        raise DataError(
            f"encoding must be the name of an encoding, such as utf-8 or cp1252, got {encoding!r}"
        ) from error


def _lines(text: str, complete: bool) -> list[str]:
    """The first lines that are not blank; one that may be cut is left out."""
    lines = re.split(r"\r\n|\n|\r", text)
    if not complete and len(lines) > 1:
        lines.pop()
    return [line for line in lines if line.strip()][:LINES]


def _infer_backslash(
    file: SourceFile, head: bytes, complete: bool, lines: list[str], form: Format
) -> tuple[Format, list[Finding]]:
    """Tell whether quotes within quoted values follow a backslash: only so have all lines with such as many columns."""
    if not complete:
        with open_bytes(file) as stream:
            head = read_bytes(stream, WHOLE)
    texts = [line.decode(form.encoding, "replace") for line in islice(_lines_with(b'\\"', head), ESCAPED_LINES)]
    doubled = [double_quotes(line.encode()).decode() for line in texts]
    usual = [double_quotes(line.encode("utf-8", "replace")).decode() for line in lines]
    for separator in SEPARATORS if texts else ():
        if len(separator) > 1 or separator == " " or not _quoted(doubled, separator) or _quoted(texts, separator):
            continue
        width = Counter(map(len, split(usual, separator, quoting=True))).most_common(1)[0][0]
        if width > 1 and {len(row) for row in split(doubled, separator, quoting=True)} == {width}:
            return replace(form, backslash=True), [Finding("quoting", "backslash", f"values such as {texts[0][:80]}")]
    return form, []


def _lines_with(part: bytes, content: bytes) -> Iterator[bytes]:
    """The lines that hold it; by searching, since a regular expression looks at each line again and again."""
    found = content.find(part)
    while found >= 0:
        start = content.rfind(b"\n", 0, found) + 1
        start = max(start, content.rfind(b"\r", start, found) + 1)
        end = END_OF_LINE.search(content, found)
        stop = end.start() if end else len(content)
        yield content[start:stop]
        found = content.find(part, stop)


def _infer_text(
    file: SourceFile, lines: list[str], result: Format, findings: list[Finding], given: Mapping[str, Any]
) -> tuple[Format, list[Finding]]:
    blocks = result.layout == "blocks" or ("layout" not in given and _has_blocks(lines))
    if blocks:
        lines = [line for line in lines if not BLOCK.fullmatch(line)]
        result = replace(result, layout="blocks", header=False if "header" not in given else result.header)
        if "layout" not in given:
            findings.append(Finding("layout", "blocks", "lines such as '1:' stand above the rows of an item"))
    marked = len(list(takewhile(COMMENT.fullmatch, lines)))
    rows_alone = lines[marked:] or lines
    if "separator" not in given:
        named = re.fullmatch(r"sep=(.)", lines[0], re.IGNORECASE)
        separator, why = (
            (named[1], f"the first line is {lines[0]}") if named else _separator(file, rows_alone, given.get("quoting"))
        )
        result = replace(result, separator=separator)
        findings.append(Finding("separator", separator, why))
    if "quoting" not in given:
        quoting = (len(result.separator) == 1 and result.separator != " ") or _quoted(rows_alone, result.separator)
        result = replace(result, quoting=quoting)
    check_columns(file, _most_columns(lines, result.separator))
    rows = split(rows_alone, result.separator, quoting=result.quoting)
    if lines[marked:]:
        result, found = infer_comments(lines[:marked], rows, result, given)
        findings += found
        given = dict(given) | ({"header": False} if any(one.option == "columns" for one in found) else {})
        if not result.comments:
            rows = split(lines, result.separator, quoting=result.quoting)
    result, found = infer_from_rows(rows, result, given)
    return result, findings + found


BLOCK = re.compile(r"\s*[^\s,;|\t]+:\s*")


def _has_blocks(lines: list[str]) -> bool:
    return bool(BLOCK.fullmatch(lines[0])) and any(not BLOCK.fullmatch(line) for line in lines)


def split(lines: Sequence[str], separator: str, *, quoting: bool) -> list[list[str]]:
    """The columns of each line; stray quotes are taken as they are."""
    if quoting and _quoted(lines, separator):
        return [row for row in csv.reader(_ended(lines), delimiter=separator) if row]
    if separator == " ":
        return [line.split() for line in lines]
    return [line.split(separator) for line in lines]


def _ended(lines: Sequence[str]) -> list[str]:
    return [line + "\n" for line in lines]


def _quoted(lines: Sequence[str], separator: str) -> bool:
    """Whether there are quotes around values, and each of them closes where a value ends."""
    if len(separator) != 1 or not any('"' in line for line in lines):
        return False
    start = re.compile(rf'(^|{re.escape(separator)})"')
    if not any(start.search(line) for line in lines):
        return False
    try:
        rows = list(csv.reader(_ended(lines), delimiter=separator, strict=True))
    except csv.Error as error:
        # The last value may go on below the lines that are looked at.
        return "unexpected end" in str(error) and _quoted(lines[: len(lines) // 2], separator)
    return bool(rows)


def _separator(file: SourceFile, lines: list[str], quoting: bool | None) -> tuple[str, str]:
    """The separator that splits the lines into the same number of the likeliest columns."""
    best, best_score, best_width, best_share = "", 0.0, 0, 0.0
    widest = 0
    for separator in SEPARATORS:
        if not any(separator in line for line in lines) or (separator == " " and best == "\t"):
            continue
        if (most := _most_columns(lines, separator)) > MOST_COLUMNS:
            widest = max(widest, most)
            continue
        if separator * 2 in SEPARATORS and all(
            line.count(separator) == 2 * line.count(separator * 2) for line in lines
        ):
            continue
        rows = split(lines, separator, quoting=quoting is not False)
        width, number = Counter(map(len, rows)).most_common(1)[0]
        if width < 2:
            continue
        share = number / len(rows)
        plausible = _plausible([row for row in rows if len(row) == width])
        if separator == " " and plausible < CLEAN:
            continue
        score = share**3 * plausible * (1 - 0.5 / width)
        if score > best_score * 1.001:
            best, best_score, best_width, best_share = separator, score, width, share
    if not best:
        check_columns(file, widest)
        raise DataError(
            f"{file}: no separator splits its lines into columns; set data.separator to tab, comma, semicolon, pipe, "
            f"space, or the text between the columns; the first line is {lines[0][:80]!r}"
        )
    name = NAMES.get(best, repr(best))
    of = f"each of the first {len(lines):,} lines" if best_share == 1 else f"{best_share:.0%} of the first lines"
    return best, f"{name} splits {of} into {best_width} columns"


def _most_columns(lines: Sequence[str], separator: str) -> int:
    """Columns that a line may have, at most."""
    return 1 + max(line.count(separator) for line in lines)


def _plausible(rows: list[list[str]]) -> float:
    """How much the cells look like single values: 1 for numbers, times and words."""
    cells = [cell.strip() for row in rows[:100] for cell in row[:50]]
    return sum(_cell(cell) for cell in cells) / len(cells)


def _cell(cell: str) -> float:
    if is_missing(cell):
        return 0.9
    if is_number(cell) or is_time(cell) or COMMA_NUMBER.fullmatch(cell) or re.fullmatch(r"[\w.@'+-]+", cell):
        return 1.0
    return 0.1 if re.search(r"[\t;|]|::|\w,\w", cell) else 0.7
