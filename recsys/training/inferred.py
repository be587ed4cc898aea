"""What the data decided: said once, and written to the run's configuration as if it had been set."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict

from recsys.data.inference.finding import Finding
from recsys.database.passwords import redacted_settings
from recsys.files import atomic_write


def record(cfg: DictConfig, options: Mapping[str, Any], folder: Path) -> DictConfig:
    """The configuration with these options of `data` set; written to `config.yaml` if there are any.

    Its key `inferred` lists them, so that the same command run again is known as the same run.
    """
    found = {f"data.{option}": _plain(value) for option, value in options.items()}
    if not found:
        return cfg
    cfg = copy.deepcopy(cfg)
    with open_dict(cfg):
        for key, value in found.items():
            OmegaConf.update(cfg, key, value, merge=False)
        cfg.inferred = list(dict.fromkeys([*(cfg.get("inferred") or []), *found]))
    with atomic_write(folder / "config.yaml") as partial:
        OmegaConf.save(OmegaConf.create(redacted_settings(OmegaConf.to_container(cfg))), partial)
    return cfg


def sentences(findings: Iterable[Finding]) -> list[str]:
    """One line an option: "inferred data.separator=';' (it splits all lines into 4)"."""
    return [f"inferred data.{finding.option}={_shown(finding.value)} ({finding.why})" for finding in findings]


def _plain(value: Any) -> Any:
    if isinstance(value, tuple | list | set | frozenset):
        return [_plain(one) for one in value]
    return {str(key): _plain(one) for key, one in value.items()} if isinstance(value, dict) else value


def _shown(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple | list):
        return "[" + ",".join(map(_shown, value)) + "]"
    if isinstance(value, dict):
        return repr("{" + ", ".join(f"{key}: {_shown(one)}" for key, one in value.items()) + "}")
    if isinstance(value, float):
        return f"{value:g}"
    text = str(value)
    return text if text.replace("_", "a").replace("-", "a").isalnum() else repr(text)
