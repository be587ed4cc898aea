"""Results files: one entry a run, replaced when it is run again, and what it was measured on."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from recsys.files import atomic_write

RESULTS = Path(__file__).parents[1] / "results"
DEVICE = f"cpu-{os.cpu_count()}core"
KEY = ("competitor", "settings_name", "data", "split", "seed")  # what makes two entries the same

Entry = dict[str, Any]


def read_entries(file: Path) -> list[Entry]:
    entries: list[Entry] = json.loads(file.read_text()) if file.exists() else []
    return entries


def keep(entry: Entry, file: Path, key: Sequence[str] = KEY) -> None:
    """Put an entry in place of the one with the same key, or at the end; the file is replaced whole."""
    entries = read_entries(file)
    keys = [[other.get(name) for name in key] for other in entries]
    mine = [entry.get(name) for name in key]
    if mine in keys:
        entries[keys.index(mine)] = entry
    else:
        entries.append(entry)
    write(entries, file)


def write(content: Sequence[Entry] | Mapping[str, Any], file: Path) -> None:
    """Write JSON that is there whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(file) as part:
        part.write_text(json.dumps(content, indent=1) + "\n")


def provenance(module: str, arguments: Sequence[str]) -> Entry:
    """Command line, machine, load and commit. Folders are left out of the command: they are nobody's business."""
    return {
        "command": " ".join(["python -m", module, *without_folders(arguments)]),
        "machine": {"cpu": cpu_model(), "cores": os.cpu_count(), "system": platform.system()},
        "load": [round(value, 2) for value in os.getloadavg()],  # just before: what else was running
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "git_commit": git_commit(),
    }


def without_folders(arguments: Sequence[str]) -> list[str]:
    """The arguments with FOLDER in place of the values of options that end in `-root`."""
    before = ["", *arguments]
    return [
        f"{value.split('=')[0]}=FOLDER" if "-root=" in value else "FOLDER" if last.endswith("-root") else value
        for last, value in zip(before, arguments, strict=False)
    ]


def cpu_model() -> str:
    """As Linux names it, with family, model and stepping where it names no number."""
    file = Path("/proc/cpuinfo")
    lines = (line.partition(":") for line in (file.read_text().splitlines() if file.exists() else []))
    known: dict[str, str] = {}
    for name, _, value in lines:
        known.setdefault(name.strip(), value.strip())
    name = known.get("model name", platform.processor() or platform.machine())
    return f"{name}, family {known.get('cpu family')}, model {known.get('model')}" if "cpu family" in known else name


def git_commit() -> str | None:
    """The commit of the code, with `+` where files differ from it; None outside a checkout."""
    command = ["git", "describe", "--always", "--abbrev=12", "--dirty=+", "--exclude=*"]
    try:
        done = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def progress(entry: Entry) -> None:
    """A line about an entry."""
    place = f"{entry['data']} {entry['split']}, {entry['competitor']} ({entry['settings_name']}), seed {entry['seed']}"
    if "error" in entry:
        print(f"{place}: failed: {entry['error']}", file=sys.stderr, flush=True)
        return
    figure = next(name for name in ("rmse", "ndcg@10") if name in entry)
    print(f"{place}: {figure} {entry[figure]:.4f}, fit in {entry['fit_seconds']:.2f} s, predicted in "
          f"{entry['predict_seconds']:.2f} s, {entry['peak_memory_mib']:.0f} MiB", flush=True)  # fmt: skip
