"""Users and items files: one row an id, in any format, matched to the ids of the ratings."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from collections.abc import Set as Names
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from recsys.bundle.ids import MAX_ID_LENGTH
from recsys.data.columns import GENRES, ITEM_ID, TITLE, USER_ID, YEAR
from recsys.data.errors import DataError
from recsys.data.id_matching import Match, as_number, match_ids
from recsys.data.inference import infer_format
from recsys.data.inference.finding import AUTO, Finding
from recsys.data.interaction_options import Column
from recsys.data.readers import column_names, is_integer, read_texts, text_columns
from recsys.data.readers.format import Format, SourceFile
from recsys.data.readers.items import items_frame

YEARS = re.compile(r"(?<![0-9])[12][0-9]{3}(?![0-9])")
TITLES = ("title", "name")  # the earlier goes first
YEAR_WORDS, GENRE_WORDS = ("year",), ("genres", "genre", "categories", "category")
WORDS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[0-9]+")


@dataclass(frozen=True)
class SideTable:
    """A users or items table, as `RatingData` has it.

    Attributes:
        frame: The table.
        findings: Options that were inferred.
        notes: What is worth a line in the log, such as the share of ids that match.
        warnings: What a person should look into.
    """

    frame: pd.DataFrame
    findings: list[Finding]
    notes: list[str]
    warnings: list[str]


class SideFile:
    """A file with one row an id.

    Args:
        file: The file.
        side: `users` or `items`, as in the options' names.
        form: Fields of `Format` that are set.
        id_column: Column of ids; `auto`: the one with the name in the ratings, or whose values match.
        ratings_column: Name of the ids' column in the ratings.
        ids: Distinct ids of the ratings, int64 or texts.
    """

    def __init__(
        self,
        file: SourceFile,
        side: str,
        form: Mapping[str, Any],
        id_column: Column,
        ratings_column: str,
        ids: NDArray[Any],
    ) -> None:
        self.file, self.side, self.ids = file, side, ids
        self.findings: list[Finding] = []
        self.notes: list[str] = []
        self.warnings: list[str] = []
        self.form, found = self._format(form, {str(id_column), ratings_column})
        self.findings += [
            replace(one, option=f"{side}_{one.option}") for one in found if one.option in ("separator", "encoding")
        ]
        self.columns = column_names(file, self.form)
        self.id_column = self._id_column(id_column, ratings_column)
        (texts,) = self.texts([self.id_column])
        self.row_ids = [text.strip() for text in texts]

    def users(self) -> SideTable:
        """All other columns are attributes."""
        ids, rows = self._matched()
        extra = self._attributes((), taken=[USER_ID])
        texts = dict(zip(extra, self.texts(extra), strict=True))
        frame = pd.DataFrame({USER_ID: ids} | {name: [column[row] for row in rows] for name, column in texts.items()})
        return self._table(frame.astype(dict.fromkeys(extra, "str")))

    def items(self, title_column: Column, year_column: Column, genres_column: Column) -> SideTable:
        """Title, year and genres; other columns are attributes."""
        title = self._chosen("title", title_column, TITLES)
        year = self._chosen("year", year_column, YEAR_WORDS)
        genres = self._chosen("genres", genres_column, GENRE_WORDS)
        ids, rows = self._matched()
        used = [name for name in (title, year, genres) if name is not None]
        extra = self._attributes(used, taken=[ITEM_ID, TITLE, YEAR, GENRES])
        names = list(dict.fromkeys([*used, *extra]))
        texts = {name: [column[row] for row in rows] for name, column in zip(names, self.texts(names), strict=True)}
        blank = [""] * len(rows)
        frame = items_frame(
            ids.tolist(),
            blank if title is None else texts[title],
            [[]] * len(rows) if genres is None else [_genres(text) for text in texts[genres]],
            None if year is None else [year_of(text) for text in texts[year]],
        )
        frame[ITEM_ID] = ids
        return self._table(frame.assign(**{name: pd.Series(texts[name], dtype="str") for name in extra}))

    def texts(self, columns: Sequence[str]) -> list[list[str]]:
        """Columns as texts, in this order."""
        return list(read_texts(self.file, self.form, columns).values()) if columns else []

    def _format(self, form: Mapping[str, Any], names: Names[str]) -> tuple[Format, list[Finding]]:
        """How the file is written: the first line is a header where it names a column that is known."""
        given = {"layout": "long", **form}
        try:
            found = infer_format([self.file], given)
        except DataError:  # perhaps a file of ids alone, which no separator splits
            if "separator" in form:
                raise
            found = infer_format([self.file], given | {"separator": ","})
        written, findings = found
        named = replace(written, header=True)
        if not written.header and not names.isdisjoint(column_names(self.file, named)):
            return named, findings
        return written, findings

    def _table(self, frame: pd.DataFrame) -> SideTable:
        return SideTable(frame, self.findings, self.notes, self.warnings)

    def _id_column(self, given: Column, ratings_column: str) -> str:
        option = f"{self.side[:-1]}_id_column"
        if given != AUTO:
            return self._existing(option, given)
        if ratings_column in self.columns:
            return ratings_column
        names = text_columns(self.file, self.form)
        found = [(match_ids([text.strip() for text in column], self.ids).found, name)
                 for name, column in zip(names, self.texts(names), strict=True)]  # fmt: skip
        best = max(found, key=lambda pair: pair[0], default=(0, ""))
        if not best[0]:
            raise DataError(
                f"{self.file}: no column {ratings_column!r}, and none whose values are ids of the ratings, such as "
                f"{', '.join(map(str, self.ids[:3]))}; set {option}; the columns are {', '.join(self.columns)}"
            )
        why = f"it has {best[0]:,} of the {len(self.ids):,} ids of the ratings"
        self.findings.append(Finding(option, best[1], why))
        return best[1]

    def _chosen(self, name: str, given: Column, words: Sequence[str]) -> str | None:
        option = f"item_{name}_column"
        if given is None:
            return None
        if given != AUTO:
            return self._existing(option, given)
        free = [column for column in self.columns if column != self.id_column]
        if name in free:
            return name
        for word in words:
            for column in free:
                if word in (part.lower() for part in WORDS.findall(column)):
                    self.findings.append(Finding(option, column, "its name"))
                    return column
        return None

    def _existing(self, option: str, given: Column) -> str:
        if self.columns.count(str(given)) != 1:
            problem = "no column" if str(given) not in self.columns else "more than one column"
            names = ", ".join(self.columns)
            raise DataError(f"{self.file}: {problem} {given!r}, which {option} names; the columns are {names}")
        return str(given)

    def _attributes(self, used: Sequence[str], taken: Sequence[str]) -> list[str]:
        """Other columns, but for unnamed ones, such as pandas' index, and those whose name is taken in the frame."""
        readable = text_columns(self.file, self.form)
        found = [name for name in self.columns if name and name != self.id_column and name not in used]
        for name in found:
            if name in taken:
                self.warnings.append(f"{self.file}: ignoring column {name}: name clash")
            elif name not in readable:
                self.warnings.append(f"{self.file}: ignoring column {name}: it must hold texts or numbers")
            elif self.columns.count(name) > 1:
                names = ", ".join(self.columns)
                raise DataError(f"{self.file}: more than one column {name!r}; the columns are {names}")
        return [name for name in found if name not in taken and name in readable]

    def _matched(self) -> tuple[pd.Series[Any], list[int]]:
        """Ids of the table in the order of the file, of the kind of the ratings, and their rows in the file."""
        match = match_ids(self.row_ids, self.ids)
        owners: dict[int, list[Any]] = {}
        for value, row in zip(self.ids.tolist(), match.rows.tolist(), strict=True):
            if row >= 0:
                owners.setdefault(row, []).append(value)
        integers = self.ids.dtype.kind == "i"
        ids: list[Any] = []
        rows: list[int] = []
        left_out: Counter[str] = Counter()
        seen: set[Any] = set(self.ids.tolist())
        written: set[str] = set()
        for row, text in enumerate(self.row_ids):
            found = owners.get(row)
            if found is None:
                own = _own_id(text, integers=integers)
                reason = _reason(text, own, repeated=text in written or own in seen)
                if reason is not None:
                    left_out[reason] += 1
                    continue
                found = [own]
                seen.add(own)
            written.add(text)
            ids += found
            rows += [row] * len(found)
        self._say(match, left_out)
        return pd.Series(ids, dtype="int64" if integers else "str"), rows

    def _say(self, match: Match, left_out: Counter[str]) -> None:
        if match.found:
            share = (
                f"{match.found:,} of the {len(self.ids):,} {self.side} with ratings ({match.found / len(self.ids):.1%})"
            )
            self.notes.append(f"{self.file}: it has {share}; ids match {match.rule}")
        elif self.row_ids and len(self.ids):
            self.warnings.append(
                f"{self.file}: NONE of the {self.side} with ratings is in it: ids in its column {self.id_column} are "
                f"such as {_examples(self.row_ids)}, in the ratings such as {_examples(self.ids.tolist())}; set "
                f"data.{self.side[:-1]}_id_column, or check that the file belongs to these ratings"
            )
        for reason, n in left_out.items():
            self.warnings.append(f"{self.file}: {n:,} rows left out: {reason}")


def year_of(text: str) -> int | None:
    """The year in a text, 1000 to 2999: 1995 in "1995", "1995.0" and "01-Jan-1995"; None unless there is one."""
    found = set(YEARS.findall(text))
    return int(found.pop()) if len(found) == 1 else None


def _own_id(text: str, *, integers: bool) -> Any:
    """The id of a row without ratings, of the kind that the ratings have; None if it cannot be such."""
    if not integers:
        return text or None
    number = as_number(text)
    return int(number) if number is not None and is_integer(number) else None


def _reason(text: str, own: Any, *, repeated: bool) -> str | None:
    """Why a row is left out; None if it is not."""
    if not text:
        return "no id"
    if repeated:
        return "the id repeats that of a row above"
    if own is None:
        return "the id is no whole number, as those of the ratings are"
    return f"the id has more than {MAX_ID_LENGTH} characters" if len(text) > MAX_ID_LENGTH else None


def _genres(text: str) -> list[str]:
    return [genre.strip() for genre in text.split("|")]


def _examples(ids: Sequence[Any]) -> str:
    shown = list(dict.fromkeys(str(value) for value in ids))[:3]
    return ", ".join(repr(text[:40]) for text in shown)


def distinct(ids: pd.Series[Any]) -> NDArray[Any]:
    """Distinct ids in order of appearance, int64 or texts."""
    found = ids.unique()
    return np.asarray(found) if ids.dtype.kind == "i" else np.asarray(found.astype(object))
