"""The distance to a full refit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from recsys.events.merge import merge_ratings
from recsys.update import distance
from recsys.update.distance import estimated_distance, measured_distance, random_pairs
from recsys.update.solve import updated
from tests.update.small import both_sides, bundle_of


def test_pairs_are_drawn_by_seed() -> None:
    bundle = bundle_of(both_sides())
    assert random_pairs(bundle, 50, seed=1) == random_pairs(bundle, 50, seed=1) != random_pairs(bundle, 50, seed=2)
    assert set(random_pairs(bundle)[1]) == set(bundle.item_ids.tolist())


def test_the_measured_distance_is_the_rms_difference_of_predictions() -> None:
    bundle = bundle_of(both_sides())
    factors = replace(bundle.factors, mu=bundle.factors.mu + np.float32(0.01))
    near = replace(bundle, factors=factors)
    assert measured_distance(bundle, near, random_pairs(bundle)) == pytest.approx(0.01, rel=0.1)
    assert measured_distance(bundle, bundle, random_pairs(bundle)) == 0


def test_what_a_refit_would_not_move_is_at_no_distance() -> None:
    bundle = bundle_of(both_sides(samples=2))
    everything = replace(merge_ratings(bundle, []), touched_users=np.arange(12), touched_items=np.arange(9))
    moved, settled = (updated(bundle, everything, sweeps=sweeps) for sweeps in (1, 200))
    assert estimated_distance(settled, 1.0).stars < 0.02 * estimated_distance(moved, 1.0).stars
    assert estimated_distance(moved, 1.0).error > 0


def test_the_distance_is_in_proportion_to_the_first_step() -> None:
    bundle = bundle_of(both_sides(), fit_on="train")
    once, thrice = (estimated_distance(bundle, ratio).stars for ratio in (1.0, 3.0))
    assert thrice == pytest.approx(3 * once)


def test_the_noise_of_draws_is_no_distance() -> None:
    factors = both_sides(samples=30, noisy=True)
    bundle = bundle_of(replace(factors, precision=np.full(30, 0.3, np.float32)))
    everything = replace(merge_ratings(bundle, []), touched_users=np.arange(12), touched_items=np.arange(9))
    settled = updated(bundle, everything, sweeps=15)
    assert estimated_distance(settled, 1.0).stars < 0.3 * estimated_distance(bundle, 1.0).stars


def test_what_is_lost_in_noise_is_not_certain(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mean square below that of noise is no proof of a distance of 0."""
    bundle = bundle_of(both_sides(samples=2, noisy=True))
    noise = np.random.default_rng(0).standard_normal((12, 9))
    monkeypatch.setattr(distance, "in_threads", lambda *_: [noise, -noise])
    found = estimated_distance(bundle, 1.0)
    assert found.stars == 0
    assert found.error > 0.1
