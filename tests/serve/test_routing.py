"""Routes match the encoded path, and a route that is added as documented is complete."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

import pytest
from pydantic import Field

from recsys.bundle import Bundle
from serve.dependencies import CurrentModel
from serve.openapi import error_responses
from serve.routers import users
from serve.schemas import Id, ModelVersion
from tests.serve.conftest import CheckedClient, client_of, rich
from tests.serve.test_metrics import value

NAMES = ["a/b", "a/history", "/", "//", " ", ".", "..", "%2F", "%", "50%2F", "é", "李/李", "q?x=1#y", "history", "\n"]


@dataclass
class History:
    user_id: str
    length: Annotated[int, Field(description="Number of ratings.", examples=[3])]
    model_version: ModelVersion


async def history(user_id: Id, model: CurrentModel) -> History:
    """A user's number of ratings."""
    row = model.users.row(user_id)
    entries = model.bundle.ratings.slice_of(row) if row >= 0 else slice(0, 0)
    return History(user_id, entries.stop - entries.start, model.version)


@pytest.fixture(scope="module")
def extended() -> Iterator[CheckedClient]:
    """A service of string ids with one more route, added after all others."""
    before = list(users.router.routes)
    users.router.get("/{user_id}/history", responses=error_responses(400), summary="A user's history")(history)
    try:
        with client_of(rich([*NAMES[:7], "plain"], [*"abcdefghijklmn"])) as client:
            yield client
    finally:
        users.router.routes[:] = before


def encoded(text: str) -> str:
    return "".join(f"%{byte:02X}" for byte in text.encode())


def test_a_later_route_is_not_swallowed(extended: CheckedClient) -> None:
    assert extended.get("/users/a/history").json()["user_id"] == "a"
    assert extended.get("/users/plain/history").json() == {
        "user_id": "plain", "length": 0, "model_version": "unsaved",
    }  # fmt: skip
    answer = extended.get("/users/a%2Fhistory").json()
    assert (answer["user_id"], answer["n_ratings"]) == ("a/history", 6)
    assert extended.get("/users/a%2Fhistory/history").json()["length"] == 6


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_an_id_is_one_segment_whatever_it_holds(extended: CheckedClient, name: str) -> None:
    assert extended.get(f"/users/{encoded(name)}/history").json()["user_id"] == name
    recommended = extended.get(f"/users/{encoded(name)}/recommendations?k=1").json()
    assert recommended["cold_start"] is (name not in NAMES[:6])
    known = extended.get(f"/users/{encoded(name)}")
    assert known.status_code == (200 if name in NAMES[:7] else 404)
    if known.status_code == 200:
        assert known.json()["user_id"] == name


def test_dots_may_be_encoded_twice(extended: CheckedClient) -> None:
    """As a browser must: it takes `%2E%2E` for the folder above."""
    for name in (".", ".."):
        for twice in (name.replace(".", "%252E"), name.replace(".", "%252e")):
            assert extended.get(f"/users/{twice}").json()["user_id"] == name
            assert extended.get(f"/users/{twice}/recommendations?k=1").json()["cold_start"] is (name == "..")
    with client_of(rich([*NAMES[:7], "x"], [*"abcdefghijkl", "%2E", "."])) as client:
        assert client.get("/items/%252E").json()["item_id"] == "%2E"  # an id of the data comes first
        assert client.get("/items/%2E").json()["item_id"] == "."


@pytest.mark.parametrize("path", ["/users//history", "/users/a/b/c", "/users/", "/items/a/b"])
def test_an_empty_id_and_plain_slashes_match_no_route(extended: CheckedClient, path: str) -> None:
    answer = extended.get(path)
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def test_literal_segments_may_be_encoded(extended: CheckedClient) -> None:
    assert extended.get("/%75sers/a%2Fb/h%69story").json()["user_id"] == "a/b"


def test_an_added_route_is_documented_measured_and_checked(
    extended: CheckedClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = {"method": "GET", "route": "/users/{user_id}/history", "status": "200"}
    before = value(extended.get("/metrics").text, "recsys_requests_total", **labels) or 0
    extended.get("/users/plain/history")
    operation = extended.get("/openapi.json").json()["paths"]["/users/{user_id}/history"]["get"]
    assert set(operation["responses"]) == {"200", "400", "431", "500", "503"}
    assert operation["tags"] == ["users"]
    assert value(extended.get("/metrics").text, "recsys_requests_total", **labels) == before + 1
    # The client holds the answers of the new route against its schema, too.
    properties = extended.app.openapi()["components"]["schemas"]["History"]["properties"]  # type: ignore[attr-defined]
    monkeypatch.setitem(properties, "length", {"type": "string"})
    with pytest.raises(ValueError, match="is not of type"):
        extended.get("/users/plain/history")


def test_an_answer_lacks_no_field() -> None:
    with pytest.raises(TypeError, match="model_version"):
        History("a", 1)  # type: ignore[call-arg]


def test_former_field_names_are_still_answered(bundles: dict[str, Bundle]) -> None:
    with client_of(bundles["int"]) as client:
        body = {"ratings": [{"item_id": "50", "rating": 5}, {"item_id": "4711", "rating": 3}], "explain": True}
        answer = client.post("/recommendations/", json=body).json()
        assert answer["skipped"] == answer["unknown_items"] == [1]
        assert all(one["because"] == one["explanation"] for one in answer["recommendations"])
        service = client.get("/model").json()["service"]
        assert service["histories"] is service["expose_user_ratings"] is True
        schemas = client.get("/openapi.json").json()["components"]["schemas"]
    for schema, field in (("Recommendation", "because"), ("FoldInRecommendations", "skipped"),
                          ("ServiceInfo", "histories")):  # fmt: skip
        assert schemas[schema]["properties"][field]["deprecated"] is True


def test_a_405_names_all_methods_of_the_path(client: CheckedClient) -> None:
    answer = client.options("/users/1")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, PUT")
    assert client.put("/items").headers["allow"] == "GET"
