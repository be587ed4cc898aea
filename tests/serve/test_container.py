"""The container, as far as it can be tested without an engine: its steps, and how it is run, under bubblewrap."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from email.message import Message
from pathlib import Path
from typing import Any

import pytest
import yaml

from recsys.bundle.factors import Factors
from serve import health, keys
from serve.promote import promote
from serve.settings import Settings
from tests.bundles import make_bundle, random_factors
from tests.serve.conftest import until

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
BUILD, LAST = re.split(r"^FROM .*\n", DOCKERFILE.replace("\\\n", " "), flags=re.M)[1:]
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]["recsys"]
LIVE = yaml.safe_load((ROOT / "compose.live.yaml").read_text())["services"]
HEAVY = {"torch", "lightning", "hydra-core", "pandas", "pyarrow", "matplotlib", "wandb", "scipy", "pip", "setuptools"}
USER = 12345  # who is nobody anywhere
MEMORY = 512 << 20  # bytes


def test_what_is_copied_exists_and_is_not_ignored() -> None:
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = [word for line in re.findall(r"^COPY (?!--from)(.*)", DOCKERFILE, re.M) for word in line.split()[:-1]]
    assert set(copied) == kept
    assert all((ROOT / name).exists() for name in copied)


def test_the_image_runs_without_rights_and_says_where_pointer_and_keys_are() -> None:
    assert re.search(r"^USER (?!root|0)\S+", LAST, re.M)
    variables = [
        *re.findall(r"RECSYS_(\w+)=", LAST),
        *(name.removeprefix("RECSYS_") for name in COMPOSE["environment"]),
    ]
    assert {"POINTER", "KEYS"} <= set(variables)
    assert all(name.lower() in Settings.model_fields for name in variables)
    assert shlex.split(re.search(r"ENTRYPOINT (.*)", LAST)[1]) == ["[python,", "-m,", "serve]"]  # type: ignore[index]


def test_compose_takes_away_what_the_service_does_not_need() -> None:
    assert COMPOSE["read_only"] is True
    assert COMPOSE["cap_drop"] == ["ALL"]
    assert COMPOSE["security_opt"] == ["no-new-privileges:true"]
    assert COMPOSE["mem_limit"] == COMPOSE["memswap_limit"]
    assert COMPOSE["pids_limit"] <= 256
    assert all(":size=" in mount for mount in COMPOSE["tmpfs"])
    assert all(volume.endswith(":ro") for volume in COMPOSE["volumes"])
    assert "./outputs:/outputs:ro" in COMPOSE["volumes"]  # which has the keys, so that they are seen to change
    assert "RECSYS_KEYS=/outputs/keys.json" in LAST
    assert "RECSYS_INSECURE" not in DOCKERFILE + (ROOT / "compose.yaml").read_text()


def test_with_a_database_no_more_is_given_than_a_folder() -> None:
    assert set(LIVE) == {"recsys", "update"}
    assert set(LIVE["recsys"]) == {"volumes", "environment"}
    differs = {"entrypoint", "environment", "volumes", "healthcheck", "ports"}
    assert {key: LIVE["update"][key] for key in COMPOSE if key not in differs} == {
        key: value for key, value in COMPOSE.items() if key not in differs
    }
    for service in LIVE.values():
        assert service["volumes"] == ["./outputs/live:/live"]
        names = {name.removeprefix("RECSYS_").lower() for name in service["environment"]}
        assert names - {"cache"} <= set(Settings.model_fields)


@pytest.fixture(scope="module")
def opt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The image's /opt: the Dockerfile's steps of its first stage, one by one, in a folder."""
    folder = tmp_path_factory.mktemp("image")
    source = folder / "src"
    source.mkdir()
    here = {"/opt/build": folder / "opt" / "build", "/opt/venv": folder / "opt" / "venv"}
    for instruction, arguments in re.findall(r"^(COPY|RUN) (.*)", BUILD, re.M):
        if instruction == "COPY":
            *names, target = arguments.split()
            (source / target).mkdir(exist_ok=True)
            for name in names:
                to = source / target / (Path(name).name if target.endswith("/") else "")
                copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
                copy(ROOT / name, to, **({"dirs_exist_ok": True} if copy is shutil.copytree else {}))
            continue
        for there, path in here.items():
            arguments = arguments.replace(there, str(path))
        done = subprocess.run(
            ["bash", "-c", arguments], cwd=source, capture_output=True, text=True, check=False,
            env=os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PIP_QUIET": "1"},
        )  # fmt: skip
        assert done.returncode == 0, f"{arguments}: {done.stderr}"
    return folder / "opt"


@pytest.mark.slow
def test_the_image_has_what_serves_and_nothing_else(opt: Path) -> None:
    [packages] = (opt / "venv").glob("lib/python*/site-packages")
    installed = {path.name.partition("-")[0].replace("_", "-").lower() for path in packages.glob("*.dist-info")}
    assert {"fastapi", "uvicorn", "numpy", "recsys-lightning"} <= installed
    assert not HEAVY & installed


Get = Callable[..., tuple[int, Any]]


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    folder = tmp_path / "outputs"
    folder.mkdir()
    return folder


Confined = tuple[str, Callable[[str], list[str]]]


@pytest.fixture
def confined(opt: Path, outputs: Path) -> Iterator[Confined]:
    """The service as compose.yaml runs it; see `running`."""
    with running(opt, outputs) as found:
        yield found


@pytest.fixture
def live(opt: Path, outputs: Path) -> Iterator[Confined]:
    """The service as compose.yaml and compose.live.yaml run it; see `running`."""
    folder = outputs / "live"
    folder.mkdir()
    os.chown(folder, USER, 0)
    default = r"\$\{\w+:-(.*)\}"  # of a variable that is not set
    variables = {name: re.sub(default, r"\1", value) for name, value in LIVE["recsys"]["environment"].items()}
    with running(opt, outputs, variables, {str(folder): "/live"}) as found:
        yield found


@contextlib.contextmanager
def running(
    opt: Path, outputs: Path, changed: dict[str, str] | None = None, writable: dict[str, str] | None = None
) -> Iterator[Confined]:
    """The service as compose runs it, as far as bubblewrap and setpriv go, and the command line for others.

    Read-only root with a small /tmp, a user who owns nothing, no capability, no new privileges, memory limited.
    """
    for program in ("bwrap", "setpriv", "prlimit"):
        if shutil.which(program) is None:
            pytest.skip(f"no {program}")
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    with socket.socket() as free, socket.socket() as another:
        free.bind(("127.0.0.1", 0))
        another.bind(("127.0.0.1", 0))
        port, operations = free.getsockname()[1], another.getsockname()[1]
    # For root's group, in which an arbitrary user of a container is.
    (outputs / "keys.json").chmod(0o640)
    variables = dict(re.findall(r"(\w+)=(\S+)", re.search(r"^ENV (.*)", LAST, re.M)[1]))  # type: ignore[index]
    variables |= {"RECSYS_PORT": str(port), "RECSYS_OPERATIONS_PORT": str(operations), "PATH": "/opt/venv/bin:/usr/bin"}
    variables |= changed or {}
    writable = writable or {}
    read_only = {
        "/usr": "/usr",
        str(opt): "/opt",
        str(outputs): "/outputs",
    }
    base = str(Path(sys.base_prefix).resolve())
    if not base.startswith("/usr"):
        read_only[base] = base
    mounts = [*read_only.values(), *writable.values()]
    parents = {str(parent) for to in mounts for parent in Path(to).parents} - {"/", "/usr"}
    command = [
        "bwrap", "--unshare-pid", "--unshare-ipc", "--die-with-parent", "--clearenv",
        *(part for name, value in variables.items() for part in ("--setenv", name, value)),
        *(part for name in ("lib", "lib64", "bin") for part in ("--symlink", f"usr/{name}", f"/{name}")),
        *(part for folder in sorted(parents) for part in ("--perms", "0755", "--dir", folder)),
        *(part for source, to in read_only.items() for part in ("--ro-bind", source, to)),
        *(part for source, to in writable.items() for part in ("--bind", source, to)),
        "--proc", "/proc", "--dev", "/dev", "--perms", "1777", "--size", str(64 << 20), "--tmpfs", "/tmp",
        "--remount-ro", "/", "--chdir", "/",
        "setpriv", f"--reuid={USER}", "--regid=0", "--clear-groups", "--no-new-privs", "--inh-caps=-all",
        "--bounding-set=-all",
        "prlimit", f"--data={MEMORY}",
    ]  # fmt: skip
    if subprocess.run([*command, "true"], capture_output=True, check=False).returncode:
        pytest.skip("bwrap may not do this here")

    def inside(line: str) -> list[str]:
        return [*command, *json.loads(line)]

    entry = re.search(r"^ENTRYPOINT (.*)", LAST, re.M)[1]  # type: ignore[index]
    service = subprocess.Popen(inside(entry), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        yield f"http://127.0.0.1:{port}", inside
    finally:
        service.terminate()
        assert service.wait(20) is not None


def _ask(address: str, body: dict[str, Any] | None = None, key: str | None = None) -> tuple[int, bytes]:
    """Status and body of the answer; 0 if there is none."""
    headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {key}"} if key else {})
    request = urllib.request.Request(address, json.dumps(body).encode() if body else None, headers)
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()
    except OSError:
        return 0, b""


def _becomes(wanted: int, address: str, seconds: float = 30.0) -> bytes:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        status, body = _ask(address)
        if status == wanted:
            return body
        time.sleep(0.1)
    raise AssertionError(f"{address} answers {status}, not {wanted}: {body!r}")


@pytest.fixture
def key(outputs: Path) -> str:
    return keys.add(outputs / "keys.json", "test", frozenset({"predict", "events", "operations"}))


@pytest.mark.slow
def test_it_waits_for_a_first_bundle_and_then_answers_who_has_a_key(
    two_by_three: Factors, outputs: Path, key: str, confined: Confined
) -> None:
    address, inside = confined
    check = re.search(r"^HEALTHCHECK .* CMD (.*)", LAST, re.M)[1]  # type: ignore[index]
    assert b"waits for its first bundle" in _becomes(503, f"{address}/health/ready")
    assert _becomes(200, f"{address}/health/live")
    assert subprocess.run(inside(check), capture_output=True, check=False).returncode == 1
    make_bundle(two_by_three, [10, 20], [7, 3, 5]).save(outputs / "run" / "bundle")
    promote(outputs / "run", outputs / "serving")
    _becomes(200, f"{address}/health/ready")
    assert subprocess.run(inside(check), capture_output=True, check=False).returncode == 0
    body = {"user_id": "10", "item_id": "7"}
    assert _ask(f"{address}/predict/rating/", body)[0] == 401
    status, answer = _ask(f"{address}/predict/rating/", body, key)
    assert (status, json.loads(answer)["rating"]) == (200, 4.25)
    for path, text in (("", b"<title>"), ("page/page.js", b"import"), ("page/page.css", b"{")):
        assert text in _ask(f"{address}/{path}")[1]
    keys.revoke(outputs / "keys.json", "test")
    until(lambda: _ask(f"{address}/predict/rating/", body, key)[0] == 401)


@pytest.mark.slow
def test_events_are_recorded_and_go_into_the_next_version(outputs: Path, key: str, live: Confined) -> None:
    address, inside = live
    assert b"waits for its first bundle" in _becomes(503, f"{address}/health/ready")
    made = make_bundle(random_factors(items=True), [10, 20, 30, 40], list(range(12)), [(0, 0, 4.0, 0)], [1])
    made.save(outputs / "run" / "bundle")

    def run(*command: str) -> str:
        done = subprocess.run(inside(json.dumps(command)), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    run("python", "-m", "recsys", "versions", "add", "/outputs/run", "--alias", "champion")
    _becomes(200, f"{address}/health/ready")
    served = lambda: json.loads(_ask(f"{address}/health/ready", key=key)[1])["model_version"]  # noqa: E731
    first = served()
    event = {"event_id": "e", "user_id": "50", "item_id": "3", "rating": 5, "timestamp": int(time.time())}
    until(lambda: _ask(f"{address}/events/", {"events": [event]}, key)[0] == 200)
    update: list[str] = LIVE["update"]["entrypoint"]
    once = update[: update.index("--every")] + update[update.index("--every") + 2 :]
    assert "champion is version" in run(*once)
    until(lambda: served() != first)


@pytest.mark.slow
def test_the_sandbox_of_these_tests_confines(key: str, confined: Confined) -> None:
    _, inside = confined
    tries = f"""
import os
assert (os.getuid(), os.getgid()) == ({USER}, 0)
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
assert int(status["NoNewPrivs"]) == 1 and not any(int(status[name], 16) for name in ("CapEff", "CapPrm", "CapBnd"))
for path in ("/x", "/opt/venv/x", "/outputs/x", "/outputs/keys.json"):
    try:
        open(path, "a")
    except OSError:
        pass
    else:
        raise SystemExit(path)
open("/tmp/x", "w")
try:
    bytearray({MEMORY})
except MemoryError:
    pass
"""
    subprocess.run(inside(json.dumps(["python", "-c", tries])), check=True)


def _check(monkeypatch: pytest.MonkeyPatch, **variables: str) -> list[str]:
    """The addresses that the health check asks."""
    asked: list[str] = []
    for name in ("PORT", "OPERATIONS_PORT"):
        monkeypatch.delenv(f"RECSYS_{name}", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(f"RECSYS_{name}", value)
    monkeypatch.setattr(health, "urlopen", lambda address, timeout: asked.append(address) or io.BytesIO())
    health.main()
    return asked


def test_the_health_check_asks_on_the_operations_port_if_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _check(monkeypatch) == ["http://127.0.0.1:8000/health/ready"]
    assert _check(monkeypatch, PORT="9001") == ["http://127.0.0.1:9001/health/ready"]
    assert _check(monkeypatch, PORT="9001", OPERATIONS_PORT="9002") == ["http://127.0.0.1:9002/health/ready"]


@pytest.mark.parametrize(
    ("body", "said"),
    [(b'{"detail": "the service is stopping", "code": "not_ready"}', "the service is stopping"),
     (b"<html>", "Service Unavailable"), (b"[]", "Service Unavailable"), (b"[1]", "Service Unavailable")],
)  # fmt: skip
def test_the_health_check_tells_the_reason(monkeypatch: pytest.MonkeyPatch, body: bytes, said: str) -> None:
    def refuse(address: str, timeout: float) -> None:
        raise urllib.error.HTTPError(address, 503, "Service Unavailable", Message(), io.BytesIO(body))

    monkeypatch.setattr(health, "urlopen", refuse)
    with pytest.raises(SystemExit, match=rf"^http://127\.0\.0\.1:\d+/health/ready: 503: {said}$"):
        health.main()


def test_the_health_check_fails_where_nothing_listens() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        environment = os.environ | {"RECSYS_PORT": str(free.getsockname()[1])}
    found = subprocess.run([sys.executable, "-m", "serve.health"], env=environment, capture_output=True, check=False)
    assert found.returncode == 1
    assert b"/health/ready" in found.stderr
