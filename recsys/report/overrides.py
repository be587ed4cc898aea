"""The command that reproduces a run, or a setting with all its repeats."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Sequence

COMMAND = "python -m recsys.train"
SEED, FOLD = ("seed", "seeds"), ("data.fold", "folds")
# Overrides that do not change a setting: of the study, the sweep folder and the logger.
EXCLUDED_GROUPS = ("hparams_search", "hydra", "logger", "trial", "resume", "run_dir")


def run_command(overrides: Sequence[str], seed: int | None, fold: int | None) -> str:
    """The command of one run, with its seed and its fold (None: the split has no folds)."""
    return _line([*kept(overrides), *_chosen("seed", seed), *_chosen("data.fold", fold)])


def setting_command(overrides: Sequence[str], seeds: Iterable[int | None], folds: Iterable[int | None]) -> str:
    """The command of all repeats of a setting; a shared seed or fold is included only if the runs set it."""
    named = {key(text) for text in overrides}
    repeats = [
        *_repeated("seed", "seeds", seeds, explicit=bool(named & set(SEED))),
        *_repeated("data.fold", "folds", folds, explicit=bool(named & set(FOLD))),
    ]
    return _line([*kept(overrides), *repeats])


def kept(overrides: Iterable[str]) -> list[str]:
    """The overrides that define the setting."""
    return [text for text in overrides if not _left_out(key(text))]


def key(override: str) -> str:
    """The key of an override: `model.dropout` for `++model.dropout=0.1`."""
    return override.lstrip("+~").partition("=")[0].strip()


def _left_out(name: str) -> bool:
    return name in SEED + FOLD or re.split(r"[./@]", name)[0] in EXCLUDED_GROUPS


def _chosen(name: str, value: int | None) -> list[str]:
    return [] if value is None else [f"{name}={value}"]


def _repeated(one: str, several: str, values: Iterable[int | None], *, explicit: bool) -> list[str]:
    found = sorted({value for value in values if value is not None})
    if len(found) > 1:
        return [f"{several}=[{','.join(map(str, found))}]"]
    return _chosen(one, found[0]) if found and explicit else []


def _line(overrides: Sequence[str]) -> str:
    return " ".join([COMMAND, *map(shlex.quote, overrides)])
