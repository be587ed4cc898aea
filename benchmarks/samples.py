"""How many posterior samples pay for their size: `python -m benchmarks.samples [--data ml_100k ml_1m]`.

One chain a data set, by its experiment, fitted on training rows; of its samples so many are kept, evenly spaced, and in
the end all of them are compressed to one (`recsys.bundle.compression`). RMSE is of validation and of test rows,
times are of one pair, of a user's ten best items and of folding a user in: means over some users, the
fastest of a few rounds.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.comparison.results import DEVICE, RESULTS, keep, provenance
from benchmarks.fold_in import fastest, speed
from recsys.bundle import TEST, VAL, Bundle
from recsys.bundle.compression import compressed_bundle
from recsys.bundle.factors import Factors
from recsys.bundle.schema import FACTOR_SPECS

FILE = RESULTS / f"samples-{DEVICE}.json"
SAMPLES = (1, 4, 16, 32, 64, 128)
COMPRESSED = (16, 32, 64, 128)  # coordinates
CHAIN = {  # as the experiments have it, but for more samples
    "ml_100k": ("model.burn_in=16", "model.thin=3", "trainer.max_epochs=400"),
    "ml_1m": ("model.burn_in=16", "model.thin=2", "trainer.max_epochs=272"),
}
PAIRS = 200


def chain(data: str, root: str | None, folder: Path) -> tuple[Bundle, str]:
    """The bundle of the command, and the command."""
    overrides = [f"experiment={data}_bayesian_mf", *CHAIN[data], "refit=none"]
    command = [sys.executable, "-m", "recsys.train", *overrides, f"hydra.run.dir={folder}/run"]
    command += [f"data.root={root}"] if root else []
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=RESULTS.parent.parent)
    return Bundle.load(folder / "run" / "bundle"), f"python -m recsys.train {' '.join(overrides)}"


def of_samples(factors: Factors, number: NDArray[np.int64]) -> Factors:
    """The factors with these samples alone."""
    axes = {name: axis for name, spec in FACTOR_SPECS.items() if (axis := spec.sample_axis) is not None}
    return replace(factors, **{
        name: np.ascontiguousarray(array.take(number, axis))
        for name, axis in axes.items() if (array := getattr(factors, name)) is not None
    })  # fmt: skip


def spaced(total: int, count: int) -> NDArray[np.int64]:
    """So many of all samples, evenly spaced, the last one among them."""
    return (np.arange(1, count + 1) * total) // count - 1


def variants(bundle: Bundle) -> Iterator[tuple[str, Bundle]]:
    """The bundle with fewer samples, then with all of them as one."""
    total = bundle.factors.samples
    for count in SAMPLES:
        if count <= total:
            yield f"{count}", replace(bundle, factors=of_samples(bundle.factors, spaced(total, count)))
    noise = rmse(bundle, VAL)
    for dim in COMPRESSED:
        yield f"{total} as one of {dim} coordinates", compressed_bundle(bundle, dim, noise)


def rmse(bundle: Bundle, part: int) -> float:
    """Of a part's ratings, in stars."""
    rows = np.flatnonzero(bundle.ratings.part == part)
    predicted = bundle.predict_rows(bundle.ratings.user_index()[rows], bundle.ratings.item[rows].astype(np.int64))
    return float(np.sqrt(np.square(predicted - bundle.ratings.rating[rows], dtype=np.float64).mean()))


def measured(bundle: Bundle) -> dict[str, Any]:
    """RMSE, size and milliseconds."""
    users = np.random.default_rng(0).choice(bundle.n_users, min(bundle.n_users, PAIRS), replace=False)
    pairs = {int(user): bundle.item_ids[int(user) % bundle.n_items].item() for user in users}
    took = speed(bundle, seed=0, users=50, repeat=3)
    with tempfile.TemporaryDirectory() as folder:
        bundle.save(Path(folder) / "bundle")
        size = (Path(folder) / "bundle" / "factors.safetensors").stat().st_size
    return {
        "val_rmse": round(rmse(bundle, VAL), 5), "test_rmse": round(rmse(bundle, TEST), 5),
        "factors_mb": round(size / 1e6, 1), "fold_in_ms": took["fold_in"], "top10_ms": took["top10"],
        "predict_ms": fastest(lambda user: bundle.predict([bundle.user_ids[user].item()], [pairs[user]]),
                              [*pairs], repeat=3),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", choices=list(CHAIN), default=list(CHAIN))
    parser.add_argument("--ml-100k-root")
    parser.add_argument("--ml-1m-root")
    arguments = parser.parse_args()
    for data in arguments.data:
        with tempfile.TemporaryDirectory() as folder:
            bundle, command = chain(data, getattr(arguments, f"{data}_root"), Path(folder))
        for name, one in variants(bundle):
            entry = {"data": data, "samples": name, "dim": int(one.factors.item_factors.shape[2]),
                     "split": bundle.manifest["split"], "chain": command, **measured(one),
                     **provenance("benchmarks.samples", sys.argv[1:])}  # fmt: skip
            keep(entry, FILE, ("data", "samples"))
            print(*(f"{what} {entry[what]}" for what in ("data", "samples", "val_rmse", "test_rmse")), flush=True)


if __name__ == "__main__":
    main()
