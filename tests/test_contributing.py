"""The four tasks of CONTRIBUTING, done as printed."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import re
import textwrap
from pathlib import Path
from typing import Any

import pytest

import recsys.data.sources
from recsys.evaluation import registry
from serve.routers import items
from tests.commands import Train, call, call_function
from tests.serve.conftest import client_of, rich

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[1]
SECTIONS = dict(re.findall(r"^## (.*)\n((?:(?!## ).*\n)*)", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE))


def blocks(section: str, language: str = "python") -> list[str]:
    found = re.findall(rf"^( *)```{language}\n(.*?)^\1```", SECTIONS[section], re.MULTILINE | re.DOTALL)
    return [textwrap.dedent(code) for _, code in found]


def execute(code: str, names: dict[str, Any]) -> dict[str, Any]:
    exec(compile(code, "CONTRIBUTING.md", "exec", dont_inherit=True), names)
    return names


def run_tests(code: str, names: dict[str, Any], **fixtures: Any) -> None:
    tests = [value for name, value in execute(code, names).items() if name.startswith("test_")]
    assert tests
    for test in tests:
        test(**{name: fixtures[name] for name in inspect.signature(test).parameters})


def test_a_data_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, test = blocks("Add a data set")
    [conf] = blocks("Add a data set", "yaml")
    for file, text in (("sources/books.py", source), ("conf/data/books.yaml", conf)):
        (tmp_path / file).parent.mkdir(parents=True)
        (tmp_path / file).write_text(text)
    monkeypatch.setattr(recsys.data.sources, "__path__", [*recsys.data.sources.__path__, str(tmp_path / "sources")])
    monkeypatch.setenv("RECSYS_CACHE", str(tmp_path / "cache"))
    importlib.invalidate_caches()
    run_tests(test, {"__name__": "test_books"}, tmp_path=tmp_path)
    lines = [f"{user}\t{item}\t{1 + (user * item) % 10}" for user in range(30) for item in range(20)]
    (tmp_path / "ratings.tsv").write_text("\n".join(lines))
    chosen = ["data=books", f"data.root={tmp_path}", "model.embedding_dim=4", "trainer.max_epochs=1", "refit=none"]
    call("train", f"--config-dir={tmp_path / 'conf'}", *chosen, f"hydra.run.dir={tmp_path / 'run'}")
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["data"] == "books"


def test_a_metric(quick_train: Train, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    short = ("trainer.max_epochs=1", "refit=none", "ranking=true")
    older = quick_train(*short, name="older")
    monkeypatch.setattr(registry, "METRICS", dict(registry.METRICS))
    [code] = blocks("Add a metric")
    for node in ast.parse(code).body:
        assert isinstance(node, ast.FunctionDef | ast.Expr)
    names = execute("from __future__ import annotations\n" + code, dict(vars(registry)))
    assert "precision" in names
    call_function("evaluate", f"run={older}", "ranking=true")
    assert "precision@10" in capsys.readouterr().out
    newer = json.loads((quick_train(*short, name="newer") / "metrics.json").read_text())
    assert 0 < newer["ranking/precision@10"] <= 1
    call("report.__main__", str(older.parent), "--format", "csv")
    assert "precision@10" in capsys.readouterr().out.splitlines()[0]


def test_a_route(monkeypatch: pytest.MonkeyPatch) -> None:
    route, test = blocks("Add a route")
    monkeypatch.setattr(items.router, "routes", [*items.router.routes])
    execute(route, dict(vars(items)))
    with client_of(rich()) as client:
        run_tests("from tests.serve.conftest import CheckedClient\n" + test, {}, client=client)


@pytest.mark.skipif(not (ROOT / "recsys/models/biases.py").exists(), reason="the model is on another branch")
def test_the_model_is_the_repository_s() -> None:
    """Which the contract test covers."""
    [code], [conf] = blocks("Add a model"), blocks("Add a model", "yaml")
    assert code == (ROOT / "recsys/models/biases.py").read_text()
    assert conf == (ROOT / "conf/model/biases.yaml").read_text()
    assert '"biases"' in (ROOT / "tests/models/test_contract.py").read_text()
