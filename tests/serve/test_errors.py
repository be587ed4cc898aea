"""No error repeats what was sent."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from fastapi.exceptions import RequestValidationError

from recsys.bundle import Bundle
from serve import errors
from tests.serve.conftest import CheckedClient, client_of, rich

MARK = "xyzzyMARKER"
VALUES: list[Any] = [MARK, [MARK], {MARK: MARK}, f"{MARK}\n\r", {"item_id": MARK}, [{MARK: 1}], [[MARK] * 3]]
GOOD: dict[str, dict[str, Any]] = {
    "/predict/rating/": {"user_id": "1", "item_id": "50"},
    "/predict/ratings/": {"pairs": [{"user_id": "1", "item_id": "50"}]},
    "/recommendations/": {
        "ratings": [{"item_id": "50", "rating": 3}], "k": 3, "exclude_seen": True, "genre": "Drama", "year_from": 1,
        "year_to": 2, "min_ratings": 0, "explain": True, "distribution": True,
        "rank_by": "stars", "diversity": 0.5, "exclude": ["50"], "available": ["50"], "boost": {"Drama": 1},
    },
}  # fmt: skip


def silent(client: CheckedClient, method: str, url: str, **arguments: Any) -> int:
    answer = client.request(method, url, **arguments)
    sent_back = answer.text + "".join(f"{key}: {value}\n" for key, value in answer.headers.items())
    assert MARK.lower() not in sent_back.lower(), sent_back
    return int(answer.status_code)


def spoilt(value: Any, bad: Any) -> list[Any]:
    """Every copy of a body with one thing in it replaced, or one key added."""
    found = [bad]
    if isinstance(value, dict):
        found.append({**value, MARK: bad})
        found += [{**value, key: worse} for key in value for worse in spoilt(value[key], bad)]
    if isinstance(value, list):
        found += [[worse] for worse in spoilt(value[0], bad)] + [[*value, bad]]
    return found


@pytest.mark.parametrize("path", GOOD)
def test_bodies_are_not_echoed(client: CheckedClient, path: str) -> None:
    for bad in VALUES:
        for body in spoilt(GOOD[path], bad):
            status = silent(client, "POST", path, json=body)
            # A batch has its errors inside; there too nothing may be repeated.
            assert status == 400 or path == "/predict/ratings/"
    for content in (MARK, f'"{MARK}', f'{{"{MARK}": ', f"[{MARK}]", json.dumps(MARK)):
        for media in ("application/json", "text/plain", MARK, f"application/{MARK}+json", f"a/json; charset={MARK}"):
            assert silent(client, "POST", path, content=content, headers={"Content-Type": media}) == 400


def test_paths_and_queries_are_not_echoed(client: CheckedClient) -> None:
    for path in ("/users/{}", "/users/{}/recommendations", "/items/{}", "/items/{}/similar"):
        assert silent(client, "GET", path.format(MARK)) == 400
        assert silent(client, "GET", path.format(f"1%0d%0aX-{MARK}:%201")) == 400
    for path, names in {
        "/users/1/recommendations": ["k", "exclude_seen", "genre", "year_from", "year_to", "min_ratings", "explain",
                                     "distribution", MARK, f"k[{MARK}]", "rank_by", "diversity", "exclude",
                                     "available", "boost"],
        "/users/1": ["limit"], "/items": ["query&limit"], "/items/50/similar": ["k"],
    }.items():  # fmt: skip
        for name in names:
            assert silent(client, "GET", f"{path}?{name}={MARK}") == 400
    for method in ("GET", "POST", "DELETE", "OPTIONS"):
        assert silent(client, method, f"/{MARK}") == 404
        assert silent(client, method, f"/page/{MARK}?{MARK}={MARK}") in (404, 405)
    assert silent(client, MARK, "/items") == 405
    hopeful = {"Host": "localhost", "Origin": MARK, "Cookie": MARK, "Accept": MARK, "X-Request-ID": f"{MARK}\x01"}
    assert silent(client, "GET", "/items/x", headers=hopeful) == 400


def test_a_fault_of_the_service_tells_nothing_either(capsys: pytest.CaptureFixture[str]) -> None:
    with client_of(rich()) as client:

        def fail(*_: Any) -> None:
            raise RuntimeError(MARK)

        client.app.state.service.models.current.catalogue.search = fail  # type: ignore[attr-defined]
        assert silent(client, "GET", f"/items?query={MARK}") == 500
        assert client.get("/items?query=x").json()["code"] == "internal_error"
        assert client.get("/items/50").status_code == 200
        assert 'status="500"' in client.get("/metrics").text


FIELDS = ",".join(f'"{number}": 1' for number in range(80_000))
MANY_FAULTY = ",".join(999 * ['{"a": 1, "b": 1, "c": 1}'])
RATED = '{"ratings": [{"item_id": "50", "rating": 3}], "attributes": {%s}}'


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/predict/rating/", f"{{{FIELDS}}}"),
        ("/predict/ratings/", f'{{"pairs": [{{{FIELDS}}}]}}'),
        ("/predict/ratings/", f'{{"pairs": [{MANY_FAULTY}]}}'),
        ("/recommendations/", f"{{{FIELDS}}}"),
        ("/recommendations/", f'{{"ratings": [{{{FIELDS}}}]}}'),
        ("/recommendations/", RATED % FIELDS),
        ("/recommendations/", RATED % FIELDS.replace(": 1", ': ""')),
    ],
    ids=range(7),
)
def test_a_body_of_many_faults_has_one_error(
    client: CheckedClient, monkeypatch: pytest.MonkeyPatch, path: str, body: str
) -> None:
    """A description of each of 80,000 unknown fields took the service more than a second."""
    found: list[int] = []

    async def counting(request: Any, exc: Any) -> Any:
        found.append(len(exc.errors()))
        return await errors._invalid(request, exc)

    monkeypatch.setitem(client.app.exception_handlers, RequestValidationError, counting)  # type: ignore[attr-defined]
    client.app.middleware_stack = None  # type: ignore[attr-defined]
    answer = client.post(path, content=body.encode(), headers={"content-type": "application/json"})
    client.app.middleware_stack = None  # type: ignore[attr-defined]
    assert answer.status_code == 400
    assert found[0] <= 101


@pytest.mark.parametrize("kind", [ArithmeticError, np.linalg.LinAlgError])
def test_a_prior_without_an_answer_to_some_ratings_is_no_fault(
    monkeypatch: pytest.MonkeyPatch, kind: type[Exception]
) -> None:
    def fail(*_: Any) -> None:
        raise kind(MARK)

    with client_of(rich()) as client:
        monkeypatch.setattr(Bundle, "fold_in_rows", fail)
        assert client.post("/recommendations/", json=GOOD["/recommendations/"]).status_code == 409
        assert silent(client, "POST", "/recommendations/", json=GOOD["/recommendations/"]) == 409
        listed = client.get("/users/1/recommendations?explain=true").json()["recommendations"]
        assert listed
        assert all(one["explanation"] == [] for one in listed)
