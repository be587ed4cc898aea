from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from recsys.data.inference.values import infer_values, value_counts
from recsys.data.inference.vocabulary import event_weight

COLUMNS = {"rating_column": "stars", "event_column": None, "weight_column": None}


def inferred(*ratings: float, **given: Any) -> dict[str, Any]:
    return infer_values({"rating": np.array(ratings, dtype=np.float32)}, COLUMNS, given)[0]


def test_the_scale_is_the_range_of_the_data() -> None:
    assert inferred(0.5, 3, 4.5, np.nan) == {"rating_min": 0.5, "rating_max": 4.5}
    assert inferred(0.1, 3, 4.5)["rating_min"] == 0.1


@pytest.mark.parametrize("code", [99, 999, -99, -999])
def test_codes_far_outside_are_not_rated(code: float) -> None:
    assert inferred(*[1, 2, 3, 4, 5] * 3, code, code) == {"missing": [code], "rating_min": 1, "rating_max": 5}
    assert inferred(-11.2, 0.3, 5.25, 11.9, 99) == {"missing": [99], "rating_min": -11.2, "rating_max": 11.9}


def test_minus_one_below_a_scale_is_not_rated() -> None:
    assert inferred(-1, 1, 5, 10)["missing"] == [-1]
    assert inferred(-1, 0, 1).get("missing") is None
    assert inferred(-5, -1, 1, 5).get("missing") is None


def test_frequent_zeros_below_a_scale_are_not_rated() -> None:
    scale = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]
    assert inferred(*scale * 2, *[0] * 10)["missing"] == [0]
    assert inferred(*scale[1::2] * 2, *[0] * 10)["missing"] == [0]
    assert inferred(*scale * 2, *[0] * 3).get("missing") is None
    assert inferred(0, 1, 2, 0, 0, 0, 0, 0, 0).get("missing") is None


def test_missing_values_that_are_given_leave_the_scale() -> None:
    assert inferred(1, 2, 3, 7, missing=[7, "NA"]) == {"rating_min": 1, "rating_max": 3}
    assert inferred(1, 2, 3, 99, missing=[]) == {"rating_min": 1, "rating_max": 99}


def test_counts_are_no_stars() -> None:
    options, findings = infer_values({"rating": np.r_[np.arange(1, 40), 352698.0]}, {"rating_column": "plays"}, {})
    assert options == {"rating_column": None, "weight_column": "plays"}
    assert "352,698" in findings[0].why


def test_counts_with_a_few_returns_are_counts() -> None:
    numbers = np.r_[np.arange(1, 60), -2.0, -1000.0, 352698.0]
    assert infer_values({"rating": numbers}, {"rating_column": "n"}, {})[0]["weight_column"] == "n"


def test_what_says_the_opposite_is_left_out_and_said() -> None:
    events = pa.array(["like", "dislike", "thumbs_down", "thumbs up", "not interested"]).dictionary_encode()
    options, findings = infer_values({"event": events}, COLUMNS, {})
    assert options == {"events": {"like": 3, "thumbs up": 3}}
    assert findings[0].why == "the words of the column; left out: dislike, thumbs_down, not interested"


def test_a_rating_column_that_is_given_stays_one() -> None:
    assert inferred(*range(1, 40), 352698, rating_column="stars")["rating_max"] == 352698


def test_a_hundred_points_are_stars() -> None:
    assert inferred(*range(0, 101, 5)) == {"rating_min": 0, "rating_max": 100}


@pytest.mark.parametrize("ratings", [(1, 1, 1, 1), (np.nan, np.nan)])
def test_ratings_without_a_difference_are_implicit_feedback(ratings: tuple[float, ...]) -> None:
    assert inferred(*ratings) == {"rating_column": None}


def test_events_get_the_usual_weights() -> None:
    events = pa.array(["view", "add_to_cart", "purchase", "remove_from_cart", "view", None]).dictionary_encode()
    options, _ = infer_values({"event": events}, COLUMNS, {})
    assert options == {"events": {"view": 1, "add_to_cart": 3, "purchase": 10}}
    assert infer_values({"event": events}, COLUMNS, {"events": {"view": 2}})[0] == {}
    assert [event_weight(kind) for kind in ("pv", "addToCart", "Kauf", "dislike")] == [1, 3, 10, 0]


def test_value_counts_leave_out_nan() -> None:
    kinds, counts = value_counts(np.array([2, np.nan, 1, 2], dtype=np.float32))
    assert (kinds.tolist(), counts.tolist()) == ([1, 2], [1, 2])
