"""Who may ask: keys by route, whatever a request looks like."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote

import pytest

from recsys.bundle import Bundle
from serve import keys
from serve.access.guard import FAILURES
from serve.access.key_file import SCOPES, KeyFileError
from serve.access.key_ring import MOST_REMEMBERED, KeyRing
from serve.settings import KEYS_FILE, Settings
from tests.serve.conftest import CheckedClient, client_of

PAIR = {"user_id": "1", "item_id": "50"}
ROUTES: list[tuple[str, str, Any, str]] = [  # each with the scope that it needs
    ("POST", "/predict/rating/", PAIR, "predict"),
    ("POST", "/predict/ratings/", {"pairs": [PAIR]}, "predict"),
    ("POST", "/recommendations/", {"ratings": [{"item_id": "50", "rating": 4}]}, "predict"),
    ("GET", "/users/1/recommendations", None, "predict"),
    ("GET", "/items", None, "predict"),
    ("GET", "/items/50", None, "predict"),
    ("GET", "/items/50/similar", None, "predict"),
    ("GET", "/model", None, "predict"),
    ("GET", "/users/1", None, "histories"),
    ("GET", "/metrics", None, "operations"),
    ("POST", "/events/", {"events": []}, "events"),
]
PUBLIC = ("/", "/docs", "/openapi.json", "/page/page.js", "/health/live", "/health/ready")


class Keyed(NamedTuple):
    client: CheckedClient
    file: Path
    keys: dict[str, str]


@pytest.fixture
def keyed(bundles: dict[str, Bundle], tmp_path: Path) -> Iterator[Keyed]:
    """A service with a key of each scope."""
    file = tmp_path / "keys.json"
    made = {scope: keys.add(file, f"of-{scope}", frozenset((scope,))) for scope in SCOPES}
    with client_of(bundles["int"], keys=file, poll_seconds=0.02) as client:
        yield Keyed(client, file, made)


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def error(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


@pytest.mark.parametrize(("method", "path", "body", "needs"), ROUTES, ids=lambda value: str(value)[:30])
def test_each_route_needs_its_scope(keyed: Keyed, method: str, path: str, body: Any, needs: str) -> None:
    answer = keyed.client.request(method, path, json=body)
    assert error(answer) == (401, "key_required")
    assert answer.headers["www-authenticate"] == "Bearer"
    for scope, key in keyed.keys.items():
        answer = keyed.client.request(method, path, json=body, headers=bearer(key))
        if scope == needs:
            assert answer.status_code == 200 or error(answer) == (400, "invalid_request")
        else:
            assert error(answer) == (403, "scope_missing")
            assert f'scope="{needs}"' in answer.headers["www-authenticate"]


def test_every_route_but_health_needs_a_key(keyed: Keyed) -> None:
    for path, operations in keyed.client.get("/openapi.json").json()["paths"].items():
        for method in operations:
            answer = keyed.client.request(method, path.replace("{", "").replace("}", ""))
            assert answer.status_code == (200 if path in PUBLIC else 401), path


@pytest.mark.parametrize("path", PUBLIC)
def test_what_needs_no_key(keyed: Keyed, path: str) -> None:
    assert keyed.client.get(path).status_code == 200
    assert keyed.client.get(path, headers=bearer("nonsense")).status_code == 200


def test_explanations_of_users_are_histories(keyed: Keyed) -> None:
    path = "/users/1/recommendations?explain=true"
    assert error(keyed.client.get(path, headers=bearer(keyed.keys["predict"]))) == (403, "scope_missing")
    both = bearer(keys.add(keyed.file, "both", frozenset(("predict", "histories"))))
    wait_for(lambda: keyed.client.get(path, headers=both).status_code == 200)
    assert "explanation" in keyed.client.get(path, headers=both).text


def test_users_are_named_to_those_who_see_histories_only(keyed: Keyed, client: CheckedClient) -> None:
    assert client.get("/model").json()["service"]["example_users"]
    service = keyed.client.get("/model", headers=bearer(keyed.keys["predict"])).json()["service"]
    assert (service["expose_user_ratings"], service["example_users"]) == (False, [])
    document = keyed.client.get("/openapi.json").json()
    assert all("examples" not in one["schema"] for one in document["paths"]["/users/{user_id}"]["get"]["parameters"])


def test_keys_do_not_open_histories_that_are_off(bundles: dict[str, Bundle], tmp_path: Path) -> None:
    key = keys.add(tmp_path / "keys", "all", frozenset(("predict", "histories")))
    with client_of(bundles["int"], keys=tmp_path / "keys", expose_user_ratings=False) as client:
        assert error(client.get("/users/1", headers=bearer(key))) == (403, "histories_off")
        assert error(client.get("/users/1")) == (401, "key_required")
        explained = client.get("/users/1/recommendations?explain=true", headers=bearer(key))
        assert error(explained) == (403, "histories_off")


def forged(key: str) -> list[Any]:
    digest = keys.digest_of(key.encode()).hex()
    return [
        "", "Bearer", "Bearer ", key, f"Basic {key}", f"Token {key}", f"Bearer{key}", f"Bearer {key}x",
        f"Bearer {key[:-1]}", f"Bearer {key} x", f"Bearer x {key}", f"Bearer {key},{key}", f"Bearer  {key[7:]}",
        f"Bearer {key.lower()}", f"Bearer {digest}", f"Bearer\t{key}", f"Bearer {key}".encode() + b"\x80",
        f"Bearer {key}\u00e9".encode(), f"Bearer {key}\x00", b"Bearer \xff\xfe", f"Bearer {key}" + " " * 200,
        f"Bearer {'x' * 1_000_000}", f'Bearer "{key}"', f"Bearer {key}=", f"Bearer recsys_{'A' * 43}",
        f"Bearer {key[:20]}*{key[21:]}",
    ]  # fmt: skip


def test_forged_headers(keyed: Keyed) -> None:
    assert keyed.client.get("/items/50", headers=bearer(keyed.keys["predict"])).status_code == 200
    for header in forged(keyed.keys["predict"]):
        answer = keyed.client.get("/items/50", headers={"Authorization": header})
        assert error(answer) == (401, "key_invalid"), header
        assert 'error="invalid_token"' in answer.headers["www-authenticate"]


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "bEaReR"])
def test_the_scheme_has_no_case(keyed: Keyed, scheme: str) -> None:
    header = {"Authorization": f"{scheme} {keyed.keys['predict']}"}
    for _ in range(2):  # looked up, then remembered
        assert keyed.client.get("/items/50", headers=header).status_code == 200


def test_two_headers_are_none(keyed: Keyed) -> None:
    valid = ("Authorization", f"Bearer {keyed.keys['predict']}")
    for pair in ([valid, valid], [valid, ("authorization", "Bearer x")], [("AUTHORIZATION", "Basic x"), valid]):
        assert error(keyed.client.get("/items/50", headers=pair)) == (401, "key_invalid")


def test_a_key_anywhere_else_is_none(keyed: Keyed) -> None:
    key = keyed.keys["predict"]
    for path in (f"/items/50?key={key}", f"/items/50?access_token={key}", f"/items/50?Authorization=Bearer%20{key}"):
        assert error(keyed.client.get(path)) == (401, "key_required")
    for name in ("X-API-Key", "Proxy-Authorization", "X-Authorization", "Cookie", "X-Forwarded-Authorization"):
        assert error(keyed.client.get("/items/50", headers={name: f"Bearer {key}"})) == (401, "key_required")


SPELLINGS = (
    "/users/%31", "/%75sers/1", "/%75%73ers/%31", "/users/1?x=/page/", "/users/1%3Fx", "/users/%2Fpage%2Fpage.js",
    "/users/..%2Fpage", "/users/1%2F", "/%6Detrics", "/metrics?/health/live", "/m%65trics",
    "/items/50%2F..%2F..%2Fhealth%2Flive",
)  # fmt: skip


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD", "TRACE", "QUERY"])
def test_no_spelling_and_no_method_reaches_a_route_without_a_key(keyed: Keyed, method: str) -> None:
    for path in SPELLINGS:
        assert keyed.client.unchecked(method, path).status_code == 401, path


@pytest.mark.parametrize(
    "path",
    ["/page/../metrics", "/page/..%2Fmetrics", "/page%2F..%2Fmetrics", "/page/%2E%2E/metrics", "/page/..%2f..%2fapp.py",
     "/page/%2e%2e/%2e%2e/etc/passwd", "/page//etc/passwd", "/page/..\\metrics", "/page/\0", "/docs/../metrics",
     "//metrics", "/./metrics", "/metrics/", "/health/live/../../metrics", "/health/../metrics",
     "/page/../../access.py"],
    ids=ascii,
)  # fmt: skip
def test_what_is_public_leads_nowhere_else(keyed: Keyed, path: str) -> None:
    for decoded in (path, unquote(path)):
        status, body = direct(keyed.client, {"path": decoded, "raw_path": path.encode()})
        assert status in (307, 404)
        assert b"recsys_requests" not in body


def direct(client: CheckedClient, scope: dict[str, Any]) -> tuple[int, bytes]:
    """Ask the application itself: clients tidy paths up."""
    messages: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        messages.append(message)

    about = {
        "type": "http", "method": "GET", "query_string": b"", "root_path": "", "scheme": "http",
        "headers": [(b"host", b"localhost")], "client": ("127.0.0.1", 1),
    }  # fmt: skip
    assert client.portal is not None
    client.portal.call(client.app, about | scope, receive, send)
    return messages[0]["status"], b"".join(message.get("body", b"") for message in messages)


def wait_for(condition: Any) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_keys_are_made_rotated_and_revoked_while_serving(keyed: Keyed) -> None:
    def status(key: str) -> int:
        return keyed.client.get("/items/50", headers=bearer(key)).status_code

    first = keyed.keys["predict"]
    assert status(first) == 200
    second = keys.rotate(keyed.file, "of-predict")
    wait_for(lambda: status(second) == 200)
    assert status(first) == 401
    keys.revoke(keyed.file, "of-predict")
    wait_for(lambda: status(second) == 401)
    third = keys.add(keyed.file, "of-predict", frozenset(("predict",)))
    wait_for(lambda: status(third) == 200)


def spoil(file: Path, how: str) -> None:
    if how == "damaged":
        file.write_text("{")
    elif how == "open to others":
        file.chmod(0o644)
    else:
        file.unlink()
    if how == "a pipe":
        os.mkfifo(file, 0o600)
    elif how == "a link to a device":
        file.symlink_to("/dev/zero")
    elif how == "a folder":
        file.mkdir()


@pytest.mark.parametrize("how", ["damaged", "open to others", "gone", "a pipe", "a link to a device", "a folder"])
def test_the_last_good_keys_stay_in_use(tmp_path: Path, how: str, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "keys.json"
    header = f"Bearer {keys.add(file, 'one', frozenset(('predict',)))}".encode()
    ring = KeyRing(file)
    assert ring.find(header)
    spoil(file, how)
    with caplog.at_level(logging.ERROR, "serve"):
        for _ in range(3):
            ring.refresh()
    [line] = caplog.messages
    assert "the keys read before stay valid" in line
    assert ring.find(header)
    file.rmdir() if how == "a folder" else file.unlink(missing_ok=True)
    new = f"Bearer {keys.add(file, 'two', frozenset(('predict',)))}".encode()
    ring.refresh()
    assert ring.find(header) is None
    assert ring.find(new)


def test_a_worker_that_starts_without_readable_keys_lets_nobody_in(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    header = f"Bearer {keys.add(file, 'one', frozenset(('predict',)))}".encode()
    file.chmod(0o644)
    ring = KeyRing(file)
    assert ring.find(header) is None
    file.chmod(0o600)
    ring.refresh()
    assert ring.find(header)


def test_a_file_without_keys_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    keys.add(tmp_path / "keys", "one", frozenset(("predict",)))
    keys.revoke(tmp_path / "keys", "one")
    KeyRing(tmp_path / "keys")
    assert "nobody may ask until `recsys keys add`" in caplog.text


def test_what_strangers_send_is_not_remembered(tmp_path: Path) -> None:
    key = keys.add(tmp_path / "keys", "one", frozenset(("predict",)))
    ring = KeyRing(tmp_path / "keys")
    for number in range(100):
        assert ring.find(b"Bearer recsys_%043d" % number) is None
    assert not ring._known
    for number in range(2 * MOST_REMEMBERED):  # one key, however it is written
        spelled = "".join(x.upper() if number >> place & 1 else x for place, x in enumerate("bearer"))
        assert ring.find(f"{spelled}{' ' * (1 + number // 64)}{key}".encode()[:128]) or number >= 64
    assert len(ring._known) <= MOST_REMEMBERED


def test_all_keys_are_compared_each_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = [keys.add(tmp_path / "keys", f"key{n}", frozenset(("predict",))) for n in range(5)]
    ring = KeyRing(tmp_path / "keys")
    compared: list[tuple[int, int]] = []
    monkeypatch.setattr("hmac.compare_digest", lambda a, b: compared.append((len(a), len(b))) or a == b)
    for key in (*made, "recsys_" + "A" * 43):
        compared.clear()
        ring.find(f"Bearer {key}".encode())
        assert compared == [(32, 32)] * 5


def test_failures_are_limited_by_address_and_valid_keys_are_not(keyed: Keyed) -> None:
    for number in range(3 * FAILURES.quota):
        answer = keyed.client.get("/items/50", headers=bearer(f"recsys_{number:043}"))
        if answer.status_code == 429:
            break
        assert answer.status_code == 401
    assert number >= FAILURES.quota
    assert error(answer) == (429, "rate_limited")
    assert int(answer.headers["retry-after"]) >= 1
    assert error(keyed.client.get("/users/1")) == (429, "rate_limited")
    assert keyed.client.get("/items/50", headers=bearer(keyed.keys["predict"])).status_code == 200
    assert keyed.client.get("/").status_code == 200


def test_keys_are_named_in_the_log_and_shown_nowhere(keyed: Keyed, caplog: pytest.LogCaptureFixture) -> None:
    key = keyed.keys["predict"]
    with caplog.at_level(logging.DEBUG):
        answers = [
            keyed.client.get(path, headers=bearer(one))
            for path in ("/items/50", "/users/1", "/nothing", "/items/x", "/model", "/openapi.json")
            for one in (key, key + "x", keyed.keys["operations"])
        ]
        answers.append(keyed.client.get("/metrics", headers=bearer(keyed.keys["operations"])))
    shown = "".join(f"{answer.text}{answer.headers}" for answer in answers)
    logged = "".join(f"{record.getMessage()}{getattr(record, 'fields', '')}" for record in caplog.records)
    for text in (*keyed.keys.values(), keys.digest_of(key.encode()).hex()):
        assert text[7:] not in shown + logged
    assert "'key': 'of-predict'" in logged
    assert "of-predict" not in shown


def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **given: Any) -> Settings:
    monkeypatch.chdir(tmp_path)
    return Settings(**given)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "192.0.2.7", "2001:db8::1"])
def test_other_machines_need_keys_unless_told_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    found = settings(tmp_path, monkeypatch, host=host)
    with pytest.raises(KeyFileError, match=r"`recsys keys add NAME`.*--insecure"):
        found.check_keys()
    settings(tmp_path, monkeypatch, host=host, insecure=True).check_keys()
    assert settings(tmp_path, monkeypatch, host=host, insecure=True).keys_file is None
    keys.add(KEYS_FILE, "one", frozenset(("predict",)))
    found.check_keys()
    assert found.keys_file == KEYS_FILE
    assert not found.exposes_user_ratings
    KEYS_FILE.chmod(0o644)
    with pytest.raises(KeyFileError, match="chmod 600"):
        found.check_keys()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_this_machine_needs_none_unless_told_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    found = settings(tmp_path, monkeypatch, host=host)
    found.check_keys()
    assert found.keys_file is None
    named = settings(tmp_path, monkeypatch, host=host, keys=tmp_path / "mine")
    with pytest.raises(KeyFileError, match=r"no keys in .*`recsys keys add NAME`"):
        named.check_keys()


def test_a_service_behind_a_proxy_needs_keys_though_it_listens_on_loopback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = settings(tmp_path, monkeypatch, trusted_proxies="127.0.0.1")
    with pytest.raises(KeyFileError, match=r"127\.0\.0\.1 through a trusted proxy: .*`recsys keys add NAME`"):
        found.check_keys()
    settings(tmp_path, monkeypatch, trusted_proxies="127.0.0.1", insecure=True).check_keys()


def test_workers_are_told_what_was_decided(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outside = settings(tmp_path, monkeypatch, host="0.0.0.0").decided()
    inside = settings(tmp_path, monkeypatch, host="localhost").decided()
    monkeypatch.setattr("serve.settings.is_loopback", lambda host: host == "0.0.0.0")  # names resolve otherwise by now
    for found, file, exposed in ((outside, KEYS_FILE, False), (inside, None, True)):
        told = {key: str(value) for key, value in found.model_dump().items() if value is not None}
        worker = Settings(**told)
        assert (worker.keys_file, worker.exposes_user_ratings) == (file, exposed)
