"""Bytes and RMSE of tables whose rows are as wide as their ratings justify, against one width for all.

    python -m benchmarks.widths [--ml-1m-root DIR] [--only TEXT] [--bundles-root DIR] [--ratings 25000000]

Each model is fitted on training rows; `compress=auto` chooses widths on validation rows; all are measured on the same
test rows. `one width` is the narrowest cut of the same model that validation RMSE allows; `trained` is a fit with as
many coordinates as the chosen widths have on average. With `--bundles-root` fitted models are kept and used again.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.comparison.results import DEVICE, RESULTS, keep, provenance
from benchmarks.synthetic import PowerLaw
from benchmarks.training import bundle_of
from recsys.bundle import Bundle
from recsys.bundle.compression import compressed_bundle, narrowed_bundle
from recsys.bundle.ratings import TEST
from recsys.bundle.typing import IndexArray
from recsys.bundle.widths import WidthRule
from recsys.evaluation.fit_widths import fit_widths

FILE = RESULTS / f"widths-{DEVICE}.json"
ON_TRAIN = ["refit=none", "~callbacks.progress", "seed=0"]
IN_THE_LONG_TAIL = ["model=als", "data=ml_25m", "data.split=random", "data.test_fraction=0.02"]
PLAN = {  # by name: overrides of a fit
    "ml_1m mf": ["experiment=ml_1m_mf"],
    "ml_1m als": ["experiment=ml_1m_als"],
    "long tail als": [*IN_THE_LONG_TAIL, "trainer.max_epochs=4"],
}


def fitted(name: str, folder: Path, overrides: list[str], ratings: int) -> tuple[Bundle, float]:
    """The bundle of a fit on training rows, from the folder if it is there, and seconds of the fit."""
    if not (folder / "bundle").exists():
        start = time.perf_counter()
        source = (lambda _: PowerLaw(ratings)) if name.startswith("long tail") else None
        bundle = bundle_of([*overrides, *ON_TRAIN], folder, source=source)
        seconds = round(time.perf_counter() - start, 1)
        replace(bundle, manifest=bundle.manifest | {"metrics": {"fit_seconds": seconds}}).save(folder / "bundle")
    bundle = Bundle.load(folder / "bundle")
    return bundle, float(bundle.manifest["metrics"]["fit_seconds"])


def test_rmse(bundle: Bundle) -> float:
    """RMSE of the test rows, in stars."""
    rated = np.flatnonzero(bundle.ratings.part == TEST)
    user: IndexArray = bundle.ratings.user_index()[rated]
    predicted = bundle.predict_rows(user, bundle.ratings.item[rated].astype(np.int64))
    return round(float(np.sqrt(np.mean((predicted.astype(np.float64) - bundle.ratings.rating[rated]) ** 2))), 5)


def stored_bytes(bundle: Bundle) -> int:
    """Size of the file of factors."""
    with tempfile.TemporaryDirectory() as folder:
        bundle.save(Path(folder) / "bundle")
        return (Path(folder) / "bundle" / "factors.safetensors").stat().st_size


def half(bundle: Bundle) -> Bundle:
    """The bundle with both tables rounded to 16 bits."""
    users, items = (
        table.astype(np.float16).astype(np.float32)
        for table in (bundle.factors.user_factors, bundle.factors.item_factors)
    )
    return replace(bundle, factors=replace(bundle.factors, user_factors=users, item_factors=items))


def measure(name: str, folder: Path, root: str | None, ratings: int) -> dict[str, Any]:
    overrides = PLAN[name] + ([f"data.root={root}"] if root and "ml_1m" in name else [])
    bundle, seconds = fitted(name, folder / name.replace(" ", "_"), overrides, ratings)
    dim = bundle.factors.item_factors.shape[2]
    start = time.perf_counter()
    principal = compressed_bundle(bundle, dim)
    rule, figures = fit_widths(principal)
    spent = round(time.perf_counter() - start, 1)
    uniform = round(figures["uniform_share"] * dim)
    cut = narrowed_bundle(principal, rule)
    rows = [
        ("all coordinates", dim, bundle, stored_bytes(bundle)),
        ("one width", uniform, narrowed_bundle(principal, WidthRule(uniform, 0.0, uniform, uniform)), None),
        ("widths by number of ratings", round(figures["share"] * dim, 1), cut, stored_bytes(cut)),
        ("all coordinates in 16 bits", dim, half(bundle), None),
        ("widths in 16 bits", round(figures["share"] * dim, 1), half(cut), None),
    ]
    measured = [
        {"what": what, "mean_width": width, "table_share": round(width / dim * (0.5 if "16" in what else 1), 4),
         "file_bytes": size, "test_rmse": test_rmse(one)}
        for what, width, one, size in rows
    ]  # fmt: skip
    if "ml_1m" in name:
        narrow = max(1, round(figures["share"] * dim))
        trained, _ = fitted(name, folder / f"{name.replace(' ', '_')}_{narrow}",
                            [*overrides, f"model.embedding_dim={narrow}"], ratings)  # fmt: skip
        measured.append({"what": "trained with that many", "mean_width": narrow, "table_share": round(narrow / dim, 4),
                         "file_bytes": stored_bytes(trained), "test_rmse": test_rmse(trained)})  # fmt: skip
    return {
        "name": name, "train_command": " ".join(["python -m recsys.train", *PLAN[name], *ON_TRAIN, "compress=auto"]),
        "rows": measured, "rule": rule._asdict(), "validation": figures, "fit_seconds": seconds,
        "choosing_seconds": spent, "users": bundle.n_users, "items": bundle.n_items,
        "ratings": len(bundle.ratings.item), "torch": torch.__version__,
        "threads": torch.get_num_threads(), **provenance("benchmarks.widths", sys.argv[1:]),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ml-1m-root")
    parser.add_argument("--only", default="", help="models whose name has this text")
    parser.add_argument("--bundles-root", type=Path, help="folder of fitted models")
    parser.add_argument("--ratings", type=int, default=25_000_000, help="of the long tail")
    arguments = parser.parse_args()
    folder = arguments.bundles_root or Path(tempfile.mkdtemp(prefix="widths-"))
    try:
        for name in PLAN:
            if arguments.only in name:
                entry = measure(name, folder, arguments.ml_1m_root, arguments.ratings)
                keep(entry, FILE, ("name",))
                print(json.dumps(entry, indent=1), flush=True)
    finally:
        if arguments.bundles_root is None:
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
