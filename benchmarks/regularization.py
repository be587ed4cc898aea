"""Regularization of `mf` by side: strengths, exponents of the frequency, penalties of biases, weight averaging.

    python -m benchmarks.regularization [--ml-100k-root DIR] [--ml-1m-root DIR] [--only TEXT] [--seeds 0 1 2]

Each row is a fit on training rows with validation rows, by `SplitPenalty`, which is `mf` with factors that it does not
have: none of them pays (benchmarks/negative_results.md). A strength of users times s and of items times 1 / s is the
same model as s = 1: scaling `p` by a and `q` by 1 / a leaves predictions alone.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from hydra.utils import instantiate
from omegaconf import open_dict

from benchmarks.comparison.results import DEVICE, RESULTS, keep, provenance
from benchmarks.training import configured
from recsys.data.batches import RatingRows
from recsys.evaluation.evaluate import evaluate
from recsys.evaluation.registry import RMSE
from recsys.models.mf import MatrixFactorization
from recsys.models.penalty import penalty_weights
from recsys.training.export import make_bundle
from recsys.training.run import build_data, select
from recsys.training.trainer import quiet_libraries

FILE = RESULTS / f"regularization-{DEVICE}.json"
EXPERIMENTS = {"ml_100k": "ml_100k_mf", "ml_1m": "ml_1m_mf_fast"}
AVERAGED = ["+callbacks.ema._target_=lightning.pytorch.callbacks.EMAWeightAveraging", "+callbacks.ema.decay=0.99"]
CHANGES: dict[str, dict[str, float]] = {
    "as it is": {},
    "users' strength twice, items' half": {"user_strength": 2, "item_strength": 0.5},
    "users' strength half, items' twice": {"user_strength": 0.5, "item_strength": 2},
    "users' exponent 0.2 higher": {"user_exponent": 0.2},
    "users' exponent 0.2 lower": {"user_exponent": -0.2},
    "items' exponent 0.2 higher": {"item_exponent": 0.2},
    "items' exponent 0.2 lower": {"item_exponent": -0.2},
    "users' biases four times": {"user_bias_strength": 4},
    "items' biases four times": {"item_bias_strength": 4},
    "biases' exponent 0.5": {"bias_exponent": 0.5},
    "biases' exponent 0": {"bias_exponent": 0},
    "weights averaged (EMA, decay 0.99)": {},
}


class SplitPenalty(MatrixFactorization):
    """`mf` with a penalty for each side; the arguments by keyword are those of `MatrixFactorization`.

    Args:
        split: Factors `user_strength`, `item_strength`, `user_bias_strength`, `item_bias_strength` on `reg_lambda` and
            `bias_reg_lambda`; `user_exponent` and `item_exponent`, added to `reg_exponent`; and `bias_exponent`, by
            which the penalty of a bias grows with the number of ratings.
    """

    def __init__(self, n_users: int, n_items: int, split: dict[str, float], **arguments: Any) -> None:
        super().__init__(n_users, n_items, **arguments)
        self.split = split

    def init_from_data(self, rows: RatingRows) -> None:
        super().init_from_data(rows)
        of = self.split.get
        user, item, _ = (column.cpu().numpy() for column in rows.columns)
        weighed = any("bias" in name for name in self.split)
        for side, row, n in (("user", user, self.n_users), ("item", item, self.n_items)):
            weight, _ = penalty_weights(row, n, self.reg_exponent + of(f"{side}_exponent", 0.0))
            setattr(self, f"{side}_weight", of(f"{side}_strength", 1.0) * weight)
            if weighed:  # as what is added to each rating's share of a bias' penalty
                weight, _ = penalty_weights(row, n, of("bias_exponent", 1.0))
                factor = of(f"{side}_bias_strength", 1.0) * weight - 1
                shrinkage = self.bias_shrinkage * self.get_buffer(f"{side}_inverse_count")
                setattr(self, f"{side}_inverse_count", self.bias_reg_lambda * factor + shrinkage)
        if weighed:
            self.bias_shrinkage = 1.0


def fit(overrides: list[str], split: dict[str, float], seed: int) -> tuple[float, float]:
    """RMSE of validation and test rows by a fit on training rows."""
    with tempfile.TemporaryDirectory() as folder:
        cfg = configured([*overrides, f"seed={seed}", f"run_dir={folder}", "refit=none", "~callbacks.progress"])
        with open_dict(cfg):
            cfg.model["_target_"] = "benchmarks.regularization.SplitPenalty"
            cfg.model["split"] = split
            cfg.model["_convert_"] = "all"
        (Path(folder) / "checkpoints").mkdir()
        data = build_data(cfg)
        data.prepare_data()
        data.setup()
        selection, model = select(cfg, data, Path(folder), list(instantiate(cfg.logger).values()))
        value = selection.figures[RMSE.validation_key]
        assert value is not None
        return float(value), float(evaluate(make_bundle(model, data, value))["test/rmse"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ml-100k-root")
    parser.add_argument("--ml-1m-root")
    parser.add_argument("--only", default="", help="rows whose name has this text, such as ml_1m")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    arguments = parser.parse_args()
    quiet_libraries()
    for data, experiment in EXPERIMENTS.items():
        root = getattr(arguments, f"{data}_root")
        for change, split in CHANGES.items():
            if arguments.only not in f"{data} {change}":
                continue
            overrides = [f"experiment={experiment}", *([f"data.root={root}"] if root else [])]
            overrides += AVERAGED if "averaged" in change else []
            found = np.round([fit(overrides, split, seed) for seed in arguments.seeds], 5)
            entry = {
                "name": f"{data} {change}", "experiment": experiment, "seeds": arguments.seeds,
                "val_rmse": found[:, 0].tolist(), "test_rmse": found[:, 1].tolist(),
                **provenance("benchmarks.regularization", sys.argv[1:]),
            }  # fmt: skip
            keep(entry, FILE, ("name",))
            print(f"| {entry['name']} | {found[:, 0].mean():.4f} | {found[:, 1].mean():.4f} |", flush=True)


if __name__ == "__main__":
    main()
