"""What is wrong with the arguments of a command, in one sentence where Hydra says it in several."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import get_close_matches
from inspect import signature

from hydra._internal.utils import get_args_parser
from hydra.errors import ConfigCompositionException, HydraException, InstantiationException, MissingConfigException
from hydra.errors import OverrideParseException as ParseError
from hydra.utils import get_class
from omegaconf import DictConfig
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from recsys.data.errors import did_you_mean
from recsys.experiments.configuration import group_options, known_keys

KEY = re.compile(r"[+~]{0,2}[\w$./@-]*", re.ASCII)


def check_arguments(arguments: Sequence[str]) -> None:
    """Find what is neither `key=value` nor one of Hydra's flags.

    Raises:
        ValueError: Names the first such argument.
    """
    flags = [flag for flag in get_args_parser()._option_string_actions if flag.startswith("-")]
    for place, text in enumerate(arguments):
        name, equals, _ = text.partition("=")
        if text.startswith("-"):
            if not any(flag.startswith(name) for flag in flags) and not re.match(r"-[a-z]\w*$", text):
                raise ValueError(
                    f"arguments are key=value without dashes{_option_hint(name.lstrip('-'))}, got {text!r}"
                )
        elif not name or not (equals or text.startswith("~") or _follows_flag(arguments[:place])):
            hint = _option_hint(text) or ", in quotes where they contain spaces"
            raise ValueError(f"arguments are key=value{hint}, got {text!r}")


def _follows_flag(before: Sequence[str]) -> bool:
    return bool(before) and before[-1].startswith("-") and before[-1] not in ("-m", "--multirun", "-r", "--run")


def _option_hint(text: str) -> str:
    """Such as `model=mf`, for `mf` alone; `seed=…` for `--seed`."""
    options = group_options()
    for group, names in options.items():
        if text in names:
            return f" such as {group}={text}"
    return f" such as {text}=…" if text in options or text in known_keys("train") else ""


def explain(error: BaseException, command: str) -> str:
    """The message of an error of Hydra or OmegaConf as one sentence; others as they are."""
    if isinstance(error, InstantiationException):
        cause = error.__cause__
        return explain(cause, command) if cause is not None else " ".join(str(error).split())
    if isinstance(error, MissingConfigException):
        return _explain_choice(error)
    if isinstance(error, ParseError):
        return _explain_grammar(error.override or _quoted(error), command)
    if isinstance(error, ConfigCompositionException):
        return _explain_override(error, command)
    if isinstance(error, MissingMandatoryValue):
        return f"{error.full_key} must be set, as in {error.full_key}=…"
    if isinstance(error, OmegaConfBaseException | HydraException):
        sentence = str(error).partition("\n")[0]
        key = getattr(error, "full_key", None)
        return f"{key}: {sentence}" if key and str(key) not in sentence else sentence
    return str(error).partition("\n")[0] if isinstance(error, ImportError) else str(error)


def _quoted(error: BaseException) -> str:
    found = re.search(r"'(.+?)'\n", str(error))
    return found[1] if found else ""


def _explain_choice(error: MissingConfigException) -> str:
    found = re.search(r"Could not find '(.+)/(.*)'", str(error))
    if found is None:
        return str(error).partition("\n")[0]
    options = list(error.options or [])
    return f"{found[1]} must be one of {', '.join(options)}, got {found[2]!r}{did_you_mean(found[2], options)}"


def _explain_grammar(override: str, command: str) -> str:
    name, _, value = override.partition("=")
    if not KEY.fullmatch(name):
        return _explain_key(name, None, command)
    return f"{name}: cannot read {value!r}; a text with such characters is put in quotes twice, as in \"{name}='…'\""


def _explain_override(error: ConfigCompositionException, command: str) -> str:
    sentence = str(error).partition("\n")[0]
    if found := re.match(r"Ambiguous value for argument '(.*?)=(.*)'$", sentence):
        return f"{found[1]} has several values, {found[2]}: add -m for one run with each, or write a list, [{found[2]}]"
    if found := re.match(r"Could not override '(.*)'\.(?: No match in the defaults list\.)?$", sentence):
        cause = error.__cause__
        parent = cause.parent_node if isinstance(cause, OmegaConfBaseException) else None
        return _explain_key(found[1], parent if isinstance(parent, DictConfig) else None, command)
    if found := re.match(r"Could not append to config\. An item is already at '(.*)'\.$", sentence):
        return f"{found[1]} is in the configuration already: remove the + before it"
    reason = str(error.__cause__ or "").partition("\n")[0]
    if sentence.startswith("Error merging override ") and reason:
        return f"{sentence.removeprefix('Error merging override ')}: {reason}"
    return sentence


def _explain_key(key: str, parent: DictConfig | None, command: str) -> str:
    """Where an unknown key belongs, or what it may have been meant to be."""
    known = known_keys(command)
    if found := known.get(key):
        return f"{key} needs {' or '.join(found)}"
    group, _, last = key.rpartition(".")
    own = [str(name) for name in parent or () if str(name)[0] != "_"]
    more = _parameters(parent)
    if last in more:
        return f"{key} has no value in the configuration to change: write +{key}=… to add one"
    prefix = f"{group}." if group else ""
    near = [f"{prefix}{name}" for name in get_close_matches(last, own, 1)]
    near += [f"+{prefix}{name}" for name in get_close_matches(last, more, 1) if not near]
    near += [name for name in known if name.rpartition(".")[2] == last]
    near = near or get_close_matches(key, [*known, *(group_options() if command == "train" else ())], 1)
    meant = list(dict.fromkeys(near))[:3]
    return f"there is no {key}" + (f"; did you mean {' or '.join(meant)}?" if meant else "; see --help")


def _parameters(parent: DictConfig | None) -> list[str]:
    """Names of the arguments of the class that the node configures."""
    target = parent.get("_target_") if parent is not None else None
    if target is None:
        return []
    assert parent is not None
    return [name for name in signature(get_class(target)).parameters if name not in parent]
