"""Files of ratings, run folders and checkpoints from a stranger that ask for far more than their size tells.

Each is given to the command that reads it, in a process of its own, whose time and peak of memory are measured.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import benchmarks.chaos.excel_bomb_files  # noqa: F401  (adds to DATA_BOMBS)
from benchmarks.chaos.campaign import Figures, Row
from benchmarks.chaos.data_bomb_files import DATA_BOMBS, Make
from benchmarks.chaos.run_bomb_files import IMPORTED, RUN_BOMBS

SUMMARY = "files of ratings, run folders and checkpoints that ask for far more than their size tells"
SECONDS, MIB = 5, 1500  # of processor time, since others may use the machine; of resident memory
GIVEN_UP = 30  # seconds of processor time after which a process is ended
ROOM = 12 << 30  # bytes of address space, so that a bomb that works does not take the machine
SHORT = (
    "gzip: ordinary rows, then 1.6 GB of equal ones",
    "Parquet: 10^9 rows in a few KB",
    "report: pipes in place of all files",
)
# Run by an interpreter that is small: the memory of what starts a command counts as the command's.
LAUNCHER = """
import json, os, resource, sys
room, seconds, answer = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
process = os.fork()
if not process:
    resource.setrlimit(resource.RLIMIT_AS, (room, room))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    os.execv(sys.executable, [sys.executable, *sys.argv[4:]])
_, status, used = os.wait4(process, 0)
with open(answer, "w") as file:
    json.dump([os.waitstatus_to_exitcode(status), used.ru_utime + used.ru_stime, used.ru_maxrss >> 10], file)
"""


def explode(make: Make) -> dict[str, Any]:
    """Make a bomb, run its command and measure it.

    Returns:
        `code`, `seconds`, `mib`, and `said`: the last of what it wrote; `became` is `refused` (one sentence), `read`
        (it has done its work), or `other`.
    """
    with tempfile.TemporaryDirectory(prefix="bomb-") as text:
        folder = Path(text) / "bomb"
        folder.mkdir()
        arguments = make(folder)
        arguments = arguments if arguments[0].startswith("-") else ["-m", "recsys.inspect", *arguments]
        limits = [str(ROOM), str(GIVEN_UP), f"{text}/measured"]
        environment = os.environ | {"RECSYS_CACHE": f"{text}/cache", "OMP_NUM_THREADS": "1"}
        with Path(text, "said").open("wb") as said:
            subprocess.run(
                [sys.executable, "-c", LAUNCHER, *limits, *arguments], stdin=subprocess.DEVNULL, stdout=said,
                stderr=subprocess.STDOUT, env=environment, check=True,
            )  # fmt: skip
        code, seconds, mib = json.loads(Path(text, "measured").read_text())
        said_text = Path(text, "said").read_text(errors="replace").strip().replace(text, "")
    sentence = said_text.startswith("error: ") and "\n" not in said_text
    became = "refused" if code == 1 and sentence else "read" if code == 0 else "other"
    return {"became": became, "code": code, "seconds": round(seconds, 2), "mib": mib, "said": said_text[-300:]}


def run(*, short: bool) -> Figures:
    bombs = DATA_BOMBS | RUN_BOMBS
    found = {name: explode(bombs[name]) for name in (SHORT if short else bombs)}
    if not short:  # what torch and Lightning take to be imported says nothing of a checkpoint
        imported = explode(lambda _: ["-c", IMPORTED])
        for name in found:
            if name.startswith("checkpoint: "):
                found[name]["seconds"] = round(max(0.0, found[name]["seconds"] - imported["seconds"]), 2)
    return {"bombs": found}


def rows(figures: Figures) -> list[Row]:
    bombs: dict[str, dict[str, Any]] = figures["bombs"]
    over = [name for name, one in bombs.items() if one["seconds"] > SECONDS or one["mib"] > MIB]
    other = [name for name, one in bombs.items() if one["became"] == "other"]
    refused = sum(one["became"] == "refused" for one in bombs.values())
    named = f" ({'; '.join(dict.fromkeys([*over, *other]))})" if over or other else ""
    most = f"{max(one['mib'] for one in bombs.values()):,} MB and {max(one['seconds'] for one in bombs.values()):.1f} s"
    return [
        Row(
            f"{len(bombs)} kinds of files of ratings, run folders and checkpoints that are bombs: over {SECONDS} s or "
            f"{MIB / 1000:g} GB; another exception",
            f"{len(over)}, {len(other)}{named}",
            not over and not other,
        ),
        Row("of these refused with a sentence; read, or left out of what is read", f"{refused}, "
            f"{len(bombs) - refused - len(other)}; most that one took: {most}", not over and not other),
    ]  # fmt: skip
