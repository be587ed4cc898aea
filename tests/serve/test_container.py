"""The container, as far as it can be tested without an engine."""

from __future__ import annotations

import json
import os
import re
import shlex
import socket
import subprocess
import sys
import time
import urllib.request
import venv
from pathlib import Path

import pytest

from serve.settings import Settings
from tests.bundles import make_bundle

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
HEAVY = {"torch", "lightning", "hydra", "pandas", "pyarrow", "matplotlib", "wandb", "scipy"}


def test_what_is_copied_exists_and_is_not_ignored() -> None:
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = [word for line in re.findall(r"^COPY (?!--from)(.*)", DOCKERFILE, re.M) for word in line.split()[:-1]]
    assert set(copied) == kept
    assert all((ROOT / name).exists() for name in copied)


def test_the_image_runs_without_rights_and_says_where_the_pointer_is() -> None:
    last = DOCKERFILE.split("FROM")[-1]
    assert re.search(r"^USER (?!root|0)\S+", last, re.M)
    for name in re.findall(r"RECSYS_(\w+)=", last + (ROOT / "compose.yaml").read_text()):
        assert name.lower() in Settings.model_fields
    assert shlex.split(re.search(r"ENTRYPOINT (.*)", last)[1]) == ["[python,", "-m,", "serve]"]  # type: ignore[index]


@pytest.mark.slow
def test_the_serving_extra_alone_serves_a_bundle(two_by_three, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """The Dockerfile's steps in an empty virtual environment: install, start, health check, page, a prediction."""
    make_bundle(two_by_three, [10, 20], [7, 3, 5]).save(tmp_path / "run" / "bundle")
    (tmp_path / "serving").write_text("run\n")
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    source = tmp_path / "source"
    source.mkdir()
    for name in re.findall(r"^COPY (?!--from)(.*)", DOCKERFILE, re.M):
        *names, _ = name.split()
        subprocess.run(["cp", "-r", *(str(ROOT / one) for one in names), str(source)], check=True)
    [install] = re.findall(r"bin/pip (install .*)", DOCKERFILE)
    subprocess.run([python, "-m", "pip", *shlex.split(install), "--quiet"], cwd=source, check=True)
    listed = subprocess.run([python, "-m", "pip", "list", "--format=json"], capture_output=True, check=True)
    assert not HEAVY & {package["name"].lower() for package in json.loads(listed.stdout)}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    environment = {"PATH": os.environ["PATH"], "RECSYS_PORT": port, "RECSYS_POINTER": str(tmp_path / "serving")}
    service = subprocess.Popen([python, "-m", "serve"], cwd=tmp_path, env=environment)
    try:
        [check] = re.findall(r"HEALTHCHECK .* CMD (\[.*\])", DOCKERFILE)
        command = [str(python), *json.loads(check)[1:]]
        for _ in range(100):
            if (
                subprocess.run(
                    command, cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL, check=False
                ).returncode
                == 0
            ):
                break
            time.sleep(0.1)
        subprocess.run(command, cwd=tmp_path, env=environment, check=True)
        body = json.dumps({"user_id": "10", "item_id": "7"}).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/predict/rating/", body, {"content-type": "application/json"}
        )
        assert json.load(urllib.request.urlopen(request))["rating"] == 4.25
        for path, text in (("", b"<title>"), ("page/page.js", b"import"), ("page/page.css", b"{")):
            assert text in urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}").read()
    finally:
        service.terminate()
        assert service.wait(20) == 0
    # Stopped: the check says so.
    assert (
        subprocess.run(command, cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL, check=False).returncode == 1
    )


def test_the_health_check_fails_where_nothing_listens() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        environment = os.environ | {"RECSYS_PORT": str(free.getsockname()[1])}
    found = subprocess.run([sys.executable, "-m", "serve.health"], env=environment, capture_output=True, check=False)
    assert found.returncode == 1
    assert b"/health/ready" in found.stderr
