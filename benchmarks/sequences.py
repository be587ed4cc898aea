"""What attention over histories reaches, by the real command: `python -m benchmarks.sequences [--only TEXT]`.

Each row is `python -m recsys.train`, as a process of its own, refitted and tested once. With `--runs-root` the folders
of the runs are kept there, and finished ones are used again. Settings were chosen on validation rows of `leave_one_out`
(conf/experiment). Rows with query times know when the answer is asked for; no others do.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.comparison.results import DEVICE, RESULTS, keep, provenance
from recsys.bundle import Bundle
from recsys.evaluation.bootstrap import bootstrap_differences
from recsys.evaluation.case_values import CaseValues
from recsys.evaluation.cases import Cases
from recsys.evaluation.holdout import test_rows
from recsys.evaluation.past_vectors import scores_of_histories
from recsys.evaluation.ranking import popularity_of, ranked
from recsys.evaluation.registry import measure as measured
from recsys.models.attention.layers import has_fast_bfloat16

FILE = RESULTS / f"sequences-{DEVICE}.json"
FIGURES = ("ndcg@10", "hr@10", "ndcg@20", "coverage@10", "tail@10", "share_tied")
ML_1M, ML_100K = "experiment=ml_1m_attention", "experiment=ml_100k_attention"
# Of users with long histories, who come back after a time that no training row knows.
LATER = "data.split=global_time data.test_fraction=0.1 targets=last model.max_length=400 model.times=false"
PLAN = {  # by row
    "ml_1m leave_one_out": ML_1M,
    "ml_1m leave_one_out, 6 epochs": f"{ML_1M} trainer.max_epochs=6",
    "ml_1m leave_one_out, 6 epochs, seed 1": f"{ML_1M} trainer.max_epochs=6 seed=1",
    "ml_1m leave_one_out, 6 epochs, seed 2": f"{ML_1M} trainer.max_epochs=6 seed=2",
    "ml_1m leave_one_out, 4 epochs, float32": f"{ML_1M} trainer.max_epochs=4 model.bfloat16=false",
    "ml_1m leave_one_out, ties shuffled": f"{ML_1M} data.ties=shuffled",
    "ml_1m leave_one_out, any of a tie": f"{ML_1M} data.ties=group",
    "ml_1m leave_one_out, with query times": f"{ML_1M} model.query_time=true",
    "ml_1m global_time 0.1, last": f"{ML_1M} {LATER}",
    "ml_100k leave_one_out": ML_100K,
    "ml_100k leave_one_out, seed 1": f"{ML_100K} seed=1",
    "ml_100k leave_one_out, seed 2": f"{ML_100K} seed=2",
}
RIVALS = {ML_100K: "experiment=ml_1m_ials data=ml_100k"}  # by experiment: whose cases are compared in pairs


def main() -> None:
    arguments = parsed(__doc__)
    with tempfile.TemporaryDirectory() as folder:
        for name, line in PLAN.items():
            if arguments.only not in name:
                continue
            entry = measure(name, line, (arguments.runs_root or Path(folder)).resolve(), arguments.root)
            keep(entry | provenance("benchmarks.sequences", sys.argv[1:]), FILE, ("name",))
            print(f"| {name} | {entry['ndcg@10']:.4f} | {entry['hr@10']:.4f} | {entry['fit_seconds']:,.0f} s |")


def parsed(description: str | None) -> argparse.Namespace:
    """The command line of a benchmark whose rows are runs."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, help="folder with ml-1m and ml-100k; without it they are fetched")
    parser.add_argument("--only", default="", help="rows whose name has this text")
    parser.add_argument("--runs-root", type=Path, help="folder of the runs; without it they are removed in the end")
    return parser.parse_args()


def measure(name: str, line: str, runs: Path, root: Path | None) -> dict[str, Any]:
    """Train, and read what came out."""
    folder = trained(name, line, runs, root)
    metrics = json.loads((folder / "metrics.json").read_text())
    targets = "last" if "targets=last" in line else "all"
    prefix = "ranking_last/" if targets == "last" else "ranking/"
    figures = {figure: metrics[prefix + figure] for figure in FIGURES if prefix + figure in metrics}
    entry = {
        "name": name,
        "run": f"python -m recsys.train {line}",
        "bfloat16": has_fast_bfloat16(torch.device("cpu")) and "model.bfloat16=false" not in line,
        "val_ndcg@10": metrics["val/ndcg@10"],
        **figures,
        **{key: metrics[key] for key in ("fit_seconds", "epochs", "device")},
    }
    if targets == "last":
        entry["in_file_order"] = in_file_order(folder)
    if (line_of_rival := RIVALS.get(line.split()[0])) is not None:
        rival = trained("ml_100k leave_one_out ials", line_of_rival, runs, root)
        ours, theirs = CaseValues.load(folder, targets), CaseValues.load(rival, targets)
        if ours.rows != theirs.rows:
            raise SystemExit(f"error: {folder} and {rival} were asked about other cases")
        [difference] = bootstrap_differences(ours.user, [ours.values["ndcg@10"] - theirs.values["ndcg@10"]])
        entry["above_ials"] = {"mean": difference.mean, "low": difference.low, "high": difference.high}
    return entry


def in_file_order(folder: Path) -> dict[str, float | None]:
    """Figures of each user's very last test row given all rows before it, also those of the same time.

    With the file's order within equal times as the truth, as in the figures that others publish.
    """
    bundle = Bundle.load(folder / "bundle")
    rated, (test, fitted) = bundle.ratings, test_rows(bundle)
    user, item = rated.user_index(), rated.item.astype(np.int64)
    last = test[np.append(np.diff(user[test]) != 0, True)]
    cases = Cases(
        user[last], item, rated.indptr[user[last]], last, np.arange(len(last)), item[last], rows=np.arange(len(item))
    )
    found = ranked(cases, scores_of_histories(bundle, cases), popularity_of((user[fitted], item[fitted])))
    return dict(measured("ranking", found.lists(), ("ndcg@10", "hr@10")))


def trained(name: str, line: str, runs: Path, root: Path | None, *more: str) -> Path:
    """The folder of a finished run, of a command and more arguments; one that is there already is not trained again."""
    folder = runs / "".join(char if char.isalnum() or char in "._" else "-" for char in name)
    data = "ml-100k" if "ml_100k" in line else "ml-1m"
    place = [] if root is None else [f"data.root={root / data}"]
    command = [sys.executable, "-m", "recsys.train", *line.split(), *more, *place, f"hydra.run.dir={folder}"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=RESULTS.parent.parent)
    return folder


if __name__ == "__main__":
    main()
