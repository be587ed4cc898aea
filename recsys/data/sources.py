"""Where ratings come from; a configuration names one of these classes as its `_target_`."""

from recsys.data.movielens import MovieLens
from recsys.data.ratings import DataError, RatingData, RatingsSource
from recsys.data.tabular import TabularRatings

__all__ = ["DataError", "MovieLens", "RatingData", "RatingsSource", "TabularRatings"]
