"""TabularRatings: ratings, events or counts in one's own files."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from recsys.data.columns import ITEM_ID, USER_ID
from recsys.data.errors import DataError, listed
from recsys.data.format_options import FormatOptions, side_format
from recsys.data.inference.finding import AUTO, Finding
from recsys.data.interaction_options import Column, InteractionOptions, check_column, check_named
from recsys.data.interactions import Interactions, read_interactions
from recsys.data.rating_data import RatingData
from recsys.data.readers import expand
from recsys.data.readers.files import STANDARD_INPUT
from recsys.data.readers.format import SourceFile
from recsys.data.side_tables import SideFile, SideTable, distinct
from recsys.data.sources.files import FileSource

MAGIC = re.compile(r"[*?\[\]]+")  # of a glob
PACKED = re.compile(r"\.(gz|zst|bz2|xz|zip)$", re.IGNORECASE)


class TabularRatings(FileSource):
    """Ratings, events or counts in files of rows: CSV and the like, JSON lines, Parquet, Arrow or Excel.

    Options that are `auto` are inferred from the files; None (null) means that there is none. The columns' options are
    described in full in `InteractionOptions`, how rows are written in `FormatOptions`.

    Args:
        root: Folder that file names are relative to; never written to. None: the current one.
        ratings_file: A path, a glob such as `ratings/*.parquet`, a list of these, or "-" for standard input; may be
            compressed (.gz, .zst, .bz2, .xz, .zip).
        format: `csv` (any text between columns), `jsonl`, `parquet`, `arrow` or `excel`.
        layout: `long` (a row a rating), `matrix` (a row a user, a column an item) or `blocks` (a line "item:", then its
            rows).
        header: Whether the first line has the names of the columns.
        columns: Names of the columns, for files without header, or to rename them.
        separator: `tab`, `comma`, `semicolon`, `pipe`, `space`, or the characters.
        encoding: Such as `utf-8`, `latin-1` or `cp1252`.
        decimal: Decimal sign of numbers, "." or ",".
        quoting: Whether values may be in double quotes; `backslash`: those within them follow a backslash.
        sheet: Excel sheet; None for the first.
        ignored_columns: Columns of a matrix that are no items.
        user_column: Column of users; a name, or a position from 0.
        item_column: Column of items.
        rating_column: Column of ratings; None: implicit feedback.
        timestamp_column: Column of times; None: without times.
        timestamp_format: `seconds`, `milliseconds`, `microseconds`, `nanoseconds`, `iso8601`, or a strptime pattern.
        missing: Ratings that mean "not rated", such as [99,-1,NA].
        missing_as: `drop` them, or take all rows as `implicit` feedback.
        rating_min: Lowest rating of the scale; None for the minimum of the data.
        rating_max: Highest rating of the scale; None for the maximum of the data.
        event_column: Column of the kind of event.
        events: Weight of each kind, such as {view: 1, purchase: 10}, or a list of kinds.
        weight_column: Column of counts or hours.
        weight_scale: `linear` or `log`.
        repeats: `sum`, `latest` or `first` of the rows of a user and item.
        bad_rows: `error`, or `drop` rows that cannot be read.
        users_file: File with one row a user; its other columns are attributes (see `recsys.data.features`).
        items_file: File with one row an item; its other columns are attributes.
        users_separator: Separator of the users file.
        items_separator: Separator of the items file.
        users_encoding: Encoding of the users file.
        items_encoding: Encoding of the items file.
        user_id_column: Column of ids in the users file.
        item_id_column: Column of ids in the items file.
        item_title_column: Column of titles; None: without titles.
        item_year_column: Column of years; where there is none, years are taken from titles such as "Heat (1995)".
        item_genres_column: Column of genres, separated by "|".
        max_bytes: Bytes that a file may hold when unpacked, or a sheet may take; None: by its size, see
            `recsys.data.readers.limits`.
        name: Name of the data set; None for the name of the file without suffix.
    """

    def __init__(
        self,
        root: str | None = None,
        ratings_file: str | Sequence[str] = "ratings.csv",
        *,
        format: str = AUTO,
        layout: str = AUTO,
        header: bool | str = AUTO,
        columns: Sequence[str] | None = None,
        separator: str = AUTO,
        encoding: str = AUTO,
        decimal: str = AUTO,
        quoting: bool | str = AUTO,
        sheet: str | None = None,
        ignored_columns: Sequence[str | int] | str | None = AUTO,
        user_column: Column = AUTO,
        item_column: Column = AUTO,
        rating_column: Column = AUTO,
        timestamp_column: Column = AUTO,
        timestamp_format: str = AUTO,
        missing: str | float | Sequence[Any] | None = AUTO,
        missing_as: str = "drop",
        rating_min: float | str | None = AUTO,
        rating_max: float | str | None = AUTO,
        event_column: Column = AUTO,
        events: str | Mapping[str, float] | Sequence[str] | None = AUTO,
        weight_column: Column = AUTO,
        weight_scale: str = AUTO,
        repeats: str = AUTO,
        bad_rows: str = "error",
        users_file: str | None = None,
        items_file: str | None = None,
        users_separator: str = AUTO,
        items_separator: str = AUTO,
        users_encoding: str = AUTO,
        items_encoding: str = AUTO,
        user_id_column: Column = AUTO,
        item_id_column: Column = AUTO,
        item_title_column: Column = AUTO,
        item_year_column: Column = AUTO,
        item_genres_column: Column = AUTO,
        max_bytes: int | None = None,
        name: str | None = None,
    ) -> None:
        _check_files(ratings_file, users_file, items_file)
        self.root = None if root is None else Path(root).expanduser()
        self.ratings_file, self.users_file, self.items_file = ratings_file, users_file, items_file
        self.format = FormatOptions(
            format, layout, header, columns, separator, encoding, decimal, quoting, sheet, ignored_columns
        )
        self.options = InteractionOptions(
            user_column=user_column,
            item_column=item_column,
            rating_column=rating_column,
            timestamp_column=timestamp_column,
            timestamp_format=timestamp_format,
            missing=missing,
            missing_as=missing_as,
            rating_min=rating_min,
            rating_max=rating_max,
            event_column=event_column,
            events=events,
            weight_column=weight_column,
            weight_scale=weight_scale,
            repeats=repeats,
            bad_rows=bad_rows,
        )
        check_named(self.options, columns)
        for side, column in (("user", user_id_column), ("item", item_id_column)):
            check_column(f"{side}_id_column", column)
            if column is None:
                raise ValueError(f"{side}_id_column must be the name of a column, got null")
        self.item_columns = (item_title_column, item_year_column, item_genres_column)
        for what, column in zip(("title", "year", "genres"), self.item_columns, strict=True):
            check_column(f"item_{what}_column", column)
        self.side_formats = {
            "users": side_format("users", users_separator, users_encoding),
            "items": side_format("items", items_separator, items_encoding),
        }
        self.id_columns = {"users": user_id_column, "items": item_id_column}
        if max_bytes is not None and (isinstance(max_bytes, bool) or not isinstance(max_bytes, int) or max_bytes < 1):
            raise ValueError(f"max_bytes must be null or a number of bytes >= 1, got {max_bytes!r}")
        self._max_bytes = max_bytes  # with which nothing is read otherwise
        self.name = name or _name_of(ratings_file)
        self._files: dict[str, list[SourceFile]] = {}

    @property
    def origin(self) -> str:
        if self.ratings_file == STANDARD_INPUT:
            return "standard input"
        return self.ratings_file if isinstance(self.ratings_file, str) else listed(self.ratings_file)

    def prepare(self) -> None:
        """Find the files; standard input is kept in the cache.

        Raises:
            DataError: `root` is not a folder, or a file is missing.
        """
        if self._files:
            return
        if self.root is not None and not self.root.is_dir():
            raise DataError(f"root must be a folder with {self.origin}, got {self.root}")
        found = {"ratings": self._expanded("ratings_file", self.ratings_file)}
        for side, file in (("users", self.users_file), ("items", self.items_file)):
            if file is not None:
                found[side] = self._expanded(f"{side}_file", file)
                if len(found[side]) != 1:
                    raise DataError(f"{side}_file must be one file, got {file!r}, which matches {len(found[side])}")
        self._files = found

    def _expanded(self, option: str, file: str | Sequence[str]) -> list[SourceFile]:
        try:
            return expand(self.root, file if isinstance(file, str) else list(file), self._max_bytes)
        except DataError as error:
            raise DataError(f"{option}: {error}") from error

    def files(self) -> list[Path]:
        return [file.path for files in self._files.values() for file in files]

    def arguments(self) -> dict[str, Any]:
        return super().arguments() | {"members": [file.member for files in self._files.values() for file in files]}

    def parse(self) -> RatingData:
        rows = read_interactions(self._files["ratings"], self.format.given(), self.options, self.origin)
        sides = {side: self._side(side, files[0], rows) for side, files in self._files.items() if side != "ratings"}
        findings = [*rows.findings, *(finding for side in sides.values() for finding in side.findings)]
        if self.ratings_file == STANDARD_INPUT:
            kept = Finding("ratings_file", str(self._files["ratings"][0].path), "standard input, kept in the cache")
            findings.insert(0, kept)
        return rows.data(
            self.name,
            users=sides["users"].frame if "users" in sides else None,
            items=sides["items"].frame if "items" in sides else None,
            findings=tuple(findings),
            settled=self.format.settled(rows.written, {finding.option for finding in findings}) | rows.settled,
            notes=tuple(note for side in sides.values() for note in side.notes),
            warnings=(*rows.warnings, *(text for side in sides.values() for text in side.warnings)),
        )

    def _side(self, side: str, file: SourceFile, rows: Interactions) -> SideTable:
        column = "user_column" if side == "users" else "item_column"
        ids = distinct(rows.ratings[USER_ID if side == "users" else ITEM_ID])
        reader = SideFile(file, side, self.side_formats[side], self.id_columns[side], str(rows.options[column]), ids)
        return reader.users() if side == "users" else reader.items(*self.item_columns)


def _check_files(ratings_file: Any, users_file: Any, items_file: Any) -> None:
    names = [ratings_file] if isinstance(ratings_file, str) else ratings_file
    if not isinstance(names, Sequence) or not names or not all(isinstance(name, str) and name for name in names):
        raise ValueError(f"ratings_file must be a file, a glob, a list of these, or -, got {ratings_file!r}")
    for option, name in (("users_file", users_file), ("items_file", items_file)):
        if name is not None and (not isinstance(name, str) or not name or name == STANDARD_INPUT):
            raise ValueError(f"{option} must be the name of a file, or null, got {name!r}")


def _name_of(ratings_file: str | Sequence[str]) -> str:
    """The name of the file, or of the first of several, without compression and suffix."""
    first = ratings_file if isinstance(ratings_file, str) else ratings_file[0]
    if first == STANDARD_INPUT:
        return "stdin"
    name = PACKED.sub("", Path(first).name)
    plain = MAGIC.sub("", name.rpartition(".")[0] or name).strip(" ._-")
    return plain or MAGIC.sub("", Path(first).parent.name) or "ratings"
