"""FileSource: a source that parses files and caches the result."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import Any

from recsys.data import cache
from recsys.data.rating_data import RatingData
from recsys.data.readers.streams import check_regular
from recsys.data.sources.base import RatingsSource, logged


class FileSource(RatingsSource):
    """Ratings in files of a folder, `root`; parsed data are cached.

    The cache key covers the content of `files()` and the `arguments()`, so that changed ones never return stale data.
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

    def arguments(self) -> dict[str, Any]:
        """All attributes on which the result of `parse` depends: public ones other than `root`."""
        return {name: value for name, value in vars(self).items() if name != "root" and not name.startswith("_")}

    def read(self) -> RatingData:
        self.prepare()
        for file in self.files():
            if file.exists():
                check_regular(file)
        key = cache.parse_key(self.files(), {"source": type(self).__qualname__} | self.arguments())
        return logged(cache.load_or_parse(key, self.parse))
