"""Whether a model's defaults lose to biases: on MovieLens 100K and 1M, and on a generated set with a long tail.

    python -m benchmarks.defaults --data-root FOLDER [--models als mf …] [--data ml_100k …] [--splits user_time …]

FOLDER holds `ml-100k` and `ml-1m`. Each model is trained by its defaults, refitted on training and validation rows, and
compared with shrunk user and item biases of the same rows (`recsys.evaluation.baselines`), on all test rows and on the
cold ones where there are at least a thousand: the mean difference of squared errors, with a 95% interval over rows.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.comparison.results import DEVICE, RESULTS, keep, provenance
from benchmarks.synthetic import LongTail
from benchmarks.training import bundle_of
from recsys.bundle import Bundle
from recsys.data.sources.base import RatingsSource
from recsys.evaluation.holdout import predict_test_set
from recsys.evaluation.statistics import paired_difference

MODELS = ("biases", "als", "mf", "svdpp", "bayesian_mf")
DATA = ("long_tail", "ml_100k", "ml_1m")
SPLITS = ("user_time", "global_time")
MIN_COLD_ROWS = 1_000
KEY = ("model", "data", "split", "group")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-root", type=Path, required=True, help="folder of ml-100k and ml-1m")
    for name, choices in (("models", MODELS), ("data", DATA), ("splits", SPLITS)):
        parser.add_argument(f"--{name}", nargs="+", choices=choices, default=choices)
    arguments = parser.parse_args()
    file = RESULTS / f"defaults-{DEVICE}.json"
    command = provenance("benchmarks.defaults", ["--data-root", "FOLDER"])
    for data in arguments.data:
        for split in arguments.splits:
            for model in arguments.models:
                for row in compared(model, data, split, arguments.data_root):
                    keep(row | command, file, KEY)
                    print(line(row), flush=True)


def compared(model: str, data: str, split: str, root: Path) -> list[dict[str, Any]]:
    """One row for each group of test rows."""
    folder = root / ("ml-1m" if data == "ml_1m" else "ml-100k")
    overrides = [f"data={'ml_1m' if data == 'ml_1m' else 'ml_100k'}", f"data.root={folder}", f"data.split={split}"]
    if data == "long_tail":
        overrides.append("data.batch_size=8192")  # the default of data whose name says nothing
    start = time.process_time()
    with tempfile.TemporaryDirectory() as run:
        bundle = bundle_of([*overrides, f"model={model}"], Path(run), source=long_tail if data == "long_tail" else None)
    common = {"model": model, "data": data, "split": split, "cpu_seconds": round(time.process_time() - start)}
    return [common | figures for figures in groups(bundle)]


def long_tail(_: RatingsSource) -> RatingsSource:
    return LongTail()


def groups(bundle: Bundle) -> list[dict[str, Any]]:
    """RMSE of the model and of biases on all test rows, and on the cold ones where there are enough."""
    test = predict_test_set(bundle)
    cold = (test.user >= bundle.n_users) | (test.item >= bundle.fitted_items)
    squares = [np.square(predicted - test.rating) for predicted in (test.predicted, test.baselines["biases"])]
    found = [{"group": "all"} | figures(*squares)]
    if cold.sum() >= MIN_COLD_ROWS:
        found.append({"group": "cold"} | figures(*(square[cold] for square in squares)))
    return found


def figures(model: NDArray[np.float64], biases: NDArray[np.float64]) -> dict[str, Any]:
    """Figures of squared errors, `(rows,)` each."""
    pair = paired_difference(dict(enumerate(model.tolist())), dict(enumerate(biases.tolist())))
    assert pair is not None
    assert pair.low is not None
    assert pair.high is not None
    return {
        "rows": len(model),
        "rmse": round(float(model.mean()) ** 0.5, 5),
        "biases": round(float(biases.mean()) ** 0.5, 5),
        "difference": round(pair.mean, 5),
        "low": round(pair.low, 5),
        "high": round(pair.high, 5),
    }


def line(row: dict[str, Any]) -> str:
    verdict = "better" if row["high"] < 0 else "worse" if row["low"] > 0 else "equal"
    return (
        "{data:9} {split:11} {model:12} {group:4} {rows:7,} rows  RMSE {rmse:.4f}, biases {biases:.4f}; difference of "
        "squares {difference:+.4f} ({low:+.4f} to {high:+.4f})".format(**row)
        + f"  {verdict}"
    )


if __name__ == "__main__":
    main()
