"""Options of how files are written, as a person sets them; checked before anything is read."""

from __future__ import annotations

import codecs
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from recsys.data.errors import DataError, check_choice
from recsys.data.inference.finding import AUTO
from recsys.data.readers.format import KINDS, LAYOUTS, Format

BACKSLASH = "backslash"
SEPARATORS = {"tab": "\t", "comma": ",", "semicolon": ";", "pipe": "|", "space": " "}  # by name


@dataclass(frozen=True)
class FormatOptions:
    r"""How the rows of a file are written; `auto` is inferred.

    Attributes:
        format: One of `KINDS`.
        layout: One of `LAYOUTS`.
        header: Whether the first line has the names of the columns.
        columns: Names of the columns; None for those in the file.
        separator: A name in `SEPARATORS`, or the text between columns; backslash escapes such as "\t" are allowed.
        encoding: Name of a Python codec.
        decimal: "." or ",".
        quoting: Whether values may be in double quotes; `backslash`: those within them follow a backslash.
        sheet: Excel sheet; None for the first.
        ignored_columns: Columns of a matrix that are no items.

    Raises:
        ValueError: An option is none of the allowed values, or contradicts another; the message names it.
    """

    format: str = AUTO
    layout: str = AUTO
    header: bool | str = AUTO
    columns: Sequence[str] | None = None
    separator: str = AUTO
    encoding: str = AUTO
    decimal: str = AUTO
    quoting: bool | str = AUTO
    sheet: str | None = None
    ignored_columns: Sequence[str | int] | str | None = AUTO

    def __post_init__(self) -> None:
        check_choice("format", self.format, (AUTO, *KINDS))
        check_choice("layout", self.layout, (AUTO, *LAYOUTS))
        check_choice("decimal", self.decimal, (AUTO, ".", ","))
        if self.header not in (AUTO, True, False):
            raise ValueError(f"header must be true, false or {AUTO}, got {self.header!r}")
        if self.quoting not in (AUTO, True, False, BACKSLASH):
            raise ValueError(f"quoting must be true, false, {BACKSLASH} or {AUTO}, got {self.quoting!r}")
        separator = plain_separator("separator", self.separator)
        check_encoding("encoding", self.encoding)
        _check_names("columns", self.columns)
        if self.ignored_columns != AUTO:
            _check_names("ignored_columns", self.ignored_columns)
        if separator == self.decimal != AUTO:
            raise ValueError(f"separator and decimal must differ, got {self.decimal!r} for both")
        if self.sheet is not None and self.format not in (AUTO, "excel"):
            raise ValueError(f"sheet={self.sheet!r} needs format=excel, got {self.format}")
        if self.ignored_columns not in (AUTO, None, []) and self.layout not in (AUTO, "matrix"):
            raise ValueError(f"ignored_columns={self.ignored_columns!r} needs layout=matrix, got {self.layout}")

    def given(self) -> dict[str, Any]:
        """Fields of `Format` that are set, by name."""
        found: dict[str, Any] = {
            "kind": self.format,
            "layout": self.layout,
            "header": self.header,
            "separator": plain_separator("separator", self.separator),
            "encoding": self.encoding,
            "decimal": self.decimal,
            "quoting": self.quoting,
            "ignored_columns": self.ignored_columns if self.ignored_columns == AUTO else _texts(self.ignored_columns),
        }
        found = {name: value for name, value in found.items() if value != AUTO}
        if self.quoting == BACKSLASH:
            found |= {"quoting": True, "backslash": True}
        if self.columns is not None:
            found["columns"] = _texts(self.columns)
        if self.sheet is not None:
            found["sheet"] = self.sheet
        return found

    def settled(self, written: Format, found: Collection[str]) -> dict[str, Any]:
        """What was left open, and is as in most files."""
        options = {"format": written.kind, "layout": written.layout}
        if written.kind == "csv":
            names = ("header", "separator", "encoding", "decimal", "quoting")
            options |= {name: getattr(written, name) for name in names}
        return {name: value for name, value in options.items() if getattr(self, name) == AUTO and name not in found}


def side_format(side: str, separator: str, encoding: str) -> dict[str, Any]:
    """Fields of `Format` that are set for a users or items file.

    Raises:
        ValueError: An option is none of the allowed values.
    """
    separator = plain_separator(f"{side}_separator", separator)
    check_encoding(f"{side}_encoding", encoding)
    return {name: value for name, value in (("separator", separator), ("encoding", encoding)) if value != AUTO}


def check_kind(form: Mapping[str, Any], kind: str, place: str) -> None:
    """Raise a DataError if fields of the format are set that a file of this kind does not have."""
    if "columns" in form and kind in ("jsonl", "parquet", "arrow"):
        raise DataError(f"{place}: data.columns is for files without names, and this is {kind}")
    if "sheet" in form and kind != "excel":
        raise DataError(f"{place}: data.sheet is for Excel files, and this is {kind}")


def plain_separator(option: str, text: str) -> str:
    """The separator itself: by name, or with its escapes resolved."""
    if not isinstance(text, str) or not text:
        raise ValueError(f"{option} must be {', '.join(SEPARATORS)} or the text between columns, got {text!r}")
    if text in (AUTO, *SEPARATORS):
        return SEPARATORS.get(text, text)
    try:
        plain = codecs.decode(text, "unicode_escape") if "\\" in text else text
    except UnicodeDecodeError as error:
        raise ValueError(f"{option} must be a text with escapes such as \\t, got {text!r}") from error
    if any(sign in plain for sign in '"\r\n') or plain.isalnum():
        allowed = f"{', '.join(SEPARATORS)} or a text without quotes, line ends, and not of letters or digits alone"
        raise ValueError(f"{option} must be {allowed}, got {text!r}")
    return " " if not plain.strip(" ") else plain


def check_encoding(option: str, name: str) -> None:
    """Raise a ValueError unless it is `auto` or a text encoding that Python knows."""
    try:
        if name != AUTO and not codecs.lookup(name)._is_text_encoding:
            raise LookupError
    except (LookupError, TypeError):
        raise ValueError(f"{option} must be a text encoding such as utf-8, latin-1 or cp1252, got {name!r}") from None


def _check_names(option: str, names: Any) -> None:
    if names is None:
        return
    valid = not isinstance(names, str) and isinstance(names, Sequence)
    if not valid or not all(
        isinstance(name, str | int) and not isinstance(name, bool) and name != "" for name in names
    ):
        raise ValueError(f"{option} must be a list of names such as [user,item,rating], got {names!r}")
    if repeated := [name for name in names if list(names).count(name) > 1]:
        raise ValueError(f"{option} must have each name once, got {repeated[0]!r} twice")
    if option == "columns" and not len(names):
        raise ValueError("columns must be null or a list of names, got an empty list")


def _texts(names: Any) -> tuple[str, ...]:
    return tuple(str(name) for name in names or ())
