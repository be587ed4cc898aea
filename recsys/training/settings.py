"""Check a run's settings before any data is read: names, types and ranges of every argument."""

from __future__ import annotations

import collections.abc
import inspect
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal, Union, get_args, get_origin

import torch
from hydra.errors import InstantiationException
from hydra.utils import get_class, instantiate
from omegaconf import DictConfig, OmegaConf

from recsys.bundle.compression import check_compress
from recsys.data.datamodule import REFITS, RatingDataModule
from recsys.data.errors import check_choice, did_you_mean
from recsys.evaluation.prequential import EVALUATIONS, ITEMS
from recsys.evaluation.registry import TARGETS
from recsys.training.threads import choose_threads

GROUPS = ("data", "model", "trainer", "callbacks", "logger")  # of the configuration, with classes
SMALLEST = {"n_users": 1, "n_items": 1, "rating_min": 1.0, "rating_max": 5.0}  # data for a model that is only checked
OF_THE_MODEL = ("monitor", "patience")  # arguments of callbacks that are the model's where they are null
KINDS: dict[Any, tuple[Callable[[Any], bool], str]] = {
    bool: (lambda value: isinstance(value, bool), "true or false"),
    int: (lambda value: type(value) is int, "an integer"),
    float: (lambda value: type(value) in (int, float), "a number"),
    str: (lambda value: not isinstance(value, list | dict | None), "text"),
    types.NoneType: (lambda value: value is None, "null"),
}


def check_settings(cfg: DictConfig) -> None:
    """Check everything that can be checked without data.

    Raises:
        ValueError: Names the first argument that is wrong, its value and what is allowed.
    """
    _check_top_level(cfg)
    if missing := [group for group in GROUPS if cfg.get(group) is None]:
        raise ValueError(f"{missing[0]} is missing: a run needs {', '.join(GROUPS)}")
    content: Any = {group: OmegaConf.to_container(cfg[group], resolve=True, throw_on_missing=False) for group in GROUPS}
    if missing := [key for key, value in _leaves(content) if value == "???"]:
        raise ValueError(f"{missing[0]} must be set, as in {missing[0]}=…")
    own = _parameters(RatingDataModule)
    check_arguments("data", content["data"], {**own, **_parameters(get_class(content["data"]["_target_"]))})
    for group in ("model", "trainer"):
        check_arguments(group, content[group])
    for group in ("callbacks", "logger"):
        for name, arguments in (content.get(group) or {}).items():
            check_arguments(f"{group}.{name}", arguments)
    with named("model", content["model"]), torch.random.fork_rng(devices=[]):
        instantiate(content["model"], **SMALLEST)


def _check_top_level(cfg: DictConfig) -> None:
    if type(cfg.seed) is not int or cfg.seed < 0:
        raise ValueError(f"seed must be an integer >= 0, got {cfg.seed!r}")
    for key, allowed in (
        ("refit", REFITS), ("evaluation", EVALUATIONS), ("items", ITEMS), ("targets", TARGETS),
    ):  # fmt: skip
        check_choice(key, cfg.get(key, allowed[0]), allowed)  # some are missing in resumed runs of older versions
    if not isinstance(cfg.get("ranking", False), bool):
        raise ValueError(f"ranking must be true or false, got {cfg.ranking!r}")
    check_compress(cfg.get("compress"), auto=True)
    choose_threads(cfg.get("threads"))


def _leaves(node: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in node.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def check_arguments(prefix: str, given: Any, parameters: Mapping[str, inspect.Parameter] | None = None) -> None:
    """Check names and types of the arguments of a `_target_`, by its signature.

    Args:
        prefix: Of the arguments' names on the command line, such as `model`.
        given: `_target_` and arguments; anything else is not checked.
        parameters: Instead of those of the target.

    Raises:
        ValueError: Names the argument.
    """
    if not isinstance(given, dict) or "_target_" not in given:
        return
    target = given["_target_"]
    known = parameters or _parameters(get_class(target))
    for name, value in given.items():
        if name in ("_target_", "_partial_", "_convert_", "_recursive_"):
            continue
        if name not in known:
            if any(parameter.kind is parameter.VAR_KEYWORD for parameter in known.values()):
                continue
            what = f"there is no {prefix}.{name}, an argument of {target}"
            raise ValueError(what + did_you_mean(name, known))
        of_model = prefix.startswith("callbacks.") and name in OF_THE_MODEL
        by_default = value is None and (of_model or prefix == "trainer")  # null: as the model, or Lightning, has it
        hint = known[name].annotation
        if not by_default and not matches(value, hint):
            raise ValueError(f"{prefix}.{name} must be {described(hint)}, got {_shown(value)}")


def _parameters(kind: Any) -> dict[str, inspect.Parameter]:
    """Parameters by name, with types for annotations; without annotation where it cannot be resolved."""
    try:
        hints = typing.get_type_hints(kind.__init__)
    except (NameError, TypeError, AttributeError):  # imported for type checkers only
        hints = {}
    return {
        name: parameter.replace(annotation=hints.get(name, Any))
        for name, parameter in inspect.signature(kind).parameters.items()
    }


def matches(value: Any, hint: Any) -> bool:
    """Whether a value from a configuration may be an argument annotated with `hint`; what is not known, may."""
    origin, of = get_origin(hint), get_args(hint)
    if hint in KINDS:
        return KINDS[hint][0](value)
    if origin in (Union, types.UnionType):
        return any(matches(value, one) for one in of if one in KINDS or get_origin(one) is not None) or (
            not isinstance(value, str | int | float | types.NoneType) and any(matches(value, one) for one in of)
        )
    if origin is Literal:
        return value in of
    if inspect.isclass(origin) and issubclass(origin, collections.abc.Mapping):
        return isinstance(value, dict)
    if inspect.isclass(origin) and issubclass(origin, collections.abc.Iterable):
        return isinstance(value, list) and all(matches(one, of[0]) for one in value if of)
    return True


def described(hint: Any) -> str:
    """The allowed values in words."""
    origin, of = get_origin(hint), get_args(hint)
    if hint in KINDS:
        return KINDS[hint][1]
    if origin in (Union, types.UnionType):
        literals = tuple(value for one in of if get_origin(one) is Literal for value in get_args(one))
        words = [f"one of {_listed(literals)}"] if literals else []
        others = sorted((one for one in of if get_origin(one) is not Literal), key=lambda one: one is types.NoneType)
        return " or ".join(dict.fromkeys(word for word in [*words, *map(described, others)] if word))
    if origin is Literal:
        return f"one of {_listed(of)}"
    if inspect.isclass(origin) and issubclass(origin, collections.abc.Mapping):
        return "a mapping such as {a: 1}"
    if inspect.isclass(origin) and issubclass(origin, collections.abc.Iterable):
        return "a list such as [a,b]"
    return ""


def _listed(values: tuple[Any, ...]) -> str:
    return ", ".join(dict.fromkeys(map(str, values)))


def _shown(value: Any) -> str:
    return "null" if value is None else repr(value)


@contextmanager
def named(group: str, keys: Mapping[Any, Any]) -> Iterator[None]:
    """Name the argument in an error of a constructor as it is named on the command line: `model.dropout`.

    Raises:
        ValueError: The error of the constructor.
    """
    try:
        yield
    except (ValueError, InstantiationException) as error:
        cause = error.__cause__ if isinstance(error, InstantiationException) else error
        if not isinstance(cause, ValueError):
            raise
        is_argument = str(cause).partition(" ")[0] in keys
        raise ValueError(f"{group}.{cause}" if is_argument else str(cause)) from error
