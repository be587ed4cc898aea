r"""What a person types as `key=value`, given to Hydra such that texts arrive as they were typed.

Hydra's grammar reads `1.10` as a number, `a,b` as a sweep and `a (1)` as a mistake. For the keys below, whose values
are texts, it is given quoted texts instead. Quotes, Hydra's escapes such as `\,`, `${...}` and `null` keep their
meaning, and `choice(a,b)` sweeps over texts.
"""

from __future__ import annotations

import re
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.errors import HydraException
from omegaconf import OmegaConf

FILES = frozenset({
    "run", "resume", "out", "hydra.run.dir", "hydra.sweep.dir", "data.root", "data.ratings_file", "data.users_file",
    "data.items_file", "model.warm_start", "model.base",
})  # fmt: skip
TEXTS = FILES | {
    "data.format", "data.layout", "data.encoding", "data.separator", "data.decimal", "data.sheet", "data.name",
    "data.user_column", "data.item_column", "data.rating_column", "data.timestamp_column", "data.timestamp_format",
    "data.event_column", "data.weight_column", "data.user_id_column", "data.users_separator", "data.users_encoding",
    "data.item_id_column", "data.item_title_column", "data.item_year_column", "data.item_genres_column",
    "data.items_separator", "data.items_encoding", "data.url", "data.url_env", "data.query",
    "hydra.sweeper.study", "hydra.sweeper.storage",
    "logger.wandb.project", "logger.wandb.entity", "logger.wandb.save_dir", "callbacks.checkpoint.dirpath",
    "callbacks.checkpoint.filename", "trainer.default_root_dir",
}  # fmt: skip
LISTS = frozenset({"data.columns", "data.ignored_columns", "data.missing", "logger.wandb.tags"})  # brackets optional
MAYBE_LISTS = frozenset({"users", "data.ratings_file"})  # without brackets, one text
MAPPINGS = frozenset({"data.events"})  # of texts to numbers; or a list of texts, or one

PLAIN = re.compile(r"(?!(?:true|false|null|inf|nan)$)(?:\.{0,2}/|[a-z_])[\w./-]*", re.ASCII | re.IGNORECASE)
QUOTED = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\"""", re.DOTALL)
ESCAPE = re.compile(r"\\[()\[\]{}:=, \t]")
ELEMENT = re.compile(  # up to a comma or the end: quoted, in brackets or braces, or neither; the key of a pair quoted
    rf"\s*(?P<text>(?:{QUOTED.pattern}|\[.*?\]|\{{.*?\}})(?=\s*(?:,|$))"
    rf"|(?:(?:{QUOTED.pattern})\s*:)?(?:\\.|[^,\\])*?)\s*(?:,|$)",
    re.DOTALL,
)
NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?", re.IGNORECASE)

OmegaConf.register_new_resolver(
    "mapping", lambda *pairs: OmegaConf.create(dict(zip(map(str, pairs[::2]), pairs[1::2], strict=True))), replace=True
)


def quote_override(text: str) -> str:
    """The argument as Hydra must be given it; only those with a key that holds text change.

    Raises:
        ValueError: The value of a mapping is none.
    """
    name, _, value = text.partition("=")
    key = name.lstrip("+")
    if value in ("", "null", "auto") or key not in TEXTS | LISTS | MAYBE_LISTS | MAPPINGS:
        return text
    if choices := re.fullmatch(r"choice\((.*)\)", value, re.DOTALL):
        # Without choice(), from which Hydra would hand the texts to the jobs without their quotes.
        return f"{name}={','.join(_quoted_value(key, element) for element in _elements(choices[1]))}"
    return f"{name}={_quoted_value(key, value)}"


def typed_override(text: str) -> str:
    """The argument that `quote_override` made this from, for people to read; the same if it is not of its making."""
    name, _, value = text.partition("=")
    elements = _elements(value)
    if len(elements) > 1:
        typed = f"{name}=choice({','.join(map(unquoted, elements))})"
    elif QUOTED.fullmatch(value):
        typed = f"{name}={unquoted(value)}"
    elif value.startswith("[") and value.endswith("]"):
        typed = f"{name}=[{','.join(map(unquoted, _elements(value[1:-1])))}]"
    else:
        return text
    return typed if quote_override(typed) == text else text


def unquoted(text: str) -> str:
    """The text within Hydra's quotes; a text without quotes as it is."""
    return str(_parsed(text)) if QUOTED.fullmatch(text) else text


def _quoted_value(key: str, value: str) -> str:
    listed = value.startswith("[") and value.endswith("]")
    if key in MAPPINGS and not listed and re.search("[{:}]", value):
        return _mapping(key, value)
    if key in LISTS and not listed and "${" not in value:
        value, listed = f"[{value}]", True
    if listed and key not in TEXTS - MAYBE_LISTS:
        return f"[{','.join(_text(element, key in FILES) for element in _elements(value[1:-1]))}]"
    return _text(value, key in FILES)


def _text(text: str, is_file: bool) -> str:
    """The text in quotes unless Hydra takes it as it is, or it is quoted or escaped for Hydra already."""
    if is_file and text.startswith("~/"):  # shells do not expand it after a `=`
        text = str(Path(text).expanduser())
    if PLAIN.fullmatch(text) or QUOTED.fullmatch(text):
        return text
    if ("${" in text or ESCAPE.search(text)) and isinstance(_parsed(text), str):
        return text
    return QuotedString(text, Quote.single).with_quotes()


def _elements(text: str) -> list[str]:
    """The parts between commas, stripped; commas in quotes, brackets and after a backslash do not separate."""
    if not text.strip():
        return []
    parts, position = [], 0
    while position < len(text) and (found := ELEMENT.match(text, position)):
        parts.append(found["text"])
        position = found.end()
    return parts


def _mapping(key: str, value: str) -> str:
    """A mapping in Hydra's grammar, or, if its keys are beyond it, as an interpolation that returns the mapping."""
    if value.startswith("${"):
        return value
    problem = f"{key} must be a mapping of names to numbers such as {{view: 1, cart: 3}}, in quotes for the shell"
    if not (value.startswith("{") and value.endswith("}")):
        raise ValueError(f"{problem}, got {value}")
    pairs = {}
    for element in _elements(value[1:-1]):
        name, colon, number = element.rpartition(":")
        if not colon or not NUMBER.fullmatch(number.strip()):
            raise ValueError(f"{problem}, got {element!r} in {value}")
        pairs[unquoted(name.strip())] = number.strip()
    parsed = _parsed(value)
    if isinstance(parsed, dict) and list(parsed) == list(pairs):
        return value
    arguments = ",".join(f"{QuotedString(name, Quote.single).with_quotes()},{pairs[name]}" for name in pairs)
    return _text(f"${{mapping:{arguments}}}", is_file=False)


def _parsed(value: str) -> object:
    """The value as Hydra reads it; None where it does not, or reads a sweep."""
    try:
        override = OverridesParser.create().parse_override(f"key={value}")
    except HydraException:
        return None
    return None if override.is_sweep_override() else override.value()
