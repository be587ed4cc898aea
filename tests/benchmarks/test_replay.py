"""The replay: its stream, what a version says of a step, and all of it in a short form."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.replay import __main__ as command
from benchmarks.replay.answers import Answer, compared
from benchmarks.replay.checks import checks
from benchmarks.replay.plan import POLICIES, SHORT
from benchmarks.replay.policies import is_done, keep, kept, step_of
from benchmarks.replay.processes import run_python
from benchmarks.replay.scores import earlier, folded, predict_pairs, score, with_stream
from benchmarks.replay.stream import Stream, movielens
from benchmarks.replay.summary import summary
from benchmarks.tables import replay_picture
from benchmarks.tables.picture import drawn_from
from benchmarks.tables.replay import replay as table_of_replay
from benchmarks.tables.results import Results
from recsys.bundle import Bundle
from recsys.files import write_json
from tests.bundles import make_bundle, random_factors

USERS, ITEMS, RATINGS, FITTED = 12, 40, 80, 50


@pytest.fixture
def stream() -> Stream:
    """Pairs in random order, of which two share each second; two users and two items come only after the fit."""
    random = np.random.default_rng(0)
    pairs = random.permutation([(user, item) for user in range(USERS) for item in range(ITEMS)])
    new = (pairs >= [USERS - 2, ITEMS - 2]).any(1)
    pairs = np.concatenate([pairs[~new][:FITTED], random.permutation([*pairs[~new][FITTED:], *pairs[new]])])[:RATINGS]
    stars = random.integers(1, 6, RATINGS).astype(np.float32)
    return Stream("made up", 10 * pairs[:, 0], 100 + pairs[:, 1], stars, np.arange(RATINGS) // 2,
                  np.array([FITTED, 60, 70, RATINGS]))  # fmt: skip


@pytest.fixture
def bundle() -> Bundle:
    """Of a model that was fitted on the first ratings of the stream."""
    factors = random_factors(n_users=USERS - 2, n_items=ITEMS - 2, dim=3)
    return make_bundle(factors, [10 * user for user in range(USERS - 2)], [100 + item for item in range(ITEMS - 2)])


@pytest.fixture
def ml_100k(shared: Callable[[str], Path]) -> str:
    return str(shared("ml-100k"))


def test_a_release_is_cut_in_time(ml_100k: str) -> None:
    whole, part = (movielens("ml-100k", ml_100k, 4, withheld=share) for share in (0.0, 0.1))
    assert whole.bounds.tolist() == [80_000, 85_000, 90_000, 95_000, 100_000]
    assert (np.diff(whole.timestamp) >= 0).all()
    assert np.array_equal(whole.item_id[whole.fitted :], part.item_id[part.fitted :])
    missing = np.setdiff1d(whole.item_id[: whole.fitted], part.item_id[: part.fitted])
    assert len(missing) == pytest.approx(0.1 * len(np.unique(whole.item_id)), abs=5)
    assert part.unseen_item().mean() > 5 * whole.unseen_item().mean()


def test_a_stream_is_kept(stream: Stream, tmp_path: Path) -> None:
    stream.save(tmp_path / "stream.npz")
    again = Stream.load(tmp_path / "stream.npz")
    assert again.name == stream.name
    assert all(np.array_equal(getattr(again, name), getattr(stream, name)) for name in vars(stream) if name != "name")


def test_each_rating_is_predicted_from_strictly_earlier_ones_of_its_user(stream: Stream, bundle: Bundle) -> None:
    found = score(stream, bundle, 1, stream.fitted, folds_in=True)
    for place, row in enumerate(range(60, 70)):
        for predicted, until in ((found.predicted, stream.timestamp[row]), (found.ahead, stream.timestamp[60])):
            past = (stream.user_id == stream.user_id[row]) & (stream.timestamp < until)
            known = {
                int(item): float(stars) for item, stars in zip(stream.item_id[past], stream.rating[past], strict=True)
            }
            assert predicted[place] == pytest.approx(
                bundle.predict(bundle.fold_in(known), [int(stream.item_id[row])])[0], abs=1e-4
            )


def test_what_is_frozen_stays_as_it_was_fitted(stream: Stream, bundle: Bundle) -> None:
    found = score(stream, bundle, 2, stream.fitted, folds_in=False)
    rows = stream.rows(2)
    expected = bundle.predict(stream.user_id[rows].tolist(), stream.item_id[rows].tolist())
    assert np.array_equal(found.predicted, expected)
    assert np.array_equal(found.ahead, expected)


def test_ratings_left_out_are_counted_from_the_cut() -> None:
    row = np.array([5, 5, 7, 5, 7, 7, 5])
    assert earlier(row, slice(4, 7), 1).tolist() == [1, 2, 2]
    assert earlier(row, slice(4, 7), 4).tolist() == [0, 1, 0]
    assert earlier(row, slice(4, 7), 7).tolist() == [0, 0, 0]


def test_pairs_are_the_same_for_all_versions(stream: Stream, bundle: Bundle) -> None:
    backwards = make_bundle(
        replace(bundle.factors, **{name: getattr(bundle.factors, name)[::-1] for name in
                                   ("user_bias", "user_factors", "item_bias", "item_factors")}),
        bundle.user_ids[::-1].tolist(), bundle.item_ids[::-1].tolist(),
    )  # fmt: skip
    one, other = (predict_pairs(stream, version, 60, 100) for version in (bundle, backwards))
    assert one == pytest.approx(other)


def test_a_step_is_kept(stream: Stream, bundle: Bundle, tmp_path: Path) -> None:
    step = step_of(stream, bundle, 0, stream.fitted, "folded")
    assert not is_done(tmp_path, "folded", 0)
    keep(tmp_path, "folded", 0, step)
    again = kept(tmp_path, "folded", 0)
    assert np.array_equal(again.scores.predicted, step.scores.predicted)
    assert (again.scores.ndcg, again.cpu_seconds) == (step.scores.ndcg, 0.0)


@pytest.fixture
def figures(stream: Stream, bundle: Bundle, tmp_path: Path) -> dict[str, Any]:
    """Of two replays in which all versions are the first one, and the service did all that is promised."""
    stream.save(tmp_path / "stream.npz")
    for policy in POLICIES:
        for number in range(stream.steps):
            step = step_of(stream, bundle, number, stream.fitted, policy)
            keep(tmp_path, policy, number, replace(step, cpu_seconds=2.0 if policy in ("updated", "full") else 0.0))
    for number in range(1, stream.steps):
        write_json(tmp_path / "steps" / f"distance-{number}.json", {"stars": 0.03})
    update = {"promoted": True, "distance": 0.02, "served_after": 3.0}
    live = {"updates": [update] * 2, "events_per_second": 9000, "compared": {"answers": 9, "largest_difference": 0.0}}
    books = {"questions": 9, "wrong_versions": 0, "wrong_answers": 0, "forgotten": 2, "traces": 0}
    found = summary(tmp_path) | live
    streams = [{"withheld": 0.0, **found, "bookkeeping": books}, {"withheld": 0.1, **found}]
    return {"data": "ml-1m", "steps": 3, "streams": streams, "git_commit": "0123", "date": "2026-11-29"}


def test_a_summary_is_of_all_that_arrived(figures: dict[str, Any], stream: Stream, bundle: Bundle) -> None:
    found = figures["streams"][0]
    scores = [score(stream, bundle, number, stream.fitted, folds_in=True) for number in range(stream.steps)]
    errors = np.concatenate([one.predicted for one in scores]) - stream.rating[FITTED:]
    folded_in = found["policies"]["folded"]
    assert folded_in["rmse"] == pytest.approx(np.sqrt(np.square(errors).mean()), abs=1e-5)
    unseen = stream.unseen_item()
    assert folded_in["rmse_unseen_items"] == pytest.approx(np.sqrt(np.square(errors[unseen]).mean()), abs=1e-5)
    assert folded_in["so_far"]["rmse"][0] == folded_in["by_step"]["rmse"][0]
    assert folded_in["so_far"]["rmse"][-1] == folded_in["rmse"]
    assert (found["ratings"], found["policies"]["updated"]["cpu_seconds"]) == (RATINGS - FITTED, 6.0)
    assert found["worse_than_refits"]["updated"]["all"] == [0.0] * 3
    assert found["distance_to_refits"] == [0.0] * 3
    assert found["moved_by_refits"] == [0.03] * 2


def test_what_does_not_hold_is_told(figures: dict[str, Any]) -> None:
    told = {check.what: check.holds for check in checks(figures)}
    assert [what for what, holds in told.items() if not holds] == ["the same: updates below users folded in alone"]
    figures["streams"][0]["bookkeeping"]["traces"] = 1
    figures["streams"][1]["compared"] = {"answers": 9, "largest_difference": 0.1}
    broken = [check.what for check in checks(figures) if not check.holds]
    assert [what.partition(" ")[0] for what in broken] == ["traces", "largest", "the"]


def test_table_and_picture(figures: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "replay-cpu-2core.json").write_text(json.dumps(figures))
    results = Results(tmp_path / "results")
    text = table_of_replay(results)
    rmse = figures["streams"][0]["policies"]["frozen"]["rmse"]
    assert f"| frozen | {rmse:.4f} |" in text
    assert "| 0.0000 | 0.0300 | 0.0200 | -0.0100 |" in text
    assert "| processor time of full refits to that of updates | 1.00× |" in text
    panels = replay_picture.panels(results)
    replay_picture.draw(panels, tmp_path / "replay.png")
    assert drawn_from(tmp_path / "replay.png") == replay_picture.digest(panels)


def test_answers_are_compared_with_the_library(stream: Stream, bundle: Bundle) -> None:
    stop = 70
    everything = with_stream(bundle, stream, slice(stop, stop))
    user = next(user for user in stream.user_id[60:stop].tolist()
                if (everything.seen(everything.user_row[user]) < bundle.n_items).all())  # fmt: skip
    vector = folded(everything, everything.user_row[user])
    rows, scores = everything.top_n(vector, 10, seen=everything.seen(everything.user_row[user]))
    listed = [str(bundle.item_ids[row]) for row in rows.tolist()]
    answer = Answer(0, "1", user, listed, scores.tolist(), 100 + ITEMS - 1, None)
    assert len(listed) > 1
    assert compared(stream, bundle, 60, stop, [answer]) == [0.0]
    off = [score + 0.01 for score in answer.scores]
    assert compared(stream, bundle, 60, stop, [answer._replace(scores=off)]) == pytest.approx([0.01])
    for others in ([*listed[1:], listed[0]], listed[1:]):
        other = answer._replace(items=others, scores=answer.scores[: len(others)])
        assert compared(stream, bundle, 60, stop, [other]) == [float("inf")]


def test_what_a_process_takes_and_why_it_failed() -> None:
    done = run_python("-c", "print(sum(range(10**6)))")
    assert done.output == "499999500000\n"
    assert 0 < done.cpu_seconds < 30
    with pytest.raises(SystemExit, match=r"ended with 3: what went wrong"):
        run_python("-c", "import sys; print('what went wrong'); sys.exit(3)")


@pytest.mark.slow
def test_everything_holds_in_a_short_replay(ml_100k: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["replay", "--short", "--ml-100k-root", ml_100k, "--work", str(tmp_path)])
    command.main()
    assert not (tmp_path / SHORT.name).exists()
