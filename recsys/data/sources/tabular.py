"""TabularRatings: custom ratings from CSV or Parquet files."""

from __future__ import annotations

import logging
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from recsys.data.columns import GENRES, ITEM_ID, RATING, TIMESTAMP, TITLE, USER_ID, YEAR
from recsys.data.errors import DataError
from recsys.data.rating_data import RatingData
from recsys.data.readers import (
    AnyId,
    Field,
    Format,
    Stars,
    Time,
    Values,
    is_integer,
    read_rows,
    same_kind,
    sample_rows,
)
from recsys.data.readers.items import items_frame
from recsys.data.readers.side_tables import Table
from recsys.data.repeats import merge_repeats
from recsys.data.sources.files import FileSource
from recsys.progress import progress

logger = logging.getLogger(__name__)


class TabularRatings(FileSource):
    """Custom ratings: a Parquet file if its name ends in `.parquet`, else CSV in UTF-8 with a header.

    CSV may be gzipped (`.csv.gz`) and quoted. Ids are integers if all user and item ids are canonical integers, and
    strings kept verbatim otherwise: a single "007" makes all of them strings.

    Args:
        root: Folder of the files; never written to.
        ratings_file: Name of the ratings file.
        user_column: Column of user ids.
        item_column: Column of item ids.
        rating_column: Column of ratings; None for implicit feedback, where every row counts as 1.
        timestamp_column: Column of times in unix seconds or ISO 8601 (UTC if no zone is given); None without times.
        separator: Column separator of a CSV, one character.
        rating_min: Lowest rating of the scale; None for the minimum of the data.
        rating_max: Highest rating of the scale; None for the maximum of the data.
        users_file: Name of a file with one row per user and ids in `user_column`. All other columns are attributes,
            kept as text (see `recsys.data.features`).
        items_file: Name of a file with one row per item and ids in `item_column`. Columns other than those below are
            attributes.
        item_title_column: Column of titles.
        item_year_column: Column of years; if missing, years are taken from titles such as "Heat (1995)".
        item_genres_column: Optional column of genres separated by "|".
        name: Name of the data set; by default the file name without suffix.
    """

    def __init__(
        self,
        root: str,
        ratings_file: str,
        *,
        user_column: str = USER_ID,
        item_column: str = ITEM_ID,
        rating_column: str | None = RATING,
        timestamp_column: str | None = None,
        separator: str = ",",
        rating_min: float | None = None,
        rating_max: float | None = None,
        users_file: str | None = None,
        items_file: str | None = None,
        item_title_column: str = TITLE,
        item_year_column: str = YEAR,
        item_genres_column: str = GENRES,
        name: str | None = None,
    ) -> None:
        if len(separator) != 1 or separator in '"\r\n':
            raise ValueError(f"separator must be one character other than a quote or line end, got {separator!r}")
        for argument, value in (("rating_min", rating_min), ("rating_max", rating_max)):
            if value is not None and not math.isfinite(value):
                raise ValueError(f"{argument} must be finite, got {value}")
        if rating_min is not None and rating_max is not None and rating_min >= rating_max:
            raise ValueError(f"rating_max must be > rating_min = {rating_min:g}, got {rating_max:g}")
        self.root = Path(root).expanduser()
        self.ratings_file, self.users_file, self.items_file = ratings_file, users_file, items_file
        self.columns = {USER_ID: user_column, ITEM_ID: item_column}
        self.rating_column, self.timestamp_column = rating_column, timestamp_column
        self.separator = separator
        self.rating_min, self.rating_max = rating_min, rating_max
        self.item_columns = {TITLE: item_title_column, YEAR: item_year_column, GENRES: item_genres_column}
        self.name = name or ratings_file.removesuffix(".gz").rpartition(".")[0] or ratings_file

    def prepare(self) -> None:
        """Check that the files exist.

        Raises:
            DataError: `root` is not a folder, or a file is missing.
        """
        if not self.root.is_dir():
            raise DataError(f"root must be a folder with {self.ratings_file}, got {self.root}")
        for argument in ("ratings_file", "users_file", "items_file"):
            name = getattr(self, argument)
            if name is not None and not (self.root / name).is_file():
                raise DataError(f"{argument} must be a file in {self.root}, got {name!r}")

    def files(self) -> list[Path]:
        names = (self.ratings_file, self.users_file, self.items_file)
        return [self.root / name for name in names if name is not None]

    def read(self) -> RatingData:
        data = super().read()
        self._log_scale(data)
        return data

    def parse(self) -> RatingData:
        path = self.root / self.ratings_file
        fields = self._fields(path)
        values = read_rows(path, self._format(path), fields).values
        with progress("checking ratings", 3) as advance:
            frame = _frame(values)
            implicit = self.rating_column is None
            if implicit:
                frame.insert(2, RATING, pd.Series(1.0, index=frame.index, dtype="float32"))
            advance()
            ratings = merge_repeats(frame, str(path))
            advance()
            integers = ratings[ITEM_ID].dtype.kind == "i"
            low, high = float(ratings[RATING].min()), float(ratings[RATING].max())
            return RatingData(
                name=self.name,
                ratings=ratings,
                users=self._users(integers=integers),
                items=self._items(integers=integers),
                rating_min=low if self.rating_min is None or implicit else float(self.rating_min),
                rating_max=high if self.rating_max is None or implicit else float(self.rating_max),
                implicit=implicit,
            )

    def _fields(self, path: Path) -> dict[str, Field]:
        """Fields to read, by column of the file."""
        fields: dict[str, Field] = {column: AnyId(name) for name, column in self.columns.items()}
        if self.rating_column is not None:
            low = -math.inf if self.rating_min is None else self.rating_min
            high = math.inf if self.rating_max is None else self.rating_max
            fields[self.rating_column] = Stars(RATING, low, high)
        if self.timestamp_column is not None:
            fields[self.timestamp_column] = self._time(path, self.timestamp_column)
        wanted = 2 + (self.rating_column is not None) + (self.timestamp_column is not None)
        if len(fields) != wanted:
            raise DataError(f"{path}: user, item, rating and timestamp columns must differ, got {list(fields)}")
        return fields

    def _format(self, path: Path) -> Format:
        return Format("parquet" if path.suffix == ".parquet" else "csv", self.separator, quoting=True)

    def _time(self, path: Path, column: str) -> Field:
        """The field of the time column, from the format of the first row."""
        sample = sample_rows(path, self._format(path), 1)
        text = sample.rows[0][sample.columns.index(column)] if sample.rows and column in sample.columns else "0"
        return Time(TIMESTAMP, "seconds" if is_integer(text.strip()) else "iso8601")

    def _users(self, *, integers: bool) -> pd.DataFrame | None:
        if self.users_file is None:
            return None
        path = self.root / self.users_file
        table = Table(path, self._format(path), self.columns[USER_ID], integers)
        ids, texts = table.read(table.attributes((), taken=[USER_ID]))
        return pd.DataFrame({USER_ID: ids} | texts).astype(dict.fromkeys(texts, "str"))

    def _items(self, *, integers: bool) -> pd.DataFrame | None:
        if self.items_file is None:
            return None
        path = self.root / self.items_file
        table = Table(path, self._format(path), self.columns[ITEM_ID], integers)
        title, year, genres = self.item_columns.values()
        optional = [column for column in (year, genres) if column in table.columns]
        extra = table.attributes([title, *optional], taken=[ITEM_ID, *self.item_columns])
        ids, texts = table.read([title, *optional, *extra])
        frame = items_frame(
            ids,
            texts[title],
            [text.split("|") for text in texts[genres]] if genres in texts else [[]] * len(ids),
            [_year(table.path, text) for text in texts[year]] if year in texts else None,
        )
        return frame.assign(**{column: pd.Series(texts[column], dtype="str") for column in extra})

    def _log_scale(self, data: RatingData) -> None:
        if not data.implicit and (self.rating_min is None or self.rating_max is None):
            logger.warning(
                "%s: rating_min or rating_max is not set; using the range of the data: [%g, %g]",
                self.root / self.ratings_file,
                data.rating_min,
                data.rating_max,
            )


def _frame(values: dict[str, Values]) -> pd.DataFrame:
    """The ratings frame; ids become integers only if all of them are canonical integers."""
    values[USER_ID], values[ITEM_ID] = same_kind(values[USER_ID], values[ITEM_ID])
    columns = {
        name: column if isinstance(column, np.ndarray) else column.cast(pa.large_string()).to_pandas()
        for name, column in values.items()
    }
    return pd.DataFrame(columns, copy=False)


def _year(path: Path, text: str) -> int | None:
    if text.strip() and not is_integer(text.strip()):
        raise DataError(f"{path}: a year must be an integer or empty, got {text!r}")
    return int(text) if text.strip() else None
