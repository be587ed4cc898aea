"""Events through several workers, and after kills."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest

from recsys.database import Database
from recsys.events import EventLog
from tests.serve.conftest import Served, until
from tests.serve.routers.test_events import given
from tests.serve.test_metrics import value

pytestmark = pytest.mark.long

Start = Callable[..., Served]


def test_all_workers_record_and_count(serve: Start, saved: Path, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/live.db"
    served = serve("--bundle", str(saved), "--workers", "2", RECSYS_DATABASE=url)
    log = EventLog(Database.open(url))
    for number in range(40):  # each on a connection of its own
        answer = httpx2.post(f"{served.url}/events/", json={"events": [given(number)]})
        assert answer.json() == {"accepted": 1, "seq": number + 1}
        assert log.cut() == number + 1
    told = until(lambda: _counted(served))
    assert told == (40, 40, 0)
    assert httpx2.get(f"{served.url}/health/ready").json()["database"] == "answers"
    assert served.stop() == 0


def _counted(served: Served) -> tuple[float | None, ...] | None:
    """Events, commits and events that wait, once both workers have written what they counted."""
    text = httpx2.get(f"{served.url}/metrics").text
    names = ("recsys_events_total", "recsys_commit_seconds_count", "recsys_events_waiting")
    found = tuple(value(text, name) for name in names)
    return found if found[0] == 40 else None


def test_what_was_acknowledged_outlives_a_kill(serve: Start, saved: Path, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/live.db"
    served = serve("--bundle", str(saved), "--database", url)
    answer = httpx2.post(f"{served.url}/events/", json={"events": [given(n) for n in range(100)]})
    os.kill(served.process.pid, signal.SIGKILL)
    served.process.wait()
    assert answer.status_code == 200
    assert EventLog(Database.open(url)).count() == 100
    again = serve("--bundle", str(saved), "--database", url)
    answer = httpx2.post(f"{again.url}/events/", json={"events": [given(n) for n in range(101)]})
    assert answer.json() == {"accepted": 101, "seq": 101}
