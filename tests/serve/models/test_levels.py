"""The ratings that are offered are those that people give."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from recsys.bundle.factors import Factors
from serve.models.catalogue import Catalogue
from tests.bundles import make_bundle


@pytest.mark.parametrize(
    ("scale", "stars", "levels"),
    [
        ([1, 5], [1, 2, 3, 5], [1, 2, 3, 4, 5]),
        ([0, 2], [0, 1, 2], [0, 1, 2]),
        ([0, 2], [0, 2], [0, 1, 2]),
        ([1, 5], [1, 5], [1, 2, 3, 4, 5]),
        ([0, 100], [0, 50, 100], [0, 50, 100]),
        ([0.5, 5], [0.5, 1, 4.5], [half / 2 for half in range(1, 11)]),
        ([1, 10], [1, 2, 10], list(range(1, 11))),
        ([1, 5], [2, 3], [1, 2, 3, 4, 5]),
        ([0, 5], [1.0, 1.5, 2.2], [1.0, 1.5, 2.2]),
        ([0, 1], [0.1, 0.2, 0.3], [tenth / 10 for tenth in range(11)]),
        ([0, 100], [0, 1, 100], None),
        ([13, 93], [13, 33, 93], [13, 33, 53, 73, 93]),
        ([-1, 1], [-1, 0, 1], [-1, 0, 1]),
        ([1, 10], [2, 4, 10], list(range(1, 11))),
        ([-11.2, 11.9], [-11.2, -11.1, 11.9], None),
        ([1, 5], [4, 4], None),
        ([1, 5], [], None),
    ],
)
def test_levels(two_by_three: Factors, scale: list[float], stars: list[float], levels: list[float] | None) -> None:
    rated = [(0, row % 3, value, 0) for row, value in enumerate(stars)]
    bundle = make_bundle(two_by_three, [1, 2], [1, 2, 3], rated, rating_scale=scale)
    assert Catalogue(bundle).levels == levels


def test_an_ordinal_model_says_its_levels(two_by_three: Factors) -> None:
    ordinal = replace(two_by_three, levels=np.array([1, 2, 5], np.float32))
    assert Catalogue(make_bundle(ordinal, [1, 2], [1, 2, 3], [(0, 0, 1.0, 0)])).levels == [1, 2, 5]


def test_implicit_feedback_has_none(two_by_three: Factors) -> None:
    rated = [(0, 0, 1.0, 0), (0, 1, 1.0, 0)]
    bundle = make_bundle(two_by_three, [1, 2], [1, 2, 3], rated, rating_scale=[0, 1], task="ranking")
    assert Catalogue(bundle).levels is None
