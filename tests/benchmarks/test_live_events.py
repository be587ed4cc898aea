"""The requests of the benchmarks of events, and that they find what they look for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.live import cuts
from benchmarks.live.events import NewEvents
from benchmarks.tables import live
from benchmarks.tables.results import NotMeasuredError, Results


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


def test_the_table_has_what_was_measured(tmp_path: Path) -> None:
    with pytest.raises(NotMeasuredError, match="live_ingest"):
        live.events(_stored(tmp_path, other={}))
    ingest = {
        "bare SQLite": {"batches": 21_100.4, "singles": 305}, "service, sqlite": {"batches": 15_000, "singles": 2500},
    }  # fmt: skip
    durability = {
        "sqlite": {
            "kills": 50,
            "acknowledged": 1234,
            "lost": 0,
            "doubled": 0,
            "wrong_ratings": 0,
            "syncs_per_commit": 1.005,
        },
    }
    text = live.events(_stored(tmp_path, live_ingest=ingest, live_durability=durability))
    assert "| events a second in batches of 100, two workers | 15,000 | – |" in text
    assert "| bare SQLite, transactions of 100 events | 21,100 | – |" in text
    assert "| lost, doubled | 0, 0 | – |" in text
    assert "| syncs of the disk for each commit | 1.00 | – |" in text
    assert "cuts" not in text
    text = live.events(_stored(tmp_path, live_cuts={"sqlite": {"trials": 10_000, "missing": 0}}))
    assert "| cuts that were read while two processes wrote | 10,000 | – |" in text


def _stored(folder: Path, **figures: object) -> Results:
    for name, found in figures.items():
        (folder / f"{name}-cpu-2core.json").write_text(json.dumps({"figures": found}))
    return Results(folder)
