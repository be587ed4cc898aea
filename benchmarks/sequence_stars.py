"""What attention adds to stars that come, by the real command: `python -m benchmarks.sequence_stars [--only TEXT]`.

Each row is `python -m recsys.train` on ML-1M, the last fifth of the ratings in time as test rows, each predicted from
its user's earlier ones (prequential). A row on another one (`model.base`) is compared with it in pairs: the difference
of the squared errors, with an interval over users. Folders of runs are kept with `--runs-root`, and finished ones are
used again.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import recsys
from benchmarks.comparison.results import DEVICE, RESULTS, keep, provenance
from benchmarks.sequences import parsed, trained
from recsys.bundle import TEST
from recsys.evaluation.bootstrap import bootstrap_differences
from recsys.evaluation.prequential import predict_prequential

FILE = RESULTS / f"sequence_stars-{DEVICE}.json"
LATER = "data.split=global_time data.test_fraction=0.2 evaluation=prequential"
POSTERIOR = f"experiment=ml_1m_bayesian_mf model.embedding_dim=32 model.thin=10 {LATER}"
ON = "experiment=ml_1m_attention_stars"
PLAN = {  # by row: the command, and the row that it stands on
    "als": (f"experiment=ml_1m_als {LATER}", None),
    "attention": (ON, None),
    "attention on als": (ON, "als"),
    "bayesian_mf, 8 samples": (f"{POSTERIOR} trainer.max_epochs=100", None),
    "attention on these": (ON, "bayesian_mf, 8 samples"),
    "bayesian_mf, 42 samples": (f"experiment=ml_1m_bayesian_mf {LATER} trainer.max_epochs=300", None),
    "attention on those": (ON, "bayesian_mf, 42 samples"),
}
PLAN |= {  # fits of less than ten minutes are repeated
    f"{name}, seed {seed}": (f"{command} seed={seed}", base)
    for name, (command, base) in PLAN.items()
    if command == ON
    for seed in (1, 2)
}
FIGURES = {
    "rmse": "prequential/rmse",
    "rmse_unseen": "prequential/rmse_unseen",
    "biases": "baseline/running_biases",
    "biases_unseen": "baseline/running_biases_unseen",
}


def main() -> None:
    arguments = parsed(__doc__)
    with tempfile.TemporaryDirectory() as folder:
        for name, (line, base) in PLAN.items():
            if arguments.only not in name:
                continue
            entry = measure(name, line, base, (arguments.runs_root or Path(folder)).resolve(), arguments.root)
            keep(entry | provenance("benchmarks.sequence_stars", sys.argv[1:]), FILE, ("name",))
            print(f"| {name} | {entry['rmse']:.4f} | {entry['rmse_unseen']:.4f} | {entry['fit_seconds']:,.0f} s |")


def measure(name: str, line: str, base: str | None, runs: Path, root: Path | None) -> dict[str, Any]:
    """Train, and read what came out."""
    under = None if base is None else trained(base, PLAN[base][0], runs, root)
    given = [] if base is None else [f"model.base={under}"]
    folder = trained(name, line, runs, root, *given)
    metrics = json.loads((folder / "metrics.json").read_text())
    entry = {
        "name": name,
        "run": f"python -m recsys.train {line}" + (f" model.base=<run of {base}>" if given else ""),
        **{figure: metrics[key] for figure, key in FIGURES.items()},
        **{key: metrics[key] for key in ("fit_seconds", "epochs", "device")},
    }
    if under is not None:
        entry["base"], entry["difference"] = base, squared_errors(folder, under)
    return entry


def squared_errors(one: Path, other: Path) -> dict[str, Any]:
    """By which the squared errors of one run are above those of the other, and how sure that is."""
    bundles = [recsys.load(folder) for folder in (one, other)]
    found = []
    for bundle in bundles:
        rated, rows = bundle.ratings, bundle.ratings.part == TEST
        user, item = bundle.user_ids[rated.user_index()[rows]], bundle.item_ids[rated.item[rows]]
        errors = np.square(predict_prequential(bundle)[rows].clip(*bundle.scale) - rated.rating[rows])
        order = np.lexsort((item, user))
        found.append((user[order], item[order], errors[order]))
    (user, item, ours), (other_user, other_item, theirs) = found
    if not (np.array_equal(user, other_user) and np.array_equal(item, other_item)):
        raise SystemExit(f"error: {one} and {other} have other test rows")
    [difference] = bootstrap_differences(user, [ours - theirs])
    return {"mean": difference.mean, "low": difference.low, "high": difference.high}


if __name__ == "__main__":
    main()
