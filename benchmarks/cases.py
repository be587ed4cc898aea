"""Files as people have them: whether `recsys inspect` prints a command that trains, and `train` alone finds the same.

    python -m benchmarks.cases --folder ../shared/cases

Each file is inspected, trained on by the printed command, which a shell runs with one epoch, and trained on with no
option but its name. The data are the same if their SHA-256 is.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

FILE = Path(__file__).parent / "results" / "cases.json"
PROSE = (".md",)
EPOCH = "trainer.max_epochs=1"


@dataclass(frozen=True)
class Case:
    """What became of a file.

    Attributes:
        file: Its name.
        command: What was printed last; the error if inspection failed.
        trained: "yes", or the error.
        alone: "same", "other" (data), or the error.
    """

    file: str
    command: str
    trained: str
    alone: str


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--only", nargs="*", help="names of files")
    parser.add_argument("--out", type=Path, default=FILE)
    arguments = parser.parse_args()
    files = [path for path in sorted(arguments.folder.resolve().iterdir()) if path.suffix not in PROSE]
    cases = []
    for path in files:
        if not arguments.only or path.name in arguments.only:
            with tempfile.TemporaryDirectory() as scratch:
                cases.append(case(path, Path(scratch)))
            print(row(cases[-1]), flush=True)
    trained = sum(one.trained == "yes" for one in cases)
    same = sum(one.alone == "same" for one in cases)
    print(f"{len(cases)} files: {trained} train by the printed command, {same} alone with the same data")
    if not arguments.only:
        arguments.out.write_text(json.dumps([asdict(one) for one in cases], indent=2, ensure_ascii=False) + "\n")


def case(path: Path, scratch: Path) -> Case:
    """Inspect a file and train on it in a folder for scratch."""
    inspected = run(f"python -m recsys.inspect {shlex.quote(path.name)}", path.parent, scratch)
    if inspected.returncode:
        return Case(path.name, last(inspected.stderr), "no command", alone(path, scratch, None))
    command = inspected.stdout.rstrip().splitlines()[-1]
    trained = run(f"{command} {EPOCH} hydra.run.dir={scratch}/told", path.parent, scratch)
    said = "yes" if trained.returncode == 0 else last(trained.stderr)
    return Case(path.name, command, said, alone(path, scratch, digest(scratch / "told")))


def alone(path: Path, scratch: Path, expected: str | None) -> str:
    """Train with no option but the file's name."""
    command = f"python -m recsys.train data=tabular data.ratings_file={shlex.quote(path.name)} {EPOCH}"
    trained = run(f"{command} hydra.run.dir={scratch}/alone", path.parent, scratch)
    if trained.returncode:
        return last(trained.stderr)
    return "same" if digest(scratch / "alone") == expected else "other"


def run(command: str, folder: Path, scratch: Path) -> subprocess.CompletedProcess[str]:
    """Run a line in a shell whose `python` is this one."""
    root = Path(__file__).resolve().parent.parent
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "PYTHONPATH": str(root), "RECSYS_CACHE": str(scratch / "cache")}
    return subprocess.run(
        ["bash", "-c", command], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def digest(folder: Path) -> str | None:
    """SHA-256 of the data of a run."""
    file = folder / "metrics.json"
    return str(json.loads(file.read_text())["data_sha256"]) if file.is_file() else None


def last(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1].removeprefix("error: ") if lines else ""


def row(one: Case) -> str:
    return f"{one.file}\n  {one.command}\n  trained: {one.trained}\n  alone: {one.alone}"


if __name__ == "__main__":
    main()
