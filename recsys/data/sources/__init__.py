"""Sources of ratings; a data configuration names one of these classes as its `_target_`."""

from recsys.data.errors import DataError
from recsys.data.rating_data import RatingData
from recsys.data.sources.base import RatingsSource
from recsys.data.sources.live import LiveRatings
from recsys.data.sources.movielens import MovieLens
from recsys.data.sources.sql import SqlRatings
from recsys.data.sources.tabular import TabularRatings

__all__ = ["DataError", "LiveRatings", "MovieLens", "RatingData", "RatingsSource", "SqlRatings", "TabularRatings"]
