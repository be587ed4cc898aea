"""Commands, routes and code in README and docs/ work as printed."""

from __future__ import annotations

import re
import shlex

import pytest
from fastapi import FastAPI
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from recsys.experiments.configuration import config_dir
from recsys.experiments.overrides import quote_override
from recsys.report.__main__ import arguments
from serve.settings import Settings
from tests.commands import Train, composed
from tests.serve.conftest import client_of, rich

pytestmark = pytest.mark.long

ROOT = config_dir().parent
README = (ROOT / "README.md").read_text()
GENERATED = ("configuration.md", "http.md")
PAGES = [ROOT / "README.md", *(p for p in sorted((ROOT / "docs").rglob("*.md")) if p.name not in GENERATED)]
LINES = [
    line
    for page in PAGES
    for block in re.findall(r"```bash\n(.*?)```", page.read_text(), re.DOTALL)
    for line in block.splitlines()
]
COMMANDS = dict.fromkeys(
    tuple(shlex.split(line, comments=True)) for line in LINES if line.startswith("python -m recsys.")
)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_commands_compose(command: tuple[str, ...]) -> None:
    name = command[2].removeprefix("recsys.")
    if name == "report":
        assert arguments(command[3:]).folders
        return
    if name == "inspect":
        path, *typed = command[3:]
        assert "=" not in path
        name, command = "train", ("", "", "", "data=tabular", *typed)
    overrides = [choices(text) for text in command[3:] if text != "-m"]
    for place in range(max(map(len, overrides), default=1)):  # each choice once: they do not depend on each other
        chosen = [values[min(place, len(values) - 1)] for values in overrides]
        cfg = composed(name, *chosen)
        for override in OverridesParser.create().parse_overrides(list(map(quote_override, chosen))):
            if override.key_or_group.startswith("hydra."):
                OmegaConf.update(cfg, override.key_or_group, override.value(), merge=True)  # which must exist


def choices(override: str) -> list[str]:
    """An override's values in a sweep, one by one; the ends of a list, a mapping or an interval stay together."""
    key, equals, values = override.partition("=")
    if "(" in values:
        return [f"{key}=0"]
    if values.startswith(("[", "{")):
        return [override]
    return [f"{key}{equals}{value}" for value in values.split(",")]


SERVICE = [line for line in LINES if re.match(r"python -m serve --", line)]


@pytest.mark.parametrize("line", SERVICE)
def test_flags_of_the_service_exist(line: str) -> None:
    for flag in re.findall(r"--([a-z-]+)", line):
        assert flag.removeprefix("no-").replace("-", "_") in Settings.model_fields, line


def test_routes_of_the_service_exist() -> None:
    guide = (ROOT / "docs" / "how-to" / "serve.md").read_text()
    listed = set(re.findall(r"`(?:GET|POST) (/[^`?]*)[^`]*`", guide))
    with client_of(rich()) as client:
        assert isinstance(client.app, FastAPI)
        assert listed - {"/docs"} <= set(client.app.openapi()["paths"])


def test_python_lines_run(trained: Train, capsys: pytest.CaptureFixture[str]) -> None:
    [code] = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    bundle = trained() / "bundle"
    for theirs, ours in (("242", "101"), ("302", "102"), ("196", "7")):
        code = code.replace(theirs, ours)
    code = re.sub(r'"outputs/[^"]*"', repr(str(bundle)), code)  # last: a folder's name may hold those numbers too
    exec(code, {})
    assert "Recommendation(item_id=" in capsys.readouterr().out


TARGETS = sorted({target for line in LINES for target in re.findall(r"^make ([a-z-]+)", line)})


@pytest.mark.parametrize("target", TARGETS)
def test_make_targets_exist(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
