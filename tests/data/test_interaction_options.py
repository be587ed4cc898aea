from __future__ import annotations

from typing import Any

import pytest

from recsys.data.interaction_options import InteractionOptions


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"user_column": None}, "user_column must be the name of a column, got null"),
        ({"item_column": ["a"]}, r"item_column must be the name or position of a column, got \['a'\]"),
        ({"user_column": True}, "user_column must be the name or position of a column, got True"),
        ({"user_column": 0, "rating_column": "0"}, "user_column and rating_column must differ, got '0' for both"),
        ({"weight_column": "n", "event_column": "n"}, "event_column and weight_column must differ, got 'n' for both"),
        ({"missing_as": "keep"}, "missing_as must be one of drop, implicit, got 'keep'"),
        ({"repeats": "last"}, "repeats must be one of auto, latest, first, sum, got 'last'"),
        ({"weight_scale": "sqrt"}, "weight_scale must be one of auto, linear, log, got 'sqrt'"),
        ({"bad_rows": "skip"}, "bad_rows must be one of error, drop, got 'skip'"),
        ({"timestamp_format": "days"}, "timestamp_format must be one of seconds, .* or a pattern .*, got 'days'"),
        ({"timestamp_format": "iso8601", "timestamp_column": None}, "timestamp_format=iso8601 needs timestamp_column"),
        ({"rating_min": 5, "rating_max": 1}, "rating_max must be > rating_min = 5, got 1"),
        ({"rating_min": "low"}, "rating_min must be a number, got 'low'"),
        ({"rating_max": float("nan")}, "rating_max must be finite, got nan"),
        ({"events": {"view": 1}, "event_column": None}, "events=.* needs event_column, which is null"),
        ({"events": {"view": -1}}, "events must have weights >= 0"),
        ({"events": {"view": 0}}, "events must have a weight > 0"),
        ({"events": {"view": "much"}}, "events must be weights such as"),
        ({"events": []}, "events must have weights"),
        ({"events": 5}, "events must be weights such as"),
        ({"missing": {"a": 1}}, "missing must be a value or a list of values"),
        ({"repeats": "sum", "rating_column": "stars"}, "repeats=sum adds weights of implicit feedback"),
    ],
)
def test_a_wrong_option_is_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        InteractionOptions(**options)


def test_what_is_set_is_what_inference_may_not_change() -> None:
    assert InteractionOptions().given() == {"missing_as": "drop", "bad_rows": "error"}
    options = InteractionOptions(
        user_column=0, timestamp_column=None, missing=99, events=["view", "buy"], rating_min=None, rating_max=5
    )
    assert options.given() == {
        "user_column": "0",
        "timestamp_column": None,
        "missing": [99],
        "missing_as": "drop",
        "rating_max": 5,
        "events": {"view": 1.0, "buy": 1.0},
        "bad_rows": "error",
    }
    assert InteractionOptions(missing=None, events=None).given() == {
        "missing": [],
        "missing_as": "drop",
        "bad_rows": "error",
    }
    assert InteractionOptions(missing="NA").missing_values == ("NA",)
