"""One JSON object a line, and nobody's id among them."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator

import pytest

from serve import logs
from tests.serve.conftest import CheckedClient


@pytest.fixture
def configured() -> Iterator[None]:
    yield
    for name in ("serve", "uvicorn"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
        logger.setLevel(logging.NOTSET)


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_lines_are_json_whatever_they_hold(configured: None, capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("info")
    log = logging.getLogger("serve")
    log.info("two\nlines \u2028 \ud800 %s", "é", extra={"fields": {"route": "/items"}})
    log.debug("not told")
    try:
        raise ValueError("broken\nhere")
    except ValueError:
        log.exception("oh")
    logging.getLogger("uvicorn.error").warning("from uvicorn")
    logging.getLogger("uvicorn.error").info("not told")
    told = lines(capsys)
    assert [line["message"] for line in told][1:] == ["oh", "from uvicorn"]
    assert told[0]["route"] == "/items"
    assert told[0]["level"] == "info"
    assert str(told[0]["time"]).endswith("+00:00")
    assert "ValueError: broken" in str(told[1]["exception"])
    assert sys.stderr is not None


def test_a_request_is_logged_by_template_without_ids(
    configured: None, client: CheckedClient, capsys: pytest.CaptureFixture[str]
) -> None:
    logs.configure("info")
    marker = "9000000000"
    for path in ("/users/{}", "/users/{}/recommendations?genre=Drama", "/items/{}", "/items?query={}", "/x/{}"):
        client.get(path.format(marker), headers={"X-Request-ID": "abc", "User-Agent": marker, "Referer": marker})
    client.post("/predict/rating/", json={"user_id": marker, "item_id": "50"})
    client.post("/predict/rating/", json={"user_id": marker, "item_id": marker + "x"})
    text = capsys.readouterr().err
    assert marker not in text
    told = [json.loads(line) for line in text.splitlines()]
    assert [line["route"] for line in told] == [
        "/users/{user_id}", "/users/{user_id}/recommendations", "/items/{item_id}", "/items", "other",
        "/predict/rating/", "/predict/rating/",
    ]  # fmt: skip
    assert [line["status"] for line in told] == [200, 200, 404, 200, 404, 200, 400]
    assert told[0]["request_id"] == "abc"
    assert told[0]["method"] == "GET"
    assert 0 < told[0]["ms"] < 10_000


def test_debug_tells_the_path(configured: None, client: CheckedClient, capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("debug")
    client.get("/users/405")
    assert [line["path"] for line in lines(capsys)] == ["/users/405"]


def test_warning_tells_no_requests(configured: None, client: CheckedClient, capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("warning")
    client.get("/users/405")
    assert lines(capsys) == []
