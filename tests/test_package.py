"""What is published: a wheel that runs in an empty folder, and an sdist that the same wheel is built from."""

from __future__ import annotations

import json
import os
import re
import site
import subprocess
import sys
import tarfile
import time
import urllib.request
import venv
import zipfile
from pathlib import Path

import numpy
import pytest

from recsys.experiments import configuration
from recsys.experiments.configuration import config_dir
from tests.commands import call, train_arguments, write_ratings

ROOT = Path(__file__).parents[1]


def test_the_configuration_of_a_checkout() -> None:
    assert config_dir() == ROOT / "conf"
    assert not (ROOT / "recsys" / "conf").exists()


def test_the_configuration_of_an_installed_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(configuration, "__file__", str(tmp_path / "recsys" / "experiments" / "configuration.py"))
    (tmp_path / "recsys" / "conf").mkdir(parents=True)
    assert config_dir() == tmp_path / "recsys" / "conf"


def test_a_folder_of_ones_own_configuration(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "conf" / "experiment").mkdir(parents=True)
    (tmp_path / "conf" / "experiment" / "mine.yaml").write_text("# @package _global_\nmodel:\n  embedding_dim: 7\n")
    call("train", f"--config-dir={tmp_path / 'conf'}", "experiment=mine", "--cfg", "job", "--package", "model")
    assert "embedding_dim: 7" in capsys.readouterr().out


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the sdist, and of the wheel that is built from it."""
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    return out


@pytest.mark.slow
def test_the_sdist_is_complete(built: Path) -> None:
    [archive] = built.glob("*.tar.gz")
    with tarfile.open(archive) as sdist:
        packed = {name.partition("/")[2] for name in sdist.getnames()}
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    left_out = (".git", "outputs/")
    assert {file for file in listed if not file.startswith(left_out)} <= packed


@pytest.mark.slow
def test_the_wheel_holds_configuration_pages_and_types(built: Path) -> None:
    [wheel] = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        packed = set(archive.namelist())
    assert {f"recsys/{file.relative_to(ROOT)}" for file in (ROOT / "conf").rglob("*.yaml")} <= packed
    assert {"recsys/py.typed", "serve/py.typed", "hydra_plugins/recsys_launcher.py"} <= packed
    for package in ("recsys", "serve"):
        files = (file for file in (ROOT / package).rglob("*") if file.is_file() and file.suffix != ".pyc")
        assert {str(file.relative_to(ROOT)) for file in files} <= packed
    assert not {name.partition("/")[0] for name in packed} & {"conf", "tests", "benchmarks", "docs"}


@pytest.fixture(scope="module")
def python(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment with the wheel; its dependencies are this environment's."""
    folder = tmp_path_factory.mktemp("installed") / "venv"
    venv.create(folder, with_pip=False)
    [wheel] = built.glob("*.whl")
    interpreter = folder / "bin" / "python"
    install = [sys.executable, "-m", "pip", "--python", str(interpreter), "install", "--quiet", "--no-deps", str(wheel)]
    subprocess.run(install, check=True, capture_output=True)
    found = subprocess.run(
        [interpreter, "-c", "import site; print(site.getsitepackages()[0])"], capture_output=True, text=True, check=True
    )
    paths = {str(Path(numpy.__file__).parents[1]), *site.getsitepackages()}
    (Path(found.stdout.strip()) / "dependencies.pth").write_text("\n".join(sorted(paths)) + "\n")
    return interpreter


@pytest.mark.slow
def test_every_command_runs_from_the_wheel_in_an_empty_folder(python: Path, tmp_path: Path) -> None:
    write_ratings(tmp_path / "data" / "ratings.csv")
    (tmp_path / "work").mkdir()
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "RECSYS_CACHE": str(tmp_path / "cache")}

    def run(*command: str) -> str:
        done = subprocess.run(
            [str(python.with_name(command[0])), *command[1:]],
            cwd=tmp_path / "work", env=environment, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    where = run("python", "-c", "import recsys, recsys.cli as cli; print(recsys.__file__, cli.config_dir())")
    assert all(str(python.parents[1]) in path for path in where.split())
    run("recsys", "train", *train_arguments(tmp_path / "data", Path("outputs/a")), "trainer.max_epochs=2")
    run("python", "-m", "recsys.train", *train_arguments(tmp_path / "data", Path("outputs/b")), "trainer.max_epochs=1")
    figures = json.loads((tmp_path / "work" / "outputs" / "a" / "metrics.json").read_text())
    run("recsys", "evaluate", "run=outputs/a")
    run("recsys", "recommend", "run=outputs/a", "k=3", "out=top.csv")
    assert (tmp_path / "work" / "top.csv").read_text().startswith("user_id,rank,item_id")
    assert f"{figures['test/rmse']:.4f}" in run("recsys", "report", "outputs", "--format", "md")
    assert "recsys-lightning" in run("recsys", "--version")
    service = subprocess.Popen(
        [python.with_name("recsys"), "serve", "--port", "0", "--drain-seconds", "0"],
        cwd=tmp_path / "work", env=environment, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert service.stdout
        address = next(found[0] for line in service.stdout if (found := re.search(r"http://[\d.:]+", line)))
        deadline = time.monotonic() + 30
        while True:
            try:
                with urllib.request.urlopen(f"{address}/health/ready") as answer:
                    assert answer.status == 200
                break
            except OSError:
                assert time.monotonic() < deadline
                time.sleep(0.05)
        with urllib.request.urlopen(address) as answer:  # the page
            assert b"<html" in answer.read()
    finally:
        service.terminate()
        service.communicate(timeout=30)
    assert service.returncode == 0
