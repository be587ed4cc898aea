"""The document says what depends on the bundle, and all that may come back."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from recsys.bundle import Bundle
from serve import keys
from serve.models.served_model import ServedModel
from tests.serve.conftest import ITEMS, USERS, CheckedClient, client_of

Clients = dict[str, CheckedClient]


def found(node: Any, key: str) -> list[Any]:
    """All values of a key, wherever it is."""
    if isinstance(node, list):
        return [value for one in node for value in found(one, key)]
    if not isinstance(node, dict):
        return []
    return ([node[key]] if key in node else []) + [value for one in node.values() for value in found(one, key)]


def parameter(document: Any, path: str, name: str) -> Any:
    return next(one["schema"] for one in document["paths"][path]["get"]["parameters"] if one["name"] == name)


def test_ids_have_the_pattern_of_the_bundle(clients: Clients) -> None:
    for kind, wanted in (("int", {"pattern": "^-?[0-9]{1,19}$"}), ("str", {"minLength": 1, "maxLength": 2048})):
        document = clients[kind].get("/openapi.json").json()
        schemas = document["components"]["schemas"]
        in_bodies = [
            schemas["PredictionRequest"]["properties"]["user_id"],
            schemas["PredictionRequest"]["properties"]["item_id"],
            schemas["RatingIn"]["properties"]["item_id"],
        ]
        for schema in in_bodies:
            text, number = schema["anyOf"]
            assert {"type": "string", **wanted}.items() <= text.items()
            assert (number["type"], number["maximum"]) == ("integer", 10**19 - 1)
        in_paths = [
            parameter(document, "/users/{user_id}", "user_id"),
            parameter(document, "/items/{item_id}/similar", "item_id"),
            parameter(document, "/users/{user_id}/recommendations", "user_id"),
        ]  # fmt: skip
        for schema in in_paths:
            assert {"type": "string", **wanted}.items() <= schema.items()
        assert not {"id", "body-id", "any-id", "stars", "genre"} & {str(value) for value in found(document, "format")}


def test_examples_exist(clients: Clients) -> None:
    document = clients["int"].get("/openapi.json").json()
    (user,) = parameter(document, "/users/{user_id}", "user_id")["examples"]
    (item,) = parameter(document, "/items/{item_id}", "item_id")["examples"]
    assert user in {str(one) for one in USERS}
    assert item in {str(one) for one in ITEMS}


def test_stars_and_genres_are_the_bundles(clients: Clients, bundles: dict[str, Bundle]) -> None:
    document = clients["int"].get("/openapi.json").json()
    stars = document["components"]["schemas"]["RatingIn"]["properties"]["rating"]
    assert (stars["minimum"], stars["maximum"]) == (0.5, 5.0)
    genres = parameter(document, "/users/{user_id}/recommendations", "genre")["enum"]
    assert genres == clients["int"].get("/model").json()["service"]["genres"]
    bare = replace(bundles["int"], items=[{"title": "", "year": None, "genres": []} for _ in ITEMS])
    with client_of(bare) as client:
        document = client.get("/openapi.json").json()
    assert "enum" not in parameter(document, "/users/{user_id}/recommendations", "genre")


def test_every_parameter_of_recommendations_is_told(clients: Clients) -> None:
    document = clients["int"].get("/openapi.json").json()
    told = document["paths"]["/users/{user_id}/recommendations"]["get"]["parameters"]
    assert [one["name"] for one in told] == [
        "user_id", "k", "exclude_seen", "genre", "year_from", "year_to", "min_ratings", "rank_by", "diversity",
        "exclude", "available", "boost", "explain", "distribution",
    ]  # fmt: skip
    assert parameter(document, "/users/{user_id}/recommendations", "k")["maximum"] == 1000


def test_no_422_and_every_error_of_one_shape(clients: Clients) -> None:
    document = clients["int"].get("/openapi.json").json()
    assert "ValidationError" not in json.dumps(document)
    for operations in document["paths"].values():
        for operation in operations.values():
            assert operation["summary"]
            for status, answer in operation["responses"].items():
                assert status != "422"
                if int(status) >= 400:
                    (media,) = answer["content"].values()
                    assert media["schema"] == {"$ref": "#/components/schemas/Error"}


@pytest.mark.parametrize("with_keys", [False, True])
@pytest.mark.parametrize("limited", [False, True])
def test_keys_and_limits_are_documented_where_they_are_used(
    bundles: dict[str, Bundle], tmp_path: Path, with_keys: bool, limited: bool
) -> None:
    settings: dict[str, Any] = {"rate_limit": "9/minute"} if limited else {}
    if with_keys:
        keys.add(tmp_path / "keys", "any", frozenset(("predict",)))
        settings["keys"] = tmp_path / "keys"
    with client_of(bundles["int"], **settings) as client:
        document = client.get("/openapi.json").json()
    assert ("securitySchemes" in document["components"]) is with_keys
    for path, operations in document["paths"].items():
        for operation in operations.values():
            answers = {status for status in operation["responses"] if status in ("401", "403", "429")}
            if path.startswith("/health/"):
                assert not answers
                assert "security" not in operation
            elif with_keys:
                assert answers == {"401", "403", "429"}
                assert operation["security"] == [{"key": []}]
                assert "Keys need the scope `" in operation["description"]
            else:
                assert answers - {"403"} == ({"429"} if limited else set())
                assert "security" not in operation
            if "429" in answers:
                assert "Retry-After" in operation["responses"]["429"]["headers"]
            assert "400" in operation["responses"]


def test_references_lead_somewhere(clients: Clients) -> None:
    document = clients["int"].get("/openapi.json").json()
    for reference in found(document, "$ref"):
        name = re.fullmatch(r"#/components/schemas/(\w+)", reference)
        assert name
        assert name[1] in document["components"]["schemas"]


def test_the_document_follows_the_model(bundles: dict[str, Bundle]) -> None:
    with client_of(bundles["int"]) as client:
        service = client.app.state.service  # type: ignore[attr-defined]
        first = client.get("/openapi.json").json()
        assert first == client.get("/openapi.json").json()
        bundle = bundles["int"]
        other = ServedModel(replace(bundle, manifest={**bundle.manifest, "rating_scale": [0.5, 4.5]}, sha256="b" * 64))
        service.models.current = other
        second = client.get("/openapi.json").json()
        assert second["components"]["schemas"]["RatingIn"]["properties"]["rating"]["maximum"] == 4.5
        assert len(client.app._documents) == 1  # type: ignore[attr-defined]
