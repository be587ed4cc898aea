"""What a service says of itself while it waits, follows its pointer and hides where its files lie."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from serve import keys
from serve import service as module
from serve.models.model_manager import ModelManager
from serve.models.pointer import write_pointer
from serve.settings import Settings
from tests.serve.conftest import CheckedClient, client_of, rich, save, until
from tests.serve.test_metrics import value

ASKS = [
    ("GET", "/model", None),
    ("GET", "/items?query=a", None),
    ("GET", "/items/50", None),
    ("GET", "/items/50/similar", None),
    ("GET", "/users/1", None),
    ("GET", "/users/1/recommendations", None),
    ("POST", "/predict/rating/", {"user_id": "1", "item_id": "50"}),
    ("POST", "/predict/rating/", {"user_id": 1.5}),
    ("POST", "/predict/ratings/", {"pairs": [{"user_id": "1", "item_id": "50"}]}),
    ("POST", "/recommendations/", {"ratings": [{"item_id": "50", "rating": 5}]}),
]


def waiting(pointer: Path, **settings: object) -> tuple[ModelManager, dict[str, object]]:
    options = {"pointer": pointer, "poll_seconds": 0.01, **settings}
    return ModelManager.from_settings(Settings(**options)), options


def test_without_a_bundle_it_waits_and_says_so(tmp_path: Path) -> None:
    pointer = tmp_path / "serving"
    models, settings = waiting(pointer)
    with client_of(models, **settings) as client:
        for method, path, body in ASKS:
            answer = client.request(method, path, json=body)
            assert (answer.status_code, answer.json()["code"]) == (503, "no_model"), path
            assert int(answer.headers["retry-after"]) >= 1
        ready = client.get("/health/ready")
        assert (ready.status_code, ready.json()["code"]) == (503, "no_model")
        assert f"pointer {pointer} cannot be read" in ready.json()["detail"]
        for path in ("/", "/docs", "/openapi.json", "/health/live", "/metrics"):
            assert client.get(path).status_code == 200, path
        assert client.get("/nowhere").status_code == 404
        write_pointer(pointer, tmp_path / "first")  # named before it is there
        until(lambda: "first is not a bundle" in client.get("/health/ready").json()["detail"])
        save(rich(), tmp_path / "first")
        ready = until(lambda: (now := client.get("/health/ready")).status_code == 200 and now)
        assert ready.json()["last_error"] is None
        assert client.get("/items/50").status_code == 200
        until(lambda: (value(client.get("/metrics").text, "recsys_swaps_total") or 0) >= 1)


def test_where_files_lie_is_told_to_operators_only(tmp_path: Path) -> None:
    pointer = tmp_path / "serving"
    models, settings = waiting(pointer)
    operator = {"Authorization": f"Bearer {keys.add(tmp_path / 'keys', 'operator', frozenset(('operations',)))}"}
    with client_of(models, keys=tmp_path / "keys", **settings) as client:
        assert str(tmp_path) in client.get("/health/ready", headers=operator).text
        refused = client.get("/health/ready")
        assert (refused.status_code, refused.json()["code"]) == (503, "no_model")
        assert str(tmp_path) not in refused.text
        assert "rejected" not in refused.text  # there is nothing yet
        write_pointer(pointer, save(rich(), tmp_path / "first"))
        until(lambda: client.get("/health/ready").status_code == 200)
        pointer.unlink()
        until(lambda: client.get("/health/ready", headers=operator).json()["last_error"])
        known = client.get("/health/ready").json()
        assert {name for name, value in known.items() if value is not None} == {"status"}


def test_the_age_of_the_last_look_is_told(tmp_path: Path, client: CheckedClient) -> None:
    assert client.get("/health/ready").json()["pointer_age_seconds"] is None
    write_pointer(tmp_path / "serving", save(rich(), tmp_path / "first"))
    models, settings = waiting(tmp_path / "serving")
    with client_of(models, **settings) as following:
        models._looked -= 100
        age = following.get("/health/ready").json()["pointer_age_seconds"]
        assert 0 <= age < 200
        until(lambda: following.get("/health/ready").json()["pointer_age_seconds"] < 50)


def test_figures_that_cannot_be_read_hold_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, client: CheckedClient
) -> None:
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    os.mkfifo(tmp_path / "counter_1.db")
    (tmp_path / "gauge_livesum_999999.db").mkdir()
    (tmp_path / "gauge_livesum_x.db").mkdir()
    assert client.get("/metrics").status_code == 200


def test_lines_that_were_dropped_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Services of other tests go on: their counts must not fall when this test is over.
    others, dropped = {*threading.enumerate()}, module.logs.dropped
    monkeypatch.setattr(module.logs, "dropped", lambda: dropped() if threading.current_thread() in others else 7)
    with client_of(rich(), poll_seconds=0.01) as client:
        until(lambda: value(client.get("/metrics").text, "recsys_log_lines_dropped_total") == 7)


def test_an_error_ends_no_following(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_pointer(tmp_path / "serving", save(rich(), tmp_path / "first"))
    models, settings = waiting(tmp_path / "serving")
    with client_of(models, **settings) as client:
        monkeypatch.setattr(models, "poll", lambda: 1 / 0)
        models.last_error = None
        until(lambda: models.pointer_age > 0.1)
        monkeypatch.undo()
        write_pointer(tmp_path / "serving", save(rich(seed=1), tmp_path / "second"))
        until(lambda: client.get("/model").json()["seed"] == 1)
