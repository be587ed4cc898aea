"""What a run loses to SIGKILL while it writes a checkpoint, and to a full disk: `python -m benchmarks.run_kills`.

Run folders are on a tmpfs, and TMPDIR is on another file system, as where outputs are on a network share or a volume.
Each run is killed once, a random while after it has begun to write one of its checkpoints, or runs on a tmpfs that is
too small for it and is then enlarged (which only root can do). It is resumed, and must end with the metrics and the
learning curve of a run that nothing disturbed.
"""

from __future__ import annotations

import argparse
import importlib
import json
import multiprocessing
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.comparison.results import DEVICE, RESULTS, provenance, write
from benchmarks.killing import after, killed
from recsys.data.columns import ITEM_ID, RATING, TIMESTAMP, USER_ID
from recsys.training.checkpoints import DamagedCheckpointError, read_checkpoint

EPOCHS, DIM = 3, 256  # with the ratings below a checkpoint of 2 MiB, whose writing takes long enough to be hit
CHECKPOINTS = 2 * EPOCHS  # about as many are written: the last and sometimes the best of an epoch, then the refit's
LONGEST = 0.003  # seconds from the beginning of a write to the kill
DAY = 86_400.0  # seconds
UNSTABLE = ("fit_seconds", "git_commit")
PRELOADED = ["recsys.train", "recsys.training.run", "recsys.training.plots", "recsys.recommend", "serve.promote"]
LARGE_MF = (f"model.embedding_dim={DIM}", "model.dropout=0.2")

Figures = tuple[dict[str, Any], str]  # metrics.json and metrics.csv


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--full-disks", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--memory-root", type=Path, default=Path("/dev/shm"), help="a folder on a tmpfs")
    arguments = parser.parse_args()
    of = provenance("benchmarks.run_kills", sys.argv[1:])
    with tempfile.TemporaryDirectory() as disk, tempfile.TemporaryDirectory(dir=arguments.memory_root) as memory:
        if Path(disk).stat().st_dev == Path(memory).stat().st_dev:
            raise SystemExit(f"{disk} (TMPDIR) and {memory} must be on different file systems")
        os.environ |= {"RECSYS_CACHE": f"{disk}/cache", "TMPDIR": disk, "OMP_NUM_THREADS": "1"}
        bench = Bench(Path(disk), Path(memory), random.Random(arguments.seed))
        found = {"sigkill": bench.kills(arguments.kills), "full_disk": bench.full_disks(arguments.full_disks)}
    print(json.dumps(found, indent=2))
    write({**of, **found}, RESULTS / f"run_kills-{DEVICE}.json")


class Bench:
    """Runs that are disturbed.

    Args:
        disk: Folder for ratings, TMPDIR and logs.
        memory: Folder on another file system, for run folders.
        moments: Chooses when to disturb.
        model: Settings of the model.
    """

    def __init__(self, disk: Path, memory: Path, moments: random.Random, model: Sequence[str] = LARGE_MF) -> None:
        self.disk, self.memory, self.moments, self.model = disk, memory, moments, model
        self.context = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload(PRELOADED)
        if not (disk / "data").exists():
            write_ratings(disk / "data" / "ratings.csv")
        self.whole = memory / "whole"
        shutil.rmtree(self.whole, ignore_errors=True)
        self.end(self.begin("recsys.train", ["--help"]))  # the server that forks has imported all after this
        start = time.perf_counter()
        if self.end(self.start(self.whole)) != 0:
            raise SystemExit(f"an undisturbed run fails: {self.said()}")
        self.seconds = time.perf_counter() - start
        self.expected = figures(self.whole)
        self.checkpoint = (self.whole / "checkpoints" / "last.ckpt").stat().st_size

    def kills(self, count: int) -> dict[str, Any]:
        """SIGKILL at random moments of writing, in a folder each."""
        found = {"kills": 0, "left_a_partial_file": 0, "unreadable_checkpoints": 0, "lost": 0, "not_swept": 0}
        while found["kills"] < count:
            folder = self.memory / "killed"
            process = self.start(folder)
            due = self.writing(folder / "checkpoints", self.moments.randrange(CHECKPOINTS))
            hit = killed(process.pid or 0, process.is_alive, due)
            self.end(process)
            if not hit:  # it ended before
                shutil.rmtree(folder)
                continue
            found["kills"] += 1
            found["left_a_partial_file"] += bool(partial_files(folder))
            found["unreadable_checkpoints"] += unreadable(folder)
            found["lost"] += not self.resumed(folder)
            found["not_swept"] += len(partial_files(folder))
            shutil.rmtree(folder)
            print(found, file=sys.stderr, flush=True)
        return found

    def full_disks(self, count: int) -> dict[str, Any]:
        """A disk that becomes full while the run writes, then has space again."""
        found: dict[str, Any] = {"runs": 0, "in_one_sentence": 0, "unreadable_checkpoints": 0, "lost": 0, "files": {}}
        mount_point = self.disk / "small"
        mount_point.mkdir()
        while found["runs"] < count:
            size = int(self.checkpoint * 10 ** self.moments.uniform(-2.7, 0.7))  # from the status to the refit
            try:
                with small_disk(mount_point, size) as enlarge:
                    folder = mount_point / "run"
                    if self.end(self.start(folder)) == 0:
                        continue  # it had space enough
                    found["runs"] += 1
                    said = self.said()
                    found["in_one_sentence"] += said.startswith("error: cannot write ") and said.count("\n") == 1
                    found["unreadable_checkpoints"] += unreadable(folder)
                    name = Path(said.removeprefix("error: cannot write ").partition(": ")[0]).name
                    found["files"][name] = found["files"].get(name, 0) + 1
                    enlarge()
                    found["lost"] += not self.resumed(folder)
            except subprocess.CalledProcessError as error:
                return {"skipped": f"no tmpfs can be mounted here: {error.stderr.strip()}"}
            print(found, file=sys.stderr, flush=True)
        return found

    def start(self, folder: Path, *, resume: bool = False) -> BaseProcess:
        settings = [f"resume={folder}"] if resume else [
            "data=tabular", f"data.root={self.disk / 'data'}", "data.rating_min=1", "data.rating_max=5",
            f"trainer.max_epochs={EPOCHS}", f"hydra.run.dir={folder}", *self.model,
        ]  # fmt: skip
        return self.begin("recsys.train", settings)

    def begin(self, module: str, arguments: Sequence[str], back: float | None = None) -> BaseProcess:
        """Start a command; its clock goes back by a day after `back` seconds."""
        process = self.context.Process(target=call, args=(module, arguments, self.disk / "said", back))
        process.start()
        return process

    def end(self, process: BaseProcess) -> int | None:
        process.join()
        return process.exitcode

    def said(self) -> str:
        """What the run before printed to standard error."""
        return (self.disk / "said").read_text()

    def resumed(self, folder: Path) -> bool:
        """Whether the run goes on, to the same end; by its command where not even the configuration was written."""
        code = self.end(self.start(folder, resume=(folder / "config.yaml").exists()))
        if code != 0:
            print(f"exit status {code}: {self.said()}", file=sys.stderr)
            return False
        for found, expected in zip(figures(folder), self.expected, strict=True):
            if found != expected:
                print(f"expected {expected}\nfound {found}", file=sys.stderr)
                return False
        return True

    def writing(self, folder: Path, number: int) -> Callable[[], bool]:
        """A moment after the run begins to write into the folder, when it has done so `number` times before."""
        seen, changes, due = content(folder), 0, after(float("inf"))

        def is_due() -> bool:
            nonlocal seen, changes, due
            now = content(folder)
            if any(name.startswith(".") for name, _ in now - seen):
                changes += 1
                if changes == number + 1:
                    due = after(self.moments.uniform(0, LONGEST))
            seen = now
            return due()

        return is_due


def call(module: str, arguments: Sequence[str], errors: Path, back: float | None = None) -> None:
    """Run a command, in a process of its own; its clock goes back by a day after `back` seconds."""
    os.setsid()
    if back is not None:
        _set_back(time.time() + back)
    with errors.open("w") as file:
        os.dup2(file.fileno(), 2)
    with Path(os.devnull).open("w") as nothing:
        os.dup2(nothing.fileno(), 1)
    sys.argv = [module, *arguments]
    importlib.import_module(module).main()


def _set_back(moment: float) -> None:
    now = time.time
    time.time = lambda: now() - (DAY if now() >= moment else 0.0)


def content(folder: Path) -> set[tuple[str, int]]:
    """Name and number of each file in the folder; a file that is written anew has a new number."""
    try:
        return {(entry.name, entry.inode()) for entry in os.scandir(folder)}
    except FileNotFoundError:
        return set()


def partial_files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob(".*") if path.name != ".lock"]


def unreadable(folder: Path) -> int:
    """How many checkpoints with a final name are damaged."""
    found = 0
    for path in (folder / "checkpoints").glob("*.ckpt"):
        try:
            read_checkpoint(path)
        except DamagedCheckpointError:
            found += 1
    return found


def figures(folder: Path) -> Figures:
    metrics = json.loads((folder / "metrics.json").read_text())
    curve = (folder / "metrics.csv").read_text()
    return {name: value for name, value in metrics.items() if name not in UNSTABLE}, curve


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[Callable[[], None]]:
    """A tmpfs of so many bytes at the folder; yields what enlarges it.

    Raises:
        CalledProcessError: It cannot be mounted, since this process is not root's, for example.
    """

    def mount(*options: str) -> None:
        subprocess.run(["mount", "-t", "tmpfs", "-o", *options, "tmpfs", str(folder)], check=True,
                       capture_output=True, text=True)  # fmt: skip

    mount(f"size={size}")
    try:
        yield lambda: mount("remount,size=1g")
    finally:
        subprocess.run(["umount", str(folder)], check=True, capture_output=True)


def write_ratings(file: Path, users: int = 600, items: int = 200) -> None:
    """Two tastes: a user rates the items of their own kind higher."""
    generator = np.random.default_rng(0)
    lines = [",".join((USER_ID, ITEM_ID, RATING, TIMESTAMP))]
    for user in range(users):
        for place, item in enumerate(generator.permutation(items)[:12]):
            stars = 3 + (1 if (user + item) % 2 else -1) + generator.integers(0, 2)
            lines.append(f"{user},{item},{stars},{1_000_000 + 1000 * place + user}")
    file.parent.mkdir()
    file.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
