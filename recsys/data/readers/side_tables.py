"""Custom users and items tables: one row per id, with attribute columns."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from recsys.data.errors import DataError
from recsys.data.readers.format import Format
from recsys.data.readers.texts import column_names, read_texts, text_columns

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Table:
    """A file with one row per id.

    Attributes:
        path: The file.
        format: How its rows are written.
        id_column: Name of the id column.
        integers: Whether ids are integers, as in the ratings.
    """

    path: Path
    format: Format
    id_column: str
    integers: bool

    @property
    def columns(self) -> list[str]:
        """All column names in file order."""
        return column_names(self.path, self.format)

    def read(self, columns: Sequence[str]) -> tuple[pd.Series[Any], dict[str, list[str]]]:
        """Read ids, and columns as text, empty if missing.

        Raises:
            DataError: A column is missing or duplicated; an id is empty, of the wrong type or duplicated.
        """
        wanted, whole = [self.id_column, *columns], [self.id_column] if self.integers else []
        texts = read_texts(self.path, self.format, wanted, whole)
        ids = texts.pop(self.id_column)
        self._check(ids)
        return pd.Series([*map(int, ids)] if self.integers else ids, dtype="int64" if self.integers else "str"), texts

    def attributes(self, other: Collection[str], taken: Collection[str]) -> list[str]:
        """Attribute columns: neither ids nor among `other`.

        Unnamed columns, such as pandas' index, are skipped; so are, with a warning, columns whose name belongs to
        another column of the frame (`taken`), or whose values are neither text nor numbers.
        """
        readable = text_columns(self.path, self.format)
        found = [column for column in self.columns if column and column != self.id_column and column not in other]
        for column in found:
            if column in taken:
                logger.warning("%s: ignoring column %s: name clash", self.path, column)
            elif column not in readable:
                logger.warning("%s: ignoring column %s: it must hold texts or numbers", self.path, column)
        return [column for column in found if column not in taken and column in readable]

    def _check(self, ids: list[str]) -> None:
        seen: set[str] = set()
        for text in ids:
            if not text.strip():
                raise DataError(f"{self.path}: {self.id_column} must not be empty, got {text!r}")
            if text in seen:
                raise DataError(f"{self.path}: {self.id_column} must have each id once, got {text!r} again")
            seen.add(text)
