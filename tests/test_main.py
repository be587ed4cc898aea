"""The console command and its completion, as the shell calls it: once in a process, otherwise in this one."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from recsys.__main__ import COMMANDS

pytestmark = pytest.mark.long

Recsys = Callable[..., str]


@pytest.fixture
def recsys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Recsys:
    """Calls the console command, or a module's; returns its output, after which nothing else was written."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONSAFEPATH", "1")  # as the command sets it; else it would stay for other tests

    def run(*arguments: str, module: str = "recsys.__main__", line: str = "") -> str:
        main = importlib.import_module(module)
        monkeypatch.setattr(sys, "argv", [str(main.__file__), *arguments])
        monkeypatch.setenv("COMP_LINE", line)
        monkeypatch.setenv("COMP_POINT", str(len(line)))
        code: object = None
        try:
            main.main()
        except SystemExit as exit_:
            code = exit_.code
        out, err = capsys.readouterr()
        assert (code or 0, err, list(tmp_path.iterdir())) == (0, "", [])
        return out

    return run


def test_help_lists_the_commands_and_loads_none(tmp_path: Path) -> None:
    code = "import sys; from recsys.__main__ import main; main(); print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert all(f"  {name} " in done.stdout for name in COMMANDS)
    assert {"numpy", "hydra", "torch", "fastapi"}.isdisjoint(done.stderr.split())


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_takes_its_arguments(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    given: list[list[str]] = []
    module, _ = COMMANDS[name]
    monkeypatch.setattr(f"{module}.main", lambda: given.append(list(sys.argv)))
    monkeypatch.setattr(sys, "argv", ["recsys", name, "a=1", "--help"])
    importlib.import_module("recsys.__main__").main()
    assert given == [[f"recsys {name}", "a=1", "--help"]]


@pytest.mark.parametrize(("name", "argument"), [("report", "--top"), ("serve", "--port"), ("inspect", "PATH")])
def test_help_of_a_command(recsys: Recsys, name: str, argument: str) -> None:
    """That of the others is composed by Hydra, and tested with the configuration."""
    assert argument in recsys(name, "--help")


def test_a_command_that_does_not_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["recsys", "trian"])
    with pytest.raises(SystemExit, match=r"train, evaluate.* got 'trian'"):
        importlib.import_module("recsys.__main__").main()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("recsys tr", {"inspect", "train", "evaluate", "recommend", "report", "serve"}),
        ("recsys train model=", {"model=mf", "model=als"}),
        ("recsys train model.emb", {"model.embedding_dim="}),
        ("recsys train data=ml_1m  seed=1 tr", {"trainer="}),
        ("/opt/bin/recsys evaluate rank", {"ranking="}),
        ("recsys recommend ", {"k=", "out="}),
        ("recsys ensemble by", {"by_activity="}),
        ("recsys serve --po", set()),
    ],
)
def test_completion_of_the_console_command(recsys: Recsys, line: str, expected: set[str]) -> None:
    found = set(recsys("-sc", "query=bash", line=line).split())
    assert expected <= found
    assert bool(found) == bool(expected)


def test_completion_of_a_module(recsys: Recsys) -> None:
    out = recsys("-sc", "query=bash", module="recsys.train", line="python3.11 -m recsys.train data=ml_1")
    assert {"data=ml_100k", "data=ml_1m", "data=ml_10m"} == set(out.split())


def test_bash_completes_what_was_typed(recsys: Recsys, tmp_path: Path) -> None:
    """By the function that any command installs, called as Readline calls it."""
    script = recsys("-sc", "install=bash")
    assert recsys("-sc", "install=bash", module="recsys.train") == script
    (tmp_path / "recsys").write_text(f'#!/bin/sh\nexec {sys.executable} -m recsys "$@"\n')
    (tmp_path / "recsys").chmod(0o755)
    script += "\nCOMP_LINE='recsys train model=ba' COMP_POINT=21 COMP_CWORD=2\nhydra_bash_completion\n"
    script += 'complete -p recsys >/dev/null && echo "${COMPREPLY[@]}"'
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert (done.stdout.split(), done.stderr) == (["model=bayesian_mf"], "")


@pytest.mark.parametrize("place", [".", "bin"])
def test_processes_of_the_command_take_no_modules_from_the_current_folder(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As workers and pip would, from a stranger's folder; `python -m recsys` has it on its own path."""
    monkeypatch.setenv("PYTHONSAFEPATH", "")
    monkeypatch.delenv("PYTHONSAFEPATH")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path / place), *sys.path])
    monkeypatch.setattr(sys, "argv", ["recsys", "evaluate", "--help"])
    with pytest.raises(SystemExit):
        importlib.import_module("recsys.__main__").main()
    assert os.environ.get("PYTHONSAFEPATH") == (None if place == "." else "1")
