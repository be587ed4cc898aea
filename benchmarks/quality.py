"""RMSE of the experiments on every protocol, and what each ingredient brings, by the real command.

    python benchmarks/quality.py [--ml-100k-root DIR] [--ml-1m-root DIR] [--table quality|bayesian|attributes|ablation]
        [--only TEXT] [--seeds 0 1 2] [--show]

Every row is `python -m recsys.train` as a process of its own; figures are read from its `metrics.json` and kept in
`results/<table>-<device>.json`, a row replaced when it is run again.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
DEVICE = f"cpu-{os.cpu_count()}core"

PROTOCOLS = {
    "ml_100k user_time": "data.split=user_time",
    "ml_100k official u1": "data.split=official data.fold=1",
    "ml_1m kfold fold 0": "data.split=kfold data.folds=10 data.fold=0",
    "ml_1m user_time": "data.split=user_time",
}
QUALITY = [
    (f"{name} {model}", f"experiment={name.split()[0]}_{model} {split}")
    for name, split in PROTOCOLS.items()
    for model in (
        ("mf", "svdpp", "autorec", "mf_fast", "als", "als_fast")
        if name.startswith("ml_1m")
        else ("mf", "svdpp", "autorec")
    )
]
IN_TIME = "data.split=global_time data.test_fraction=0.2 evaluation=prequential"
POSTERIOR = "experiment=ml_1m_bayesian_mf"
BAYESIAN = [
    ("ml_100k official u1", "experiment=ml_100k_bayesian_mf data.split=official data.fold=1 model.drift=0"),
    ("ml_100k user_time", "experiment=ml_100k_bayesian_mf"),
    ("ml_1m kfold fold 0", f"{POSTERIOR} data.split=kfold data.folds=10 data.fold=0 model.drift=0 "
                           "model.likelihood=ordinal model.thin=3 trainer.max_epochs=400"),
    ("ml_1m user_time", POSTERIOR),
    ("ml_1m global_time 0.2", f"{POSTERIOR} {IN_TIME}"),
]  # fmt: skip
COLD = {
    "ml_100k user_time": "",
    "ml_1m user_time": "",
    "ml_1m global_time 0.2": IN_TIME,
}
ATTRIBUTES = [
    (
        f"{name} {model} {word}",
        f"experiment={name.split()[0]}_{model} {split} model.attributes={value}".replace("  ", " "),
    )
    for model in ("mf", "svdpp")
    for name, split in COLD.items()
    for word, value in (("with attributes", "true"), ("without", "false"))
]
TABLES = {"quality": QUALITY, "bayesian": BAYESIAN, "attributes": ATTRIBUTES}
MORE = ("test/rmse_warm", "test/rmse_cold", "test/inside_50", "test/inside_90", "prequential/rmse",
        "prequential/rmse_unseen", "baseline/running_biases", "baseline/running_biases_unseen")  # fmt: skip
TUNED = "experiment=ml_100k_mf"
ABLATION = [
    ("mf as it is", TUNED),
    ("onecycle, 8 epochs", f"{TUNED} model.lr_schedule=onecycle trainer.max_epochs=8"),
    ("cosine, 8 epochs", f"{TUNED} model.lr_schedule=cosine trainer.max_epochs=8"),
    ("dropout 0.06", f"{TUNED} model.dropout=0.06"),
    ("dropout 0.2", f"{TUNED} model.dropout=0.2"),
    ("batch norm", f"{TUNED} model.batch_norm=true"),
    ("batch norm and dropout 0.2", f"{TUNED} model.batch_norm=true model.dropout=0.2"),
    ("no biases", f"{TUNED} model.bias=false"),
    ("biases start at zero", f"{TUNED} model.bias_init=zero"),
    ("factors start at 0.05", f"{TUNED} model.embedding_std=0.05"),
    ("bias_reg_lambda 0.01", f"{TUNED} model.bias_reg_lambda=0.01"),
    ("reg_exponent 1", f"{TUNED} model.reg_exponent=1"),
    ("reg_lambda 0.17", f"{TUNED} model.reg_lambda=0.17"),
    ("reg_lambda 0.04", f"{TUNED} model.reg_lambda=0.04"),
    ("reg_lambda 0", f"{TUNED} model.reg_lambda=0"),
    ("reg_lambda 0, dropout 0.5", f"{TUNED} model.reg_lambda=0 model.dropout=0.5"),
    ("experiment=original_mf", "experiment=original_mf"),
]


def run(arguments: list[str], seed: int, root: str | None) -> dict[str, Any]:
    """The metrics of one run of the command."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "recsys.train", *arguments, f"seed={seed}", f"hydra.run.dir={folder}/run"]
        command += [f"data.root={root}"] if root else []
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=RESULTS.parent.parent)
        metrics: dict[str, Any] = json.loads((Path(folder) / "run" / "metrics.json").read_text())
        return metrics


def measure(name: str, overrides: str, seeds: list[int], root: str | None) -> dict[str, Any]:
    runs = [run(overrides.split(), seed, root) for seed in seeds]
    return {
        "name": name,
        "command": f"python -m recsys.train {overrides}".strip(),
        "seeds": seeds,
        "val_rmse": [round(m["val/rmse"], 4) for m in runs],
        "test_rmse": [round(m["test/rmse"], 4) for m in runs],
        "biases_rmse": round(runs[0]["baseline/biases"], 4),
        "epochs": [m["epochs"] for m in runs],
        "fit_seconds": [m["fit_seconds"] for m in runs],
        "device": runs[0]["device"],
        "git_commit": runs[0]["git_commit"],
        "more": {name: [m.get(name) for m in runs] for name in MORE if runs[0].get(name) is not None},
    }


def keep(row: dict[str, Any], what: str) -> None:
    """Put a row into its results file, in place of one of the same name."""
    file = RESULTS / f"{what}-{DEVICE}.json"
    rows = json.loads(file.read_text()) if file.exists() else []
    rows = [other for other in rows if other["name"] != row["name"]] + [row]
    file.write_text(json.dumps(rows, indent=1) + "\n")
    mean = sum(row["test_rmse"]) / len(row["test_rmse"])
    print(f"| {row['name']} | {mean:.4f} | {row['test_rmse']} | {row['val_rmse']} | `{row['command']}` |", flush=True)


def show(what: str) -> str:
    """A results file as a Markdown table, in the order of this file."""
    order = [name for name, _ in (TABLES | {"ablation": ABLATION})[what]]
    rows = json.loads((RESULTS / f"{what}-{DEVICE}.json").read_text())
    lines = ["| | validation | test | each seed | epochs | command |", "|---|---|---|---|---|---|"]
    for row in sorted(rows, key=lambda row: order.index(row["name"])):
        val, test = (sum(row[key]) / len(row[key]) for key in ("val_rmse", "test_rmse"))
        seeds = " ".join(f"{value:.4f}" for value in row["test_rmse"])
        epochs = " ".join(map(str, row["epochs"]))
        lines.append(f"| {row['name']} | {val:.4f} | **{test:.4f}** | {seeds} | {epochs} | `{row['command']}` |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ml-100k-root")
    parser.add_argument("--ml-1m-root")
    parser.add_argument("--table", choices=[*TABLES, "ablation", "all"], default="all")
    parser.add_argument("--only", default="", help="rows whose name has this text")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--show", action="store_true", help="only print the tables of what was measured")
    arguments = parser.parse_args()
    if arguments.show:
        print(*(show(what) for what in (*TABLES, "ablation")), sep="\n\n")
        return
    roots = {"ml_100k": arguments.ml_100k_root, "ml_1m": arguments.ml_1m_root}
    for table, rows in (TABLES | {"ablation": ABLATION}).items():
        for name, overrides in rows if arguments.table in (table, "all") else []:
            if arguments.only in name:
                data = name.split()[0] if table in TABLES else "ml_100k"
                keep(measure(name, overrides, arguments.seeds, roots[data]), table)


if __name__ == "__main__":
    main()
