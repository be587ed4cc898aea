"""The encoder in a bundle: histories become vectors, are explained, and come back from a folder as they were."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recsys.bundle import TEST, TRAIN, VAL, Bundle, BundleError
from recsys.bundle.encoder_events import (
    KNOTS,
    RATING_LEVELS,
    TIME_LEVELS,
    events_of,
    kind_ratings,
    rating_levels,
    time_levels,
)
from recsys.bundle.encoder_fold_in import REASONS, EncoderFoldIn
from recsys.bundle.partner import Partner
from recsys.evaluation.evaluate import evaluate_ranking
from serve.models.person import Person
from tests.bundles import (
    encoder_bundle,
    events_bundle,
    make_bundle,
    random_encoder,
    random_factors,
    rewritten,
    stars_bundle,
)


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return encoder_bundle()


def test_levels_cover_every_scale_and_time() -> None:
    assert rating_levels(np.array([0, 0.25, 0.5, 0.75, 1])).tolist() == [1, 3, 5, 8, 10]
    assert len(set(rating_levels(np.arange(10) / 9))) == RATING_LEVELS  # half stars
    assert time_levels(np.array([-5, 0, 1, 2, 3, 60, 86_400])).tolist() == [1, 1, 2, 3, 4, 9, 23]
    assert time_levels(np.array([10 * 365 * 86_400, 2**60])).tolist() == [38, TIME_LEVELS]


def test_gaps_and_ages_are_each_user_s_own() -> None:
    found = events_of(np.arange(5), None, np.array([100, 100, 160, 7, 10]), np.array([0, 3]))
    assert found.gap.tolist() == [0, *time_levels(np.array([0, 60])), 0, *time_levels(np.array([3]))]
    assert found.age.tolist() == [*time_levels(np.array([0, 0, 60, 0, 3]))]
    assert found.rating.tolist() == [0] * 5
    unknown = events_of(np.arange(5), np.ones(5), None, np.array([0, 3]))
    assert (unknown.gap.tolist(), unknown.age.tolist(), unknown.time) == ([0] * 5, [0] * 5, None)


def test_a_fold_in_of_the_fitted_ratings_is_the_row_and_order_and_times_count(bundle: Bundle) -> None:
    row = bundle.factors.user_factors[0, 0]
    ratings, times = {103: 5.0, 101: 4.0}, {103: 10**9, 101: 10**9 + 5000}
    np.testing.assert_allclose(bundle.fold_in(ratings, times=times).vector.factors[0], row, atol=1e-6)
    backwards = dict(reversed(ratings.items()))
    np.testing.assert_allclose(bundle.fold_in(backwards, times=times).vector.factors[0], row, atol=1e-6)
    others = [
        bundle.fold_in(backwards),
        bundle.fold_in(ratings),
        bundle.fold_in(ratings, times=times | {103: 10**8}),
        bundle.fold_in({103: 5.0, 101: 3.0}, times=times),
    ]
    for other in others:
        assert np.abs(other.vector.factors[0] - row).max() > 0.01


def test_only_the_latest_events_are_read(bundle: Bundle) -> None:
    assert bundle.encoder is not None
    ids = list(range(100, 110))
    long, short = (bundle.fold_in(dict.fromkeys(some, 4.0)) for some in (ids, ids[-bundle.encoder.max_length :]))
    np.testing.assert_allclose(long.vector.factors, short.vector.factors, atol=1e-5)


def test_somebody_without_ratings_is_the_average_user(bundle: Bundle) -> None:
    for ratings in ({}, {999: 5.0}):
        folded = bundle.fold_in(ratings)
        assert not folded.vector.factors.any()
        assert folded.contributions(np.array([0, 1]))[1].shape == (2, 0)
    everybody, nobody = (bundle.recommend(user, 3, exclude_seen=False) for user in (40, 4711))
    assert everybody == nobody  # 40 was not fitted


def test_many_vectors_are_those_of_each(bundle: Bundle) -> None:
    item, rating = np.arange(10), np.linspace(1, 5, 10, dtype=np.float32)
    time, known = 10**9 + 777 * np.arange(10), np.array([0, 0, 1, 2, 5, 6, 7, 7, 10])
    places: list[int] = []
    for piece, vectors in bundle.running_vectors(item, rating, known, None, time):
        rows = list(range(len(known)))[piece]
        places += rows
        of_rows = np.broadcast_to(vectors.factors, (len(rows), 1, 8))
        for n, factors in zip(known[rows], of_rows, strict=True):
            alone = bundle.fold_in_rows(item[:n], rating[:n], time=time[:n]).vector
            np.testing.assert_allclose(factors, alone.factors, atol=1e-5)
    assert places == list(range(9))


@pytest.mark.parametrize("rated", [1, 3])
def test_lists_are_asked_for_before_the_first_event_too(rated: int) -> None:
    """Somebody's first row is a case without a history: the average user's list."""
    rows = [(0, 3, 5.0, TRAIN), (1, 1, 2.0, TRAIN), *((2, item, 4.0, TEST) for item in range(rated))]
    made = encoder_bundle(rated=rows, split="global_time", fit_on="train")
    for targets, cases in (("last", 1), ("next", rated)):
        assert evaluate_ranking(made, targets)[f"ranking_{targets}/cases"] == cases


def test_people_who_are_encoded_together_are_as_each_alone(bundle: Bundle) -> None:
    rng = np.random.default_rng(0)
    histories = [rng.permutation(12)[: 1 + n % 11] for n in range(20)]
    together, alone = (
        [bundle.fold_in_rows(item, np.full(len(item), 3, np.float32)) for item in histories] for _ in range(2)
    )
    people = [one for one in together if isinstance(one, EncoderFoldIn)]
    assert len(people) == 20
    assert not any(one.is_encoded for one in people)
    EncoderFoldIn.encode_together(people)
    for one, other in zip(people, alone, strict=True):
        assert one.is_encoded
        np.testing.assert_allclose(one.vector.factors, other.vector.factors, atol=1e-5)


def test_reasons_are_what_the_score_loses_without_an_event(bundle: Bundle) -> None:
    ratings = {103: 5.0, 101: 4.0, 105: 2.0}
    explained = bundle.explain(bundle.fold_in(ratings), 110)
    row = bundle.item_row[110]
    for reason in explained.reasons:
        others = bundle.fold_in({item: stars for item, stars in ratings.items() if item != reason.item_id})
        lost = explained.score - float(bundle.factors.predict_for(others.vector, row).mean())
        assert reason.contribution == pytest.approx(lost, abs=1e-5)
    parts = explained.base + sum(reason.contribution for reason in explained.reasons) + explained.remainder
    assert explained.score == pytest.approx(parts, abs=1e-5)


def test_reasons_of_a_fitted_user_are_what_training_knew(bundle: Bundle) -> None:
    """A held-out event, which the user's row does not know, would be the strongest of all."""
    rows = [(0, 3, 5.0, TRAIN), (0, 1, 4.0, TRAIN), (0, 5, 4.0, VAL), (0, 7, 1.0, TEST), (1, 1, 2.0, TRAIN)]
    made = {fit_on: encoder_bundle(rated=rows, fit_on=fit_on) for fit_on in ("train", "train_val", "all")}
    for fit_on, known in (("train", 2), ("train_val", 3), ("all", 4)):
        assert made[fit_on].fold_in_user(0).items.tolist() == [3, 1, 5, 7][:known]
        reasons = made[fit_on].explain(made[fit_on].user_ids[0].item(), 110).reasons
        assert {one.item_id for one in reasons} == set([103, 101, 105, 107][:known])


def test_many_people_are_encoded_in_pieces(monkeypatch: pytest.MonkeyPatch, bundle: Bundle) -> None:
    monkeypatch.setattr("recsys.bundle.encoder.ROWS", 12)
    test_people_who_are_encoded_together_are_as_each_alone(bundle)


def test_only_the_latest_events_are_explained(monkeypatch: pytest.MonkeyPatch, bundle: Bundle) -> None:
    monkeypatch.setattr("recsys.bundle.encoder_fold_in.REASONS", 2)
    assert REASONS > 2
    folded = bundle.fold_in(dict.fromkeys(range(100, 105), 4.0))
    _, parts = folded.contributions(np.array([7, 8]))
    assert not parts[:, :3].any()
    assert (parts[:, 3:] != 0).all()


def test_a_bundle_comes_back_as_it_was(tmp_path: Path, bundle: Bundle) -> None:
    bundle.save(tmp_path / "bundle")
    again = Bundle.load(tmp_path / "bundle")
    assert again.encoder is not None
    assert bundle.encoder is not None
    assert again.encoder.settings == bundle.encoder.settings
    for name, array in bundle.encoder.arrays().items():
        np.testing.assert_array_equal(again.encoder.arrays()[name], array)
    assert again.recommend(10, 5) == bundle.recommend(10, 5)
    assert again.manifest["schema_version"] == 6


@pytest.fixture(scope="module")
def stars() -> Bundle:
    return stars_bundle()


def test_of_stars_what_comes_out_is_added_to_the_fold_in(stars: Bundle) -> None:
    plain = replace(stars, encoder=None, manifest=stars.manifest | {"fold_in": "ridge"})
    ratings = {103: 5.0, 101: 4.0, 107: 2.0}
    ours, theirs = stars.fold_in(ratings).vector, plain.fold_in(ratings).vector
    assert ours.factors.shape == theirs.factors.shape == (3, 4)
    rows = np.array([3, 1, 7])
    events = events_of(rows, np.array([1.0, 0.75, 0.25], np.float32), None, np.zeros(1, np.int64))
    assert stars.encoder is not None
    assert stars.encoder.slope is not None
    said = stars.encoder.vector(stars.factors.concatenated_items, events).reshape(3, 5)
    added = said * np.interp(np.log2(3), np.arange(KNOTS), stars.encoder.slope)
    np.testing.assert_allclose(ours.factors - theirs.factors, added[:, :-1], atol=1e-5)
    np.testing.assert_allclose(ours.bias - theirs.bias, added[:, -1], atol=1e-5)
    assert np.abs(added).max() > 0.01
    nobody = stars.fold_in({}).vector
    np.testing.assert_array_equal(nobody.factors, plain.fold_in({}).vector.factors)
    assert nobody.cold_start
    assert not ours.cold_start


def test_reasons_of_stars_have_both_parts(stars: Bundle) -> None:
    ratings = {103: 5.0, 101: 4.0, 105: 2.0}
    folded = stars.fold_in(ratings)
    assert isinstance(folded, EncoderFoldIn)
    assert folded.solved is not None
    targets = np.array([8, 9, 2])
    base, parts = folded.contributions(targets)
    plain_base, plain_parts = folded.solved.contributions(targets)
    np.testing.assert_array_equal(base, plain_base)
    for place, left_out in enumerate(ratings):
        others = stars.fold_in({item: given for item, given in ratings.items() if item != left_out})
        assert isinstance(others, EncoderFoldIn)
        lost = (folded.encoded - others.encoded).reshape(3, 5)
        wanted = (stars.factors.item_factors[targets] * lost[:, :-1]).sum(2) + lost[:, -1]  # (targets, samples)
        np.testing.assert_allclose(parts[:, place] - plain_parts[:, place], wanted.mean(1), atol=1e-5)


def test_many_vectors_of_stars_are_those_of_each(stars: Bundle) -> None:
    item, rating, known = np.arange(10), np.linspace(1, 5, 10, dtype=np.float32), np.array([0, 1, 2, 5, 7, 10])
    places: list[int] = []
    for piece, vectors in stars.running_vectors(item, rating, known):
        rows = list(range(len(known)))[piece]
        places += rows
        for place, n in enumerate(known[rows]):
            alone = stars.fold_in_rows(item[:n], rating[:n]).vector
            bias, factors = (
                array if array.ndim == alone_array.ndim else array[place]
                for array, alone_array in ((vectors.bias, alone.bias), (vectors.factors, alone.factors))
            )
            np.testing.assert_allclose(factors, alone.factors, atol=1e-4)
            np.testing.assert_allclose(bias, alone.bias, atol=1e-4)
    assert places == list(range(len(known)))


def test_a_bundle_of_stars_comes_back_as_it_was(tmp_path: Path, stars: Bundle) -> None:
    stars.save(tmp_path / "bundle")
    again = Bundle.load(tmp_path / "bundle")
    ratings = {103: 5.0, 101: 4.0}
    assert again.recommend(again.fold_in(ratings), 5) == stars.recommend(stars.fold_in(ratings), 5)
    assert again.predict([10], [103]) == stars.predict([10], [103])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"user_mean": np.zeros(8, np.float32)}, "encoder_user_mean must be absent from an encoder of task rating"),
        ({"slope": np.ones(5, np.float32)}, "encoder_slope must have 11 numbers, got 5"),
        ({"slope": -np.ones(11, np.float32)}, "encoder_slope must be in"),
        ({"level": None}, "encoder_level is missing in an encoder of task rating"),
        (
            {"output": np.zeros((8, 13), np.float32), "output_shift": np.zeros(13, np.float32)},
            "the encoder must give users of 15 numbers, got 13",
        ),
    ],
)
def test_arrays_of_another_task_are_refused(
    tmp_path: Path, stars: Bundle, changed: dict[str, Any], message: str
) -> None:
    assert stars.encoder is not None
    with pytest.raises(BundleError, match=message):
        replace(stars, encoder=replace(stars.encoder, **changed)).save(tmp_path / "bundle")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"heads": 3}, "encoder.heads must divide 4 pairs of coordinates, got 3"),
        ({"heads": 0}, "the manifest's encoder is not valid"),
        ({"max_length": True}, "the manifest's encoder is not valid"),
        ({"has_times": 1}, "the manifest's encoder is not valid"),
    ],
)
def test_a_setting_that_does_not_fit_is_named(tmp_path: Path, bundle: Bundle, settings: dict, message: str) -> None:
    assert bundle.encoder is not None
    bundle.save(tmp_path / "bundle")
    rewritten(tmp_path / "bundle", encoder=bundle.encoder.settings | settings)
    with pytest.raises(BundleError, match=message):
        Bundle.load(tmp_path / "bundle")


def test_every_kind_of_event_has_a_level() -> None:
    assert kind_ratings([]) == {}
    for n in range(1, RATING_LEVELS + 1):
        ratings = kind_ratings([f"kind {number}" for number in range(n)])
        levels = [int(rating_levels(np.array([rating]))[0]) for rating in ratings.values()]
        assert len(set(levels)) == n
        assert max(levels) == RATING_LEVELS


def test_kinds_of_events_are_given_by_name(tmp_path: Path) -> None:
    events_bundle().save(tmp_path / "bundle")
    bundle = Bundle.load(tmp_path / "bundle")
    assert bundle.is_implicit
    assert bundle.kind_ratings == {"view": 0.0, "cart": 0.5, "purchase": 1.0}
    named, plain = bundle.fold_in({103: "view", 101: "cart"}), bundle.fold_in({103: 1, 101: 1})
    stars = np.array([0, 0.5], np.float32)
    np.testing.assert_array_equal(named.vector.factors, bundle.fold_in_rows(np.array([3, 1]), stars).vector.factors)
    assert np.abs(named.vector.factors - plain.vector.factors).max() > 1e-3
    with pytest.raises(TypeError, match="rating of item 103 must be a number, or a kind such as view, got 'v"):
        bundle.fold_in({103: "vew"})
    with pytest.raises(TypeError, match="rating of item 103 must be a number, got 'view'"):
        encoder_bundle().fold_in({103: "view"})


@pytest.mark.parametrize("events", [["view", "view"], ["view", 1], "view", [""], ["a\nb"], ["v" * 65]])
def test_invalid_kinds_are_refused(tmp_path: Path, events: object) -> None:
    bundle = events_bundle()
    bundle.save(tmp_path / "bundle")
    rewritten(tmp_path / "bundle", events=events)
    with pytest.raises(BundleError, match="the manifest's events is not valid"):
        Bundle.load(tmp_path / "bundle")
    with pytest.raises(BundleError, match="the manifest's events is not valid"):  # nothing reads them
        make_bundle(random_factors(), [1, 2, 3, 4], list(range(12)), events=["view"]).save(tmp_path / "other")
    with pytest.raises(BundleError, match="the manifest's events is not valid"):  # there are stars
        encoder_bundle(events=["view"]).save(tmp_path / "other")


def test_parts_that_do_not_fit_are_named(tmp_path: Path, bundle: Bundle) -> None:
    assert bundle.encoder is not None
    plain = make_bundle(random_factors(dim=8), [1, 2, 3, 4], list(range(12)))
    wrong = {
        "the arrays of an encoder belong to fold_in encoder": replace(plain, encoder=bundle.encoder),
        "the encoder must read items of 8 numbers, got 16": replace(bundle, encoder=random_encoder(16)),
        "encoder_norm must be in": replace(bundle, encoder=replace(bundle.encoder, norm=bundle.encoder.norm * 1e9)),
        "an encoder needs 11 levels of ratings and 41 of times, got 5 and 41": replace(
            bundle, encoder=replace(bundle.encoder, rating=bundle.encoder.rating[:5])
        ),
    }
    for message, made in wrong.items():
        with pytest.raises(BundleError, match=message):
            made.save(tmp_path / "bundle")


def test_it_orders_the_lists_of_another_bundle_by_stars_and_times(bundle: Bundle) -> None:
    stars = make_bundle(random_factors(n_users=2), [70, 80], list(range(100, 112)), rating_scale=[0.5, 3.0])
    partner, history = Partner(stars, bundle), np.array([3, 1])
    given, time = np.array([3.0, 0.5], np.float32), np.array([10**9, 10**9 + 60])
    folded = bundle.fold_in_rows(history, np.array([5.0, 1.0], np.float32), time=time)
    np.testing.assert_allclose(
        partner.scores(None, history, None, given, time), bundle.factors.scores(folded.vector), atol=1e-5
    )
    someone = stars.fold_in({103: 3.0, 101: 0.5}, times={103: 10**9, 101: 10**9 + 60})
    scores = bundle.factors.scores(folded.vector)
    wanted = [100 + row for row in np.argsort(-scores) if row not in history]
    assert [one.item_id for one in stars.recommend(someone, 3, rank_with=partner)] == wanted[:3]
    assert Person(stars, -1, given=someone).told[2].tolist() == time.tolist()
    highest = bundle.fold_in_rows(history, np.array([5.0, 5.0], np.float32))
    np.testing.assert_allclose(partner.scores(None, history), bundle.factors.scores(highest.vector), atol=1e-5)
