"""Lists are sorted by the score they show, which is the prediction."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from recsys.bundle import Bundle
from tests.bundles import make_bundle, random_factors

ITEMS = 60
HALVES = tuple(stars / 2 for stars in range(1, 11))


def wide(kind: str) -> Bundle:
    """A bundle whose linear parts leave the scale at both ends, sample by sample."""
    shape = {"several": {"samples": 5}, "ordinal": {"samples": 5, "noisy": True, "levels": HALVES}}.get(kind, {})
    factors = random_factors(n_users=4, n_items=ITEMS, **shape)  # type: ignore[arg-type]
    factors = replace(factors, item_bias=4 * factors.item_bias, user_factors=4 * factors.user_factors)
    options = {"link": "ordinal"} if kind == "ordinal" else {"task": "ranking"} if kind == "ranking" else {}
    return make_bundle(factors, [1, 2, 3, 4], list(range(ITEMS)), rating_scale=[0.5, 5.0], **options)


@pytest.mark.parametrize("kind", ["one", "several", "ordinal", "ranking"])
def test_scores_are_predictions_and_never_increase(kind: str) -> None:
    bundle = wide(kind)
    for who in (1, 4, 4711, bundle.fold_in({3: 5.0, 4: 0.5, 9: 4.0})):
        everything = bundle.recommend(who, ITEMS, exclude_seen=False)
        scores = [one.score for one in everything]
        assert scores == sorted(scores, reverse=True)
        ids = [one.item_id for one in everything]
        predicted = bundle.predict(who if not isinstance(who, int) else [who] * ITEMS, ids)
        np.testing.assert_allclose(scores, predicted, rtol=1e-5, atol=1e-5)
        for k in (1, 7, 30):
            assert bundle.recommend(who, k, exclude_seen=False) == everything[:k]
    assert kind == "ranking" or all(0.5 <= score <= 5 for score in scores)


def test_predictions_clipped_to_the_same_end_go_by_the_linear_part_then_by_row() -> None:
    bundle = wide("one")
    for user, (items, scores) in enumerate(bundle.top_items(np.arange(4), ITEMS)):
        linear = bundle.factors.scores(bundle.factors.user(user))
        assert items.tolist() == np.argsort(-linear, kind="stable").tolist()
        assert (scores[:2] == 5).all()  # there are some
    alike = replace(bundle.factors, item_bias=np.full_like(bundle.factors.item_bias, 9))
    alike = replace(alike, item_factors=np.zeros_like(alike.item_factors))
    assert [one.item_id for one in replace(bundle, factors=alike).recommend(1, 5)] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("k", [True, 2.0, "3", None, np.float32(1)], ids=repr)
def test_k_is_an_integer(k: object) -> None:
    bundle = wide("one")
    for ask in (lambda: bundle.recommend(1, k), lambda: bundle.similar_items(3, k)):  # type: ignore[arg-type]
        with pytest.raises(TypeError, match=r"k must be an integer >= 1, got "):
            ask()
    assert len(bundle.recommend(1, np.int64(3))) == 3  # type: ignore[arg-type]
