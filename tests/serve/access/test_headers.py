"""Every answer tells browsers what they must not do with it, and which pages may read it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from recsys.bundle import Bundle
from serve import keys
from serve.access.headers import SECURITY_HEADERS, secured
from tests.serve.conftest import CheckedClient, client_of


@pytest.mark.parametrize(
    "path", ["/items/50", "/items/4711", "/nothing", "/health/live", "/metrics", "/", "/page/page.js", "/page/none",
             "/openapi.json", "/predict/rating"],
)  # fmt: skip
def test_every_answer_has_them(client: CheckedClient, path: str) -> None:
    for method in ("GET", "PUT", "OPTIONS"):
        answer = client.request(method, path, follow_redirects=False)
        for name, value in SECURITY_HEADERS:
            [found] = answer.headers.get_list(name.decode())
            if name not in (b"content-security-policy", b"cache-control"):
                assert found == value.decode()
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
        assert "default-src 'none'" in answer.headers["content-security-policy"] or path == "/"


@pytest.mark.parametrize("path", ["/items/50", "/users/1", "/users/1/recommendations", "/users/4711", "/model",
                                  "/health/ready", "/metrics", "/openapi.json", "/nothing", "/page/none"])  # fmt: skip
def test_no_cache_keeps_what_is_about_a_person_or_for_one_key(client: CheckedClient, path: str) -> None:
    assert client.get(path).headers["cache-control"] == "no-store"


def test_a_pages_own_policy_stays() -> None:
    own = [(b"content-security-policy", b"default-src 'self'"), (b"cache-control", b"no-cache")]
    assert secured(own)[:2] == own
    assert [name for name, _ in secured(own)] == [name for name, _ in SECURITY_HEADERS]


SHOP, OTHER = "https://shop.example", "https://evil.example"


@pytest.fixture
def shared(bundles: dict[str, Bundle], tmp_path: Path) -> Iterator[tuple[CheckedClient, str]]:
    """A service that pages of one origin may call, and a key."""
    key = keys.add(tmp_path / "keys", "shop", frozenset(("predict",)))
    origins = f"{SHOP}, http://localhost:3000"
    with client_of(bundles["int"], keys=tmp_path / "keys", cors_origins=origins, rate_limit="9/minute") as client:
        yield client, f"Bearer {key}"


def preflight(
    client: CheckedClient, origin: str, headers: str = "authorization,content-type"
) -> tuple[int, str | None]:
    asked = {
        "Origin": origin, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": headers,
    }  # fmt: skip
    answer = client.request("OPTIONS", "/predict/rating/", headers=asked)
    return answer.status_code, answer.headers.get("access-control-allow-origin")


def test_pages_of_listed_origins_may_call_with_a_key(shared: tuple[CheckedClient, str]) -> None:
    client, key = shared
    assert preflight(client, SHOP) == (200, SHOP)  # without a key, which a preflight cannot have
    pair = {"user_id": "1", "item_id": "50"}
    for headers, status in (({"Authorization": key}, 200), ({"Authorization": "Bearer x"}, 401), ({}, 401)):
        answer = client.post("/predict/rating/", json=pair, headers={"Origin": SHOP, **headers})
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (status, SHOP)
        assert "RateLimit" in answer.headers["access-control-expose-headers"]
        assert "access-control-allow-credentials" not in answer.headers
    for _ in range(20):
        answer = client.get("/items/50", headers={"Origin": SHOP, "Authorization": key})
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (429, SHOP)


def test_pages_of_others_may_not(shared: tuple[CheckedClient, str], client: CheckedClient) -> None:
    keyed, key = shared
    for origin in (OTHER, "null", "", f"{SHOP}.evil.example", SHOP.upper(), "http://shop.example", f"{SHOP}:444"):
        assert preflight(keyed, origin) == (400, None), origin
        answer = keyed.get("/items/50", headers={"Origin": origin, "Authorization": key})
        assert "access-control-allow-origin" not in answer.headers
    assert preflight(keyed, SHOP, "x-other")[0] == 400
    for origin in (SHOP, OTHER):  # where none is listed
        assert preflight(client, origin) == (405, None)
        assert not [
            name for name in client.get("/items/50", headers={"Origin": origin}).headers if "access-control" in name
        ]


def test_errors_from_outside_the_routes_are_readable_too(bundles: dict[str, Bundle]) -> None:
    with client_of(bundles["int"], cors_origins=SHOP, max_in_flight=1) as client:
        client.app.state.service.load.in_flight = 1  # type: ignore[attr-defined]
        answer = client.get("/items/50", headers={"Origin": SHOP})
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (503, SHOP)
