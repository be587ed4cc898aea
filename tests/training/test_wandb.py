"""What reaches W&B is read back from the file that an offline run leaves, or told by a server of the test's own."""

from __future__ import annotations

import json
import logging
import os
import runpy
import socket
import struct
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import wandb
import yaml
from omegaconf import OmegaConf
from PIL import Image
from wandb.proto.wandb_internal_pb2 import Record
from wandb.wandb_agent import Agent

import recsys.training.wandb
from recsys.bundle import TEST, TRAIN, Bundle
from recsys.bundle.manifest import sha256_of
from recsys.evaluation.error_analysis import analyse
from recsys.experiments.configuration import config_dir
from recsys.training.wandb import WandbTracker, columns
from recsys.versions import open_versions
from recsys.versions.runs import add_run
from tests.bundles import make_bundle, random_factors
from tests.commands import Train, composed

pytestmark = pytest.mark.long

CONFIG = {
    "model": {"_target_": "recsys.X", "embedding_dim": 16, "dropout": 0.0},
    "seed": 3,
    "overrides": ["seed=3"],
    "resume": None,
}
METRICS = {
    "val/rmse": 0.85, "test/rmse": 0.9, "test/rmse_cold": None, "baseline/biases": 1.0, "epochs": 2,
    "model": "mf", "data": "my data", "split": "user_time",
}  # fmt: skip
EPOCHS = [(1.0, 2.0), (0.85, 1.5), (0.95, 1.25)]  # validation RMSE, training loss
BLOCK = 32768  # of a .wandb file, which is LevelDB's log format


class OfflineRun:
    """What a `.wandb` file holds."""

    def __init__(self, folder: Path) -> None:
        (self.file,) = folder.glob("wandb/offline-run-*/*.wandb")
        self.files = self.file.parent / "files"
        self.records = list(_records(self.file.read_bytes()))
        (self.run,) = self.of("run")
        (self.exit,) = self.of("exit")

    def of(self, kind: str) -> list[Any]:
        return [getattr(record, kind) for record in self.records if record.WhichOneof("record_type") == kind]

    @property
    def config(self) -> dict[str, Any]:
        updates = [*self.run.config.update, *(item for record in self.of("config") for item in record.update)]
        return {item.key: json.loads(item.value_json) for item in updates if item.key}

    @property
    def history(self) -> list[dict[str, Any]]:
        return [
            {"/".join(item.nested_key): json.loads(item.value_json) for item in row.item} for row in self.of("history")
        ]

    @property
    def summary(self) -> dict[str, Any]:
        updates = [item for record in self.of("summary") for item in record.update]
        return {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in updates}

    @property
    def artifacts(self) -> dict[str, Any]:
        return {artifact.type: artifact for artifact in self.of("artifact")}

    def table(self, name: str) -> list[dict[str, Any]]:
        (file,) = self.files.glob(f"media/table/{name}_*.table.json")
        found = json.loads(file.read_text())
        return [dict(zip(found["columns"], row, strict=True)) for row in found["data"]]


def _records(data: bytes) -> Iterator[Record]:
    assert data.startswith(b":W&B")
    place, record = 7, b""
    while place < len(data):
        left = BLOCK - place % BLOCK
        if left < 7:  # no room for a header: padding
            place += left
            continue
        _, size, kind = struct.unpack_from("<IHB", data, place)
        record += data[place + 7 : place + 7 + size]
        place += 7 + size
        if kind in (1, 4):  # whole, or a last part
            yield Record.FromString(record)
            record = b""


@contextmanager
def alone(folder: Path, **environment: str) -> Iterator[pytest.MonkeyPatch]:
    """A machine that nobody has used wandb on, at whose terminal a prompt is an error; wandb reads it all anew."""

    def asked(*_: Any, **__: Any) -> None:
        raise AssertionError("a prompt")

    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("WANDB_")]:
            patch.delenv(name)
        for name in ("CONFIG_DIR", "CACHE_DIR", "DATA_DIR"):
            patch.setenv(f"WANDB_{name}", str(folder / "home" / name))
        patch.setenv("WANDB_ERROR_REPORTING", "false")
        patch.setenv("NETRC", str(folder / "home" / "netrc"))
        patch.setattr("wandb.errors.term.can_use_terminput", lambda: True)
        patch.setattr("wandb.util.prompt_choices", asked)
        patch.chdir(folder)
        for name, value in environment.items():
            patch.setenv(name, value)
        wandb.teardown()
        yield patch
        wandb.teardown()


def finished(folder: Path) -> dict[str, Any]:
    """The folder of a finished run, and its analysis; user ids and ratings in it are unmistakable."""
    rng = np.random.default_rng(0)
    rated = [
        (user, item, 1 + 4 * rng.random(), TEST if (user + item) % 3 == 0 else TRAIN)
        for user in range(30)
        for item in range(12)
    ]
    users, items = [f"person-{user}" for user in range(30)], [f"film-{item}" for item in range(12)]
    bundle = make_bundle(random_factors(n_users=30), users, items, rated, fit_on="train")
    bundle.save(folder / "bundle")
    analysis = analyse(bundle)
    for name, colour in (("learning_curve", "red"), ("error_by_activity", "blue")):
        Image.new("RGB", (4, 3), colour).save(folder / f"{name}.png")
    return analysis


def follow(tracker: WandbTracker, epochs: list[tuple[float, float]] = EPOCHS) -> None:
    """What Lightning logs of an epoch: its learning rate when it begins, and the rest when it ends."""
    for epoch, (rmse, loss) in enumerate(epochs):
        tracker.log_metrics({"lr-Adam": 0.1}, step=10 * epoch)
        tracker.log_metrics({"val/rmse": rmse, "train/loss": loss, "epoch": epoch}, step=10 * epoch)


class Tracked:
    """Two runs of one process on a machine without a key: `first` succeeds, `second` uploads its bundle and fails."""

    def __init__(self, folder: Path) -> None:
        self.lines: list[str] = []
        handler = logging.Handler()
        handler.emit = lambda record: self.lines.append(record.getMessage())  # type: ignore[method-assign]
        logger = logging.getLogger("recsys.training.wandb")
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)  # not by its attribute, since loggers cache what is enabled
        server = Server()
        with alone(folder, WANDB_BASE_URL=server.url):
            for name in ("first", "second"):
                (folder / name).mkdir()
                analysis = finished(folder / name)
                tracker = WandbTracker(
                    "recsys", str(folder / name), tags=["mine", "theirs", "mine"], upload_bundle=name == "second"
                )
                tracker.begin(CONFIG, f"{name} run", "a group")
                tracker.log_hyperparams({"n_users": 4711})
                print("\x1b[1mepoch 1 ━━━━━ 10/10\x1b[0m")
                follow(tracker)
                tracker.results(METRICS, analysis, folder / name, ["best"])
                tracker.close(0 if name == "first" else 1)
                tracker.close(0)
        server.http.shutdown()
        self.asked_of_server = server.asked
        logger.removeHandler(handler)
        logger.setLevel(logging.NOTSET)
        self.first, self.second = OfflineRun(folder / "first"), OfflineRun(folder / "second")


@pytest.fixture(scope="module")
def tracked(tmp_path_factory: pytest.TempPathFactory) -> Tracked:
    return Tracked(tmp_path_factory.mktemp("tracked"))


def test_without_a_key_it_is_offline_and_says_so(tracked: Tracked) -> None:
    assert tracked.asked_of_server == []
    said = next(line for line in tracked.lines if "offline" in line)
    assert "no API key" in said
    assert said.endswith(f"wandb sync {tracked.first.file.parent}")


def test_configuration_is_columns(tracked: Tracked) -> None:
    assert {name: value for name, value in tracked.first.config.items() if name != "_wandb"} == {
        "model._target_": "recsys.X", "model.embedding_dim": 16, "model.dropout": 0.0, "seed": 3,
        "overrides": ["seed=3"], "resume": None,
    }  # fmt: skip
    assert columns({"a": {"b": {"c": 1}}, "d": None}) == {"a.b.c": 1, "d": None}


def test_name_group_and_tags(tracked: Tracked) -> None:
    run = tracked.first.run
    assert (run.project, run.display_name, run.run_group) == ("recsys", "first run", "a group")
    assert list(run.tags) == ["mine", "theirs"]


def test_history_has_one_row_per_epoch(tracked: Tracked) -> None:
    names = ("epoch", "val/rmse", "train/loss", "lr-Adam")
    rows = [{name: row[name] for name in names} for row in tracked.first.history[:3]]
    assert rows == [dict(zip(names, (epoch, *EPOCHS[epoch], 0.1), strict=True)) for epoch in range(3)]
    assert len(tracked.first.history) == 4  # the last has the pictures


def test_metrics_are_defined_with_their_minima(tracked: Tracked) -> None:
    defined = {metric.name or metric.glob_name: metric for metric in tracked.first.of("metric")}
    assert {name for name, metric in defined.items() if metric.summary.min} >= {"val/rmse", "test/rmse", "train/loss"}
    assert {defined[name].step_metric for name in ("*", "val/rmse")} == {"epoch"}
    minima = [
        json.loads(item.value_json)
        for record in tracked.first.of("summary")
        for item in record.update
        if list(item.nested_key) == ["val/rmse"]
    ]
    assert minima[:3] == [{"min": 1.0}, {"min": 0.85}, {"min": 0.85}]


def test_summary(tracked: Tracked) -> None:
    summary = tracked.first.summary
    assert {name: summary.get(name) for name in METRICS} == METRICS
    assert "test/rmse_cold" not in summary


def test_pictures_and_tables(tracked: Tracked) -> None:
    media = tracked.first.history[-1]
    for name in ("learning_curve", "error_by_activity"):
        assert media[f"{name}/_type"] == "image-file"
        original = tracked.first.file.parents[2] / f"{name}.png"
        assert (tracked.first.files / media[f"{name}/path"]).read_bytes() == original.read_bytes()
    analysis = analyse(Bundle.load(tracked.first.file.parents[2] / "bundle"))
    assert tracked.first.table("items/best") == analysis["items"]["best"]
    assert tracked.first.table("items/worst") == analysis["items"]["worst"]
    assert all(film["title"].startswith("Film ") for film in analysis["items"]["best"])
    for name in ("by_user_activity", "by_item_popularity"):
        assert tracked.first.table(f"analysis/{name}") == analysis[name]
    assert tracked.first.table("analysis/calibration_table") == analysis["calibration"]


def version_of(run: OfflineRun) -> str:
    return sha256_of((run.file.parents[2] / "bundle" / "manifest.json").read_bytes())


def test_run_artifact_and_version_name_each_other(tracked: Tracked, tmp_path: Path) -> None:
    first, second = version_of(tracked.first), version_of(tracked.second)
    assert tracked.first.summary["version"] == first
    sent = tracked.second.artifacts["model"]
    assert json.loads(sent.metadata)["version"] == second
    assert second[:12] in sent.aliases
    for number, (run, version) in enumerate(((tracked.first, first), (tracked.second, second))):
        versions = open_versions(f"sqlite:///{tmp_path}/{number}.db", tmp_path / "store")
        link = add_run(versions, run.file.parents[2]).configuration["wandb"]
        assert link["run"].endswith(f"recsys/{run.run.run_id}")
        assert link.get("artifact") == (
            None if run is tracked.first else f"{link['run'].rpartition('/')[0]}/{sent.name}:{version[:12]}"
        )


def test_the_bundle_is_sent_only_when_asked(tracked: Tracked) -> None:
    assert set(tracked.first.artifacts) == {"run_table"}
    sent = tracked.second.artifacts["model"]
    assert sent.name == "mf-my-data-user_time"
    assert sorted(set(sent.aliases) - {version_of(tracked.second)[:12]}) == ["best", "latest"]
    assert json.loads(sent.metadata)["test/rmse"] == 0.9
    folder = tracked.second.file.parents[2] / "bundle"
    assert {Path(content.local_path) for content in sent.manifest.contents} == set(folder.iterdir())


def test_nobodys_id_or_history_is_kept_for_sending(tracked: Tracked) -> None:
    kept = [file for file in tracked.first.file.parent.rglob("*") if file.is_file()]
    assert tracked.first.file in kept
    for file in kept:
        content = file.read_bytes()
        assert b"person-" not in content
        assert b"safetensors" not in content or file.name == "requirements.txt"
    assert not [file for file in kept if file.suffix in (".py", ".patch")]
    assert b"4711" not in tracked.first.file.read_bytes()  # the model's own arguments tell it nothing new


def test_machine_and_log_but_no_console(tracked: Tracked) -> None:
    assert any("cpu" in item.key for stats in tracked.first.of("stats") for item in stats.item)
    assert any("offline" in line.line for line in tracked.first.of("output_logger"))
    assert not tracked.first.of("output_raw")


def test_exit_codes_and_runs_apart(tracked: Tracked) -> None:
    assert (tracked.first.exit.exit_code, tracked.second.exit.exit_code) == (0, 1)
    assert tracked.first.run.run_id != tracked.second.run.run_id
    assert tracked.second.run.display_name == "second run"
    assert len(tracked.second.history) == 4
    assert wandb.run is None


def test_a_run_that_is_somebody_elses_is_left_alone(tmp_path: Path) -> None:
    with alone(tmp_path, WANDB_MODE="offline"):
        other = wandb.init(project="other", settings=wandb.Settings(silent=True))
        tracker = WandbTracker("recsys", str(tmp_path / "run"))
        tracker.begin(CONFIG, "a name", None)
        follow(tracker)
        tracker.close(0)
        assert wandb.run is other
        other.finish()
    assert len(OfflineRun(tmp_path / "run").history) == 3


class Server:
    """As much of a W&B server as a run speaks with; `fails` answers everything from then on with an error."""

    def __init__(self) -> None:
        self.status = 200
        self.asked: list[str] = []  # paths
        self.joined: list[str] = []  # ids of the runs that were begun
        self.rows: list[str] = []  # of histories
        methods = dict.fromkeys(("do_GET", "do_POST", "do_PUT"), lambda request: self.answer(request))
        handler = type("Handler", (BaseHTTPRequestHandler,), methods)
        handler.log_message = lambda *_: None  # type: ignore[attr-defined]
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, args=[0.01], daemon=True).start()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        self.asked.append(request.path)
        sent = request.rfile.read(int(request.headers.get("content-length") or 0))
        if request.path.endswith("/file_stream"):
            self.rows += json.loads(sent).get("files", {}).get("wandb-history.jsonl", {}).get("content", [])
        body = json.dumps(self.data(json.loads(sent)) if request.path == "/graphql" else {}).encode()
        request.send_response(self.status)
        request.send_header("content-length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    def data(self, query: dict[str, Any]) -> dict[str, Any]:
        given = query.get("variables") or {}
        if "mutation UpsertBucket" in query["query"]:
            self.joined.append(given["name"])
            project = {"id": "p", "name": "recsys", "entity": {"id": "e", "name": "me"}}
            bucket = {"id": "b", "name": given["name"], "displayName": "a name", "config": "{}", "project": project}
            return {"data": {"upsertBucket": {"bucket": bucket | {"historyLineCount": 0}, "inserted": True}}}
        if "mutation CreateRunFiles" in query["query"]:
            files = [{"name": name, "uploadUrl": f"{self.url}/{name}"} for name in given["files"]]
            return {"data": {"createRunFiles": {"runID": "b", "uploadHeaders": [], "files": files}}}
        return {"data": {"model": None}}


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.http.shutdown()


KEY = {"WANDB_API_KEY": "0" * 40}


def test_a_folder_that_goes_on_goes_on_in_its_run_and_trouble_ends_no_training(
    server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with alone(tmp_path, WANDB_BASE_URL=server.url, **KEY):
        interrupted = WandbTracker("recsys", str(tmp_path / "run"), finish_timeout=10)
        interrupted.begin(CONFIG, "a name", None)
        follow(interrupted, EPOCHS[:1])
        interrupted.close(130)
        assert len(server.rows) == 1
        resumed = WandbTracker("recsys", str(tmp_path / "run"), finish_timeout=0.5)
        resumed.begin(CONFIG, "a name", None)
        assert resumed.version == interrupted_id(server)
        server.status = 500
        follow(resumed)
        finished(tmp_path / "run")
        resumed.results(METRICS, {}, tmp_path / "run", [])
        resumed.close(0)
    (said,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert "Timed out" in said
    assert f"wandb sync {tmp_path / 'run' / 'wandb'}" in said


def interrupted_id(server: Server) -> str:
    assert len(set(server.joined)) == 1
    return server.joined[0]


def test_what_wandb_raises_in_a_run_is_logged_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        def __getattr__(self, name: str) -> Any:
            raise ConnectionResetError("wandb-core is gone")

    tracker = WandbTracker("recsys", str(tmp_path))
    tracker._experiment = Broken()  # type: ignore[assignment]
    follow(tracker)
    tracker.results(METRICS, {}, tmp_path, [])
    tracker.close(0)
    (said,) = caplog.records
    assert "wandb-core is gone" in said.getMessage()


def test_a_server_that_refuses_is_one_sentence(server: Server, tmp_path: Path) -> None:
    server.status = 401
    with alone(tmp_path, WANDB_BASE_URL=server.url, **KEY):
        tracker = WandbTracker("recsys", str(tmp_path / "run"))
        with pytest.raises(ValueError, match=r"W&B failed to start: .*401") as refused:
            tracker.begin(CONFIG, None, None)
        assert "\n" not in str(refused.value)
        tracker.close(1)


@pytest.fixture
def mute() -> Iterator[str]:
    """The URL of a server that takes calls and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


def decided(tmp_path: Path, offline: bool | None = None, **environment: str) -> tuple[str, str]:
    """How a run is kept, and why."""
    with alone(tmp_path, **environment):
        mode, reason = WandbTracker("recsys", str(tmp_path), offline=offline)._mode(wandb.setup().settings)
        return mode, reason


def test_a_server_that_does_not_answer_is_not_waited_for(
    tmp_path: Path, mute: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recsys.training.wandb, "CONNECT_TIMEOUT", 0.05)
    assert decided(tmp_path, WANDB_BASE_URL=mute, **KEY) == ("offline", f"{mute} is not reachable")


def test_a_machine_without_network_is_offline_at_once(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
    assert decided(tmp_path, WANDB_BASE_URL=url, **KEY) == ("offline", f"{url} is not reachable")


def test_key_and_server_make_it_online(server: Server, tmp_path: Path) -> None:
    assert decided(tmp_path, WANDB_BASE_URL=server.url, **KEY)[0] == "online"
    assert server.asked == ["/"]  # not for the user, too, which takes seconds where nothing answers
    (tmp_path / "home").mkdir(exist_ok=True)
    netrc = f"machine 127.0.0.1:{server.http.server_port} login x password {'0' * 40}"
    (tmp_path / "home" / "netrc").write_text(netrc)
    assert decided(tmp_path, WANDB_BASE_URL=server.url)[0] == "online"
    server.status = 404  # any answer will do
    assert decided(tmp_path, WANDB_BASE_URL=server.url)[0] == "online"


def test_what_was_asked_for_goes_first(server: Server, tmp_path: Path) -> None:
    online = {"WANDB_BASE_URL": server.url} | KEY
    assert decided(tmp_path, True, **online) == ("offline", "logger.wandb.offline=true")
    assert decided(tmp_path, False, **online)[0] == "online"
    for mode in ("offline", "disabled"):
        assert decided(tmp_path, False, WANDB_MODE=mode, **online) == (mode, f"WANDB_MODE={mode}")
    assert decided(tmp_path, True, WANDB_MODE="online", **online)[0] == "online"
    with pytest.raises(ValueError, match=r"WANDB_MODE=online .*no API key"):
        decided(tmp_path, WANDB_MODE="online")
    with pytest.raises(ValueError, match=r"logger\.wandb\.offline=false .*no API key"):
        decided(tmp_path, offline=False)


def test_disabled_leaves_nothing(tmp_path: Path) -> None:
    with alone(tmp_path, WANDB_MODE="disabled"):
        tracker = WandbTracker("recsys", str(tmp_path / "run"), upload_bundle=True)
        (tmp_path / "run" / "bundle").mkdir(parents=True)
        tracker.begin(CONFIG, "a name", None)
        follow(tracker)
        tracker.results(METRICS, {}, tmp_path / "run", [])
        tracker.close(0)
        assert [file.name for file in (tmp_path / "run").iterdir()] == ["bundle"]


def test_a_wrong_argument_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="finish_timeout must be > 0 seconds, got 0"):
        WandbTracker("recsys", str(tmp_path), finish_timeout=0)


def test_who_does_not_use_it_does_not_wait_for_wandb(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)  # importing it now fails
    assert "WandbTracker" in runpy.run_path(str(Path(recsys.training.wandb.__file__)))


def test_the_environment_names_project_and_team(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WANDB_PROJECT", "WANDB_ENTITY"):
        monkeypatch.delenv(name, raising=False)
    logger = composed("train", "logger=wandb", "run_dir=/x", "model_name=mf").logger.wandb
    assert (logger.project, logger.entity, logger.upload_bundle, logger.offline) == ("recsys", None, False, None)
    monkeypatch.setenv("WANDB_PROJECT", "mine")
    assert composed("train", "logger=wandb", "run_dir=/x", "model_name=mf").logger.wandb.project == "mine"


SWEEP = yaml.safe_load((config_dir() / "hparams_search" / "wandb.yaml").read_text())
CHOSEN = {"model.embedding_dim": 8, "model.dropout": 0.25, "model.reg_lambda": 1e-05, "model.learning_rate": 0.0123}


def agents_command(folder: Path) -> list[str]:
    """What `wandb agent` would run, by its own code; its environment is left behind."""
    commands: list[list[str]] = []

    class Process:
        def __init__(self, command: list[str], **_: Any) -> None:
            commands.append(command)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("wandb.wandb_agent.AgentProcess", Process)
        agent = Agent(api=None, queue=None)
        agent._sweep_command = list(SWEEP["command"])
        arguments = {name: {"value": value} for name, value in CHOSEN.items()}
        agent._command_run({"run_id": "agents1", "program": SWEEP["program"], "args": arguments})
    return commands[0]


def test_the_search_that_wandb_runs(tmp_path: Path) -> None:
    assert set(SWEEP["parameters"]) == set(CHOSEN)
    assert SWEEP["metric"] == {"name": "val/rmse", "goal": "minimize"}
    for parameter in SWEEP["parameters"].values():
        values = parameter.get("values") or [parameter["min"], parameter["max"]]
        assert all(isinstance(value, int | float) for value in values), "YAML 1.1 reads 1e-3 as text"
    with alone(tmp_path, WANDB_SWEEP_ID="sweep1", WANDB_DIR=str(tmp_path)) as patch:
        patch.setenv("WANDB_RUN_ID", "")  # which the agent sets
        patch.setenv("WANDB_SWEEP_PARAM_PATH", "")
        command = agents_command(tmp_path)
    assert command[:4] == ["/usr/bin/env", "python", "-m", "recsys.train"]
    cfg = composed("train", *command[4:], "run_dir=/x")
    assert {name: OmegaConf.select(cfg, name) for name in CHOSEN} == CHOSEN
    assert (cfg.refit, cfg.logger.wandb.project) == ("none", "recsys")


def test_a_trial_joins_the_agents_run(quick_train: Train, tmp_path: Path) -> None:
    agent = {"WANDB_MODE": "offline", "WANDB_SWEEP_ID": "sweep1", "WANDB_DIR": str(tmp_path)}
    with alone(tmp_path, WANDB_RUN_ID="", WANDB_SWEEP_PARAM_PATH="", **agent):
        quick_train(*agents_command(tmp_path)[4:], "trainer.max_epochs=2")
    found = OfflineRun(tmp_path / "run")
    assert (found.run.run_id, found.run.sweep_id) == ("agents1", "sweep1")
    assert (found.run.display_name, found.run.run_group) == ("", "")
    assert found.config.items() >= CHOSEN.items()
    assert [row["epoch"] for row in found.history if "val/rmse" in row][:2] == [0, 1]
    assert found.exit.exit_code == 0
