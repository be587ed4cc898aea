"""The order and the rules of lists, as the API takes them: the same lists as in Python."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from recsys.bundle import Bundle
from tests.serve.conftest import CheckedClient, client_of, rich

LISTS = {
    "rank_by": "liking", "min_ratings": {"stars": 2}, "z": 1.0, "half_life": 2.0,
    "weights": {"popularity": 1.0, "gain": 1.0, "recent": 0.5, "genre": 1.0},
}  # fmt: skip


@pytest.fixture(scope="module")
def posterior() -> Bundle:
    return rich(samples=3, ranking=LISTS)


@pytest.fixture(scope="module")
def asked(posterior: Bundle) -> Iterator[CheckedClient]:
    with client_of(posterior) as client:
        yield client


def best(client: CheckedClient, query: str = "", user: str = "1") -> list[dict[str, Any]]:
    answer = client.get(f"/users/{user}/recommendations?k=100{query}")
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["recommendations"]
    return found


@pytest.mark.parametrize(
    ("query", "options"),
    [
        ("", {}),
        ("&rank_by=stars", {"rank_by": "stars"}),
        ("&rank_by=stars&min_ratings=0", {"rank_by": "stars", "min_ratings": 0}),
        ("&rank_by=gain&min_ratings=3", {"rank_by": "gain", "min_ratings": 3}),
        ("&rank_by=bound&diversity=0.5", {"rank_by": "bound", "diversity": 0.5}),
        ("&exclude=50&exclude=7&exclude=12345", {"exclude": [50, 7, 12345]}),
        ("&available=50&available=172&available=318", {"allowed": [50, 172, 318]}),
        ("&boost=Comedy:0.5&boost=2571:-1", {"boost": {"Comedy": 0.5, 2571: -1.0}}),
    ],
)
def test_lists_are_those_of_the_bundle(
    asked: CheckedClient, posterior: Bundle, query: str, options: dict[str, Any]
) -> None:
    for user in (1, 30, 4711):
        wanted = posterior.recommend(user, 100, **options)
        found = best(asked, query, str(user))
        assert [one["item_id"] for one in found] == [str(one.item_id) for one in wanted]
        assert [one["score"] for one in found] == sorted((one["score"] for one in found), reverse=True)
        assert [one["score"] for one in found] == pytest.approx([one.score for one in wanted], rel=1e-5)
        assert [one["rating"] for one in found] == pytest.approx([one.rating for one in wanted], rel=1e-5)


def test_somebody_new_is_asked_the_same_way(asked: CheckedClient, posterior: Bundle) -> None:
    body = {"ratings": [{"item_id": "50", "rating": 5}, {"item_id": "2571", "rating": 4.5}], "k": 5}
    options = {"rank_by": "gain", "diversity": 0.2, "exclude": ["172"], "available": None, "boost": {"Drama": 1}}
    answer = asked.post("/recommendations/", json=body | options).json()
    wanted = posterior.recommend(
        posterior.fold_in({50: 5.0, 2571: 4.5}), 5, rank_by="gain", diversity=0.2, exclude=[172], boost={"Drama": 1.0}
    )
    assert [one["item_id"] for one in answer["recommendations"]] == [str(one.item_id) for one in wanted]


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("&rank_by=best", 400, "invalid_request"), ("&diversity=1.5", 400, "invalid_request"),
        ("&diversity=nan", 400, "invalid_request"), ("&exclude=x", 400, "invalid_id"),
        ("&boost=Comedy", 400, "invalid_request"), ("&boost=Comedy:11", 400, "invalid_request"),
        ("&boost=Western2:1", 404, "unknown_boost"), ("&boost=123456:1", 404, "unknown_boost"),
        ("&boost=" + "&boost=".join(f"{n}:1" for n in range(101)), 400, "invalid_request"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(asked: CheckedClient, query: str, status: int, code: str) -> None:
    answer = asked.get(f"/users/1/recommendations?k=3{query}")
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text


def test_models_say_which_orders_they_have(clients: dict[str, CheckedClient], asked: CheckedClient) -> None:
    assert asked.get("/model").json()["service"]["orders"] == ["liking", "stars", "gain", "bound"]
    assert clients["int"].get("/model").json()["service"]["orders"] == ["stars", "gain", "liking"]
    assert clients["ranking"].get("/model").json()["service"]["orders"] == []
    for kind, query, code in (("ranking", "rank_by=stars", "ranking_model"), ("int", "rank_by=bound", "no_samples")):
        answer = clients[kind].get(f"/users/1/recommendations?{query}")
        assert (answer.status_code, answer.json()["code"]) == (409, code)
    assert best(clients["ranking"], "&diversity=0.5&boost=Comedy:2")


def test_distribution_and_explanations_are_those_of_the_stars(asked: CheckedClient) -> None:
    answer = asked.get("/users/1/recommendations?k=2&explain=true&distribution=true").json()
    assert sum(answer["distribution"]["counts"]) == 12
    assert all(one["rating"] != one["score"] for one in answer["recommendations"])
