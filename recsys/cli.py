"""What the commands share: Hydra composes, and a user's mistake is one sentence and status 1, not a traceback."""

from __future__ import annotations

import functools
import gc
import os
import re
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

import hydra
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from recsys.database.passwords import check_no_password, redacted
from recsys.experiments.configuration import config_dir
from recsys.experiments.mistakes import check_arguments, explain
from recsys.experiments.overrides import quote_override, unquoted
from recsys.experiments.sweep_folder import current_override, is_sweep, resumed_overrides
from recsys.experiments.targets import check_overrides
from recsys.progress import tolerate_closed_output
from recsys.training.threads import set_environment

_in_sentences: ContextVar[bool] = ContextVar("_in_sentences", default=False)  # where Hydra is told to raise its errors
USER_ERRORS = (ValueError, OSError, HydraException, OmegaConfBaseException)

OmegaConf.register_new_resolver("help_groups", lambda: help_groups(), replace=True)
OmegaConf.register_new_resolver("help_keys", lambda name: help_keys(name), replace=True)
OmegaConf.register_new_resolver("first_of", lambda *values: next(v for v in values if v), replace=True)


def help_groups() -> str:
    """Configuration groups and their options, for `--help`."""
    lines = []
    for group in sorted(path for path in config_dir().iterdir() if path.is_dir() and path.name != "hydra"):
        files = [file for file in sorted(group.glob("*.yaml")) if "\nprogram:" not in file.read_text()]  # W&B's own
        if len(files) == 1:
            continue  # no choice
        options = textwrap.wrap(" ".join(file.stem for file in files), 92)
        lines += [
            f"  {name:<16}{text}" for name, text in zip([group.name, *[""] * len(options)], options, strict=False)
        ]
    return "\n".join(lines)


def help_keys(name: str) -> str:
    """Keys of a configuration file with values and comments, for `--help`, up to those that are filled in."""
    lines = []
    file = config_dir() / f"{name}.yaml"
    content = file.read_text() if file.is_file() else ""  # an option may be in a user's own folder
    for line in content.partition("# Set automatically")[0].splitlines():
        if (found := re.fullmatch(r"(?!defaults)([a-z]\w*): +([^#\s].*?)(?: +# *(.*))?", line)) is not None:
            prefix = "data." if name == "splits" else f"{name.partition('/')[0]}." if "/" in name else ""
            text = f"  {prefix + found[1]:<33}{found[2].replace('???', 'required'):<16}{found[3] or ''}"
            lines.append(text.rstrip().replace("$", "$$"))
    return "\n".join(lines)


def command(config_name: str) -> Callable[[Callable[[DictConfig], Any]], Callable[[], None]]:
    """Make a function of a configuration the main function of `python -m recsys.<config_name>`."""

    def decorate(function: Callable[[DictConfig], Any]) -> Callable[[], None]:
        @functools.wraps(function)
        def run(cfg: DictConfig) -> Any:
            try:
                return function(cfg)
            except USER_ERRORS as error:
                _end_with(error, config_name)

        main: Callable[[], None] = hydra.main(
            version_base="1.3", config_path=str(config_dir()), config_name=config_name
        )(run)

        @functools.wraps(function)
        def start() -> None:
            tolerate_closed_output()
            try:
                set_environment()
                _prepare_completion()
                check_arguments(sys.argv[1:])
                for text in sys.argv[1:]:
                    check_no_password(text)
                typed = [quote_override(current_override(text)) for text in _flags_first(sys.argv[1:])]
                if "WANDB_SWEEP_ID" in os.environ or "WANDB_LAUNCH" in os.environ:  # which then gave the arguments
                    check_overrides(typed, f"W&B sweep {os.environ.get('WANDB_SWEEP_ID', 'of launch')}")
                sys.argv = [sys.argv[0], *resumed_sweep(typed)]
                with _raised_errors():
                    main()
            except USER_ERRORS as error:
                _end_with(error, config_name)
            except KeyboardInterrupt:  # the hint at resuming is printed already
                sys.exit(130)

        return start

    return decorate


def _flags_first(arguments: list[str]) -> list[str]:
    """The arguments with `-m` before the others: Hydra takes it there or behind them, but not between."""
    return sorted(arguments, key=lambda text: text not in ("-m", "--multirun"))


def _prepare_completion() -> None:
    """Let Hydra's shell completion, which knows scripts only, take `python -m recsys.train …` for `recsys …`."""
    if sys.argv[1:2] == ["-sc"]:
        sys.argv[0] = "recsys"  # what `install=bash` registers
        line = os.environ.get("COMP_LINE", "")
        os.environ["COMP_LINE"] = re.sub(r"^\s*\S*python[\d.]*\s+-m\s+recsys\.\w+", "recsys", line)


def load_run() -> ModuleType:
    """Import `recsys.training.run`, and with it torch, Lightning and pandas, once: it takes seconds."""
    if "recsys.training.run" not in sys.modules:
        collects = gc.isenabled()
        gc.disable()  # else a quarter of the import is spent on looking for garbage where there is none
        try:
            import recsys.training.run  # noqa: F401  (an import that the layers' linter sees)
        finally:
            if collects:
                gc.enable()
        gc.freeze()  # else collections, and the end of the process above all, look through half a million objects more
    return sys.modules["recsys.training.run"]


def resumed_sweep(arguments: list[str]) -> list[str]:
    """The arguments; for `resume=` with the folder of a sweep or a study, what began it, in the same folder.

    Raises:
        ValueError: Other settings were given too, or what began it may do more than runs, without `trust=true`.
        FileNotFoundError: The folder holds nothing to go on with.
    """
    value = next((text.removeprefix("resume=") for text in arguments if text.startswith("resume=")), "null")
    if value in ("", "null") or "${" in value:
        return arguments
    folder = Path(unquoted(value))
    if not is_sweep(folder):
        if not any((folder / name).is_file() for name in ("config.yaml", "repeats.json")):
            raise FileNotFoundError(f"resume: no run or sweep in {folder} (config.yaml and multirun.yaml are missing)")
        return arguments
    others = [text for text in arguments if not text.startswith(("resume=", "trust="))]
    others = [text for text in others if text not in ("-m", "--multirun")]
    if others:
        raise ValueError(f"resume uses the sweep's own configuration; remove {' '.join(others)}")
    overrides = resumed_overrides(folder, trusted="trust=true" in arguments)
    return ["--multirun", *overrides, quote_override(f"hydra.sweep.dir={folder}")]


@contextmanager
def _raised_errors() -> Iterator[None]:
    """Let Hydra raise its errors, so that they end in one sentence, where it would print several."""
    if os.environ.get("HYDRA_FULL_ERROR") == "1":
        yield
        return
    os.environ["HYDRA_FULL_ERROR"], token = "1", _in_sentences.set(True)
    try:
        yield
    finally:
        _in_sentences.reset(token)
        del os.environ["HYDRA_FULL_ERROR"]


def _end_with(error: BaseException, command: str) -> NoReturn:
    """One sentence and status 1; with HYDRA_FULL_ERROR=1 the traceback."""
    if os.environ.get("HYDRA_FULL_ERROR") == "1" and not _in_sentences.get():
        raise error
    sentence = "".join(x if x.isprintable() or x == "\n" else "?" for x in redacted(explain(error, command)))
    print(f"error: {sentence}", file=sys.stderr)  # a file's control characters would reach the terminal
    sys.exit(1)
