"""The configuration page: keys, defaults and descriptions from `conf/`, signatures and docstrings."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from hydra.utils import get_class
from tables import table

from recsys.data.datamodule import RatingDataModule

ROOT = Path(__file__).parents[2]
CONF = ROOT / "conf"
COMMANDS = ("train", "evaluate", "ensemble", "recommend")
COMPONENTS = ("model", "data", "trainer", "callbacks", "logger")
PRESETS = ("hparams_search", "experiment")
INTRODUCTION = """# Configuration

Set any key on the command line as `key=value`, and choose a group as `group=option`. `python -m recsys.train --cfg job`
prints the composed configuration; Hydra's `--config-dir` adds a folder of your own with the same groups. This page is
generated from `conf/` and the classes that it configures.
"""
GROUP_NOTES = {
    "trainer": "Any argument of Lightning's Trainer can be added: `+trainer.accumulate_grad_batches=4`.",
    "hparams_search": "A search space, and how to search it; see [many runs](../how-to/many-runs.md).",
    "experiment": "The best known settings of a model on a data set. Later `key=value` arguments override them.",
}


def configuration() -> str:
    parts = [INTRODUCTION]
    for command in COMMANDS:
        file = CONF / f"{command}.yaml"
        parts += [f"## recsys {command}", table(["key", "default", "meaning"], command_rows(file))]
    parts += ["## Splits and batches", "The same for every data set, as `data.<key>`."]
    parts.append(table(["key", "default", "meaning"], class_rows(RatingDataModule, "data", splits())))
    for group in COMPONENTS:
        parts += [f"## {group}", GROUP_NOTES.get(group, ""), *components(group)]
    for group in PRESETS:
        parts += [f"## {group}", GROUP_NOTES[group]]
        parts += [f"### {group}={file.stem}\n\n{yaml_block(file)}" for file in files(group)]
    return "\n\n".join(part for part in parts if part) + "\n"


def files(group: str) -> list[Path]:
    return sorted((CONF / group).glob("*.yaml"))


def splits() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((CONF / "splits.yaml").read_text())
    return content


def command_rows(file: Path) -> list[list[str]]:
    """Keys of a command; what is below `hydra:` is about logs and folders."""
    text = file.read_text().partition("\nhydra:")[0].partition("_self_")[2]
    return [[f"`{key}`", literal(value), comment] for key, value, comment in commented(text)]


def components(group: str) -> Iterator[str]:
    """One section per class, with the options that configure it."""
    sections: dict[str, list[Path]] = {}
    for file in files(group):
        content = yaml.safe_load(file.read_text())
        sections.setdefault(content.get("_target_", file.stem), []).append(file)
    for sharing in sections.values():
        yield "### " + ", ".join(f"{group}={file.stem}" for file in sharing)
        content = yaml.safe_load(sharing[0].read_text())
        if "_target_" in content:
            yield from component(group, content, comments_of(sharing[0]), len(sharing) > 1)
            continue
        for name, inner in content.items():
            if isinstance(inner, dict):
                yield from component(f"{group}.{name}", inner, comments_of(sharing[0]), False)


def component(prefix: str, content: dict[str, Any], comments: dict[str, str], shared: bool) -> Iterator[str]:
    target = content["_target_"]
    cls = get_class(target)
    if not target.startswith(("recsys.", "hydra_plugins.")):
        yield f"`{target}`"
        keys = [key for key in content if not key.startswith("_") and key != "defaults"]
        rows = [[f"`{prefix}.{key}`", literal(content[key]), comments.get(key, "")] for key in keys]
    else:
        yield f"`{target}`: " + (inspect.getdoc(cls) or "").partition("\n\n")[0].replace("\n", " ")
        varying = {"name"} if shared else set()  # each option has its own
        rows = class_rows(cls, prefix, {key: value for key, value in content.items() if key not in varying}, varying)
    if rows:
        yield table(["key", "default", "meaning"], rows)


def class_rows(
    cls: type, prefix: str, values: dict[str, Any], hidden: set[str] | frozenset[str] = frozenset()
) -> list[list[str]]:
    """Arguments that a user can set: those of the YAML file, described by the docstring."""
    described = arguments(inspect.getdoc(cls) or "") | arguments(inspect.getdoc(cls.__init__) or "")
    return [
        [f"`{prefix}.{name}`", literal(values[name]), described.get(name, "")]
        for name in inspect.signature(cls).parameters
        if name in values and name not in hidden
    ]


def arguments(docstring: str) -> dict[str, str]:
    """Name and description of each argument in a Google docstring."""
    section = re.search(r"^Args:\n((?:    .*\n?|\n)*)", docstring, re.MULTILINE)
    found = re.findall(r"^    (\w+): (.*(?:\n {6,}.*)*)", section[1], re.MULTILINE) if section else []
    return {name: re.sub(r"\s+", " ", text) for name, text in found}


def commented(text: str) -> list[tuple[str, str, str]]:
    """Key, value and comment of each line `key: value  # comment`."""
    lines = re.findall(r"^\s*(\w+): +([^#\n]*?) *(?:# *(.*))?$", text, re.MULTILINE)
    return [(key, value, comment) for key, value, comment in lines]


def comments_of(file: Path) -> dict[str, str]:
    return {key: comment for key, _, comment in commented(file.read_text())}


def literal(value: Any) -> str:
    if value is None:
        return "`null`"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value}`" if value not in ("", "???") else "required"


def yaml_block(file: Path) -> str:
    return f"```yaml\n{file.read_text().strip()}\n```"
