"""The settings as flags of the command line: their help, and what is said of a mistake."""

from __future__ import annotations

import argparse
import functools
import os
import sys
from difflib import get_close_matches
from typing import Any, NoReturn

from pydantic import ValidationError
from pydantic_settings import CliSettingsSource, SettingsError

from recsys.database.passwords import has_password
from serve.settings import FORMS, GROUPS, Settings

METAVARS = {
    "bundle": "FOLDER", "rank_with": "FOLDER",
    "alias": "NAME", "store": "URL", "runs": "FOLDER", "database": "URL", "host": "ADDRESS",
    "operations_host": "ADDRESS", "rate_limit": "N/UNIT", "allowed_hosts": "NAMES", "cors_origins": "ORIGINS",
    "trusted_proxies": "ADDRESSES", "log_level": "LEVEL",
}  # fmt: skip
FORMER = ("--histories", "--no-histories")  # still work, and are not shown
WIDEST = 34  # columns of flags before their meaning


def read_settings() -> Settings:
    """Settings from flags and the environment; exits with a message if one is invalid."""
    if any(has_password(argument) for argument in sys.argv[1:]):  # which other accounts can read there
        sys.exit("error: database: must have no password on the command line: set RECSYS_DATABASE to the URL with it")
    try:
        return Settings(_cli_settings_source=_flags()(args=True))
    except SettingsError as error:
        _exit_unknown(str(error).removeprefix("error parsing CLI: "))
    except ValidationError as error:
        sys.exit(f"error: {_mistake(error)}")


def allowed(name: str) -> str:
    """What a setting may be, such as `a whole number from 1 to 256`."""
    if name in FORMS:
        return f"like {FORMS[name]}"
    schema = Settings.model_json_schema()["properties"][name]
    schema = next((one for one in schema.get("anyOf", ()) if one["type"] != "null"), schema)
    if "enum" in schema:
        *others, last = schema["enum"]
        return f"{', '.join(others)} or {last}"
    kind = {"boolean": "true or false", "integer": "a whole number", "number": "a number"}.get(schema["type"])
    if kind is None:
        return "a path" if schema.get("format") == "path" else "a name or an address"
    above, least, most = (schema.get(key) for key in ("exclusiveMinimum", "minimum", "maximum"))
    if least is not None:
        return f"{kind} of at least {least}" if most is None else f"{kind} from {least} to {most:g}"
    return kind if above is None else f"{kind} above {above:g}, at most {most:g}"


def default(name: str) -> str:
    """The default, as text; empty if there is none."""
    value = Settings.model_fields[name].default
    if value is None or value is False:
        return ""
    return f"{value:g}" if isinstance(value, float) else str(value)


def _program() -> str:
    return sys.argv[0] if sys.argv[0].startswith("recsys ") else "python -m serve"


def _flags() -> CliSettingsSource[Any]:
    groups: dict[str, Any] = {}

    def add(parser: argparse.ArgumentParser, *flags: str, **given: Any) -> None:
        name = given.get("dest", "").lower()
        if name not in Settings.model_fields:  # --help
            parser.add_argument(*flags, **given)
            return
        if not groups:
            groups.update((title, parser.add_argument_group(title)) for title in GROUPS)
        group = next(groups[title] for title, names in GROUPS.items() if name in names)
        value = default(name)
        given["help"] = str(Settings.model_fields[name].description).replace("%", "%%")
        given["help"] += f" (default {value})" if value else ""
        if "action" not in given:
            given["metavar"] = METAVARS.get(name) or _metavar(name)
        group.add_argument(*(flag for flag in flags if flag not in FORMER), **given)
        if former := [flag for flag in flags if flag in FORMER]:
            group.add_argument(*former, **given | {"help": argparse.SUPPRESS})

    source: CliSettingsSource[Any] = CliSettingsSource(
        Settings, cli_prog_name=_program(), cli_exit_on_error=False, add_argument_method=add,
        formatter_class=functools.partial(argparse.RawDescriptionHelpFormatter, max_help_position=WIDEST),
    )  # fmt: skip
    parser = source.root_parser
    parser.usage = f"{_program()} [--bundle FOLDER | --pointer FILE | --alias NAME] [flags]"
    return source


def _metavar(name: str) -> str:
    for end, shown in (("_seconds", "SECONDS"), ("_bytes", "BYTES"), ("_memory", "BYTES"), ("port", "PORT")):
        if name.endswith(end):
            return shown
    return "FILE" if allowed(name) == "a path" else "N"


def _mistake(error: ValidationError) -> str:
    first = error.errors()[0]
    message = first["msg"].removeprefix("Value error, ")
    if not first["loc"]:  # of several settings
        return message
    name = str(first["loc"][0]).lower().removeprefix("recsys_")
    flag, variable = f"--{name.replace('_', '-')}", f"RECSYS_{name.upper()}"
    on_line = any(argument.partition("=")[0] == flag for argument in sys.argv[1:])
    where = variable if variable in os.environ and not on_line else flag.removeprefix("--")
    if first["type"] == "value_error":
        return f"{where}: {message}"
    return f"{where}: must be {allowed(name)}, got {first['input']!r:.80}"


def _exit_unknown(message: str) -> NoReturn:
    known = [f"--{name.replace('_', '-')}" for name in Settings.model_fields]
    flag = message.removeprefix("unrecognized arguments: ").partition(" ")[0].partition("=")[0]
    near = get_close_matches(flag, known, 1, 0.75)
    hint = f"did you mean {near[0]}?" if near and flag != near[0] else f"see {_program()} --help"
    print(f"error: {message}; {hint}", file=sys.stderr)
    sys.exit(2)
