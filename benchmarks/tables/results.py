"""Results files, found by what they hold and the device in their name."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Entry = dict[str, Any]


class TablesError(ValueError):
    """A document or a results file cannot be used; the message says which and why."""


class NotMeasuredError(LookupError):
    """A table has no results yet; the message says what is absent, and stands in the table's place."""


@dataclass(frozen=True)
class Results:
    """A folder of results.

    Raises:
        TablesError: It holds none, so that every table would be empty.
    """

    folder: Path

    def __post_init__(self) -> None:
        if not any(self.folder.glob("*.json")):
            raise TablesError(f"{self.folder} has no results files: nothing to make tables of")

    def of(self, what: str) -> dict[str, Any]:
        """Content of `<what>-<device>.json` by device, CPUs first.

        Raises:
            NotMeasuredError: There is no such file.
        """
        files = {file.stem.removeprefix(f"{what}-"): file for file in self.folder.glob(f"{what}-*.json")}
        if not files:
            raise NotMeasuredError(f"there is no `{what}-<device>.json`")
        return {device: read(files[device]) for device in sorted(files, key=lambda d: (is_gpu(d), d))}

    def one(self, name: str) -> Any:
        """Content of the file that no device is named in.

        Raises:
            NotMeasuredError: There is no such file.
        """
        file = self.folder / f"{name}.json"
        if not file.exists():
            raise NotMeasuredError(f"there is no `{file.name}`")
        return read(file)

    def entries(self, what: str) -> list[Entry]:
        """The entries of all devices, each with its `device`; a device's own file is a list of entries.

        Raises:
            NotMeasuredError: There is no file.
        """
        return [entry | {"device": device} for device, entries in self.of(what).items() for entry in entries]

    def gpu_line(self, *whats: str) -> str:
        """What to say of GPUs under a table: nothing where one was measured."""
        names = [file.stem.removeprefix(f"{what}-") for what in whats for file in self.folder.glob(f"{what}-*.json")]
        return "" if any(map(is_gpu, names)) else "On a GPU: not measured."


def read(file: Path) -> Any:
    try:
        return json.loads(file.read_text())
    except ValueError as error:
        raise TablesError(f"{file.name} is damaged ({error}): measure it again") from error


def is_gpu(device: str) -> bool:
    return not device.startswith("cpu-")


def device_name(device: str) -> str:
    """A device as tables call it."""
    cores = re.fullmatch(r"cpu-(\d+)core", device)
    return f"{cores[1]} CPU cores" if cores else device


def about(found: list[Entry]) -> str:
    """Machine, commit and day of what was measured, each named once."""
    machines = [machine(entry) for entry in found]
    commits = [f"`{entry['git_commit']}`" for entry in found if entry.get("git_commit")]
    days = sorted({entry["date"][:10] for entry in found if entry.get("date")})
    parts = [
        "; ".join(dict.fromkeys(name for name in machines if name)),
        ("commit " if len(set(commits)) == 1 else "commits ") + " ".join(dict.fromkeys(commits)) if commits else "",
        " to ".join(dict.fromkeys((days[0], days[-1]))) if days else "",
    ]
    return f"Measured on {', '.join(part for part in parts if part)}." if any(parts) else ""


def machine(entry: Entry) -> str:
    """What an entry says of the machine; the older ones have a device alone."""
    found = entry.get("machine")
    if found is None:
        return str(entry.get("device", ""))
    cores = f"{found['cores']} cores" if "cores" in found else ""
    threads = entry.get("threads", found.get("threads"))
    used = f"{threads} thread{'s' if threads != 1 else ''}" if threads else ""
    parts = [found.get("cpu", found.get("processor", "")), cores, used]
    return ", ".join(part for part in parts if part)
