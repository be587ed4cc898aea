"""The page of the service's settings: flags, variables, defaults and what is allowed, from `serve.settings`."""

from __future__ import annotations

from tables import table

from serve.flags import allowed, default
from serve.settings import GROUPS, Settings

INTRODUCTION = """# Settings of the service

Each is a flag, `python -m serve --max-in-flight 64`, and a variable, `RECSYS_MAX_IN_FLIGHT=64`; a flag goes before a
variable, and an empty variable is as none. Generated from `serve.settings`, as `python -m serve --help` is.
"""
NOTES = {
    "What to serve": "See [Replace the model](../how-to/deploy.md#replace-the-model-without-a-restart).",
    "Events": "See [Go live](../how-to/live.md).",
    "Who may ask": "See [Decide who may ask](../how-to/access.md). Lists are separated by commas. Addresses, "
    "`localhost`, `--host` and the machine's own name are allowed as hosts in any case. Which titles a user has rated "
    "can be inferred from what `exclude_seen` leaves out, whether ratings are shown or not.",
    "Overload": "See [Overload](../how-to/deploy.md#overload).",
    "New bundles": "See [Limits](files.md#limits) and [Signatures](files.md#signatures).",
    "Logs and the end": "The service ends within `--drain-seconds` plus two seconds of SIGTERM.",
}


def settings() -> str:
    parts = [INTRODUCTION]
    for title, names in GROUPS.items():
        parts += [f"## {title}", NOTES.get(title, "")]
        parts.append(table(["flag", "default", "allowed", "meaning"], [row(name) for name in names]))
    return "\n\n".join(part for part in parts if part) + "\n"


def row(name: str) -> list[str]:
    value = default(name)
    flag = f"`--{name.replace('_', '-')}`"
    return [flag, f"`{value}`" if value else "", allowed(name).replace("*", r"\*"), meaning(name)]


def meaning(name: str) -> str:
    return str(Settings.model_fields[name].description).replace("*", r"\*")
