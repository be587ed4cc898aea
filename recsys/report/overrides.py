"""The command that reproduces a run, or a setting with all its repeats."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Sequence

COMMAND = "python -m recsys.train"
# What may do more than train, with settings that are a stranger's: classes, what the environment holds, a file or a
# database elsewhere, Hydra's flags.
DOUBTFUL = re.compile(
    r"^-|\$\{(?![\w.]+\}|mapping:)|(?<![A-Za-z0-9])_(target|args|partial|recursive|convert)_|^\W*data(\.(query|url|url_env)\b|=\{)"
    r"|\b(dirpath|save_dir|default_root_dir|filename|exclude_batches_path|storage|upload_bundle|model_registry)\b"
    r"|^[+~]*[\w/@]+=(/|.*(\.\.|[,(\['\"]/))"
)
DOUBT = "# look before you run it, as it may do more than train:"
SEED, FOLD = ("seed", "seeds"), ("data.fold", "folds")
# Overrides that do not change a setting: of the study, the sweep folder and the logger.
EXCLUDED_GROUPS = ("hparams_search", "hydra", "logger", "trial", "resume", "trust", "run_dir")


def run_command(overrides: Sequence[str], seed: int | None, fold: int | None) -> str:
    """The command of one run, with its seed and its fold (None: the split has no folds).

    One whose settings may do more than train is a comment: it may be a stranger's, and is made to be copied.
    """
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
    overrides = list(overrides)
    doubt = [DOUBT] if any(map(DOUBTFUL.search, overrides)) else []
    return " ".join([*doubt, COMMAND, *map(shlex.quote, overrides)])
