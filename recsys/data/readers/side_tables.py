"""Custom users and items tables: one row per id, with attribute columns."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from recsys.data.errors import DataError
from recsys.data.readers.csv import Layout, header, read_texts
from recsys.data.readers.parquet import is_parquet, read_stored_texts, stored_schema, text_columns

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Table:
    """A file with one row per id: Parquet if it ends in `.parquet`, else CSV.

    Attributes:
        path: The file.
        layout: Format of a CSV.
        id_column: Name of the id column.
        integers: Whether ids are integers, as in the ratings.
    """

    path: Path
    layout: Layout
    id_column: str
    integers: bool

    @property
    def columns(self) -> list[str]:
        """All column names in file order."""
        return list(stored_schema(self.path).names if is_parquet(self.path) else header(self.path, self.layout))

    def read(self, columns: Sequence[str]) -> tuple[pd.Series[Any], dict[str, list[str]]]:
        """Read ids, and columns as text, empty if missing.

        Raises:
            DataError: A column is missing or duplicated; an id is empty, of the wrong type or duplicated.
        """
        wanted, whole = [self.id_column, *columns], [self.id_column] if self.integers else []
        if is_parquet(self.path):
            texts = read_stored_texts(self.path, wanted, whole)
        else:
            texts = read_texts(self.path, self.layout, wanted, whole)
        ids = texts.pop(self.id_column)
        self._check(ids)
        return pd.Series([*map(int, ids)] if self.integers else ids, dtype="int64" if self.integers else "str"), texts

    def attributes(self, other: Collection[str], taken: Collection[str]) -> list[str]:
        """Attribute columns: neither ids nor among `other`.

        Unnamed columns, such as pandas' index, are skipped; so are, with a warning, columns whose name belongs to
        another column of the frame (`taken`), or whose values are neither text nor numbers.
        """
        readable = text_columns(self.path) if is_parquet(self.path) else self.columns
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
