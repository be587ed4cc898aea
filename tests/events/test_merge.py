"""What counts of a bundle's ratings and later events."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from recsys.bundle import Bundle
from recsys.events import EventColumns, StoredEvent
from recsys.events.merge import MergedRatings, id_of, merge_events, merge_ratings, ratings_of, stars_of
from tests.bundles import events_bundle, make_bundle, random_factors

RATED = [(0, 0, 4.0, 0), (0, 1, 2.0, 1), (1, 0, 5.0, 2)]
TIMES = [100, 200, 150]


@pytest.fixture
def bundle() -> Bundle:
    return make_bundle(random_factors(n_users=2, n_items=3, dim=2), [1, 2], [10, 11, 12], RATED, TIMES)


def stored(*rows: tuple[str, str, str, float | None, int]) -> list[StoredEvent]:
    return [
        StoredEvent(seq, f"e{seq}", user, item, kind, rating, time, time)
        for seq, (user, item, kind, rating, time) in enumerate(rows, 1)
    ]


def columns(events: list[StoredEvent]) -> EventColumns:
    return EventColumns(
        np.array([one.seq for one in events], np.int64),
        [one.user_id for one in events],
        [one.item_id for one in events],
        [one.kind for one in events],
        np.array([one.rating for one in events], np.float64),
        np.array([one.timestamp for one in events], np.int64),
    )


def rows_of(merged: MergedRatings) -> list[tuple[object, object, float, int]]:
    rated = merged.ratings
    assert rated.timestamp is not None
    found = zip(rated.user_index(), rated.item, rated.rating, rated.timestamp, strict=True)
    return [
        (merged.user_ids[user].item(), merged.item_ids[item].item(), float(stars), int(time))
        for user, item, stars, time in found
    ]


def test_without_events_nothing_changes(bundle: Bundle) -> None:
    merged = merge_ratings(bundle, [])
    assert rows_of(merged) == [(1, 10, 4.0, 100), (1, 11, 2.0, 200), (2, 10, 5.0, 150)]
    assert len(merged.touched_users) == len(merged.touched_items) == 0
    assert (merged.ratings.part == 0).all()


def test_new_users_and_items_get_rows_after_the_known(bundle: Bundle) -> None:
    merged = merge_ratings(bundle, [columns(stored(("9", "77", "rating", 3.0, 50), ("1", "77", "rating", 1.0, 150)))])
    assert rows_of(merged) == [
        (1, 10, 4.0, 100), (1, 77, 1.0, 150), (1, 11, 2.0, 200), (2, 10, 5.0, 150), (9, 77, 3.0, 50),
    ]  # fmt: skip
    assert merged.touched_users.tolist() == [0, 2]
    assert merged.touched_items.tolist() == [3]


CASES = [
    pytest.param([("1", "10", "rating", 1.0, 100)], {10: 1.0, 11: 2.0}, id="of the same time the event counts"),
    pytest.param([("1", "10", "rating", 1.0, 99)], {10: 4.0, 11: 2.0}, id="an earlier time does not"),
    pytest.param([("1", "10", "withdrawal", None, 300)], {11: 2.0}, id="withdrawn"),
    pytest.param([("1", "10", "withdrawal", None, 50)], {10: 4.0, 11: 2.0}, id="withdrawn before it was said"),
    pytest.param(
        [("1", "10", "withdrawal", None, 300), ("1", "10", "rating", 3.0, 400)], {10: 3.0, 11: 2.0}, id="said again"
    ),
    pytest.param(
        [("1", "12", "rating", 3.0, 400), ("1", "12", "rating", 5.0, 300)], {10: 4.0, 11: 2.0, 12: 3.0}, id="late"
    ),
    pytest.param(
        [("1", "12", "rating", 3.0, 400), ("1", "12", "rating", 5.0, 400)], {10: 4.0, 11: 2.0, 12: 5.0}, id="by seq"
    ),
    pytest.param([("1", "12", "purchase", None, 400)], {10: 4.0, 11: 2.0}, id="a kind that has no stars"),
    pytest.param([("1", "12", "rating", 9.0, 400)], {10: 4.0, 11: 2.0}, id="off this bundle's scale"),
]


@pytest.mark.parametrize(("events", "expected"), CASES)
def test_the_latest_of_a_pair_counts(
    bundle: Bundle, events: list[tuple[str, str, str, float | None, int]], expected: dict[int, float]
) -> None:
    merged = merge_ratings(bundle, [columns(stored(*events))])
    assert {item: stars for user, item, stars, _ in rows_of(merged) if user == 1} == expected
    person = merge_events(
        bundle, ratings_of(bundle, 0), stored(*events), [bundle.item_row[int(one[1])] for one in events]
    )
    found = dict(zip(bundle.item_ids[person.item].tolist(), person.rating.tolist(), strict=True))
    assert found == expected
    assert (np.diff(person.timestamp) >= 0).all()


def test_a_person_and_the_training_set_agree_on_random_events(bundle: Bundle) -> None:
    draw = np.random.default_rng(0)
    time = lambda: int(draw.choice([90, 100, 150, 200, 201]))  # noqa: E731
    for _ in range(50):
        events = stored(
            *[
                (str(draw.integers(1, 4)), str(draw.integers(10, 13)), "withdrawal", None, time())
                if draw.random() < 0.3
                else (
                    str(draw.integers(1, 4)),
                    str(draw.integers(10, 13)),
                    "rating",
                    float(draw.integers(1, 6)),
                    time(),
                )
                for _ in range(12)
            ]
        )
        merged = merge_ratings(bundle, [columns(events[:5]), columns(events[5:])])
        for user, row in ((1, 0), (2, 1), (3, -1)):
            of = [one for one in events if one.user_id == str(user)]
            person = merge_events(
                bundle, ratings_of(bundle, row), of, [bundle.item_row[int(one.item_id)] for one in of]
            )
            found = zip(bundle.item_ids[person.item].tolist(), person.rating.tolist(), person.timestamp, strict=True)
            assert list(found) == [one[1:] for one in rows_of(merged) if one[0] == user]  # in the same order


def test_ids_of_another_kind_are_left_out(bundle: Bundle) -> None:
    merged = merge_ratings(bundle, [columns(stored(("ann", "10", "rating", 3.0, 50)))])
    assert merged.skipped == 1
    assert len(merged.user_ids) == 2


def test_what_ids_texts_stand_for() -> None:
    assert [id_of(text, "int") for text in ("7", "-7", "07", "+7", " 7", "1_0", "٧", "9" * 19)] == [
        7, -7, None, None, None, None, None, None,
    ]  # fmt: skip
    assert id_of("07", "str") == "07"


def test_a_choice_counts_for_implicit_feedback(bundle: Bundle) -> None:
    ranking = replace(
        bundle,
        manifest=bundle.manifest | {"task": "ranking"},
        ratings=bundle.ratings._replace(rating=np.full(3, 5, np.float32)),
    )
    assert stars_of("purchase", None, ranking) == 5.0
    assert stars_of("withdrawal", None, ranking) is None
    assert stars_of("purchase", None, bundle) is None


def test_events_may_be_told_one_after_another(bundle: Bundle) -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        said = [
            StoredEvent(
                seq, f"e{seq}", "1", "", "rating", float(rng.integers(1, 6)), int(rng.choice([90, 100, 201])), 0
            )
            for seq in range(6)
        ]
        rows = rng.integers(-1, 8, 6).tolist()
        wanted = merge_events(bundle, ratings_of(bundle, 0), said, rows)
        found = ratings_of(bundle, 0)
        for start, stop in ((0, 1), (1, 2), (2, 6)):
            found = merge_events(bundle, found, said[start:stop], rows[start:stop])
        for one, other in zip(found, wanted, strict=True):
            assert one.tolist() == other.tolist()  # also of equal times the last said is the last
        assert (np.diff(found.timestamp) >= 0).all()


@pytest.mark.parametrize("many", [False, True])  # more are merged together
def test_kinds_of_events_count_as_what_training_had_them_stand_for(many: bool) -> None:
    bundle = events_bundle()
    kinds = ["view", "purchase", "cart", "bookmark", "view"][: 5 if many else 3]
    events = stored(*(("20", str(107 - n), kind, None, 1_500_000_000 + n) for n, kind in enumerate(kinds)))
    wanted = [0, 0, 1, 0.5, 0][: len(kinds) + 1]  # a bookmark, which was in no training, says nothing
    found = merge_events(bundle, ratings_of(bundle, 1), events, [bundle.item_row[int(one.item_id)] for one in events])
    assert found.rating.tolist() == pytest.approx(wanted)
    merged = merge_ratings(bundle, [columns(events)]).ratings
    assert merged.rating[merged.slice_of(1)].tolist() == pytest.approx(wanted)
    for kind, rating in (("withdrawal", None), ("bookmark", None), ("choice", 1.0), ("rating", 1.0), ("cart", 0.5)):
        assert stars_of(kind, None, bundle) == rating
    named = replace(bundle, manifest=bundle.manifest | {"events": ["rating", "purchase"]})
    assert [stars_of(kind, None, named) for kind in ("choice", "rating", "purchase")] == [0.0, 0.0, 1.0]
    assert stars_of("rating", 1.0, bundle) == 1.0
