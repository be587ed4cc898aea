"""Ensembles against their best member, by the real commands: `python -m benchmarks.ensembles [--only TEXT]`.

Each member is `python -m recsys.train`, each ensemble `python -m recsys.ensemble`, as a process of its own. Members and
settings were chosen on validation rows. With `--runs-root` the members' folders are kept there, and finished ones are
used again; the ensemble is stacked anew.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.comparison.results import DEVICE, RESULTS, keep, provenance

FILE = RESULTS / f"ensembles-{DEVICE}.json"
FIGURES = ("test/rmse", "test/rmse_warm", "test/rmse_cold", "test/rmse_uncompressed", "test/inside_50",
           "test/inside_90")  # fmt: skip
COMPRESS = 512  # coordinates of the exported bundle
KFOLD = "data.split=kfold data.folds=10 data.fold=0"
POSTERIOR = "experiment=ml_1m_bayesian_mf"
ORDINAL = f"{POSTERIOR} model.likelihood=ordinal model.thin=2"
IN_TIME = "data.split=global_time data.test_fraction=0.2"
AUTOREC = "experiment=ml_1m_autorec"
LONG = "trainer.max_epochs=400"


def _members(split: str, posterior: str = "") -> dict[str, str]:
    """The members of a row by name, and their arguments; those of the posteriors may have more."""
    return {
        name: " ".join(filter(None, (text, posterior if text.startswith(POSTERIOR) else "", split)))
        for name, text in {
            "bayesian_mf ordinal": f"{ORDINAL} {LONG}",
            "bayesian_mf": POSTERIOR,
            "svdpp": "experiment=ml_1m_svdpp",
            "mf": "experiment=ml_1m_mf",
            "autorec": AUTOREC,
            "autorec seed 1": f"{AUTOREC} seed=1",
        }.items()
    }


PLAN: dict[str, dict[str, str]] = {  # by row: members by name, and their arguments
    "ml_1m kfold fold 0": _members(KFOLD, "model.drift=0"),
    "ml_1m user_time": _members(""),
    # One autorec: two have weights of -1.6 and 1.7 here, by errors of items that many validation rows share.
    "ml_1m global_time 0.2": {name: text for name, text in _members(IN_TIME).items() if "seed" not in name},
}


def plan(name: str, sweeps: int | None, leave_out: list[str]) -> dict[str, str]:
    """The members of a row; chains of `sweeps`, if they are given."""
    members = {label: text for label, text in PLAN[name].items() if label not in leave_out}
    if sweeps is None:
        return members
    shorter = f" model.thin=2 trainer.max_epochs={sweeps}"
    return {label: text + shorter * (label.startswith("bayesian_mf")) for label, text in members.items()}


def measure(name: str, wanted: dict[str, str], runs: Path, root: str | None) -> dict[str, Any]:
    """Train the members of a row, stack them, and read what came out."""
    members = {label: runs / f"{name} {label}".replace(" ", "-") for label in wanted}
    for label, folder in members.items():
        run("recsys.train", *wanted[label].split(), *([f"data.root={root}"] if root else []), folder=folder)
    whole = runs / f"{name} ensemble".replace(" ", "-")
    shutil.rmtree(whole, ignore_errors=True)
    run("recsys.ensemble", f"runs=[{','.join(map(str, members.values()))}]", f"compress={COMPRESS}", folder=whole)
    metrics, found = read(whole / "metrics.json"), read(whole / "members.json")
    rows = zip(wanted.items(), members.values(), found["members"], strict=True)
    return {
        "name": name,
        "members": [
            {
                "name": label,
                "command": f"python -m recsys.train {arguments}",
                "val_rmse": row["val/rmse"],
                "test_rmse": read(folder / "metrics.json")["test/rmse"],
                **{key: row[key] for key in ("weight", "loss_without", "fit_seconds", "bytes", "top_10_ms")},
            }
            for (label, arguments), folder, row in rows
        ],
        "val_rmse": metrics["val/rmse"],
        **{name.removeprefix("test/"): metrics[name] for name in FIGURES if name in metrics},
        "fit_seconds": metrics["fit_seconds"],
        **{key: found["ensemble"][key] for key in ("bytes", "top_10_ms")},
        "settings": read(whole / "bundle" / "manifest.json")["arguments"],
    }


def run(module: str, *arguments: str, folder: Path) -> None:
    command = [sys.executable, "-m", module, *arguments, f"hydra.run.dir={folder}"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=RESULTS.parent.parent)


def read(file: Path) -> Any:
    return json.loads(file.read_text())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ml-1m-root")
    parser.add_argument("--only", default="", help="rows whose name has this text")
    parser.add_argument("--sweeps", type=int, help="of each chain; without it those of the plan")
    parser.add_argument("--leave-out", nargs="+", default=[], metavar="MEMBER", help="members to do without")
    parser.add_argument(
        "--runs-root", type=Path, help="folder of the members' runs; without it they are removed in the end"
    )
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for name in PLAN:
            if arguments.only in name:
                wanted = plan(name, arguments.sweeps, arguments.leave_out)
                found = measure(name, wanted, arguments.runs_root or Path(folder), arguments.ml_1m_root)
                entry = found | provenance("benchmarks.ensembles", sys.argv[1:])
                keep(entry, FILE, ("name",))
                best = min(member["test_rmse"] for member in entry["members"])
                print(
                    f"| {name} | {entry['val_rmse']:.4f} | {entry['rmse']:.4f} | best member {best:.4f} |", flush=True
                )


if __name__ == "__main__":
    main()
