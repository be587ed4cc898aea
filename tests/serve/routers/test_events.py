"""POST /events/: what is refused, what is recorded, and that it is there when it is acknowledged."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recsys.bundle import Bundle
from recsys.database import Database
from recsys.events import EventLog, StoredEvent
from serve import keys
from tests.serve.conftest import CheckedClient, client_of, until
from tests.serve.test_app import refused, rule_of
from tests.serve.test_metrics import value

NOW = int(time.time())
EVENT = {"event_id": "a", "user_id": "1", "item_id": "50", "rating": 4.5, "timestamp": NOW}


def given(number: int = 0, **changes: Any) -> dict[str, Any]:
    return EVENT | {"event_id": f"e{number}"} | changes


@pytest.fixture
def live(bundles: dict[str, Bundle], url: str, log: EventLog) -> Iterator[CheckedClient]:
    with client_of(bundles["int"], database=url) as client:
        yield client


def send(client: CheckedClient, *events: dict[str, Any]) -> Any:
    return client.post("/events/", json={"events": events})


def test_an_acknowledged_event_is_there(live: CheckedClient, log: EventLog) -> None:
    answer = send(live, given(1), given(2, item_id=172, kind="purchase", rating=None))
    assert (answer.status_code, answer.json()) == (200, {"accepted": 2, "seq": 2})
    first, second = log.of_user("1")
    assert first == StoredEvent(1, "e1", "1", "50", "rating", 4.5, NOW, first.received)
    assert second == StoredEvent(2, "e2", "1", "172", "purchase", None, NOW, second.received)
    assert NOW <= first.received <= time.time()


def test_the_kind_is_a_rating_unless_it_is_said(live: CheckedClient, log: EventLog) -> None:
    send(live, given(1), given(2, kind="withdrawal", rating=None))
    assert [one.kind for one in log.of_user("1")] == ["rating", "withdrawal"]


def test_implicit_feedback_needs_no_rating(bundles: dict[str, Bundle], url: str, log: EventLog) -> None:
    ones = bundles["int"].ratings._replace(rating=np.ones_like(bundles["int"].ratings.rating))
    manifest = bundles["int"].manifest | {"task": "ranking", "rating_scale": [0.0, 1.0]}
    with client_of(replace(bundles["int"], manifest=manifest, ratings=ones), database=url) as client:
        event = {"event_id": "a", "user_id": "1", "item_id": "318", "timestamp": NOW}
        assert send(client, event, event | {"event_id": "b", "item_id": "11", "rating": 1}).status_code == 200
        assert [(one.kind, one.rating) for one in log.of_user("1")] == [("choice", None), ("rating", 1.0)]
        assert {"318", "11"} <= {one["item_id"] for one in client.get("/users/1").json()["ratings"]}
        [stars, other] = client.get("/openapi.json").json()["components"]["schemas"]["EventIn"]["anyOf"]
        assert "required" not in stars
        assert other["required"] == ["kind"]


def test_unknown_users_and_items_are_accepted(live: CheckedClient, log: EventLog) -> None:
    assert send(live, given(1, user_id="4711", item_id="4712")).status_code == 200
    assert [one.item_id for one in log.of_user("4711")] == ["4712"]


def test_ids_mean_what_they_mean_elsewhere(live: CheckedClient, log: EventLog) -> None:
    assert send(live, given(1, user_id=1.0, item_id="0050")).status_code == 200
    assert [one.item_id for one in log.of_user("1")] == ["50"]
    for place, field, bad in ((0, "user_id", "x"), (1, "item_id", "abc"), (0, "item_id", None), (1, "user_id", "")):
        events = [given(2), given(3)]
        events[place][field] = bad
        said = refused(send(live, *events), 400, "invalid_id")
        assert said == f"body.events[{place}].{field}: {rule_of(live)}"
    refused(send(live, given(2, item_id=True)), 400, "invalid_id")
    for large in (10**30, -(10**19), str(10**19), 1e300):
        said = refused(send(live, given(2), given(3, item_id=large)), 400, "invalid_id")
        assert said == f"body.events[1].item_id: integers must be from {1 - 10**19} to {10**19 - 1}"
    said = refused(send(live, given(2, user_id=str(2**63))), 409, "unrecordable_id")  # which no bundle holds
    assert said == f"body.events[0].user_id must be from {1 - 2**63} to {2**63 - 1}"
    assert send(live, given(2, user_id=str(2**63 - 1), item_id=str(1 - 2**63))).status_code == 200


def test_the_same_event_counts_once_and_another_one_is_a_conflict(live: CheckedClient, log: EventLog) -> None:
    assert send(live, given(1)).json() == send(live, given(1)).json() == {"accepted": 1, "seq": 1}
    said = refused(send(live, given(2), given(1, rating=1.0)), 409, "event_conflict")
    assert said == "body.events[1].event_id is taken by an event with other content"
    said = refused(send(live, given(7), given(8), given(9), given(8, rating=1.0)), 409, "event_conflict")
    assert said == "body.events[3].event_id is that of body.events[1], which has other content"
    assert log.count() == 1


@pytest.mark.parametrize(
    ("changes", "code", "said"),
    [
        ({"rating": 5.5}, "rating_off_scale", "body.events[1].rating must be in [0.5, 5]"),
        ({"rating": 0}, "rating_off_scale", "body.events[1].rating must be in"),
        ({"rating": None}, "rating_missing", "body.events[1].rating must be given for the kind rating"),
        ({"kind": "purchase"}, "rating_unexpected", "only the kind rating has one"),
        ({"kind": "withdrawal"}, "rating_unexpected", "body.events[1].rating must be left out"),
        ({"timestamp": NOW + 2 * 86_400}, "invalid_timestamp", "[1].timestamp must be unix seconds from 0 to 1"),
        ({"timestamp": 1000 * NOW}, "invalid_timestamp", "body.events[1].timestamp must be unix seconds from 0 to"),
        ({"timestamp": -1}, "invalid_timestamp", "body.events[1].timestamp"),
        ({"timestamp": 1.5}, "invalid_request", "body.events[1].timestamp"),
        ({"timestamp": 10**400}, "invalid_timestamp", "body.events[1].timestamp"),
        ({"timestamp": None}, "invalid_request", "body.events[1].timestamp"),
        ({"event_id": ""}, "invalid_request", "body.events[1].event_id"),
        ({"event_id": "x" * 201}, "invalid_request", "body.events[1].event_id"),
        ({"event_id": "a\0b"}, "invalid_request", "body.events[1].event_id"),
        ({"event_id": "\ud800"}, "invalid_request", "body.events[1].event_id"),
        ({"event_id": 7}, "invalid_request", "body.events[1].event_id"),
        ({"kind": ""}, "invalid_request", "body.events[1].kind"),
        ({"kind": "\udfff"}, "invalid_request", "body.events[1].kind"),
        ({"kind": "x" * 65}, "invalid_request", "body.events[1].kind"),
        ({"kind": "a\nb"}, "invalid_request", "body.events[1].kind"),
        (
            {"surprise": 1},
            "invalid_request",
            "body.events[1] has an unknown field; allowed are event_id, user_id, item_id",
        ),
    ],
)
def test_what_is_none_is_refused_with_all_of_the_request(
    live: CheckedClient, log: EventLog, changes: dict[str, Any], code: str, said: str
) -> None:
    body = json.dumps({"events": [given(1), given(2, **changes)]})
    answer = live.post("/events/", content=body, headers={"content-type": "application/json"})
    assert said in refused(answer, 400, code)
    assert log.count() == 0


def test_a_number_that_is_none_is_refused(live: CheckedClient) -> None:
    body = json.dumps({"events": [given(1)]}).replace("4.5", "NaN")
    refused(live.post("/events/", content=body, headers={"content-type": "application/json"}), 400, "invalid_request")


def test_as_many_as_a_thousand(live: CheckedClient, log: EventLog) -> None:
    assert send(live, *(given(n) for n in range(1000))).json()["accepted"] == 1000
    assert log.count() == 1000
    assert "body.events" in refused(send(live, *(given(n) for n in range(1001))), 400, "invalid_request")
    refused(send(live), 400, "invalid_request")


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", None])
def test_what_a_page_of_another_site_can_send_is_refused(live: CheckedClient, log: EventLog, kind: str | None) -> None:
    """A simple request, which a browser sends to any service without asking it first."""
    headers = {} if kind is None else {"content-type": kind}
    refused(live.post("/events/", content=json.dumps({"events": [given(1)]}), headers=headers), 400, "invalid_request")
    assert log.count() == 0


def test_text_ids_hold_whatever_databases_do(bundles: dict[str, Bundle], url: str, log: EventLog) -> None:
    with client_of(bundles["str"], database=url) as client:
        assert send(client, given(1, user_id="Zoë", item_id="🎬")).status_code == 200
        assert [one.item_id for one in log.of_user("Zoë")] == ["🎬"]
        assert "NUL" in refused(send(client, given(2, user_id="a\0b")), 400, "invalid_id")
        refused(send(client, given(2, item_id="李" * 900)), 409, "unrecordable_id")


def test_a_ranking_model_records_choices(bundles: dict[str, Bundle], url: str, log: EventLog) -> None:
    with client_of(bundles["ranking"], database=url) as client:
        assert send(client, given(1, kind="purchase", rating=None)).status_code == 200


def test_a_service_without_a_database_says_so(bundles: dict[str, Bundle]) -> None:
    with client_of(bundles["int"]) as client:
        refused(send(client, given(1)), 409, "no_database")
        assert client.get("/health/ready").json()["database"] is None
        assert client.get("/model").json()["service"]["records_events"] is False


def test_readiness_the_model_and_metrics_tell_of_the_database(live: CheckedClient) -> None:
    send(live, given(1))
    send(live, given(1), given(2), given(2))  # sent again, of which only one is new
    assert live.get("/health/ready").json()["database"] == "answers"
    assert live.get("/model").json()["service"]["records_events"] is True
    text = live.get("/metrics").text
    assert value(text, "recsys_events_total") == 2
    assert value(text, "recsys_events_repeated_total") == 2
    assert value(text, "recsys_commit_seconds_count") == 2
    assert value(text, "recsys_events_waiting") == 0


def test_the_model_tells_a_key_whether_it_may_record(bundles: dict[str, Bundle], url: str, tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    with client_of(bundles["int"], database=url, keys=file, poll_seconds=0.02) as client:
        for name, scopes, expected in (("reads", ("predict",), False), ("writes", ("predict", "events"), True)):
            headers = {"Authorization": f"Bearer {keys.add(file, name, frozenset(scopes))}"}
            until(lambda headers=headers: client.get("/model", headers=headers).status_code == 200)
            assert client.get("/model", headers=headers).json()["service"]["records_events"] is expected


def test_a_database_that_does_not_answer_is_a_503(
    live: CheckedClient, log: EventLog, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    service = live.app.state.service  # type: ignore[attr-defined]
    monkeypatch.setattr("serve.live.ANSWER_SECONDS", 0.1)
    with log.database.writing():  # another process, which does not end
        answer = send(live, given(1))
        refused(answer, 503, "database_unavailable")
        assert answer.headers["retry-after"] == "1"
    assert live.get("/health/ready").json()["database"] == "unavailable"
    assert service.load.in_flight == 0
    assert "the database does not answer: not in time" in caplog.text
    assert service.live.look()
    assert live.get("/health/ready").json()["database"] == "answers"
    assert send(live, given(1)).status_code == 200


def test_a_database_whose_file_was_moved_is_a_503(live: CheckedClient, log: EventLog, tmp_path: Path) -> None:
    look = live.app.state.service.live.look  # type: ignore[attr-defined]
    assert send(live, given(1)).status_code == 200
    away = log.database.path.rename(tmp_path / "away.db")
    refused(send(live, given(2)), 503, "database_unavailable")
    assert not look()
    assert live.get("/health/ready").json()["database"] == "unavailable"
    away.rename(log.database.path)
    assert look()
    assert send(live, given(2)).status_code == 200
    assert log.count() == 2


def test_too_many_events_that_wait_are_an_overload(live: CheckedClient, log: EventLog) -> None:
    service = live.app.state.service  # type: ignore[attr-defined]
    service.live.writer._came += 20_000
    refused(send(live, given(1)), 503, "overloaded")
    service.live.writer._came -= 20_000
    assert service.load.shed["events"] == 1


@pytest.mark.services
def test_postgres_records_them_too_also_after_it_has_dropped_its_connections(
    bundles: dict[str, Bundle], postgres: str
) -> None:
    database = Database.open(postgres)
    log, before = EventLog(database), EventLog(database).cut()
    with client_of(bundles["str"], database=postgres) as client:
        people = {"user_id": "service", "item_id": "🎬"}
        first = send(client, *(given(n, **people) for n in range(100))).json()
        assert first["accepted"] == 100
        assert send(client, given(0, **people)).json()["seq"] >= first["seq"]
        with database.writing() as connection:
            others = "pid <> pg_backend_pid() and usename = user"
            connection.exec_driver_sql(f"select pg_terminate_backend(pid) from pg_stat_activity where {others}")
        assert send(client, given(100, **people)).status_code == 200
        refused(send(client, given(7, rating=1.0, **people)), 409, "event_conflict")
        refused(send(client, given(8, **people | {"user_id": "a\0b"})), 400, "invalid_id")
    found = log.of_user("service", after=before)
    assert [one.event_id for one in found] == [f"e{n}" for n in range(101)]
