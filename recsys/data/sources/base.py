"""RatingsSource, the interface of all sources."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod

from recsys.data.rating_data import RatingData

logger = logging.getLogger(__name__)


class RatingsSource(ABC):
    """A source of ratings."""

    name: str

    @property
    def origin(self) -> str:
        """What the rows are of, for messages: a file, a query."""
        return self.name

    @abstractmethod
    def prepare(self) -> None:
        """Download files needed by `read`. Sets no state: may be called in only one of several processes."""

    @abstractmethod
    def read(self) -> RatingData:
        """Read, validate and return the ratings.

        Raises:
            DataError: A file is missing or has invalid content.
        """


def logged(data: RatingData) -> RatingData:
    """The data, once their notes and warnings are logged: also those that come from the cache have them."""
    for text in data.notes:
        logger.info("%s", text)
    for text in data.warnings:
        logger.warning("%s", text)
    return data
