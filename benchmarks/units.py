"""Whether models are free of the rating scale: MovieLens 100K in stars, and with 20 r - 7 for every rating r.

    python -m benchmarks.units --data-root FOLDER [--only mf als …]

Each model is trained by its defaults, `bayesian_mf` also with the options that matter to units. No option is changed
between the two scales, so that RMSE / 20 of the second should be the RMSE of the first.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.comparison.results import DEVICE, RESULTS, provenance, write
from benchmarks.training import bundle_of
from recsys.data.columns import RATING
from recsys.data.sources.base import RatingData, RatingsSource
from recsys.evaluation.evaluate import evaluate

FACTOR, SHIFT = 20.0, -7.0
MODELS = {
    "mf": ["model=mf"],
    "mf, batch norm, dropout": ["model=mf", "model.batch_norm=true", "model.dropout=0.2"],
    "svdpp": ["model=svdpp"],
    "als": ["model=als"],
    "biases": ["model=biases"],
    "bayesian_mf": ["model=bayesian_mf"],
    "bayesian_mf, ordinal, drift": ["model=bayesian_mf", "model.likelihood=ordinal", "model.drift=15"],
}


class Rescaled(RatingsSource):
    """Another source's ratings r as `FACTOR r + SHIFT`."""

    def __init__(self, source: RatingsSource) -> None:
        self.source, self.name = source, source.name

    def prepare(self) -> None:
        self.source.prepare()

    def read(self) -> RatingData:
        data = self.source.read()
        moved = (FACTOR * data.ratings[RATING].to_numpy(np.float64) + SHIFT).astype(np.float32)
        low, high = (FACTOR * end + SHIFT for end in (data.rating_min, data.rating_max))
        ratings = data.ratings.assign(**{RATING: moved})
        return replace(data, ratings=ratings, rating_min=low, rating_max=high, sha256="")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-root", type=Path, required=True, help="folder of MovieLens 100K")
    parser.add_argument("--only", nargs="+", choices=MODELS)
    arguments = parser.parse_args()
    file = RESULTS / f"units-{DEVICE}.json"
    rows: list[dict[str, Any]] = []
    for name in arguments.only or MODELS:
        rows.append(compared(name, arguments.data_root))
        print("{model:28} {rmse:.7f} {rescaled:.7f} {difference:+.1e}".format(**rows[-1]), flush=True)
    if not arguments.only:
        of = provenance("benchmarks.units", sys.argv[1:])
        write({**of, "factor": FACTOR, "shift": SHIFT, "rows": rows}, file)
    print(f"largest difference: {max(abs(row['difference']) for row in rows):.1e}")


def compared(name: str, root: Path) -> dict[str, Any]:
    """Test RMSE in stars, and of the rescaled ratings divided by the factor."""
    overrides = ["data=ml_100k", f"data.root={root}", *MODELS[name]]
    found = []
    for change in (None, Rescaled):
        with tempfile.TemporaryDirectory() as folder:
            figures = evaluate(bundle_of(overrides, Path(folder), source=change))
        found.append(float(figures["test/rmse"] or 0.0))
    rmse, rescaled = found[0], found[1] / FACTOR
    return {"model": name, "rmse": rmse, "rescaled": rescaled, "difference": rescaled - rmse}


if __name__ == "__main__":
    main()
