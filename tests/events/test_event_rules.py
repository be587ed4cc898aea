from __future__ import annotations

import pytest

from recsys.events.event_rules import EventRules
from tests.versions.conftest import of_users


def test_those_of_a_model() -> None:
    rules = EventRules.of(of_users(1, 2).manifest)
    assert rules.id("07", "user_id") == "7"
    rules.check_rating(1.0)
    with pytest.raises(ValueError, match=r"^item_id: ids of this data are integers, such as 50, got 'x'$"):
        rules.id("x", "item_id")
    for stars in (0.5, 5.1, float("nan")):
        with pytest.raises(ValueError, match=r"^rating must be in \[1, 5\], got "):
            rules.check_rating(stars)


def test_without_a_model_what_is_finite_is_a_rating() -> None:
    rules = EventRules()
    assert rules.id("07", "user_id") == "07"
    rules.check_rating(-300.0)
    for stars in (float("inf"), float("nan")):
        with pytest.raises(ValueError, match="rating must be a finite number"):
            rules.check_rating(stars)
