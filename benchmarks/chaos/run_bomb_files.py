"""Run folders and checkpoints that take far more memory or time than their size tells.

Every maker writes into an empty folder and returns the arguments of the interpreter.
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.chaos.data_bomb_files import MIB, Make
from tests.report.run_folders import write_run

RUN_BOMBS: dict[str, Make] = {}
IMPORTED = "import sys; from pathlib import Path; from recsys.training.checkpoints import *\n"
READ = IMPORTED + (
    "try: read_checkpoint(Path(sys.argv[1]))\nexcept DamagedCheckpointError as error: sys.exit(f'error: {error}')"
)


def report(name: str) -> Callable[[Callable[[Path], None]], None]:
    """Register a bomb in the folder of a run, which a report is made of."""

    def register(make: Callable[[Path], None]) -> None:
        def made(folder: Path) -> list[str]:
            make(write_run(folder / "run"))
            return ["-m", "recsys.report", str(folder), "--format", "csv", "--out", str(folder / "report.csv")]

        RUN_BOMBS[f"report: {name}"] = made

    return register


def checkpoint(name: str) -> Callable[[Callable[[Path], None]], None]:
    """Register a bomb in the place of a checkpoint."""

    def register(make: Callable[[Path], None]) -> None:
        def made(folder: Path) -> list[str]:
            make(folder / "best.ckpt")
            return ["-c", READ, str(folder / "best.ckpt")]

        RUN_BOMBS[f"checkpoint: {name}"] = made

    return register


@report("a curve of 1 GB")
def _curve(run: Path) -> None:
    with (run / "metrics.csv").open("w") as file:
        file.write("epoch,val/rmse\n")
        for _ in range(1024):
            file.write("1,0.9\n" * (MIB // 6))


@report("a curve of 1,000 epochs in each of 10^6 rows")
def _gaps(run: Path) -> None:
    (run / "metrics.csv").write_text("epoch,val/rmse\n" + "".join(f"{1000 * n},1\n" for n in range(1_000_000)))


@report("metrics.json nested 500,000 deep")
def _deep(run: Path) -> None:
    (run / "metrics.json").write_text('{"a":' + "[" * 500_000 + "]" * 500_000 + "}")


@report("a config.yaml of aliases that stand for 10^9 values")
def _aliases(run: Path) -> None:
    lines = ["a0: &a0 [x,x,x,x,x,x,x,x,x,x]"]
    lines += [f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    (run / "config.yaml").write_text("\n".join(lines))


@report("sparse files of 20 GB")
def _sparse(run: Path) -> None:
    for name in ("config.yaml", "metrics.json", "metrics.csv", "status.json", "analysis.json"):
        os.truncate(run / name, 20 << 30)


@report("pipes in place of all files")
def _pipes(run: Path) -> None:
    for name in ("config.yaml", "metrics.json", "metrics.csv", "status.json", "analysis.json"):
        (run / name).unlink(missing_ok=True)
        os.mkfifo(run / name)


@report("500 runs, each with 1 MB of settings")
def _settings(run: Path) -> None:
    large = (run / "config.yaml").read_text() + "".join(f"k{n}: {n}\n" for n in range(24_000))
    for n in range(500):
        folder = run.with_name(f"run{n}")
        folder.mkdir()
        (folder / "config.yaml").write_text(large)


@report("30,000 runs")
def _runs(run: Path) -> None:
    for n in range(30_000):
        folder = run / str(n)
        folder.mkdir()
        (folder / "status.json").touch()


@report("folders 300 deep, and links to those above")
def _nested(run: Path) -> None:
    folder = run
    for _ in range(300):
        folder = folder / "a"
        folder.mkdir()
    for name in "xy":
        (run / name).symlink_to(run.parent)


@report("names that are HTML, Markdown and formulas")
def _names(run: Path) -> None:
    for name in ("=cmd|' '!A1", "<img src=x onerror=alert(1)>", "[x](http:evil.example)"):
        (write_run(run.with_name(name)) / "status.json").write_text(json.dumps({"state": "failed", "message": name}))


def _archive(path: Path, members: dict[str, bytes], packing: int, repeat: int = 1) -> None:
    with zipfile.ZipFile(path, "w", packing) as archive:
        for name, content in members.items():
            with archive.open(f"archive/{name}", "w", force_zip64=True) as file:
                for _ in range(repeat):
                    file.write(content)


@checkpoint("2 GB of zeros, compressed")
def _packed(path: Path) -> None:
    _archive(path, {"data/0": bytes(16 * MIB)}, zipfile.ZIP_DEFLATED, 128)


@checkpoint("20 GB, sparse")
def _hole(path: Path) -> None:
    _archive(path, {"data.pkl": b"."}, zipfile.ZIP_STORED)
    os.truncate(path, 20 << 30)


@checkpoint("a million empty lists in each MB of objects")
def _objects(path: Path) -> None:
    _archive(path, {"data.pkl": b"\x80\x02](" + b"]" * (64 * MIB) + b"e."}, zipfile.ZIP_STORED)


@checkpoint("an array of 10^10 bytes, by name")
def _bytes(path: Path) -> None:
    objects = b"\x80\x02c__builtin__\nbytearray\n(L10000000000L\ntR."
    _archive(path, {"data.pkl": objects, "version": b"3"}, zipfile.ZIP_STORED)


@checkpoint("a tensor of 10^12 numbers in four bytes")
def _expanded(path: Path) -> None:
    import torch

    torch.save({"state_dict": {"rows": torch.zeros(1).expand(10**12)}}, path)
