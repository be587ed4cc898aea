"""The routes, on every kind of bundle; `CheckedClient` holds each answer against the OpenAPI document."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest

from recsys.bundle import Bundle
from recsys.bundle.results import Explanation, Reason
from recsys.bundle.titles import natural_title
from tests.serve.conftest import ABOUT, HALVES, ITEM_NAMES, ITEMS, USER_NAMES, USERS, CheckedClient, client_of, rich

Clients = dict[str, CheckedClient]
Bundles = dict[str, Bundle]
RATING_KINDS = ["int", "str", "posterior", "no fold-in"]

NO_INTEGERS = [
    "", "１２", "1_000", " 7", "7 ", "+5", "7\n", "1e3", "7.0", "--7", "-", "٣", "0x7", "a/b", "..", "../../etc/passwd",
    "nan", "null", "9" * 20, "1" * 10_000, "7\x00", "\ud800", "\u202e7",
]  # fmt: skip


def part(text: str) -> str:
    """A text as one part of a path, dots too: a client would take `..` for the folder above."""
    return quote(text.encode("utf-8", "surrogatepass"), safe="").replace(".", "%2E")


def rule_of(client: CheckedClient) -> str:
    """What an id must be, with an item of the bundle as an example."""
    model = client.app.state.service.models.current  # type: ignore[attr-defined]
    said: str = model.id_rule
    kind, example = said.split(", such as ")
    assert kind == (
        "IDs must be valid integers" if model.integer_ids else "IDs must be strings of 1 to 2048 characters"
    )
    assert example in model.items if model.integer_ids else example.strip('"') in model.items
    return said


def bad_id(response: Any, rule: str, place: str) -> None:
    """Check that an error names the place of a malformed id, and what is allowed there."""
    where, _, said = refused(response, 400, "invalid_id").partition(": ")
    assert where == place
    assert said in (rule, f"integers must be from {1 - 10**19} to {10**19 - 1}")


def refused(response: Any, status: int, code: str) -> str:
    assert (response.status_code, response.json()["code"]) == (status, code), response.text
    return str(response.json()["detail"])


# Predictions


@pytest.mark.parametrize("kind", RATING_KINDS)
def test_predictions_are_the_bundles_to_the_last_bit(clients: Clients, bundles: Bundles, kind: str) -> None:
    client, bundle = clients[kind], bundles[kind]
    users = [*bundle.user_ids.tolist(), 4711 if kind != "str" else "nobody"]
    pairs = [(user, item) for user in users for item in bundle.item_ids.tolist()]
    wanted = bundle.predict(*zip(*pairs, strict=True))
    asked = [{"user_id": str(user), "item_id": str(item)} for user, item in pairs]
    many = client.post("/predict/ratings/", json={"pairs": asked}).json()["predictions"]
    np.testing.assert_array_equal(np.array([one["rating"] for one in many], np.float32), wanted)
    assert all(one["error"] is None for one in many)
    for place in range(0, len(pairs), 7):
        one = client.post("/predict/rating/", json=asked[place]).json()
        assert one["rating"] == wanted[place]
        assert 0.5 <= one["rating"] <= 5
        user, item = (row.get(i, -1) for row, i in zip((bundle.user_row, bundle.item_row), pairs[place], strict=True))
        assert one["cold_start"] == many[place]["cold_start"] == (not (0 <= user < 6 and item < 12))


def test_a_batch_keeps_its_order_and_has_errors_in_their_places(client: CheckedClient) -> None:
    pairs = [
        ("1", "50"),
        ("1", "4711"),
        ("x", "50"),
        ("2", "-8"),
        ("1", "１２"),
        ("nobody\ud83c"[:6], "7"),
        ("4711", "7"),
    ]
    body = {"pairs": [{"user_id": user, "item_id": item} for user, item in pairs]}
    answer = client.post("/predict/ratings/", json=body).json()["predictions"]
    codes = [one["error"] and one["error"]["code"] for one in answer]
    assert codes == [None, "unknown_item", "invalid_id", None, "invalid_id", "invalid_id", None]
    assert [one["rating"] is None for one in answer] == [code is not None for code in codes]
    assert [one["cold_start"] for one in answer] == [False, None, None, False, None, None, True]
    assert answer[2]["error"]["detail"] == rule_of(client)
    for place in (0, 3, 6):
        alone = client.post("/predict/rating/", json=body["pairs"][place]).json()["rating"]
        assert alone == answer[place]["rating"]


def test_batches_are_bounded(client: CheckedClient) -> None:
    pair = {"user_id": "1", "item_id": "50"}
    assert len(client.post("/predict/ratings/", json={"pairs": [pair] * 1000}).json()["predictions"]) == 1000
    for n in (0, 1001):
        refused(client.post("/predict/ratings/", json={"pairs": [pair] * n}), 400, "invalid_request")


def test_unknown_items_are_404_and_unknown_users_are_cold(client: CheckedClient) -> None:
    refused(client.post("/predict/rating/", json={"user_id": "1", "item_id": "4711"}), 404, "unknown_item")
    answer = client.post("/predict/rating/", json={"user_id": "4711", "item_id": "50"}).json()
    assert answer["cold_start"] is True
    assert set(answer) == {"rating", "rating_std", "cold_start", "star_probabilities", "model_version"}


@pytest.mark.parametrize("bad", NO_INTEGERS, ids=lambda bad: ascii(bad[:9]))
def test_integer_ids_are_ascii_digits_only(client: CheckedClient, bad: str) -> None:
    said = rule_of(client)
    for field in ("user_id", "item_id"):
        body = json.dumps({"user_id": "1", "item_id": "50"} | {field: bad})
        headers = {"Content-Type": "application/json"}
        bad_id(client.post("/predict/rating/", content=body, headers=headers), said, f"body.{field}")
    body = json.dumps({"ratings": [{"item_id": "50", "rating": 3}, {"item_id": bad, "rating": 3}]})
    bad_id(client.post("/recommendations/", content=body, headers=headers), said, "body.ratings[1].item_id")
    if 0 < len(bad) < 1000:
        for path in ("/users/{}", "/items/{}", "/users/{}/recommendations", "/items/{}/similar"):
            where = refused(client.get(path.format(part(bad))), 400, "invalid_id")
            assert where == said or (bad.isdigit() and where.startswith("integers must be from"))


NO_IDS = [
    "true", "1.5", "null", "[]", "{}", '["7"]', "1e400", "-1e400", "NaN", "9007199254740994.0", "1" + "0" * 19,
    "1" + "0" * 4000, '"' + "x" * 2049 + '"',
]  # fmt: skip


@pytest.mark.parametrize("bad", NO_IDS, ids=lambda bad: bad[:9])
def test_what_is_neither_a_text_nor_an_integer_is_no_id(clients: Clients, bad: str) -> None:
    for kind in ("int", "str"):
        for path, place, body in (
            ("/predict/rating/", "user_id", f'{{"user_id": {bad}, "item_id": "7"}}'),
            ("/predict/rating/", "item_id", f'{{"user_id": "1", "item_id": {bad}}}'),
            ("/recommendations/", "ratings[0].item_id", f'{{"ratings": [{{"item_id": {bad}, "rating": 3}}]}}'),
        ):
            answer = clients[kind].post(path, content=body, headers={"Content-Type": "application/json"})
            bad_id(answer, rule_of(clients[kind]), f"body.{place}")
        body = f'{{"pairs": [{{"user_id": {bad}, "item_id": "7"}}, {{"user_id": "1", "item_id": "7"}}]}}'
        answer = clients[kind].post("/predict/ratings/", content=body, headers={"Content-Type": "application/json"})
        if answer.status_code == 200:  # a number has the error in its place
            assert [one["error"] and one["error"]["code"] for one in answer.json()["predictions"]] == [
                "invalid_id",
                None,
            ]
        else:
            bad_id(answer, rule_of(clients[kind]), "body.pairs[0].user_id")


def test_an_integer_may_be_a_json_number(clients: Clients) -> None:
    client = clients["int"]
    asked = client.post("/predict/rating/", json={"user_id": "405", "item_id": "7"}).json()
    for user in (405, 405.0, "0405"):
        pair = {"user_id": user, "item_id": 7}
        assert client.post("/predict/rating/", json=pair).json() == asked
        [one] = client.post("/predict/ratings/", json={"pairs": [pair]}).json()["predictions"]
        assert one["rating"] == asked["rating"]
    refused(client.post("/predict/rating/", json={"user_id": 1, "item_id": 4711}), 404, "unknown_item")
    assert client.post("/predict/rating/", json={"user_id": 2**63 - 1, "item_id": -8}).json()["cold_start"] is True
    text = client.post("/recommendations/", json={"ratings": [{"item_id": "50", "rating": 5}]}).json()
    assert client.post("/recommendations/", json={"ratings": [{"item_id": 50, "rating": 5}]}).json() == text
    both = {"ratings": [{"item_id": "50", "rating": 5}, {"item_id": 50, "rating": 4}]}
    refused(client.post("/recommendations/", json=both), 409, "duplicate_item")
    named = clients["str"]  # has an item "7" and another one "007"
    asked = named.post("/predict/rating/", json={"user_id": "Zoë", "item_id": "7"}).json()
    for number in (7, 7.0):
        assert named.post("/predict/rating/", json={"user_id": "Zoë", "item_id": number}).json() == asked


@pytest.mark.parametrize("far", ["9" * 19, "-" + "9" * 19, str(2**63), str(-(2**63) - 1)])
def test_integers_beyond_64_bits_are_nobody(client: CheckedClient, far: str) -> None:
    assert client.post("/predict/rating/", json={"user_id": far, "item_id": "50"}).json()["cold_start"] is True
    refused(client.get(f"/items/{far}"), 404, "unknown_item")
    refused(client.get(f"/users/{far}"), 404, "unknown_user")


def test_negative_zero_padded_and_largest_ids(client: CheckedClient) -> None:
    assert client.get("/items/-8").json()["item_id"] == "-8"
    assert client.get("/items/007").json()["item_id"] == "7"
    assert client.get("/items/-0").json()["item_id"] == "0"
    assert client.get(f"/items/{2**63 - 2}").json()["item_id"] == str(2**63 - 2)
    assert client.get("/users/-4").json()["user_id"] == "-4"


def test_any_text_is_an_id_where_ids_are_strings(clients: Clients) -> None:
    client = clients["str"]
    for name in ITEM_NAMES:
        if "%" not in name:  # which the test client decodes twice; test_main asks a real server
            assert client.get(f"/items/{part(name)}").json()["item_id"] == name
            assert client.get(f"/items/{part(name)}/similar").status_code == 200
    for name in USER_NAMES:
        if "%" not in name:
            assert client.get(f"/users/{part(name)}").json()["user_id"] == name
            assert client.get(f"/users/{part(name)}/recommendations").json()["cold_start"] is (name in USER_NAMES[6:])
        pair = {"user_id": name, "item_id": "%2F"}
        assert client.post("/predict/rating/", json=pair).json()["cold_start"] is (name in USER_NAMES[6:])
    for text in ("x" * 2048, "../../etc/passwd", "\x00", "\u202e", "a" * 100 + "\n"):
        refused(client.get(f"/items/{part(text)}"), 404, "unknown_item")
        assert client.post("/predict/rating/", json={"user_id": text, "item_id": "7"}).json()["cold_start"] is True
    for text in ("", "x" * 2049):
        refused(client.post("/predict/rating/", json={"user_id": text, "item_id": "7"}), 400, "invalid_id")
    surrogate = '{"user_id": "\\ud800", "item_id": "7"}'
    headers = {"Content-Type": "application/json"}
    refused(client.post("/predict/rating/", content=surrogate, headers=headers), 400, "invalid_id")


@pytest.mark.parametrize("kind", ["ordinal", "noise", "posterior"])
def test_a_prediction_says_how_sure_it_is(clients: Clients, bundles: Bundles, kind: str) -> None:
    client, bundle = clients[kind], bundles[kind]
    pairs = [(user, item) for user in [*USERS, 4711] for item in (50, 7, 14, 900)]
    mean, std = bundle.predict(*zip(*pairs, strict=True), return_std=True)
    asked = [{"user_id": str(user), "item_id": str(item)} for user, item in pairs]
    many = client.post("/predict/ratings/", json={"pairs": asked}).json()["predictions"]
    np.testing.assert_allclose([one["rating"] for one in many], mean, atol=1e-5)
    np.testing.assert_allclose([one["rating_std"] for one in many], std, atol=1e-5)
    for place, (user, item) in enumerate(pairs):
        one = client.post("/predict/rating/", json=asked[place]).json()
        assert one["rating"] == pytest.approx(mean[place], abs=1e-5)
        assert one["rating_std"] == pytest.approx(std[place], abs=1e-5)
        fitted = 11 if kind == "ordinal" else 12
        cold = bundle.user_row.get(user, 99) >= 6 or bundle.item_row[item] >= fitted
        assert one["cold_start"] is many[place]["cold_start"] is cold
        if kind != "ordinal":
            assert one["star_probabilities"] is None
            continue
        shares = one["star_probabilities"]
        assert [share["rating"] for share in shares] == HALVES
        wanted = bundle.rating_probabilities([user], [item])[0]
        np.testing.assert_allclose([share["probability"] for share in shares], wanted, atol=1e-6)


def test_without_noise_nothing_is_said_of_the_spread(clients: Clients) -> None:
    for kind in ("int", "ranking"):
        best = clients[kind].get("/users/1/recommendations").json()["recommendations"]
        assert {one["rating_std"] for one in best} == {None}
    pair = {"user_id": "1", "item_id": "50"}
    assert clients["int"].post("/predict/rating/", json=pair).json()["rating_std"] is None
    assert (
        clients["int"].post("/predict/ratings/", json={"pairs": [pair]}).json()["predictions"][0]["rating_std"] is None
    )


# Bodies

BODIES = {
    "nothing": b"",
    "no JSON": b"rating",
    "cut off": b'{"ratings": [{"item_id": "50", "rat',
    "invalid UTF-8": b'{"ratings": [{"item_id": "\xff\xfe", "rating": 3}]}',
    "null bytes": b"\x00\x00\x00",
    "deep": b'{"ratings":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "deep objects": b'{"ratings":' * 20_000 + b"1" + b"}" * 20_000,
    "a list": b"[]",
    "a text": b'"ratings"',
    "null": b"null",
    "no ratings": b'{"ratings": []}',
    "ratings null": b'{"ratings": null}',
    "ratings an object": b'{"ratings": {"50": 3}}',
    "NaN": b'{"ratings": [{"item_id": "50", "rating": NaN}]}',
    "infinity": b'{"ratings": [{"item_id": "50", "rating": -Infinity}]}',
    "1e999": b'{"ratings": [{"item_id": "50", "rating": 1e999}]}',
    "a huge integer": b'{"ratings": [{"item_id": "50", "rating": 1' + b"0" * 400 + b"}]}",
    "too many digits": b'{"ratings": [{"item_id": "50", "rating": 1' + b"0" * 5000 + b"}]}",
    "a text as rating": b'{"ratings": [{"item_id": "50", "rating": "3"}]}',
    "true as rating": b'{"ratings": [{"item_id": "50", "rating": true}]}',
    "off the scale": b'{"ratings": [{"item_id": "50", "rating": 5.5}]}',
    "below the scale": b'{"ratings": [{"item_id": "50", "rating": 0.49}]}',
    "no rating": b'{"ratings": [{"item_id": "50"}]}',
    "an unknown field": b'{"ratings": [{"item_id": "50", "rating": 3, "stars": 4}]}',
    "someone's id": b'{"ratings": [{"item_id": "50", "rating": 3}], "user_id": "1"}',
    "k of 0": b'{"ratings": [{"item_id": "50", "rating": 3}], "k": 0}',
    "k of a milliard": b'{"ratings": [{"item_id": "50", "rating": 3}], "k": 1000000000}',
    "k as text": b'{"ratings": [{"item_id": "50", "rating": 3}], "k": "10"}',
    "k as float": b'{"ratings": [{"item_id": "50", "rating": 3}], "k": 10.5}',
    "k true": b'{"ratings": [{"item_id": "50", "rating": 3}], "k": true}',
    "explain as text": b'{"ratings": [{"item_id": "50", "rating": 3}], "explain": "true"}',
    "a genre that is not": b'{"ratings": [{"item_id": "50", "rating": 3}], "genre": "nonsense"}',
    "a surrogate as genre": b'{"ratings": [{"item_id": "50", "rating": 3}], "genre": "\\ud800"}',
    "year as text": b'{"ratings": [{"item_id": "50", "rating": 3}], "year_from": "1990"}',
    "a far year": b'{"ratings": [{"item_id": "50", "rating": 3}], "year_to": 99999999999999999999}',
    "attributes of a model without": b'{"ratings": [{"item_id": "50", "rating": 3}], "attributes": {"gender": "F"}}',
    "attributes as a list": b'{"ratings": [{"item_id": "50", "rating": 3}], "attributes": ["gender"]}',
    "an attribute as a number": b'{"ratings": [{"item_id": "50", "rating": 3}], "attributes": {"age": 25}}',
    "a surrogate as field": b'{"\\ud800": 1, "ratings": [{"item_id": "50", "rating": 3}]}',
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_a_malformed_body_is_400(client: CheckedClient, body: bytes) -> None:
    answer = client.post("/recommendations/", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400
    assert len(answer.json()["detail"]) < 200


@pytest.mark.parametrize("path", ["/predict/rating/", "/predict/ratings/"])
@pytest.mark.parametrize("name", ["nothing", "no JSON", "cut off", "invalid UTF-8", "deep", "a list", "null"])
def test_malformed_bodies_are_400_everywhere(client: CheckedClient, path: str, name: str) -> None:
    answer = client.post(path, content=BODIES[name], headers={"Content-Type": "application/json"})
    assert answer.status_code == 400


@pytest.mark.parametrize("media", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", None, "x"])
def test_a_body_must_be_sent_as_json(client: CheckedClient, media: str | None) -> None:
    headers = {"Content-Type": media} if media else {}
    answer = client.post("/predict/rating/", content=b'{"user_id": "1", "item_id": "50"}', headers=headers)
    assert "application/json" in refused(answer, 400, "invalid_request")


def test_an_unknown_field_is_not_taken_for_a_bad_id(client: CheckedClient) -> None:
    body = {"ratings": [{"item_id": "50", "rating": 3}], "user_id": "1"}
    said = "body.ratings[0] has an unknown field; allowed are item_id, rating, kind, timestamp"
    for path, parts in (
        ("/recommendations/", {"ratings": [{"item_id": "50", "rating": 3, "x": 1}]}),
        ("/predict/ratings/", {"pairs": [{"item_id": "50", "user_id": "1", "x": 1}]}),
        ("/predict/rating/", {"item_id": "50", "user_id": "1", "x": 1}),
    ):
        told = refused(client.post(path, json=parts), 400, "invalid_request")
        assert "has an unknown field; allowed are " in told
        assert path != "/recommendations/" or told == said
    told = refused(client.get("/users/1/recommendations?x=1"), 400, "invalid_request")
    assert told.startswith("query has an unknown field; allowed are k, exclude_seen, genre")
    assert "unknown field" in refused(client.post("/recommendations/", json=body), 400, "invalid_request")


@pytest.mark.parametrize(
    ("path", "name", "one"),
    [
        ("/recommendations/", "ratings", {"item_id": "50", "rating": 3}),
        ("/predict/ratings/", "pairs", {"item_id": "50", "user_id": "1"}),
    ],
)
def test_a_list_of_a_wrong_length_is_told_plainly(
    client: CheckedClient, path: str, name: str, one: dict[str, Any]
) -> None:
    said = refused(client.post(path, json={name: []}), 400, "invalid_request")
    assert said == f"body.{name} must have at least 1 item, got 0"
    said = refused(client.post(path, json={name: [one] * 1002}), 400, "invalid_request")
    assert said == f"body.{name} must have at most 1000 items, got 1002"


def test_far_too_many_ratings_are_refused(clients: Clients, bundles: Bundles) -> None:
    body = b'{"ratings": [' + b",".join([b'{"item_id":"50","rating":3}'] * 100_000) + b"]}"
    headers = {"Content-Type": "application/json"}
    refused(clients["int"].post("/recommendations/", content=body, headers=headers), 413, "body_too_large")
    with client_of(bundles["int"], max_body_bytes=0) as client:
        said = refused(client.post("/recommendations/", content=body, headers=headers), 400, "invalid_request")
        assert "1000" in said


# Recommendations


@pytest.mark.parametrize("kind", [*RATING_KINDS, "ordinal", "ranking", "histories"])
def test_recommendations_are_the_bundles(clients: Clients, bundles: Bundles, kind: str) -> None:
    client, bundle = clients[kind], bundles[kind]
    for user in [*bundle.user_ids.tolist(), 4711 if kind != "str" else "nobody"]:
        for exclude in (True, False):
            if "%" in str(user):
                continue
            url = f"/users/{part(str(user))}/recommendations?k=100&exclude_seen={str(exclude).lower()}"
            answer = client.get(url).json()
            wanted = bundle.recommend(user, 100, exclude_seen=exclude)
            got = answer["recommendations"]
            assert [one["item_id"] for one in got] == [str(one.item_id) for one in wanted]
            assert [(one["title"], one["year"], one["genres"]) for one in got] == [tuple(one[2:5]) for one in wanted]
            shown = [one["score"] for one in got]
            np.testing.assert_allclose(shown, [one.score for one in wanted], atol=1e-6)  # six digits are told
            assert [one["rating"] for one in got] == ([None] * len(got) if bundle.is_ranking else shown)
            assert all(one["explanation"] is None for one in got)
            assert answer["distribution"] is None
            assert shown == sorted(shown, reverse=True)
            assert answer["cold_start"] is (bundle.user_row.get(user, 99) >= 6)


@pytest.mark.parametrize("kind", ["int", "posterior", "ordinal"])
def test_a_list_that_leaves_the_scale_is_sorted_by_what_it_shows(bundles: Bundles, kind: str) -> None:
    bundle = bundles[kind]
    wide = replace(bundle, factors=replace(bundle.factors, item_bias=5 * bundle.factors.item_bias))
    with client_of(wide) as client:
        for user in USERS:
            got = client.get(f"/users/{user}/recommendations?k=100&exclude_seen=false").json()["recommendations"]
            shown = [one["rating"] for one in got]
            assert shown == sorted(shown, reverse=True) == [one["score"] for one in got]
            wanted = wide.recommend(user, 100, exclude_seen=False)
            np.testing.assert_allclose(shown, [one.score for one in wanted], atol=1e-6)
            assert all(0.5 <= stars <= 5 for stars in shown)


def test_k_is_bounded_and_a_plain_integer(client: CheckedClient) -> None:
    assert len(client.get("/users/1/recommendations?k=1").json()["recommendations"]) == 1
    assert client.get("/users/1/recommendations?k=1000").status_code == 200
    for path in ("/users/1/recommendations?k=", "/items/50/similar?k=", "/users/1?limit=", "/items?query=the&limit="):
        assert client.get(f"{path}1000").status_code == 200
        for k in (
            "0",
            "-1",
            "1001",
            "1000000000",
            "9" * 5000,
            "1_0",
            "+5",
            "%205",
            "１２",
            "1.0",
            "1e2",
            "",
            "ten",
            "true",
        ):
            refused(client.get(path + k), 400, "invalid_request")


@pytest.mark.parametrize("flag", ["1", "0", "yes", "on", "True", "TRUE", "", "t", "null"])
def test_flags_are_true_or_false(client: CheckedClient, flag: str) -> None:
    for name in ("exclude_seen", "explain", "distribution"):
        refused(client.get(f"/users/1/recommendations?{name}={flag}"), 400, "invalid_request")


def items_of(client: CheckedClient, query: str) -> set[str]:
    url = f"/users/4711/recommendations?k=1000&{query}"  # someone who has seen nothing
    return {one["item_id"] for one in client.get(url).json()["recommendations"]}


def test_filters_by_genre_year_and_number_of_ratings(client: CheckedClient, bundles: Bundles) -> None:
    fitted = dict(zip(map(str, ITEMS[:12]), ABOUT, strict=False))
    counts = np.bincount(bundles["int"].ratings.item, minlength=14)
    assert items_of(client, "genre=Comedy") == {i for i, (_, _, genres) in fitted.items() if "Comedy" in genres}
    assert items_of(client, "year_from=1999") == {i for i, (_, year, _) in fitted.items() if (year or 0) >= 1999}
    assert items_of(client, "year_to=1968") == {i for i, (_, year, _) in fitted.items() if year and year <= 1968}
    assert items_of(client, "year_from=1999&year_to=1999&genre=Sci-Fi") == {"50"}
    assert items_of(client, "year_from=2000&year_to=1990") == set()
    assert items_of(client, "min_ratings=0") == set(fitted)
    assert items_of(client, "min_ratings=3") == {i for row, i in enumerate(fitted) if counts[row] >= 3}
    assert items_of(client, "min_ratings=2147483647") == set()
    assert items_of(client, "genre=Western") == set()  # only an item that was not fitted
    body = {"ratings": [{"item_id": "50", "rating": 5}], "k": 100, "exclude_seen": False}
    for query in ({"genre": "Comedy"}, {"year_from": 1999, "year_to": 2001}, {"min_ratings": 3}):
        answer = client.post("/recommendations/", json=body | query).json()["recommendations"]
        text = "&".join(f"{key}={value}" for key, value in query.items())
        assert {one["item_id"] for one in answer} == items_of(client, text)


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("genre=nonsense", "unknown_genre"), ("genre=", "unknown_genre"), ("genre=comedy", "unknown_genre"),
        (f"genre={'x' * 101}", "invalid_request"), ("year_from=MCMXC", "invalid_request"),
        ("year_from=19_90", "invalid_request"), ("year_to=100000", "invalid_request"),
        ("min_ratings=-1", "invalid_request"), ("min_ratings=2147483648", "invalid_request"),
        ("colour=red", "invalid_request"),
    ],
)  # fmt: skip
def test_filters_that_mean_nothing_are_refused(client: CheckedClient, query: str, code: str) -> None:
    refused(client.get(f"/users/1/recommendations?{query[:120]}"), 400, code)


def test_a_catalogue_without_genres_refuses_all(bundles: Bundles) -> None:
    bare = replace(bundles["int"], items=[{"title": "", "year": None, "genres": []} for _ in ITEMS])
    with client_of(bare) as client:
        assert client.get("/model").json()["service"]["genres"] == []
        assert client.get("/model").json()["service"]["years"] is None
        refused(client.get("/users/1/recommendations?genre=Drama"), 400, "unknown_genre")
        assert client.get("/items?query=a").json()["items"] == []


def test_an_item_without_a_title_has_its_id_for_one(bundles: Bundles) -> None:
    blank = replace(bundles["str"], items=[{"title": " \t", "year": None, "genres": []} for _ in ITEM_NAMES])
    with client_of(blank) as client:
        for one in client.get("/items?limit=100").json()["items"]:
            assert one["title"] == one["item_id"]
        answer = client.get("/users/Zo%C3%AB/recommendations?explain=true").json()["recommendations"]
        for one in [*answer, *answer[0]["explanation"], *client.get("/items/7/similar").json()["items"]]:
            assert one["title"] == one["item_id"]
        [found] = client.get("/items?query=similar").json()["items"]
        assert found["item_id"] == "similar to"


def strongest(bundle: Bundle, explanation: Explanation) -> list[Reason]:
    """Up to three reasons for an item, and of a rating model one against it, none below a fortieth of the scale."""
    least = 0 if bundle.is_ranking else (bundle.scale[1] - bundle.scale[0]) / 40
    reasons = explanation.reasons
    against = [] if bundle.is_ranking else [reason for reason in reasons[-1:] if reason.contribution <= -least]
    return [reason for reason in reasons[:3] if 0 < reason.contribution >= least] + against


@pytest.mark.parametrize("kind", ["int", "str", "posterior"])
def test_reasons_are_the_bundles_explanation(clients: Clients, bundles: Bundles, kind: str) -> None:
    client, bundle = clients[kind], bundles[kind]
    raw = {str(i): i for i in bundle.item_ids.tolist()}
    some = 0
    for user in bundle.user_ids.tolist()[:6]:
        if "%" in str(user):
            continue
        answer = client.get(f"/users/{part(str(user))}/recommendations?k=100&explain=true").json()
        for one in answer["recommendations"]:
            wanted = strongest(bundle, bundle.explain(user, raw[one["item_id"]]))
            assert [reason["item_id"] for reason in one["explanation"]] == [str(reason.item_id) for reason in wanted]
            assert [reason["rating"] for reason in one["explanation"]] == [reason.rating for reason in wanted]
            assert [reason["title"] for reason in one["explanation"]] == [reason.title for reason in wanted]
            np.testing.assert_allclose(
                [reason["contribution"] for reason in one["explanation"]],
                [reason.contribution for reason in wanted],
                rtol=1e-4, atol=2e-6,
            )  # fmt: skip
            some += len(wanted)
    assert some > 20


def test_reasons_also_speak_against_an_item_and_never_of_less_than_a_tenth_of_a_star(clients: Clients) -> None:
    answer = clients["int"].get("/users/1/recommendations?k=100&explain=true&exclude_seen=false").json()
    amounts = [reason["contribution"] for one in answer["recommendations"] for reason in one["explanation"]]
    assert min(amounts) < 0 < max(amounts)
    assert min(map(abs, amounts)) >= 0.1


@pytest.mark.parametrize("kind", ["int", "posterior", "ordinal"])
def test_the_base_is_what_the_average_user_would_give(clients: Clients, bundles: Bundles, kind: str) -> None:
    client, bundle = clients[kind], bundles[kind]
    for url in ("/users/1/recommendations?k=100", "/users/4711/recommendations?k=100"):
        for one in client.get(url).json()["recommendations"]:
            assert one["base"] == pytest.approx(float(bundle.predict([4711], [int(one["item_id"])])[0]), abs=1e-6)
    assert all(
        one["base"] is one["rating"] is None
        for one in clients["ranking"].get("/users/1/recommendations").json()["recommendations"]
    )


def test_without_reasons_to_give_the_list_is_empty(clients: Clients) -> None:
    for client, user in ((clients["int"], "4711"), (clients["int"], str(USERS[7])), (clients["no fold-in"], "1")):
        answer = client.get(f"/users/{user}/recommendations?explain=true").json()
        assert [one["explanation"] for one in answer["recommendations"]] == [[]] * len(answer["recommendations"])


def test_the_distribution_counts_all_fitted_items(clients: Clients, bundles: Bundles) -> None:
    url = "/users/1/recommendations?k=1&genre=Crime&distribution=true"
    found = clients["int"].get(url).json()["distribution"]
    assert len(found["edges"]) == len(found["counts"]) + 1
    assert (found["edges"][0], found["edges"][-1], sum(found["counts"])) == (0.5, 5.0, 12)
    predicted = bundles["int"].predict([1] * 12, ITEMS[:12])
    np.testing.assert_array_equal(np.histogram(predicted, found["edges"])[0], found["counts"])
    assert clients["ranking"].get(url).json()["distribution"] is None


# Someone new


@pytest.mark.parametrize("kind", ["int", "str", "posterior", "ranking", "histories"])
def test_a_fold_in_is_the_bundles(clients: Clients, bundles: Bundles, kind: str) -> None:
    client, bundle = clients[kind], bundles[kind]
    ids = bundle.item_ids.tolist()
    ratings = {ids[0]: 5.0, ids[3]: 0.5, ids[8]: 4.5, ids[9]: 3.0}
    folded = bundle.fold_in(ratings)
    body = {"ratings": [{"item_id": str(item), "rating": stars} for item, stars in ratings.items()]}
    answer = client.post("/recommendations/", json=body | {"k": 100, "explain": True, "distribution": True}).json()
    wanted = bundle.recommend(folded, 100)
    got = answer["recommendations"]
    assert [one["item_id"] for one in got] == [str(one.item_id) for one in wanted]
    np.testing.assert_allclose([one["score"] for one in got], [one.score for one in wanted], atol=1e-6)
    assert (answer["unknown_items"], answer["cold_start"]) == ([], False)
    assert (answer["distribution"] is None) == bundle.is_ranking
    for one, expected in zip(got, wanted, strict=True):
        reasons = strongest(bundle, bundle.explain(folded, expected.item_id))
        assert [(r["item_id"], r["rating"]) for r in one["explanation"]] == [
            (str(r.item_id), r.rating) for r in reasons
        ]
        np.testing.assert_allclose(
            [r["contribution"] for r in one["explanation"]], [r.contribution for r in reasons], rtol=1e-4, atol=2e-6
        )
    everything = client.post("/recommendations/", json=body | {"k": 100, "exclude_seen": False}).json()
    assert len(everything["recommendations"]) == 12
    assert everything["recommendations"][0]["explanation"] is None


def test_someone_new_to_a_model_of_histories_is_their_items_in_the_order_given(
    clients: Clients, bundles: Bundles
) -> None:
    client, bundle = clients["histories"], bundles["histories"]
    model = client.get("/model").json()
    assert (model["fold_in"], model["service"]["ordered"]) == ("items", True)
    assert clients["int"].get("/model").json()["service"]["ordered"] is False
    answers = []
    for items in ([50, 172, 7], [7, 172, 50]):
        body = {"ratings": [{"item_id": item, "rating": 3} for item in items], "k": 100, "exclude_seen": False}
        answers.append(
            {
                one["item_id"]: one["score"]
                for one in client.post("/recommendations/", json=body).json()["recommendations"]
            }
        )
        wanted = bundle.recommend(bundle.fold_in(dict.fromkeys(items, 3.0)), 100, exclude_seen=False)
        assert answers[-1] == pytest.approx({str(one.item_id): one.score for one in wanted}, abs=1e-6)
    assert answers[0] != answers[1]


@pytest.mark.parametrize("kind", ["ordinal", "noise", "posterior"])
def test_recommendations_say_how_sure_they_are(clients: Clients, bundles: Bundles, kind: str) -> None:
    client, bundle = clients[kind], bundles[kind]
    body = {"ratings": [{"item_id": "50", "rating": 5}, {"item_id": "7", "rating": 1.5}], "k": 5}
    more = {"attributes": {"gender": "M", "age": "25"}} if kind == "ordinal" else {}
    folded = bundle.fold_in({50: 5, 7: 1.5}, **more)
    asked = [(user, client.get(f"/users/{user}/recommendations?k=5").json()) for user in (1, USERS[6], 4711)]
    for who, answer in [*asked, (folded, client.post("/recommendations/", json=body | more).json())]:
        best = answer["recommendations"]
        items = [int(one["item_id"]) for one in best]
        assert len(items) == 5
        mean, std = bundle.predict(who if who is folded else [who] * 5, items, return_std=True)
        np.testing.assert_allclose([one["rating"] for one in best], mean, atol=1e-5)
        np.testing.assert_allclose([one["rating_std"] for one in best], std, atol=1e-5)


def test_attributes_of_someone_new(clients: Clients) -> None:
    client, body = clients["ordinal"], {"ratings": [{"item_id": "50", "rating": 5}]}
    plain = client.post("/recommendations/", json=body).json()
    for nothing in ({"attributes": None}, {"attributes": {}}):
        assert client.post("/recommendations/", json=body | nothing).json() == plain
    women = client.post("/recommendations/", json=body | {"attributes": {"gender": "F"}}).json()
    men = client.post("/recommendations/", json=body | {"attributes": {"gender": "M"}}).json()
    assert women["recommendations"] != men["recommendations"]
    for attributes, said in (
        ({"sex": "F"}, "body.attributes must be among gender, age, with values listed by /model"),
        ({"gender": "F", "<b>": "x"}, "body.attributes must be among gender, age, with values listed by /model"),
        ({"gender": "<b>"}, "body.attributes.gender must be one of F, M"),
    ):
        answer = client.post("/recommendations/", json=body | {"attributes": attributes})
        assert refused(answer, 400, "unknown_attribute") == said
    answer = clients["int"].post("/recommendations/", json=body | {"attributes": {"gender": "F"}})
    assert (
        refused(answer, 400, "unknown_attribute")
        == "body.attributes must be left out: this model has no user attributes"
    )
    assert client.get("/model").json()["service"]["attributes"] == {"gender": ["F", "M"], "age": ["25"]}
    assert clients["int"].get("/model").json()["service"]["attributes"] == {}


@pytest.fixture(scope="module")
def implicit(bundles: Bundles) -> Bundle:
    """Of implicit feedback: all ratings are 1."""
    ratings = bundles["int"].ratings
    manifest = bundles["int"].manifest | {"task": "ranking", "rating_scale": [0.0, 1.0], "fold_in_target": 1.0}
    return replace(bundles["int"], manifest=manifest, ratings=ratings._replace(rating=np.ones_like(ratings.rating)))


def test_implicit_feedback_has_one_rating_to_give(implicit: Bundle) -> None:
    with client_of(implicit) as client:
        service = client.get("/model").json()["service"]
        assert (service["implicit"], service["lowest_rating"], service["rating_step"]) == (True, 1.0, None)
        assert service["levels"] is service["constant_std"] is None
        given = client.get("/openapi.json").json()["components"]["schemas"]["RatingIn"]
        assert "rating" not in given["required"]
        [stars, _] = given["properties"]["rating"]["anyOf"]
        assert (stars["minimum"], stars["maximum"]) == (1.0, 1.0)
        body = {"ratings": [{"item_id": 50, "rating": 1}, {"item_id": 7}], "explain": True}
        answer = client.post("/recommendations/", json=body)
        assert answer.status_code == 200
        without = {"ratings": [{"item_id": 50}, {"item_id": 7}], "explain": True}
        assert client.post("/recommendations/", json=without).json() == answer.json()
        for rating in (0, 0.5):
            body = {"ratings": [{"item_id": 50, "rating": rating}]}
            said = refused(client.post("/recommendations/", json=body), 400, "rating_off_scale")
            assert said == "body.ratings[0].rating must be 1, as all are in implicit feedback"


def test_implicit_feedback_shows_no_stars(implicit: Bundle) -> None:
    with client_of(implicit) as client:
        user = client.get("/users/1").json()
        assert user["mean_rating"] is None
        assert user["ratings"]
        assert all(one["rating"] is None for one in user["ratings"])
        items = client.get("/items?limit=100").json()["items"]
        assert all(one["mean_rating"] is None for one in items)
        answer = client.get("/users/1/recommendations?k=100&explain=true").json()["recommendations"]
        reasons = [reason for one in answer for reason in one["explanation"]]
        assert reasons
        assert all(reason["rating"] is None and reason["contribution"] > 0 for reason in reasons)


def test_stars_must_be_given_where_the_data_have_some(client: CheckedClient) -> None:
    for rating in ({}, {"rating": None}):
        body = {"ratings": [{"item_id": "50", "rating": 4}, {"item_id": "7", **rating}]}
        said = refused(client.post("/recommendations/", json=body), 400, "rating_missing")
        assert said == "body.ratings[1].rating must be given, in [0.5, 5]"
    given = client.get("/openapi.json").json()["components"]["schemas"]["RatingIn"]
    assert given["required"] == ["item_id", "rating"]
    assert "anyOf" not in given["properties"]["rating"]


@pytest.mark.parametrize("kind", ["int", "str", "posterior", "ordinal"])
def test_somebody_new_is_predicted_from_their_ratings(clients: Clients, bundles: Bundles, kind: str) -> None:
    client, bundle = clients[kind], bundles[kind]
    ids = bundle.item_ids.tolist()
    given = {ids[0]: 5.0, ids[3]: 0.5, ids[8]: 4.5}
    ratings = [{"item_id": str(item), "rating": stars} for item, stars in given.items()]
    for target in ids[:12]:
        found = client.post("/predict/rating/", json={"ratings": ratings, "item_id": target}).json()
        assert found["rating"] == pytest.approx(float(bundle.predict(bundle.fold_in(given), [target])[0]), abs=1e-6)
        assert found["cold_start"] is (bundle.item_row[target] >= bundle.fitted_items)


def test_a_prediction_is_for_a_user_or_for_ratings(clients: Clients) -> None:
    client, ratings = clients["ordinal"], [{"item_id": "50", "rating": 4}]
    for body in ({}, {"user_id": "1", "ratings": ratings}):
        said = refused(client.post("/predict/rating/", json={"item_id": "50", **body}), 400, "invalid_request")
        assert said == "body: either user_id or ratings must be given"
    body = {"item_id": "50", "user_id": "1", "attributes": {"gender": "F"}}
    said = refused(client.post("/predict/rating/", json=body), 400, "invalid_request")
    assert said == "body: attributes must be left out, with user_id they are known"
    own, other = ({"item_id": "50", "ratings": ratings, "attributes": {"gender": one}} for one in "FM")
    assert client.post("/predict/rating/", json=own).json() != client.post("/predict/rating/", json=other).json()
    too_many = {"item_id": "50", "ratings": ratings * 1001}
    refused(client.post("/predict/rating/", json=too_many), 400, "invalid_request")
    twice = {"item_id": "50", "ratings": ratings * 2}
    refused(client.post("/predict/rating/", json=twice), 409, "duplicate_item")
    nobody = {"item_id": "4711", "ratings": ratings}
    refused(client.post("/predict/rating/", json=nobody), 404, "unknown_item")
    refused(
        clients["no fold-in"].post("/predict/rating/", json={"item_id": "50", "ratings": ratings}), 409, "no_fold_in"
    )
    refused(
        clients["ranking"].post("/predict/rating/", json={"item_id": "50", "ratings": ratings}), 409, "ranking_model"
    )


def test_what_is_the_same_for_every_prediction_is_said_once(clients: Clients, bundles: Bundles) -> None:
    for kind, std in (("noise", 0.9), ("int", None), ("posterior", None), ("ordinal", None), ("ranking", None)):
        assert clients[kind].get("/model").json()["service"]["constant_std"] == std


def test_items_the_model_does_not_know_are_skipped_by_position(client: CheckedClient) -> None:
    ratings = [("4711", 3), ("50", 4), ("900", 2), (str(2**63), 1), ("7", 1)]
    body = {"ratings": [{"item_id": item, "rating": stars} for item, stars in ratings]}
    answer = client.post("/recommendations/", json=body).json()
    assert (answer["unknown_items"], answer["cold_start"]) == ([0, 2, 3], False)
    known = client.post("/recommendations/", json={"ratings": [body["ratings"][1], body["ratings"][4]]}).json()
    assert known["recommendations"] == answer["recommendations"]
    nothing = client.post("/recommendations/", json={"ratings": body["ratings"][:1]}).json()
    assert (nothing["unknown_items"], nothing["cold_start"]) == ([0], True)
    average = client.get("/users/4711/recommendations").json()
    assert nothing["recommendations"] == average["recommendations"]


def test_an_item_rated_twice_is_a_conflict(client: CheckedClient) -> None:
    for first, second in (("50", "50"), ("7", "007"), ("4711", "4711"), ("900", "900")):
        body = {"ratings": [{"item_id": "0", "rating": 3}, *({"item_id": i, "rating": 4} for i in (first, second))]}
        said = refused(client.post("/recommendations/", json=body), 409, "duplicate_item")
        assert said == "body.ratings[2].item_id occurs twice"


def test_fold_ins_are_bounded(client: CheckedClient) -> None:
    body = {"ratings": [{"item_id": str(item), "rating": 3} for item in range(10_000, 11_000)]}
    assert client.post("/recommendations/", json=body).json()["unknown_items"] == list(range(1000))
    body["ratings"].append({"item_id": "1", "rating": 3})
    refused(client.post("/recommendations/", json=body), 400, "invalid_request")


# Items and users


def test_an_item_tells_how_it_was_rated(clients: Clients, bundles: Bundles) -> None:
    bundle = bundles["int"]
    for row, item in enumerate(ITEMS):
        stars = bundle.ratings.rating[bundle.ratings.item == row]
        found = clients["int"].get(f"/items/{item}").json()
        title, year, genres = ABOUT[row]
        mean = pytest.approx(stars.mean()) if len(stars) else None
        assert found == {
            "item_id": str(item), "title": natural_title(title), "year": year, "genres": genres,
            "n_ratings": len(stars), "mean_rating": mean, "attributes": {},
        }  # fmt: skip


def test_similar_items_are_the_bundles(clients: Clients, bundles: Bundles) -> None:
    for kind in ("int", "posterior", "ranking", "histories", "no fold-in"):
        for item in ITEMS:
            found = clients[kind].get(f"/items/{item}/similar?k=5").json()["items"]
            wanted = bundles[kind].similar_items(item, 5)
            assert [one["item_id"] for one in found] == [str(one.item_id) for one in wanted]
            np.testing.assert_allclose([one["similarity"] for one in found], [one.score for one in wanted])
            assert all(-1 <= one["similarity"] <= 1 for one in found)
            assert str(item) not in {one["item_id"] for one in found}
    refused(clients["int"].get("/items/4711/similar"), 404, "unknown_item")
    assert clients["int"].get("/items/900/similar").json()["items"] == []


def test_a_user_is_told_best_first_then_most_rated_first(clients: Clients, bundles: Bundles) -> None:
    bundle = bundles["int"]
    counts = np.bincount(bundle.ratings.item, minlength=14)
    for row, user in enumerate(USERS):
        entries = bundle.ratings.slice_of(row)
        own = list(zip(bundle.ratings.item[entries].tolist(), bundle.ratings.rating[entries].tolist(), strict=True))
        own.sort(key=lambda entry: (-entry[1], -counts[entry[0]], entry[0]))
        found = clients["int"].get(f"/users/{user}").json()
        assert [(one["item_id"], one["rating"]) for one in found["ratings"]] == [(str(ITEMS[i]), r) for i, r in own]
        assert found["n_ratings"] == len(own)
        assert found["cold_start"] is (row >= 6)
        assert found["mean_rating"] == (pytest.approx(np.mean([r for _, r in own])) if own else None)
        few = clients["int"].get(f"/users/{user}?limit=2").json()
        assert few["ratings"] == found["ratings"][:2]
        assert few["n_ratings"] == len(own)


def test_a_rating_is_told_as_it_was_given(bundles: Bundles) -> None:
    """Not as its neighbour in float32: 4.1, not 4.099999904632568."""
    old = bundles["int"].ratings
    tenths = old._replace(rating=np.round(old.rating * 0.9, 1).astype(np.float32))
    with client_of(replace(bundles["int"], ratings=tenths)) as client:
        for user in USERS[:6]:
            own = client.get(f"/users/{user}").json()["ratings"]
            best = client.get(f"/users/{user}/recommendations?explain=true").json()["recommendations"]
            for one in [*own, *(reason for item in best for reason in item["explanation"])]:
                assert one["rating"] == round(one["rating"], 1)
        assert client.get("/model").json()["service"]["lowest_rating"] == round(float(tenths.rating.min()), 1)


def test_search_by_title(client: CheckedClient) -> None:
    found = client.get("/items", params={"query": "matrix the"}).json()["items"]
    assert {one["title"] for one in found} == {"The Matrix (1999)", "The Matrix Reloaded (2003)"}
    assert [one["n_ratings"] for one in found] == sorted((one["n_ratings"] for one in found), reverse=True)
    assert len(client.get("/items", params={"query": "matrix the", "limit": 1}).json()["items"]) == 1
    for query in ("", "x" * 201):
        refused(client.get("/items", params={"query": query}), 400, "invalid_request")
    everything = client.get("/items", params={"limit": 1000}).json()["items"]
    assert len(everything) == len(ITEMS)
    assert [one["n_ratings"] for one in everything] == sorted((one["n_ratings"] for one in everything), reverse=True)
    for query in ("!?", " ", "\x00", "nothing like it", "%"):
        assert client.get("/items", params={"query": query}).json()["items"] == []
    assert client.get("/items?query=%FF%FE").status_code == 200


# What a model or a setting does not allow


def test_a_ranking_model_predicts_no_stars(clients: Clients) -> None:
    pair = {"user_id": "1", "item_id": "50"}
    for kind in ("ranking", "histories"):
        refused(clients[kind].post("/predict/rating/", json=pair), 409, "ranking_model")
        refused(clients[kind].post("/predict/ratings/", json={"pairs": [pair]}), 409, "ranking_model")


def test_a_model_without_fold_in_takes_in_nobody(clients: Clients) -> None:
    body = {"ratings": [{"item_id": "50", "rating": 3}]}
    refused(clients["no fold-in"].post("/recommendations/", json=body), 409, "no_fold_in")


@pytest.fixture(scope="module")
def discreet(bundles: Bundles) -> Iterator[CheckedClient]:
    with client_of(bundles["int"], expose_user_ratings=False) as client:
        yield client


def test_histories_can_be_switched_off(discreet: CheckedClient) -> None:
    refused(discreet.get("/users/1"), 403, "histories_off")
    refused(discreet.get("/users/4711"), 403, "histories_off")
    refused(discreet.get("/users/1/recommendations?explain=true"), 403, "histories_off")
    assert discreet.get("/users/1/recommendations?explain=false").status_code == 200
    service = discreet.get("/model").json()["service"]
    assert (service["expose_user_ratings"], service["example_users"]) == (False, [])
    body = {"ratings": [{"item_id": "50", "rating": 5}], "explain": True}  # one's own are no secret
    assert discreet.post("/recommendations/", json=body).status_code == 200
    users = {str(user) for user in USERS}
    document = discreet.get("/openapi.json").json()
    path = document["paths"]["/users/{user_id}"]["get"]["parameters"][0]["schema"]
    assert not set(path.get("examples", [])) & users


# Operations


def test_the_model_is_its_manifest_and_more(clients: Clients, bundles: Bundles) -> None:
    for kind, client in clients.items():
        facts = client.get("/model").json()
        assert bundles[kind].manifest.items() <= facts.items()
        assert facts["service"]["genres"] == sorted({genre for _, _, genres in ABOUT for genre in genres})
        assert facts["service"]["years"] == [1931, 2024]
        assert facts["service"]["implicit"] is False
        assert facts["service"]["lowest_rating"] == bundles[kind].ratings.rating.min()
        shown = [client.get(f"/users/{part(u)}").json() for u in facts["service"]["example_users"] if "%" not in u]
        usual = float(bundles[kind].ratings.rating.mean())
        far = [abs(one["mean_rating"] - usual) for one in shown if one["n_ratings"]]
        assert far == sorted(far)
        assert len(facts["service"]["example_users"]) == 6


def test_a_manifest_cannot_speak_for_the_service() -> None:
    names = {"model_version": "mine", "service": None, "self": 1, "model_config": {}, "__class__": "x"}
    with client_of(rich(**names)) as client:
        facts = client.get("/model").json()
    assert facts["model_version"] == "unsaved"
    assert facts["service"]["genres"]
    assert (facts["self"], facts["model_config"], facts["__class__"]) == (1, {}, "x")


def test_health(client: CheckedClient) -> None:
    assert client.get("/health/live").json() == {"status": "live"}
    ready = client.get("/health/ready").json()
    assert ready == {
        "status": "ready", "model_version": "unsaved", "data": "small", "failed_loads": 0, "last_error": None,
        "pointer_age_seconds": None, "database": None,
    }  # fmt: skip


def test_a_stopping_service_is_not_ready_but_still_answers(bundles: Bundles) -> None:
    with client_of(bundles["int"]) as client:
        client.app.state.service.draining = True  # type: ignore[attr-defined]
        refused(client.get("/health/ready"), 503, "not_ready")
        assert client.get("/health/live").status_code == 200
        assert client.get("/items/50").status_code == 200


@pytest.mark.parametrize(
    "path", ["/nothing", "/page/", "/page/../app.py", "/page/%2e%2e/app.py", "/predict/", "/page/x"]
)
def test_what_is_not_there_is_404(client: CheckedClient, path: str) -> None:
    refused(client.get(path), 404, "not_found")


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/predict/rating/"), ("POST", "/items"), ("DELETE", "/users/1"), ("PUT", "/recommendations/"),
     ("PATCH", "/model"), ("OPTIONS", "/items"), ("BREW", "/items/50"), ("POST", "/page/page.js")],
)  # fmt: skip
def test_other_methods_are_405(client: CheckedClient, method: str, path: str) -> None:
    answer = client.request(method, path)
    refused(answer, 405, "method_not_allowed")
    assert answer.headers["allow"] in ("GET", "POST", "GET, PUT", "GET, HEAD", "HEAD, GET")
