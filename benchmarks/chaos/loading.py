"""Load bundles as a service does, each in a process of its own, and measure it: `python -m benchmarks.chaos.loading`.

Reads folders from standard input, one a line, and prints one line of JSON for each. The processes are forks of this
one, which is small and has imported everything: their peaks start from what it holds.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

LIMIT_BYTES = 12 << 30  # of address space, so that what is over its budget does not take the machine
LIMIT_SECONDS = 20


class Loaded(NamedTuple):
    """What became of a bundle."""

    said: str  # "loaded", "BundleError: …", another exception, or the signal that ended it
    seconds: float  # of processor time: others may use the machine
    peak: int  # bytes, beyond what the process held before


def load_each(folders: Iterable[Path], environment: Mapping[str, str] | None = None) -> Iterator[Loaded]:
    """Load bundles, one after another."""
    command = [sys.executable, "-m", "benchmarks.chaos.loading"]
    found = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"} | (environment or {})
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=found) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for folder in folders:
            print(folder, file=process.stdin, flush=True)
            yield Loaded(*json.loads(process.stdout.readline()))
        process.stdin.close()


def _measured(folder: str) -> list[Any]:
    from serve.models.served_model import ServedModel

    ours, theirs = os.pipe()
    child = os.fork()
    if not child:
        os.close(ours)
        resource.setrlimit(resource.RLIMIT_AS, (LIMIT_BYTES, LIMIT_BYTES))
        signal.alarm(LIMIT_SECONDS)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        try:
            ServedModel.load(Path(folder))
            said = "loaded"
        except BaseException as error:
            said = f"{type(error).__name__}: {error}"
        os.write(theirs, json.dumps([said[:500], before]).encode())
        os._exit(0)
    os.close(theirs)
    with open(ours, "rb") as pipe:  # noqa: PTH123
        answer = pipe.read()
    _, status, usage = os.wait4(child, 0)
    said, before = json.loads(answer) if answer else (f"ended by signal {os.WTERMSIG(status)}", 0)
    return [said, usage.ru_utime + usage.ru_stime, 1024 * (usage.ru_maxrss - before)]


def main() -> None:
    import serve.models.served_model  # noqa: F401

    for line in sys.stdin:
        print(json.dumps(_measured(line.removesuffix("\n"))), flush=True)


if __name__ == "__main__":
    main()
