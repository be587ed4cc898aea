"""A service whose lists a ranking bundle orders: stars, intervals and reasons are those of the other."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from recsys.bundle import Bundle, BundleError
from recsys.bundle.partner import Partner
from recsys.events import EventLog
from serve.models.model_manager import ModelManager
from serve.models.pointer import write_pointer
from serve.models.served_model import ServedModel
from serve.settings import Settings
from tests.bundles import history_factors
from tests.serve.conftest import ITEMS, CheckedClient, client_of, rich, save


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Of a rating bundle and of histories on the same data."""
    ranks = replace(rich(task="ranking", fold_in="items", model="ease"), factors=history_factors(n_users=6))
    return save(rich(noise=0.9), tmp_path / "stars"), save(ranks, tmp_path / "ranks")


@pytest.fixture
def asked(folders: tuple[Path, Path]) -> Iterator[CheckedClient]:
    manager = ModelManager.from_settings(Settings(bundle=folders[0], rank_with=folders[1]))
    with client_of(manager, expose_user_ratings=True) as client:
        yield client


def test_the_order_is_that_of_python_and_all_else_of_the_other(
    asked: CheckedClient, folders: tuple[Path, Path]
) -> None:
    stars, ranks = (Bundle.load(folder) for folder in folders)
    partner = Partner(stars, ranks)
    for user in (1, 30, 405, 4711):
        answer = asked.get(f"/users/{user}/recommendations?k=100&explain=true").json()
        wanted = stars.recommend(user, 100, rank_with=partner)
        found = answer["recommendations"]
        assert [one["item_id"] for one in found] == [str(one.item_id) for one in wanted]
        assert [one["score"] for one in found] == sorted((one["score"] for one in found), reverse=True)
        assert [one["rating"] for one in found] == pytest.approx([one.rating for one in wanted], rel=1e-5)
        assert {one["rating_std"] for one in found} <= {0.9}
        versions = f"{stars.sha256[:12]}+{ranks.sha256[:12]}"  # type: ignore[index]
        assert answer["model_version"] == versions
    body = {"ratings": [{"item_id": "50", "rating": 5}, {"item_id": "7", "rating": 1}], "k": 4}
    wanted = stars.recommend(stars.fold_in({50: 5.0, 7: 1.0}), 4, rank_with=partner)
    found = asked.post("/recommendations/", json=body).json()["recommendations"]
    assert [one["item_id"] for one in found] == [str(one.item_id) for one in wanted]


def test_the_service_says_so(asked: CheckedClient) -> None:
    service = asked.get("/model").json()["service"]
    assert (service["orders"], service["rank_with"]) == ([], "ease")
    answer = asked.get("/users/1/recommendations?rank_by=stars")
    assert (answer.status_code, answer.json()["code"]) == (409, "ranking_model")


def test_an_event_counts_in_the_next_list(folders: tuple[Path, Path], url: str, log: EventLog) -> None:
    settings = {"bundle": folders[0], "rank_with": folders[1], "database": url}
    with client_of(ModelManager.from_settings(Settings(**settings)), **settings) as client:
        before = client.get("/users/1/recommendations?k=12").json()["recommendations"]
        first = before[0]["item_id"]
        event = {"event_id": "e1", "user_id": "1", "item_id": first, "rating": 5, "timestamp": int(time.time())}
        assert client.post("/events/", json={"events": [event]}).is_success
        after = client.get("/users/1/recommendations?k=12").json()["recommendations"]
        assert first not in [one["item_id"] for one in after]
        assert [one["score"] for one in after] != [one["score"] for one in before[1:]]


def test_another_ranking_bundle_is_swapped_in(folders: tuple[Path, Path], tmp_path: Path) -> None:
    write_pointer(tmp_path / "current", folders[0])
    manager = ModelManager.from_settings(Settings(pointer=tmp_path / "current", rank_with=folders[1]))
    assert manager.current is not None
    before = manager.current.version
    assert manager.poll() is None
    ranks = replace(
        rich(task="ranking", fold_in="items", model="slit", seed=3), factors=history_factors(n_users=6, seed=3)
    )
    save(ranks, folders[1])
    assert manager.poll() is not None
    assert manager.current.version != before
    assert manager.current.version[:13] == before[:13]


def test_a_bundle_that_does_not_fit_is_refused(folders: tuple[Path, Path], tmp_path: Path) -> None:
    for other, message in ((folders[0], "ranking model"), (tmp_path / "nothing", "not a bundle")):
        with pytest.raises(BundleError, match=message):
            ServedModel.load(folders[0], settings=Settings(rank_with=other))
    assert len(ITEMS) == 14
