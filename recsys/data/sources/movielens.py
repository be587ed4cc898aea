"""MovieLens: all stable releases, from a local folder or downloaded once to the user's cache."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from recsys.data import cache
from recsys.data.columns import GENRES, ITEM_ID, RATING, TIMESTAMP, TITLE, USER_ID
from recsys.data.download import download
from recsys.data.errors import DataError
from recsys.data.rating_data import RatingData
from recsys.data.readers import Field, Format, IntegerId, Stars, Time, read_rows, read_texts
from recsys.data.readers.items import items_frame
from recsys.data.repeats import merge_repeats
from recsys.data.sources.files import FileSource
from recsys.files import cache_folder
from recsys.progress import progress

logger = logging.getLogger(__name__)

RATING_MAX = 5.0
COLUMNS = (USER_ID, ITEM_ID, RATING, TIMESTAMP)
USER_COLUMNS = (USER_ID, "age", "gender", "occupation", "zip_code")
GENRE_FLAGS = tuple(f"genre {n}" for n in range(19))  # ml-100k has one 0/1 column per genre


@dataclass(frozen=True)
class File:
    """A file of a release, and its column names to read, in the order of the frame."""

    name: str
    format: Format
    columns: tuple[str, ...]


@dataclass(frozen=True)
class Release:
    """File layout of a release."""

    rating_min: float
    ratings: File
    items: File
    users: File | None = None
    genre_names: str | None = None  # the file that names ml-100k's genres

    @property
    def files(self) -> tuple[str, ...]:
        """Names of all files to read, the ratings last."""
        names = [self.genre_names, self.items.name, self.users and self.users.name, self.ratings.name]
        return tuple(name for name in names if name)


def _columns(separator: str, columns: tuple[str, ...], encoding: str = "utf-8") -> Format:
    """A file without a header and quotes."""
    return Format(separator=separator, columns=columns, header=False, encoding=encoding)


def _hundred_thousand() -> Release:
    items = (ITEM_ID, TITLE, "release_date", "video_date", "url", *GENRE_FLAGS)
    return Release(
        rating_min=1.0,
        ratings=File("u.data", _columns("\t", COLUMNS), COLUMNS),
        items=File("u.item", _columns("|", items, "latin-1"), (ITEM_ID, TITLE, *GENRE_FLAGS)),
        users=File("u.user", _columns("|", USER_COLUMNS), USER_COLUMNS),
        genre_names="u.genre",
    )


def _double_colon(rating_min: float, encoding: str, *, users: bool) -> Release:
    items = (ITEM_ID, TITLE, GENRES)
    in_file = (USER_ID, "gender", "age", "occupation", "zip_code")
    return Release(
        rating_min,
        ratings=File("ratings.dat", _columns("::", COLUMNS), COLUMNS),
        items=File("movies.dat", _columns("::", items, encoding), items),
        users=File("users.dat", _columns("::", in_file), USER_COLUMNS) if users else None,
    )


def _with_header() -> Release:
    format = Format(quoting=True)
    return Release(
        rating_min=0.5,
        ratings=File("ratings.csv", format, ("userId", "movieId", "rating", "timestamp")),
        items=File("movies.csv", format, ("movieId", "title", "genres")),
    )


RELEASES = {
    "ml-100k": _hundred_thousand(),
    "ml-1m": _double_colon(1.0, "latin-1", users=True),
    "ml-10m": _double_colon(0.5, "utf-8", users=False),
    "ml-20m": _with_header(),
    "ml-25m": _with_header(),
    "ml-32m": _with_header(),
    "ml-latest-small": _with_header(),
}


class MovieLens(FileSource):
    """A MovieLens release.

    Only ml-100k and ml-1m have user attributes: age (in ml-1m the lower bound of a bracket), gender, occupation (in
    ml-1m its code) and zip code.

    Args:
        name: One of `RELEASES`, such as `ml-100k`.
        root: Folder of the extracted files, never written to. By default they are downloaded once to the user's cache.
    """

    def __init__(self, name: str = "ml-100k", root: str | None = None) -> None:
        if name not in RELEASES:
            raise ValueError(f"name must be one of {', '.join(RELEASES)}, got {name!r}")
        self.name = name
        self.root = None if root is None else Path(root).expanduser()
        self.release = RELEASES[name]

    @property
    def folder(self) -> Path:
        """Folder of the files, or of the download."""
        return self.root or cache_folder() / self.name

    def prepare(self) -> None:
        """Download the files, unless `root` is given or they are cached.

        Raises:
            DataError: `root` is not a folder or has no ratings, or the download failed.
        """
        if self.root is None:
            if not self._complete():
                with cache.cache_lock("fetches ratings"):
                    if not self._complete():
                        download.fetch(self.name, self.release.files, self.folder)
        elif not self.root.is_dir():
            raise DataError(f"root must be a folder with the files of {self.name}, got {self.root}")
        elif not (self.root / self.release.ratings.name).is_file():
            raise DataError(f"root must contain {self.release.ratings.name} of {self.name}, got {self.root} without it")

    def files(self) -> list[Path]:
        return [self.folder / name for name in self.release.files]

    def _complete(self) -> bool:
        return all((self.folder / name).is_file() for name in self.release.files)

    def parse(self) -> RatingData:
        release = self.release
        path = self.folder / release.ratings.name
        stars = Stars(RATING, release.rating_min, RATING_MAX)
        fields: list[Field] = [IntegerId(USER_ID), IntegerId(ITEM_ID), stars, Time(TIMESTAMP)]
        columns = dict(zip(release.ratings.columns, fields, strict=True))
        values = read_rows(path, release.ratings.format, columns).values
        with progress("checking ratings", 2) as advance:
            ratings = merge_repeats(pd.DataFrame(values, copy=False), str(path))
            advance()
            return RatingData(
                name=self.name,
                ratings=ratings,
                users=self._users(),
                items=self._items(),
                rating_min=release.rating_min,
                rating_max=RATING_MAX,
            )

    def _users(self) -> pd.DataFrame | None:
        if self.release.users is None:
            return None
        texts = self._texts(self.release.users, integers=(USER_ID, "age"))
        return None if texts is None else pd.DataFrame(texts).astype({USER_ID: "int64", "age": "int64"})

    def _items(self) -> pd.DataFrame | None:
        file = self.release.items
        texts = self._texts(file, integers=file.columns[:1])
        if texts is None:
            return None
        ids, titles, *flags = (texts[column] for column in file.columns)
        if self.release.genre_names is None:
            genres = [text.split("|") for text in flags[0]]
        else:
            names = self._genre_names(self.folder / self.release.genre_names)
            genres = [
                [name for name, flag in zip(names, row, strict=True) if flag == "1"] for row in zip(*flags, strict=True)
            ]
        return items_frame(map(int, ids), titles, genres)

    def _genre_names(self, path: Path) -> list[str]:
        names = read_texts(path, _columns("|", ("name", "number")), ("name",))["name"]
        if len(names) != len(GENRE_FLAGS):
            raise DataError(f"{path}: must name {len(GENRE_FLAGS)} genres, got {len(names)}")
        return names

    def _texts(self, file: File, integers: tuple[str, ...]) -> dict[str, list[str]] | None:
        """The file's columns; None with a warning if the file is missing, since only ratings are required."""
        path = self.folder / file.name
        if not path.is_file():
            logger.warning("%s is missing; reading %s without it", path, self.name)
            return None
        return read_texts(path, file.format, file.columns, integers)
