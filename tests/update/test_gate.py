"""The comparison of two versions on what came after both."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from recsys.bundle import Bundle
from recsys.events.merge import merge_ratings
from recsys.update.gate import NOTHING, Verdict, compare
from recsys.update.solve import updated
from tests.bundles import history_factors
from tests.update.small import STARS, both_sides, bundle_of, events

OLD = [(10 + user, 101 + user % 4, 3.0) for user in range(12)]
NEW = [(10 + user, 105 + user % 3, 5.0) for user in range(12)]


def compared(bundle: Bundle, candidate: Bundle | None = None) -> Verdict:
    known = merge_ratings(bundle, events(*OLD))
    after = merge_ratings(bundle, [*events(*OLD), *events(*NEW, first=13, time=6000)])
    return compare(bundle, updated(bundle, known) if candidate is None else candidate, known, after)


def test_losses_are_those_of_fold_ins_of_earlier_ratings() -> None:
    bundle = bundle_of(both_sides(samples=2))
    verdict = compared(bundle, bundle)
    after = merge_ratings(bundle, [*events(*OLD), *events(*NEW, first=13, time=6000)])
    squares = []
    for user, item, rating in NEW:
        row = bundle.user_row[user]
        entries = after.ratings.slice_of(row)
        times = after.ratings.timestamp
        assert times is not None
        earlier = np.arange(entries.start, entries.stop)[times[entries] < 6000]
        folded = bundle.fold_in_rows(after.ratings.item[earlier], after.ratings.rating[earlier])
        squares.append((float(bundle.predict(folded, [item])[0]) - rating) ** 2)
    assert verdict.ratings == verdict.users == 12
    assert verdict.champion == verdict.candidate == pytest.approx(np.mean(squares), rel=1e-4)
    assert verdict.low == verdict.high == 0
    assert verdict.passed


def test_a_worse_candidate_does_not_pass() -> None:
    bundle = bundle_of(both_sides())
    worse = replace(bundle, factors=replace(bundle.factors, mu=bundle.factors.mu - 2))
    # The level is not folded in with a user's bias of a strong prior.
    strong = replace(bundle.factors, prior_precision=bundle.factors.prior_precision * 1e4)
    bundle, worse = (replace(one, factors=replace(strong, mu=one.factors.mu)) for one in (bundle, worse))
    verdict = compared(bundle, worse)
    assert verdict.low is not None
    assert verdict.low > 0
    assert not verdict.passed
    assert "95% +" in str(verdict)
    assert compared(worse, bundle).passed


def test_what_is_no_number_does_not_pass() -> None:
    assert not Verdict(9, 9, 1.0, float("nan"), None, None).passed


def test_few_users_have_no_interval_and_none_nothing_to_compare() -> None:
    bundle = bundle_of(both_sides())
    known, after = merge_ratings(bundle, []), merge_ratings(bundle, events(*NEW[:4]))
    verdict = compare(bundle, bundle, known, after)
    assert (verdict.low, verdict.passed) == (None, True)
    assert "too few users" in str(verdict)
    assert compare(bundle, bundle, known, known) is NOTHING
    assert str(NOTHING) == "nothing to compare on"


def test_events_that_do_not_count_are_not_in_the_window() -> None:
    """One that is older than the bundle's rating of the same item, or says the same again."""
    bundle = bundle_of(both_sides())
    item = int(bundle.item_ids[bundle.seen(0)[0]])
    known = merge_ratings(bundle, [])
    assert compare(bundle, bundle, known, merge_ratings(bundle, events((10, item, 5.0), time=5))) is NOTHING


def test_users_and_items_are_found_by_their_ids() -> None:
    """A refit has its rows in another order, and rows for those whom the champion does not know."""
    bundle = bundle_of(both_sides())
    after = merge_ratings(bundle, events(*OLD, (99, 700, 4.0), (99, 101, 2.0)))
    turned = replace(
        bundle,
        item_ids=bundle.item_ids[::-1],
        factors=replace(bundle.factors, **{
            name: array[::-1] for name, array in bundle.factor_arrays().items() if name in ("item_bias", "item_factors")
        }),
    )  # fmt: skip
    verdict = compare(bundle, turned, merge_ratings(bundle, []), after)
    assert verdict.champion == pytest.approx(verdict.candidate, rel=1e-5)
    assert verdict.ratings == 14


@pytest.mark.parametrize("options", [{"levels": STARS}, {"drift": True, "noisy": True}], ids=str)
def test_other_models(options: dict[str, Any]) -> None:
    bundle = bundle_of(both_sides(**options), link="ordinal" if "levels" in options else "identity")
    assert compared(bundle).ratings == 12


def test_a_ranking_model_loses_where_it_puts_others_above_the_chosen_item() -> None:
    factors = both_sides()
    popular = np.linspace(2, -2, 9, dtype=np.float32)[:, None]
    factors = replace(factors, item_bias=popular, item_factors=0 * factors.item_factors)
    bundle = bundle_of(factors, task="ranking", rating_scale=[0.0, 5.0], fold_in_target=1.0)
    turned = replace(bundle, factors=replace(factors, item_bias=-popular))
    verdict = compared(bundle, turned)  # which items 105 to 107 were chosen, the seventh and so on by the first
    assert verdict.champion > 0.5 > verdict.candidate


def test_a_history_goes_on_from_one_choice_to_the_next() -> None:
    """Who chose 101 to 104 before chooses 105 to 107: weights that lead there win against those that lead away."""
    weights = np.zeros((9, 9))
    weights[1:5, 5:8] = 1.0
    manifest = {"task": "ranking", "fold_in": "items"}
    champion, candidate = (
        bundle_of(history_factors(n_users=12, n_items=9, weights=sign * weights), **manifest) for sign in (-1, 1)
    )
    verdict = compared(champion, candidate)
    assert verdict.champion > 0.5 > verdict.candidate
