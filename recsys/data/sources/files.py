"""FileSource: a source that parses files, whose result is cached."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path

from recsys.data import cache
from recsys.data.sources.base import RatingData, RatingsSource


class FileSource(RatingsSource):
    """Ratings in files below a folder, `root`. What was parsed is cached.

    The cache key covers the content of `files()` and every attribute of the source but `root`, so that a new argument
    cannot serve stale data.
    """

    @abstractmethod
    def files(self) -> list[Path]:
        """Files that `parse` reads; an optional one may be absent."""

    @abstractmethod
    def parse(self) -> RatingData:
        """Parse the files.

        Raises:
            DataError: Something in them cannot be used; the message names file, line, value and what is allowed.
        """

    def read(self) -> RatingData:
        self.prepare()
        arguments = {name: value for name, value in vars(self).items() if name != "root"}
        key = cache.parse_key(self.files(), {"source": type(self).__qualname__} | arguments)
        return cache.load_or_parse(key, self.parse)
