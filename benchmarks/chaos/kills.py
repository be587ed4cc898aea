"""SIGKILL at random moments of `train` (each model), `recommend` and `promote`; a full disk; a clock that goes back.

Nothing half written may have a final name, and what is begun again must end as what nobody disturbed.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from benchmarks.chaos import clocks
from benchmarks.chaos.campaign import Figures, Row
from benchmarks.killing import after, killed
from benchmarks.run_kills import Bench, figures, partial_files, small_disk, unreadable
from recsys.bundle import Bundle, BundleError
from serve.models.pointer import read_pointer

SUMMARY = "SIGKILL of train, recommend and promote, a full disk, and a clock that is set back"
MODELS = ("mf", "svdpp", "als", "ials", "bayesian_mf", "biases")
MEMORY = Path("/dev/shm")
KILLS = ("kills", "half_written", "lost", "not_swept")


def run(*, short: bool) -> Figures:
    kills, models = (1, MODELS[-1:]) if short else (25, MODELS)
    with _environment() as (disk, memory):
        found: Figures = {}
        for model in models:
            bench = Bench(disk, memory, random.Random(0), (f"model={model}",))
            found[f"train {model}"] = _train(bench, kills)
        pointer = memory / "serving"
        promote = ("serve.promote", str(bench.whole), "--pointer", str(pointer))
        found["promote"] = _command(bench, kills, pointer, promote, _bundle_of(pointer))
        if not short:
            top = memory / "top.csv"
            recommend = ("recsys.recommend", f"run={bench.whole}", f"out={top}", "k=20")
            found["recommend"] = _command(bench, kills, top, recommend, _lines_of(bench, top))
            found["clock set back"] = _clocks(bench, 5)
        found["clock set back beside"] = {
            "checks": len(clocks.CHECKS),
            "wrong": clocks.wrong(disk, bench.whole / "bundle"),
        }
        found["full disk"] = _full_disks(bench, ("keys",) if short else ("promote", "recommend", "keys"))
    return found


@contextlib.contextmanager
def _environment() -> Iterator[tuple[Path, Path]]:
    """A folder on a disk and one in memory, and the environment of what is started."""
    before = dict(os.environ)
    where = MEMORY if MEMORY.is_dir() else None
    with tempfile.TemporaryDirectory() as disk, tempfile.TemporaryDirectory(dir=where) as memory:
        os.environ |= {"RECSYS_CACHE": f"{disk}/cache", "TMPDIR": disk, "OMP_NUM_THREADS": "1"}
        try:
            yield Path(disk), Path(memory)
        finally:
            os.environ.clear()
            os.environ.update(before)


def _train(bench: Bench, kills: int) -> dict[str, int]:
    """SIGKILL at any moment of a run, which is then resumed."""
    found = dict.fromkeys(KILLS, 0)
    folder = bench.memory / "killed"
    while found["kills"] < kills:
        process = bench.start(folder)
        hit = killed(process.pid or 0, process.is_alive, after(bench.moments.uniform(0, bench.seconds)))
        bench.end(process)
        if hit:
            found["kills"] += 1
            found["half_written"] += unreadable(folder) + _is_half(folder / "bundle")
            found["lost"] += not bench.resumed(folder)
            found["not_swept"] += len(partial_files(folder))
        shutil.rmtree(folder, ignore_errors=True)
    return found


def _is_half(bundle: Path) -> bool:
    try:
        Bundle.load(bundle)
    except BundleError:
        return bundle.exists()
    return False


def _command(bench: Bench, kills: int, file: Path, command: Sequence[str], whole: Callable[[], bool]) -> dict[str, int]:
    """SIGKILL at any moment of a command that writes one file, in turns where there is none and where there is one."""
    found, (module, *arguments) = dict.fromkeys(KILLS, 0), command
    start = time.perf_counter()
    if bench.end(bench.begin(module, arguments)) != 0:
        raise SystemExit(f"an undisturbed command fails: {bench.said()}")
    seconds = time.perf_counter() - start
    while found["kills"] < kills:
        if found["kills"] % 2 == 0:
            file.unlink(missing_ok=True)
        process = bench.begin(module, arguments)
        hit = killed(process.pid or 0, process.is_alive, after(bench.moments.uniform(0, seconds)))
        bench.end(process)
        if not hit:  # it ended before
            continue
        found["kills"] += 1
        found["half_written"] += file.exists() and not whole()
        again = bench.end(bench.begin(module, arguments))
        found["lost"] += again != 0 or not whole()
        found["not_swept"] += len([path for path in file.parent.glob(f".{file.name}.*") if path.suffix == ".partial"])
    return found


def _lines_of(bench: Bench, file: Path) -> Callable[[], bool]:
    """Whether the file has the lines of all users, and is the same each time."""
    seen: set[bytes] = set()

    def whole() -> bool:
        content = file.read_bytes()
        seen.add(content)
        return len(seen) == 1 and content.count(b"\n") == 1 + 20 * Bundle.load(bench.whole / "bundle").n_users

    return whole


def _bundle_of(pointer: Path) -> Callable[[], bool]:
    def whole() -> bool:
        try:
            Bundle.load(read_pointer(pointer).folder)
        except BundleError:
            return False
        return True

    return whole


def _full_disks(bench: Bench, names: Sequence[str]) -> Figures:
    """No space for what a command writes: one sentence, what was there before stays, and with space again it works."""
    place = bench.disk / "full"
    place.mkdir()
    commands = {
        "promote": ("serve.promote", str(bench.whole), "--pointer", str(place / "serving")),
        "recommend": ("recsys.recommend", f"run={bench.whole}", f"out={place / 'top.csv'}"),
        "keys": ("serve.keys", "--file", str(place / "keys"), "add", "NAME", "--scope", "predict"),
    }
    found: Figures = {"names": [*names], "commands": 0, "in_one_sentence": 0, "changed": 0, "lost": 0}
    try:
        for name, (module, *arguments) in ((name, commands[name]) for name in names):
            with small_disk(place, 1 << 16) as enlarge:
                outcomes = []
                for number in range(2):  # first with space, then without
                    given = [text.replace("NAME", f"key{number}") for text in arguments]
                    outcomes.append(bench.end(bench.begin(module, given)) if number or name != "recommend" else 0)
                    if number == 0:
                        _fill(place)
                        before = _content(place)
                found["commands"] += 1
                found["in_one_sentence"] += bench.said().count("\n") == 1 and bench.said().startswith("error: ")
                found["changed"] += _content(place) != before or outcomes[1] == 0
                enlarge()
                given = [text.replace("NAME", "key2") for text in arguments]
                found["lost"] += outcomes[0] != 0 or bench.end(bench.begin(module, given)) != 0
    except (subprocess.CalledProcessError, FileNotFoundError) as error:
        return {"skipped": f"no tmpfs can be mounted here: {getattr(error, 'stderr', None) or error}".strip()}
    return found


def _fill(place: Path) -> None:
    with (place / "filler").open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(512))


def _content(place: Path) -> dict[str, bytes]:
    names = (path for path in place.iterdir() if path.suffix != ".lock" and path.name != ".lock")
    return {path.name: path.read_bytes() for path in names}


def _clocks(bench: Bench, times: int) -> dict[str, int]:
    """A clock that goes back by a day while a run trains: it ends as others do, and lasted no negative time."""
    found = {"runs": 0, "lost": 0}
    for _ in range(times):
        folder = bench.memory / "back"
        arguments = ["data=tabular", f"data.root={bench.disk / 'data'}", "data.rating_min=1", "data.rating_max=5",
                     "trainer.max_epochs=3", f"hydra.run.dir={folder}", *bench.model]  # fmt: skip
        code = bench.end(bench.begin("recsys.train", arguments, bench.moments.uniform(0, bench.seconds)))
        found["runs"] += 1
        ended = code == 0 and figures(folder) == bench.expected
        found["lost"] += not ended or '"seconds": -' in (folder / "status.json").read_text()
        if not ended:
            print(f"exit status {code}: {bench.said()}", file=sys.stderr)
        shutil.rmtree(folder, ignore_errors=True)
    return found


def rows(figures: Figures) -> list[Row]:
    found = []
    for name, counts in figures.items():
        if name == "full disk":
            if reason := counts.get("skipped"):
                found.append(Row("full disk", f"skipped: {reason}", holds=True))
                continue
            what = f"full disk for {', '.join(counts['names'])}"
            said = (
                f"said in one sentence {counts['in_one_sentence']}, changed {counts['changed']}, lost {counts['lost']}"
            )
            holds = counts["in_one_sentence"] == counts["commands"] and not counts["changed"] + counts["lost"]
        elif name == "clock set back":
            what, said = f"clock set back by a day in {counts['runs']} runs", f"other results {counts['lost']}"
            holds = not counts["lost"]
        elif name == "clock set back beside":
            what = f"clock set back by a day beside {', '.join(clocks.CHECKS)}"
            said, holds = f"other behaviour {len(counts['wrong'])}", not counts["wrong"]
        else:
            what = f"{counts['kills']} SIGKILLs at random moments of {name}"
            said = f"half written {counts['half_written']}, lost {counts['lost']}, not swept {counts['not_swept']}"
            holds = not counts["half_written"] + counts["lost"] + counts["not_swept"]
        found.append(Row(what, said, holds))
    return found
