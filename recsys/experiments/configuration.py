"""What the configuration files offer: the options of each group, their keys and the classes they name."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

YAML_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml's is ten times faster
SHARED = {"data": "splits"}  # keys that a file adds to all options of a group


def config_dir() -> Path:
    """The folder of configuration files: `recsys/conf` of an installed wheel, else `conf/` of the checkout."""
    package = Path(__file__).resolve().parents[1]
    packaged = package / "conf"
    return packaged if packaged.is_dir() else package.parent / "conf"


def group_options() -> dict[str, list[str]]:
    """Names of the options of each group, such as `als` and `mf` of `model`."""
    found: dict[str, list[str]] = {}
    for file in _files(config_dir()):
        if file.parent != config_dir():
            found.setdefault(file.parent.relative_to(config_dir()).as_posix(), []).append(file.stem)
    return found


def known_keys(command: str) -> dict[str, list[str]]:
    """Every key that a configuration of the command may have, with the options (`data=tabular`) that it belongs to.

    A key that belongs to no option is always there.
    """
    keys: dict[str, list[str]] = {key: [] for key, _ in _leaves(_content(config_dir() / f"{command}.yaml"))}
    if command != "train":  # the others have no groups
        return keys
    for group, names in group_options().items():
        prefix = f"{group.replace('/', '.')}."
        for name in names:
            file = config_dir() / group / f"{name}.yaml"
            if not _is_global(file):
                for key, _ in _leaves(_content(file)):
                    if not key.rpartition(".")[2].startswith("_"):
                        keys.setdefault(prefix + key, []).append(f"{group}={name}")
        for key, _ in _leaves(_content(config_dir() / f"{SHARED.get(group)}.yaml")):
            keys[prefix + key] = []
    return keys


def named_classes(folders: Iterable[Path] = ()) -> dict[str, set[str]]:
    """The `_target_`s that the files, and those in other folders of configuration, give each group, such as `model`."""
    found: dict[str, set[str]] = {}
    for folder in {config_dir(), *folders}:
        for file in _files(folder):
            group = () if _is_global(file) else file.parent.relative_to(folder).parts
            prefix = "".join(f"{part}." for part in group)
            for key, value in _leaves(_content(file), prefix):
                if key.endswith("._target_"):
                    found.setdefault(key.partition(".")[0], set()).add(str(value))
    return found


def _files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.yaml"))


def _is_global(file: Path) -> bool:
    return "# @package _global_" in file.read_text(encoding="utf-8")


@functools.cache
def _content(file: Path) -> Mapping[str, Any]:
    content = yaml.load(file.read_bytes(), YAML_LOADER) if file.is_file() else None
    return {key: value for key, value in (content or {}).items() if key != "defaults"}


def _leaves(content: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys and values of all that is no mapping."""
    for key, value in content.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
