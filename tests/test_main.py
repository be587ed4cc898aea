"""The console command and its completion."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from recsys.__main__ import COMMANDS


def recsys(*arguments: str, module: str = "recsys", line: str = "", cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"COMP_LINE": line, "COMP_POINT": str(len(line))}
    command = [sys.executable, "-m", module, *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment)


def test_help_lists_the_commands_and_loads_none(tmp_path: Path) -> None:
    code = "import sys; from recsys.__main__ import main; main(); print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert all(f"  {name} " in done.stdout for name in COMMANDS)
    assert {"numpy", "hydra", "torch", "fastapi"}.isdisjoint(done.stderr.split())


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_takes_its_arguments(tmp_path: Path, name: str) -> None:
    done = recsys(name, "--help", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert {"train": "experiment", "evaluate": "ranking", "recommend": "out", "report": "--top", "serve": "--port"}[
        name
    ] in done.stdout


def test_a_command_that_does_not_exist(tmp_path: Path) -> None:
    done = recsys("trian", cwd=tmp_path)
    assert done.returncode == 1
    assert "'trian'" in done.stderr
    assert "train, evaluate" in done.stderr


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("recsys tr", {"train", "evaluate", "recommend", "report", "serve"}),
        ("recsys train model=", {"model=mf", "model=als"}),
        ("recsys train model.emb", {"model.embedding_dim="}),
        ("recsys train data=ml_1m  seed=1 tr", {"trainer="}),
        ("/opt/bin/recsys evaluate rank", {"ranking="}),
        ("recsys recommend ", {"k=", "out="}),
        ("recsys serve --po", set()),
    ],
)
def test_completion_of_the_console_command(tmp_path: Path, line: str, expected: set[str]) -> None:
    done = recsys("-sc", "query=bash", line=line, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert expected <= set(done.stdout.split())
    assert bool(done.stdout.split()) == bool(expected)


def test_completion_of_a_module(tmp_path: Path) -> None:
    line = "python3.11 -m recsys.train data=ml_1"
    done = recsys("-sc", "query=bash", module="recsys.train", line=line, cwd=tmp_path)
    assert {"data=ml_100k", "data=ml_1m", "data=ml_10m"} == set(done.stdout.split())


@pytest.mark.parametrize("module", ["recsys", "recsys.train"])
def test_bash_completes_what_was_typed(tmp_path: Path, module: str) -> None:
    """The installed function, called as Readline calls it."""
    script = recsys("-sc", "install=bash", module=module, cwd=tmp_path).stdout
    (tmp_path / "recsys").write_text(f'#!/bin/sh\nexec {sys.executable} -m recsys "$@"\n')
    (tmp_path / "recsys").chmod(0o755)
    script += "\nCOMP_LINE='recsys train model=ba' COMP_POINT=21 COMP_CWORD=2\nhydra_bash_completion\n"
    script += 'complete -p recsys >/dev/null && echo "${COMPREPLY[@]}"'
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert done.stdout.split() == ["model=bayesian_mf"]
