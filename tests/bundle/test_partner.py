"""Two bundles as one: a ranking bundle orders, the other tells stars."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from recsys.bundle import Bundle
from recsys.bundle.partner import Partner
from tests.bundles import history_factors, make_bundle, random_factors

RATED = [(user, item, float(1 + (user + item) % 5), 0) for user in range(4) for item in range(user, 12, 3)]
IDS = list(range(100, 112))


@pytest.fixture
def stars() -> Bundle:
    return make_bundle(random_factors(n_users=4, n_items=12), [1, 2, 3, 4], IDS, RATED)


@pytest.fixture
def ranks() -> Bundle:
    """The same data in another order of ids; items 100 and 101 are missing, user 4 is not fitted."""
    rated = [(user, IDS[2:].index(100 + item), 5.0, 0) for user, item, *_ in RATED if item > 1 and user < 3]
    factors = random_factors(n_users=3, n_items=10, seed=1)
    return make_bundle(factors, [1, 2, 3], IDS[2:], rated, task="ranking", fold_in_target=1.0)


def test_the_ranking_bundle_orders_and_the_other_tells_stars(stars: Bundle, ranks: Bundle) -> None:
    partner = Partner(stars, ranks)
    for user in (1, 2, 3):
        found = stars.recommend(user, 12, rank_with=partner)
        own = [one.item_id for one in ranks.recommend(user, 12)]
        assert [one.item_id for one in found if one.item_id > 101] == own
        lacking = [one.item_id for one in found[len(own) :]]
        assert lacking == [item for item in (100, 101) if item not in _seen(stars, user)]
        np.testing.assert_allclose([one.rating for one in found], stars.predict([user] * len(found), [
            one.item_id for one in found
        ]), rtol=1e-5)  # fmt: skip
        assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)


def _seen(bundle: Bundle, user: int) -> set[int]:
    return {IDS[item] for item in bundle.seen(bundle.user_row[user])}


def test_somebody_new_and_somebody_it_lacks_are_folded_in(stars: Bundle, ranks: Bundle) -> None:
    partner = Partner(stars, ranks)
    given = {103: 5.0, 107: 2.0}
    found = stars.recommend(stars.fold_in(given), 5, rank_with=partner)
    assert [one.item_id for one in found] == [
        one.item_id for one in ranks.recommend(ranks.fold_in(dict.fromkeys(given, 5.0)), 5)
    ]
    theirs = ranks.fold_in({item: 5.0 for item in sorted(_seen(stars, 4)) if item > 101})
    wanted = [one.item_id for one in ranks.recommend(theirs, 5)]
    assert [one.item_id for one in stars.recommend(4, 5, rank_with=partner)] == wanted


def test_histories_order_too(stars: Bundle) -> None:
    factors = history_factors(n_users=4)
    items = IDS[: len(factors.item_bias)]
    rated = [one for one in RATED if one[1] < len(items)]
    ranks = make_bundle(factors, [1, 2, 3, 4], items, rated, task="ranking", fold_in="items")
    found = stars.recommend(2, 5, rank_with=Partner(stars, ranks))
    assert [one.item_id for one in found] == [one.item_id for one in ranks.recommend(2, 5)]


def test_a_mix_adds_gain_and_rules_hold(stars: Bundle, ranks: Bundle) -> None:
    mixed = stars.recommend(1, 12, rank_with=Partner(stars, ranks, mix=1e4))
    by_gain = [one.item_id for one in stars.recommend(1, 12, rank_by="gain") if one.item_id > 101]
    assert [one.item_id for one in mixed if one.item_id > 101] == by_gain
    partner = Partner(stars, ranks)
    first = stars.recommend(1, 1, rank_with=partner)[0].item_id
    rules = stars.recommend(1, 12, rank_with=partner, exclude=[first], boost={111: 10.0}, diversity=0.2)
    assert first not in [one.item_id for one in rules]


def test_what_does_not_go_together_is_refused(stars: Bundle, ranks: Bundle) -> None:
    texts = replace(ranks, manifest=ranks.manifest | {"id_kind": "str"})
    others = make_bundle(random_factors(n_users=1, n_items=2), [1], [7, 8], task="ranking")
    for one, other, message in (
        (stars, stars, "bundle of a ranking model"), (ranks, ranks, "this one ranks"), (stars, texts, "one kind"),
        (stars, others, "no item"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            Partner(one, other)
    with pytest.raises(ValueError, match="rank_by must be left out with rank_with"):
        stars.recommend(1, rank_by="stars", rank_with=Partner(stars, ranks))
