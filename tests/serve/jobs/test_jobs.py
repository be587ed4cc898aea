"""Jobs through the service: asked for, computed, resumed, forgotten, downloaded."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx2
import orjson
import pyarrow.parquet as pq
import pytest
from fastapi import FastAPI

from benchmarks.load.ml_1m import save_bundle
from recsys.bundle import Bundle
from recsys.database.jobs import Jobs, forget_jobs
from recsys.events import Event, EventLog
from serve.jobs import scoring
from serve.jobs.__main__ import run
from serve.jobs.files import JobFiles, OpenResult
from serve.jobs.runner import JobRunner
from serve.keys import add
from serve.live import Live
from serve.models.model_manager import ModelManager
from serve.models.served_model import ServedModel
from serve.service import Service
from tests.serve.conftest import USERS, CheckedClient, Served, client_of, rich, until


class Office:
    """A service with a database, whose jobs are computed when the test says so."""

    def __init__(self, client: CheckedClient, models: ModelManager) -> None:
        assert isinstance(client.app, FastAPI)
        service: Service = client.app.state.service
        assert service.live is not None
        self.client, self.service, self.models = client, service, models
        self.live = Live(service.live.database, service.beside, service.metrics)
        self.thread = ThreadPoolExecutor(1)
        self.jobs = Jobs(service.live.database)
        self.runner = JobRunner(service.settings.model_copy(update={"max_jobs": 1}), self.jobs, models)
        self.files = self.runner.files
        self.runner.start = self.start  # type: ignore[assignment]
        self.ends: list[int] = []

    def start(self, job: Any, folder: Path, sha256: str | None) -> Any:
        """Compute a job at once, as its process would."""
        status = 0
        try:
            self.thread.submit(run, job.job_id, job.worker, folder, sha256, self.service.settings, self.live).result()
        except KeyboardInterrupt:  # a kill
            status = -9
        process = SimpleNamespace(poll=lambda: status, communicate=lambda: (b"", b"killed"))
        return SimpleNamespace(process=process, kill=lambda: None)

    def ask(self, **body: Any) -> str:
        answer = self.client.post("/jobs/recommendations/", json=body)
        assert answer.status_code == 202, answer.text
        assert answer.headers["location"] == f"/jobs/{answer.json()['job_id']}"
        assert answer.json()["state"] == "waiting"
        return str(answer.json()["job_id"])

    def lines(self, job_id: str) -> list[dict[str, Any]]:
        answer = self.client.get(f"/jobs/{job_id}/result")
        assert answer.status_code == 200, answer.text
        return [json.loads(line) for line in answer.content.splitlines()]


@pytest.fixture
def office(saved: Path, tmp_path: Path) -> Iterator[Office]:
    models = ModelManager(ServedModel.load(saved), saved)
    settings = {"database": f"sqlite:///{tmp_path}/live.db", "jobs": tmp_path / "jobs", "max_jobs": 0}
    with client_of(models, **settings) as client:
        yield Office(client, models)


def test_a_job_answers_as_the_route_does(office: Office) -> None:
    job = office.ask(users=[1, "2", "77", 1], k=3, min_ratings=1)
    assert office.client.get(f"/jobs/{job}/result").status_code == 409
    office.runner.poll()
    told = office.client.get(f"/jobs/{job}").json()
    assert (told["state"], told["done"], told["total"], told["error"]) == ("done", 3, 3, None)
    assert told["result"] == f"/jobs/{job}/result"
    lines = office.lines(job)
    assert [line["user_id"] for line in lines] == ["1", "2", "77"]
    for line in lines:
        answer = office.client.get(f"/users/{line['user_id']}/recommendations?k=3&min_ratings=1").json()
        assert line["cold_start"] == answer["cold_start"]
        assert told["model_version"] == answer["model_version"]
        without = [
            {k: v for k, v in one.items() if k not in ("explanation", "because")} for one in answer["recommendations"]
        ]
        assert line["recommendations"] == without
    file = office.files.result(job, "jsonl")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_all_users_are_those_of_the_data_and_those_with_events(office: Office) -> None:
    users = ["new", "123", "1", "122", "123"]
    events = [Event(f"e{n}", user, "50", "rating", 4.0, 1000 + n) for n, user in enumerate(users)]
    EventLog(office.jobs.database).append(events)
    job = office.ask(k=2)
    office.runner.poll()
    assert [line["user_id"] for line in office.lines(job)] == [*map(str, USERS), "123", "122"]


def test_parquet_has_a_row_for_each_recommendation(office: Office) -> None:
    job = office.ask(users=[1, 2], k=3, format="parquet")
    office.runner.poll()
    answer = office.client.get(f"/jobs/{job}/result")
    assert answer.headers["content-type"] == "application/vnd.apache.parquet"
    assert "attachment" in answer.headers["content-disposition"]
    table = pq.read_table(office.files.result(job, "parquet")).to_pylist()
    assert len(answer.content) == office.files.result(job, "parquet").stat().st_size
    first = office.client.get("/users/1/recommendations?k=3").json()["recommendations"]
    names = ("item_id", "score", "title", "year", "rating", "rating_std")
    assert [{name: row[name] for name in ("user_id", "rank", *names)} for row in table[:3]] == [
        {"user_id": "1", "rank": rank} | {name: one[name] for name in names} for rank, one in enumerate(first, 1)
    ]
    assert [file.name for file in office.files.folder.iterdir()] == [f"{job}.parquet"]


def test_a_job_goes_on_where_its_process_was_killed(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = office.ask()
    office.runner.poll()
    expected = office.client.get(f"/jobs/{whole}/result").content
    office.runner.poll()
    job = office.ask()
    monkeypatch.setattr(scoring, "REPORT_SECONDS", -1.0)  # each user is written at once
    scored: list[str] = []
    real = scoring._line

    def line(user_id: str, *others: Any) -> bytes:
        if len(scored) in (2, 5):
            scored.append("killed")
            [mine] = office.files.folder.glob(f"{job}-*.partial")
            with mine.open("ab") as stream:
                stream.write(b'{"half a line')  # which it was writing
            raise KeyboardInterrupt
        scored.append(user_id)
        return real(user_id, *others)

    monkeypatch.setattr(scoring, "_line", line)
    for _ in range(3):
        office.runner.poll()  # starts, notes the end and starts again
    office.runner.poll()
    assert office.client.get(f"/jobs/{job}").json()["state"] == "done"
    assert office.client.get(f"/jobs/{job}/result").content == expected
    assert scored == ["1", "2", "killed", "30", "-4", "killed", *map(str, USERS[4:])]
    assert {file.suffix for file in office.files.folder.iterdir()} == {".jsonl"}


def test_another_version_begins_anew(office: Office, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    job = office.ask()
    monkeypatch.setattr(scoring, "REPORT_SECONDS", -1.0)
    real = scoring._line
    killing = [True, *[False] * 100]

    def line(user_id: str, *others: Any) -> bytes:
        if user_id == "30" and killing.pop(0):
            raise KeyboardInterrupt
        return real(user_id, *others)

    monkeypatch.setattr(scoring, "_line", line)
    office.runner.poll()
    rich(seed=1).save(tmp_path / "other")
    office.models.folder = tmp_path / "other"
    office.models.current = office.models._base = ServedModel.load(tmp_path / "other")
    office.runner.poll()
    lines = office.lines(job)
    assert len(lines) == len(USERS)
    answers = [office.client.get(f"/users/{user}/recommendations") for user in (1, 2)]
    for found, answer in zip(lines, answers, strict=False):
        assert [one["score"] for one in found["recommendations"]] == [
            one["score"] for one in answer.json()["recommendations"]
        ]


def test_nothing_stays_of_a_job_that_was_forgotten(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    done = office.ask(users=[1, 2])
    office.runner.poll()
    running = office.ask(users=[1, 30])
    monkeypatch.setattr(scoring, "REPORT_SECONDS", -1.0)
    real = scoring._line

    def line(user_id: str, *others: Any) -> bytes:
        if user_id == "30":
            with office.jobs.database.writing() as connection:
                assert forget_jobs(connection, "1", everyone=True) == 2
        return real(user_id, *others)

    monkeypatch.setattr(scoring, "_line", line)
    office.runner.poll()
    office.runner.poll()
    assert [*office.files.folder.iterdir()] == []
    for job in (done, running):
        assert office.client.get(f"/jobs/{job}").status_code == 404
        assert office.client.get(f"/jobs/{job}/result").status_code == 404


def test_a_full_disk_is_told(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> int:
        raise OSError(28, "No space left on device")

    job = office.ask(users=[1])
    monkeypatch.setattr("serve.jobs.files.os.write", full)
    office.runner.poll()
    monkeypatch.undo()
    told = office.client.get(f"/jobs/{job}").json()
    assert (told["state"], told["result"]) == ("failed", None)
    assert "No space left" in told["error"]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"users": []}, "invalid_request"), ({"users": ["x"]}, "invalid_id"), ({"users": [True]}, "invalid_id"),
        ({"k": 0}, "invalid_request"), ({"k": 1001}, "invalid_request"), ({"format": "pickle"}, "invalid_request"),
        ({"genre": "x" * 101}, "invalid_request"), ({"explain": True}, "invalid_request"),
        ({"users": [*range(10_001)]}, "invalid_request"),
    ],
)  # fmt: skip
def test_mistakes_are_told_at_once(office: Office, body: dict[str, Any], code: str) -> None:
    answer = office.client.post("/jobs/recommendations/", json=body)
    assert (answer.status_code, answer.json()["code"]) == (400, code)


def test_too_many_jobs_are_refused(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recsys.database.jobs.MOST_UNDONE", 1)
    office.ask(users=[1])
    answer = office.client.post("/jobs/recommendations/", json={})
    assert (answer.status_code, answer.json()["code"]) == (503, "too_many_jobs")
    assert answer.headers["retry-after"]


def test_no_path_leads_out_of_the_folder(office: Office) -> None:
    for name in ("..%2F..%2Flive.db", "0" * 32, "%2Fetc%2Fpasswd", "x"):
        assert office.client.get(f"/jobs/{name}").status_code == 404
        assert office.client.get(f"/jobs/{name}/result").status_code == 404


def test_without_a_database_there_are_no_jobs(client: CheckedClient) -> None:
    for answer in (client.post("/jobs/recommendations/", json={}), client.get("/jobs/x"), client.get("/jobs/x/result")):
        assert (answer.status_code, answer.json()["code"]) == (409, "no_database")


def test_who_may_ask(bundles: dict[str, Bundle], tmp_path: Path) -> None:
    database = f"sqlite:///{tmp_path}/live.db"
    with client_of(bundles["int"], database=database, expose_user_ratings=False) as client:
        answer = client.post("/jobs/recommendations/", json={})
        assert (answer.status_code, answer.json()["code"]) == (403, "histories_off")
    file = tmp_path / "keys.json"
    keys = {
        scope: {"Authorization": f"Bearer {add(file, scope, frozenset((scope,)))}"} for scope in ("jobs", "predict")
    }
    with client_of(bundles["int"], database=database, keys=file, expose_user_ratings=False, max_jobs=0) as client:
        assert client.post("/jobs/recommendations/", json={}, headers=keys["jobs"]).status_code == 202
        assert client.post("/jobs/recommendations/", json={}, headers=keys["predict"]).status_code == 403
        assert client.get("/jobs/x", headers=keys["predict"]).status_code == 403
        assert client.get("/jobs/x").status_code == 401
        assert client.get("/jobs/x", headers=keys["jobs"]).status_code == 404


def test_a_result_is_closed_once_nobody_reads_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its thread may still read when the client has gone: the number of a closed file may be another one's by then."""
    file = tmp_path / "result"
    file.write_bytes(b"whole")
    opened = OpenResult(file)
    file.unlink()
    reads, descriptor, closed = opened.read, opened._descriptor, list[int]()
    monkeypatch.setattr("serve.jobs.files.os.close", lambda one, close=os.close: close(one) or closed.append(one))
    assert (opened.size, opened.read(2)) == (5, b"wh")
    del opened
    assert [reads(9), reads(9)] == [b"ole", b""]
    assert descriptor not in closed
    del reads
    assert descriptor in closed
    with pytest.raises(FileNotFoundError):
        OpenResult(file)


def test_databases_do_not_share_results(tmp_path: Path) -> None:
    one, other = (JobFiles(tmp_path, name) for name in ("sqlite:///a.db", "sqlite:///b.db"))
    assert one.folder != other.folder


@pytest.mark.slow
def test_a_process_computes_a_job_gently(saved: Path, tmp_path: Path) -> None:
    """The real process: started by the service's own thread."""
    models = ModelManager(ServedModel.load(saved), saved)
    settings = {"database": f"sqlite:///{tmp_path}/live.db", "jobs": tmp_path / "jobs", "poll_seconds": 0.05}
    with client_of(models, **settings) as client:
        job = client.post("/jobs/recommendations/", json={"k": 2}).json()["job_id"]
        until(lambda: client.unchecked("GET", f"/jobs/{job}").json()["state"] == "done")
        lines = client.get(f"/jobs/{job}/result").content.splitlines()
        assert [orjson.loads(line)["user_id"] for line in lines] == [*map(str, USERS)]


@pytest.mark.slow
def test_a_job_outlives_its_service(serve: Callable[..., Served], tmp_path: Path) -> None:
    """The service and the job's process are killed; the next service goes on, and the result is whole."""
    bundle = save_bundle(tmp_path / "large")
    settings = ("--bundle", str(bundle), "--database", f"sqlite:///{tmp_path}/live.db", "--poll-seconds", "0.05")
    first = serve(*settings)
    with httpx2.Client(base_url=first.url) as client:
        job = client.post("/jobs/recommendations/", json={"k": 100}).json()["job_id"]
        done = until(lambda: client.get(f"/jobs/{job}").json()["done"])
        state = client.get(f"/jobs/{job}").json()["state"]
    assert (state, done < 6040) == ("running", True)
    first.process.kill()
    first.process.wait(10)
    with httpx2.Client(base_url=serve(*settings).url) as client:
        until(lambda: client.get(f"/jobs/{job}").json()["state"] == "done", 120)
        lines = client.get(f"/jobs/{job}/result").content.splitlines()
        assert [orjson.loads(line)["user_id"] for line in lines] == [str(user) for user in range(1, 6041)]
        expected = client.get("/users/6040/recommendations?k=100").json()["recommendations"]
    assert [one["item_id"] for one in orjson.loads(lines[-1])["recommendations"]] == [
        one["item_id"] for one in expected
    ]
