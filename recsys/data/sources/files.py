"""FileSource: a source that parses files and caches the result."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path

from recsys.data import cache
from recsys.data.rating_data import RatingData
from recsys.data.sources.base import RatingsSource


class FileSource(RatingsSource):
    """Ratings in files of a folder, `root`; parsed data are cached.

    The cache key covers the content of `files()` and all attributes of the source except `root`, so that changed
    arguments never return stale data.
    """

    @abstractmethod
    def files(self) -> list[Path]:
        """Files read by `parse`; optional ones may be missing."""

    @abstractmethod
    def parse(self) -> RatingData:
        """Parse the files.

        Raises:
            DataError: Invalid content; the message names file, line, value and allowed values.
        """

    def read(self) -> RatingData:
        self.prepare()
        arguments = {name: value for name, value in vars(self).items() if name != "root"}
        key = cache.parse_key(self.files(), {"source": type(self).__qualname__} | arguments)
        return cache.load_or_parse(key, self.parse)
