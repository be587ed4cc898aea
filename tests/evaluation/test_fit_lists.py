"""The order of lists, learned from validation rows of made data whose answer is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from recsys.bundle import TRAIN, VAL, Bundle
from recsys.bundle.ranking import is_valid
from recsys.evaluation.fit_lists import fit_lists, sentence, with_lists
from tests.bundles import make_bundle, random_factors

USERS, ITEMS = 200, 60


def two_tastes(samples: int = 1, picks: int = 2) -> Bundle:
    """Users of even rows pick items of one genre, those of odd rows of the other; predicted stars are noise."""
    rng = np.random.default_rng(0)
    rated = []
    for user in range(USERS):
        items = rng.permutation(np.arange(user % 2, ITEMS, 2))[: 8 + picks]
        parts = [TRAIN] * 8 + [VAL] * picks
        rated += [(user, int(item), 3.0, part) for item, part in zip(items, parts, strict=True)]
    factors = random_factors(n_users=USERS, n_items=ITEMS, samples=samples)
    bundle = make_bundle(factors, list(range(USERS)), list(range(ITEMS)), rated, fit_on="train")
    for row, about in enumerate(bundle.items):
        about["genres"] = [["Drama", "War"][row % 2]]
    return bundle


@pytest.mark.parametrize("samples", [1, 3])
def test_what_explains_the_picks_gets_the_weight_and_the_best_order_is_the_default(samples: int) -> None:
    bundle = two_tastes(samples)
    found = fit_lists(bundle)
    assert found is not None
    assert is_valid(found)
    assert found["weights"]["genre"] > 1
    assert abs(found["weights"]["gain"]) < 0.5
    assert found["rank_by"] == "liking" == max(found["ndcg"], key=found["ndcg"].get)
    assert set(found["ndcg"]) == {"stars", "gain", "liking", *(["bound"] if samples > 1 else [])}
    assert "lists by liking (NDCG@10 on validation rows of 200 users: stars 0." in sentence(found)
    learned = with_lists(bundle, found)
    learned.check()
    best = [one.item_id for one in learned.recommend(3, 10)]
    assert all(item % 2 for item in best)


def test_too_few_rows_teach_nothing() -> None:
    bundle = two_tastes()
    few = bundle.ratings.part.copy()
    few[np.flatnonzero(few == VAL)[99:]] = TRAIN
    assert fit_lists(replace(bundle, ratings=bundle.ratings._replace(part=few))) is None
    assert with_lists(bundle, None) is bundle
    ranks = replace(bundle, manifest=bundle.manifest | {"task": "ranking"})
    assert fit_lists(ranks) is None
    assert with_lists(ranks, {"rank_by": "stars"}) is ranks


def test_a_model_fitted_on_the_rows_is_refused() -> None:
    bundle = two_tastes()
    with pytest.raises(ValueError, match="not fitted on validation rows"):
        fit_lists(replace(bundle, manifest=bundle.manifest | {"fit_on": "train_val"}))


def test_a_compressed_posterior_has_no_bound() -> None:
    settings = {"rank_by": "bound", "ndcg": {"stars": 0.2, "gain": 0.1, "bound": 0.4, "liking": 0.3}}
    assert with_lists(two_tastes(), settings).manifest["ranking"]["rank_by"] == "liking"
    assert with_lists(two_tastes(3), settings).manifest["ranking"]["rank_by"] == "bound"
