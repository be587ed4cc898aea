"""A bundle is proven before it serves."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from recsys.bundle import Bundle, BundleError
from serve.errors import ApiError
from serve.ids import IdIndex
from serve.info import sample_users
from serve.list_requests import RecommendationOptions
from serve.models.person import Person
from serve.models.served_model import ServedModel
from serve.predictor import predict, predict_many
from serve.recommender import recommend
from serve.schemas import RatingIn
from serve.settings import Settings
from tests.bundles import rewritten
from tests.serve.conftest import ITEMS, USERS, client_of, rich, save


def test_loading_tells_the_version(saved: Path) -> None:
    model = ServedModel.load(saved)
    assert len(model.version) == 12
    assert model.bundle.sha256 is not None
    assert model.bundle.sha256.startswith(model.version)


def test_a_service_holds_times_only_beside_a_database(small: Bundle, tmp_path: Path) -> None:
    timed = replace(small, ratings=small.ratings._replace(timestamp=np.arange(len(small.ratings.item))))
    timed.save(tmp_path / "bundle")
    assert Bundle.load(tmp_path / "bundle").ratings.timestamp is not None
    assert ServedModel.load(tmp_path / "bundle").bundle.ratings.timestamp is None
    live = ServedModel.load(tmp_path / "bundle", settings=Settings(database="sqlite:///live.db"))
    assert live.bundle.ratings.timestamp is not None


def test_another_manifest_is_another_version(saved: Path, tmp_path: Path) -> None:
    assert ServedModel.load(save(rich(seed=1), tmp_path / "b")).version != ServedModel.load(saved).version
    assert ServedModel.load(save(rich(), tmp_path / "c")).version == ServedModel.load(saved).version


@pytest.mark.parametrize(
    "file",
    ["manifest.json", "manifest.sha256", "factors.safetensors", "ids.safetensors", "ratings.safetensors", "items.json"],
)
@pytest.mark.parametrize("damage", ["gone", "cut", "altered", "empty", "a folder"])
def test_damaged_bundles_are_refused_with_a_sentence(saved: Path, file: str, damage: str) -> None:
    path = saved / file
    content = path.read_bytes()
    path.unlink()
    if damage == "a folder":
        path.mkdir()
    elif damage != "gone":
        half = len(content) // 2
        altered = content[:half] + bytes([content[half] ^ 1]) + content[half + 1 :]
        path.write_bytes({"cut": content[:-1], "altered": altered, "empty": b""}[damage])
    with pytest.raises(BundleError) as error:
        ServedModel.load(saved)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "sub/file", "extra.bin"])
def test_a_manifest_that_names_files_outside_is_refused(saved: Path, name: str) -> None:
    (saved.parent / "secret").write_text("secret")
    manifest = json.loads((saved / "manifest.json").read_text())
    rewritten(saved, files=manifest["files"] | {name: {"size": 6, "sha256": "0" * 64}})
    with pytest.raises(BundleError, match="no file of a bundle"):
        ServedModel.load(saved)


def test_impossible_answers_are_refused(saved: Path) -> None:
    bundle = rich(fold_in="none")
    huge = replace(bundle.factors, item_bias=np.full_like(bundle.factors.item_bias, -np.inf), mu=np.float32([np.inf]))
    with np.errstate(all="ignore"), pytest.raises(BundleError, match="test prediction"):
        ServedModel(replace(bundle, factors=huge)).probe(saved)


def test_duplicates_are_found_among_the_unfitted_too() -> None:
    model = ServedModel(rich())
    with pytest.raises(ApiError) as error:
        model.fold_in([RatingIn(item_id=item, rating=3.0) for item in ("900", "0900", "50", "050")])
    assert error.value.code == "duplicate_item"


def test_a_float_stands_for_its_digits_unless_a_text_is_spelled_like_it() -> None:
    index = IdIndex({"7": 0, "8": 1, "8.0": 2}, integers=False, rule="IDs must be strings")
    assert (index.row(7), index.row(7.0), index.row("7"), index.row(8), index.row("8.0")) == (0, 0, 0, 1, 2)
    for wrong in (8.0, 2.0**53 + 2, 10**19, float("inf"), float("nan"), "", "x" * 2049):
        with pytest.raises(ApiError, match=r"IDs must be strings|integers must be from"):
            index.row(wrong)


def test_many_pairs_with_errors_only() -> None:
    answers = predict_many(ServedModel(rich()), [("x", "50"), ("1", "4711")], {})
    assert [answer.rating for answer in answers] == [None, None]


def test_answers_are_json_also_with_odd_titles() -> None:
    model = ServedModel(rich())
    options = RecommendationOptions(k=1000, distribution=True)
    answer = json.loads(orjson.dumps(recommend(model, model.person("4711"), options)))
    assert {one["item_id"] for one in answer["recommendations"]} == {str(item) for item in ITEMS[:12]}
    assert any("\u2028" in one["title"] for one in answer["recommendations"])
    assert answer["cold_start"] is True


def test_example_users_are_fitted_and_rate_as_most_do() -> None:
    bundle = rich()
    first = sample_users(ServedModel(bundle))[0]
    means = [bundle.ratings.rating[bundle.ratings.slice_of(user)].mean() for user in range(bundle.n_users)]
    nearest = int(np.argmin(np.abs(np.array(means) - bundle.ratings.rating.mean())))
    assert first == str(bundle.user_ids[nearest])


def test_a_scale_that_float32_cannot_hold_is_kept_to_the_bound() -> None:
    """4.9 is 4.900000095 in float32: the probe lets it pass, and no answer shows it."""
    bundle = rich()
    high = replace(bundle.factors, mu=bundle.factors.mu + 100)
    served = ServedModel(replace(bundle, factors=high, manifest=bundle.manifest | {"rating_scale": [0.1, 4.9]}))
    served.probe(Path("bundle"))
    user, item = str(USERS[0]), str(ITEMS[0])
    assert predict(served, served.person(user), 0).rating == predict_many(served, [(user, item)], {})[0].rating == 4.9


def test_a_malformed_user_counts_before_an_unknown_item() -> None:
    pair = {"user_id": "abc", "item_id": "424242"}
    with client_of(rich()) as client:
        assert client.post("/predict/rating/", json=pair).json()["code"] == "invalid_id"
        [answer] = client.post("/predict/ratings/", json={"pairs": [pair]}).json()["predictions"]
        assert answer["error"]["code"] == "invalid_id"


def test_recommended_and_predicted_are_one_rating(bundles: dict[str, Bundle]) -> None:
    for bundle in bundles.values():
        if bundle.is_ranking:
            continue
        served = ServedModel(bundle)
        for user in list(served.users)[:4]:
            options = RecommendationOptions(k=50, exclude_seen=False)
            person = served.person(user)
            for one in recommend(served, person, options).recommendations:
                answer = predict(served, person, served.item_row(one.item_id))
                assert one.rating == pytest.approx(answer.rating, abs=1e-5)


@pytest.mark.parametrize("kind", [ArithmeticError, np.linalg.LinAlgError])
def test_what_cannot_be_computed_is_refused_at_load(
    saved: Path, monkeypatch: pytest.MonkeyPatch, kind: type[Exception]
) -> None:
    def fail(*_: Any) -> None:
        raise kind("no answer")

    monkeypatch.setattr(Bundle, "fold_in_rows", fail)
    with pytest.raises(BundleError, match="test prediction failed: no answer"):
        ServedModel.load(saved)


def test_lists_are_those_of_the_bundle_whatever_test_rows_say_of_items_that_were_not_fitted(tmp_path: Path) -> None:
    bundle = rich()
    served = ServedModel.load(save(bundle, tmp_path / "bundle"))
    np.testing.assert_array_equal(served.ranker.counts, bundle.ranker.counts)
    for user in bundle.user_ids[:5].tolist():
        person = Person(served.bundle, served.bundle.row_of_user(user))
        shown = recommend(served, person, RecommendationOptions(k=5)).recommendations
        assert [one.item_id for one in shown] == [str(one.item_id) for one in bundle.recommend(user, 5)]
