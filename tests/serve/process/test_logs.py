"""One JSON object a line, and nobody's id among them."""

from __future__ import annotations

import json
import logging
import sys
import threading
import warnings
from collections.abc import Iterator

import pytest

from serve.process import logs
from tests.serve.conftest import CheckedClient


@pytest.fixture
def configured(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("stdout", "stderr", "excepthook", "unraisablehook"):
        monkeypatch.setattr(sys, name, getattr(sys, name))
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    root = logging.getLogger()
    before = (root.handlers[:], root.level)
    yield
    logging.captureWarnings(False)
    root.handlers[:], root.level = before
    for name in ("serve", "uvicorn"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
        logger.setLevel(logging.NOTSET)


def lines(capfd: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    logs.finish(10)
    return [json.loads(line) for line in capfd.readouterr().err.splitlines()]


def test_lines_are_json_whatever_they_hold(configured: None, capfd: pytest.CaptureFixture[str]) -> None:
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
    told = lines(capfd)
    assert [line["message"] for line in told][1:] == ["oh", "from uvicorn"]
    assert told[0]["route"] == "/items"
    assert told[0]["level"] == "info"
    assert str(told[0]["time"]).endswith("+00:00")
    assert "ValueError: broken" in str(told[1]["exception"])


def test_a_request_is_logged_by_template_without_ids(
    configured: None, client: CheckedClient, capfd: pytest.CaptureFixture[str]
) -> None:
    logs.configure("info")
    marker = "9000000000"
    for path in ("/users/{}", "/users/{}/recommendations?genre=Drama", "/items/{}", "/items?query={}", "/x/{}"):
        client.get(path.format(marker), headers={"X-Request-ID": "abc", "User-Agent": marker, "Referer": marker})
    client.post("/predict/rating/", json={"user_id": marker, "item_id": "50"})
    client.post("/predict/rating/", json={"user_id": marker, "item_id": marker + "x"})
    logs.finish(10)
    text = capfd.readouterr().err
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


def test_debug_tells_the_path(configured: None, client: CheckedClient, capfd: pytest.CaptureFixture[str]) -> None:
    logs.configure("debug")
    client.get("/users/405")
    assert [line["path"] for line in lines(capfd)] == ["/users/405"]


def test_warning_tells_no_requests(configured: None, client: CheckedClient, capfd: pytest.CaptureFixture[str]) -> None:
    logs.configure("warning")
    client.get("/users/405")
    assert lines(capfd) == []


def test_whatever_would_be_printed_is_a_line(configured: None, capfd: pytest.CaptureFixture[str]) -> None:
    logs.configure("warning")
    logging.getLogger("asyncio").error("never retrieved")
    logging.getLogger("asyncio").info("not told")
    warnings.warn("odd", stacklevel=1)
    thread = threading.Thread(target=lambda: 1 / 0)
    thread.start()
    thread.join()
    logging.getLogger("serve").error("%d", "no number")  # cannot be formatted: counted, and nothing is printed
    lost = logs.dropped()
    assert lost >= 1
    told = lines(capfd)
    assert [line["logger"] for line in told if "dropped" not in line] == ["asyncio", "py.warnings", "serve"]
    assert told[2]["message"] == "uncaught ZeroDivisionError"
    assert "1 / 0" in str(told[2]["exception"])
    assert told[-1]["dropped"]


def test_a_line_is_bounded(configured: None, capfd: pytest.CaptureFixture[str]) -> None:
    logs.configure("info")
    logging.getLogger("serve").info("x" * 1_000_000 + "the end")
    message = str(lines(capfd)[0]["message"])
    assert len(message) < 10_000
    assert message.endswith("the end")


def test_print_does_not_wait_either(configured: None, capfd: pytest.CaptureFixture[str]) -> None:
    logs.configure("info")
    print("where it listens", flush=True)
    print("what went wrong", file=sys.stderr)
    logs.finish(10)
    assert capfd.readouterr() == ("where it listens\n", "what went wrong\n")
