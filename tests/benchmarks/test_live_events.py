"""The requests of the benchmarks of events, and that they find what they look for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.live import cuts
from benchmarks.live.events import NewEvents
from recsys.database import Database


def test_each_request_has_events_of_its_own() -> None:
    requests = NewEvents(3, "test")
    assert requests[7] == requests[7]
    ids = []
    for number in (0, 1, 12_345_678):
        head, _, body = requests[number].partition(b"\r\n\r\n")
        assert f"Content-Length: {len(body)}".encode() in head
        ids += [event["event_id"] for event in json.loads(body)["events"]]
    assert len(set(ids)) == 9
    assert ids[0] == "test-00000000-0"


@pytest.mark.long
def test_cuts_miss_nothing(tmp_path: Path) -> None:
    found = cuts.trials(f"sqlite:///{tmp_path}/live.db", 20)
    assert found["trials"] == 20
    assert found["events"] >= 20
    assert found["missing"] == 0


@pytest.mark.services
def test_the_control_of_cuts_misses_some(postgres: str) -> None:
    """Else the trials would tell nothing: numbers of a sequence are not in the order of commits."""
    assert cuts.trials(postgres, 50)["missing"] == 0
    assert cuts.trials(postgres, 200, locked=False)["missing"] > 0
    with Database.open(postgres).writing() as connection:
        connection.exec_driver_sql("delete from events")
