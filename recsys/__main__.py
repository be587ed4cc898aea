"""`recsys <command>`: each is a module, and `python -m recsys.<command>` is the same."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path

from recsys.progress import tolerate_closed_output

COMMANDS = {
    "inspect": ("recsys.inspect", "look at a ratings file; prints the command that trains on it"),
    "train": ("recsys.train", "train a model, measure it, export it"),
    "evaluate": ("recsys.evaluate", "test metrics of a run"),
    "ensemble": ("recsys.ensemble.__main__", "stack finished runs into one: weights from validation rows"),
    "recommend": ("recsys.recommend", "top-N items of all users, or some, to a file"),
    "report": ("recsys.report.__main__", "compare runs: a table and an HTML page"),
    "events": ("recsys.events.__main__", "what people did after the training: import, show, count"),
    "update": ("recsys.update.__main__", "bring events since the champion into a new version, promoted unless worse"),
    "versions": ("recsys.versions.__main__", "versions of bundles: add, list, promote, rollback, diff, and more"),
    "forget": ("recsys.forget", "forget a person: events, attributes, and versions that hold their rows"),
    "serve": ("serve.__main__", "REST API and web page of a run"),
    "keys": ("serve.keys", "API keys of the service: add, list, rotate, revoke"),
}
COMPLETED = ("train", "evaluate", "ensemble", "recommend")  # by Hydra


def main() -> None:
    """Run the command that `sys.argv` names."""
    tolerate_closed_output()
    if "-sc" in sys.argv[1:2]:
        _complete(sys.argv[2:])
    elif len(sys.argv) < 2 or sys.argv[1] in ("-h", "--help"):
        print(_help())
    elif sys.argv[1] == "--version":
        from importlib.metadata import version

        print(f"recsys-lightning {version('recsys-lightning')}")
    elif sys.argv[1] not in COMMANDS:
        sys.exit(f"error: recsys: command must be one of {', '.join(COMMANDS)}, got {sys.argv[1]!r}")
    else:
        _run(sys.argv[1], sys.argv[2:])


def _run(name: str, arguments: list[str]) -> None:
    sys.argv = [f"recsys {name}", *arguments]
    if not sys.path or Path(sys.path[0]).resolve() != Path.cwd():  # nor shall a process that it starts look here
        os.environ.setdefault("PYTHONSAFEPATH", "1")
    module, _ = COMMANDS[name]
    importlib.import_module(module).main()


def _help() -> str:
    lines = (f"  {name:<10} {summary}" for name, (_, summary) in COMMANDS.items())
    return "\n".join(
        [
            "recsys <command> [arguments]",
            "",
            *lines,
            "",
            "recsys <command> --help lists a command's arguments. Completion in bash and zsh:",
            '  eval "$(recsys -sc install=bash)"',
        ]
    )


def _complete(arguments: list[str]) -> None:
    """Shell completion as Hydra does it (`-sc install=bash`), with the commands as first words."""
    line = os.environ.get("COMP_LINE", "")
    words = [*line.split()[1:], *([""] if line.endswith(" ") else [])]
    query = any(argument.startswith("query=") for argument in arguments)
    if query and len(words) < 2:
        print(*COMMANDS)
    elif not query or words[0] in COMPLETED:
        os.environ["COMP_LINE"] = " ".join(["recsys", *words[1:]])
        sys.argv = ["recsys", "-sc", *arguments]
        importlib.import_module(COMMANDS[words[0] if query else COMPLETED[0]][0]).main()


if __name__ == "__main__":
    main()
