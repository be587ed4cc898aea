"""The command that trains on data that were looked at."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from recsys.data.format_options import SEPARATORS
from recsys.data.inference.finding import Finding
from recsys.data.inference.formats import SUFFIXES

SEPARATOR_NAMES = {sign: name for name, sign in SEPARATORS.items()}
USUAL: dict[str, object] = {  # values that are inferred in the same way without a word
    "encoding": "utf-8",
    "separator": ",",
    "quoting": True,
    "header": True,
    "decimal": ".",
    "layout": "long",
    "users_separator": ",",
    "items_separator": ",",
    "users_encoding": "utf-8",
    "items_encoding": "utf-8",
    "user_column": "user_id",
    "item_column": "item_id",
    "rating_column": "rating",
    "timestamp_column": "timestamp",
}
UNSAID: dict[str, tuple[str, ...] | None] = {  # always inferred in the same way
    "rating_min": None,
    "rating_max": None,
    "repeats": None,
    "timestamp_format": ("seconds", "iso8601"),
}


def training_command(
    file: str,
    root: str | None,
    findings: Iterable[Finding],
    settings: Mapping[str, Any],
    *,
    implicit: bool,
    timed: bool,
) -> str:
    """The command, as a shell takes it.

    Args:
        file: The ratings file, as a person would type it.
        root: Folder that it is in; None if `file` says.
        findings: What was inferred.
        settings: Options that were typed, or chosen where the data do not decide; they go before findings.
        implicit: Whether the data are implicit feedback.
        timed: Whether they have times.
    """
    found = {finding.option: finding.value for finding in findings}
    file = found.pop("ratings_file", file)  # standard input is kept in a file
    said = {option: value for option, value in found.items() if _is_said(option, value, file)} | dict(settings)
    said.pop("split", None)
    words = ["data=tabular"]
    words += [_word("root", root)] if root is not None else []
    words += [_word("ratings_file", file)]
    words += [_word(option, said[option]) for option in sorted(said, key=_place)]
    split = settings.get("split", None if timed else "random")
    words += [f"data.split={split}"] if split is not None else []
    words += ["model=ials"] if implicit else []
    return "python -m recsys.train " + shlex.join(words)


def _place(option: str) -> tuple[int, bool]:
    """Options of the ratings, then those of items, then those of users; the file first."""
    side = (
        1
        if re.match("items_|item_(id|title|year|genres)_", option)
        else 2
        if re.match("users_|user_id_", option)
        else 0
    )
    return side, not option.endswith("_file")


def _is_said(option: str, value: object, file: str) -> bool:
    if option in UNSAID:
        same = UNSAID[option]
        return same is not None and value not in same
    if option == "format":
        return bool(SUFFIXES.get(re.sub(r"\.(gz|zst|bz2|xz)$", "", file).rpartition(".")[2].lower()) != value)
    usual = (None, USUAL[option]) if option == "timestamp_column" else (USUAL.get(option, ...),)
    return value not in usual


def _word(option: str, value: Any) -> str:
    """`data.option=value` as Hydra takes it, without the shell's quotes."""
    if option.endswith("separator"):
        value = SEPARATOR_NAMES.get(value, value)
    return f"data.{option}={_text(value)}"


def _text(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_element(key)}: {_text(weight)}" for key, weight in value.items()) + "}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "[" + ",".join(map(_element, value)) + "]"
    if isinstance(value, float):
        return f"{value:.10g}"
    return str(value)


def _element(value: Any) -> str:
    """A member of a list or mapping, in quotes where it would be read as several."""
    text = _text(value)
    if isinstance(value, str) and (re.search(r"[,\[\]{}:'\"\\]", text) or text != text.strip() or not text):
        return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
    return text
