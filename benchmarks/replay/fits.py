"""Fit a model on the ratings that have arrived so far: `python -m benchmarks.replay.fits STREAM STOP BUNDLE ...`.

A process of its own, so that what it takes of the processor is known, from the start of Python to the saved bundle.
"""

from __future__ import annotations

import argparse
import logging
import warnings
from pathlib import Path

import lightning as L
import numpy as np
import pandas as pd
import torch

from benchmarks.replay.stream import Stream
from recsys.bundle import TEST
from recsys.data.columns import ITEM_ID, RATING, TIMESTAMP, USER_ID
from recsys.data.datamodule import RatingDataModule
from recsys.data.rating_data import RatingData
from recsys.data.sources.base import RatingsSource
from recsys.models.als import ALS
from recsys.training.export import make_bundle

# Of conf/experiment/ml_1m_als, but for two: of dimensions 16 to 64, 24 has the lowest RMSE on the last 7% of the
# ratings before the first step, and a pseudo-count of biases makes the prior of a new row that of the fit.
SETTINGS = {
    "embedding_dim": 24,
    "reg_lambda": 0.08,
    "reg_exponent": 0.5,
    "bias_reg_lambda": 0.01,
    "bias_shrinkage": 5.0,
}
HELD_OUT = 0.05  # of the ratings, at random, of which the noise is measured


class Arrived(RatingsSource):
    """The first ratings of a stream.

    Args:
        stream: It.
        stop: How many.
    """

    def __init__(self, stream: Stream, stop: int) -> None:
        self.name, self.stream, self.stop = stream.name, stream, stop

    def prepare(self) -> None:
        """They are in memory."""

    def read(self) -> RatingData:
        stream, stop = self.stream, self.stop
        frame = pd.DataFrame({
            USER_ID: stream.user_id[:stop], ITEM_ID: stream.item_id[:stop],
            RATING: stream.rating[:stop], TIMESTAMP: stream.timestamp[:stop],
        })  # fmt: skip
        return RatingData(self.name, frame, 1.0, 5.0)


def fitted(data: RatingDataModule, sweeps: int, warm_start: str | None = None) -> ALS:
    """The model, after so many sweeps over `data.fit_rows`."""
    model = ALS(len(data.users), len(data.items), 1.0, 5.0, warm_start=warm_start, **SETTINGS)  # type: ignore[arg-type]
    trainer = L.Trainer(
        max_epochs=sweeps, accelerator="cpu", limit_val_batches=0, logger=False, enable_progress_bar=False,
        enable_checkpointing=False, enable_model_summary=False, log_every_n_steps=1000,
    )  # fmt: skip
    trainer.fit(model, datamodule=data)
    return model


def measured_noise(data: RatingDataModule, sweeps: int) -> float:
    """The RMSE of held-out ratings, in stars."""
    data = data.with_fit_on("train_val")
    bundle = make_bundle(fitted(data, sweeps), data)
    rows = np.flatnonzero(bundle.ratings.part == TEST)
    user, item = bundle.ratings.user_index()[rows], bundle.ratings.item[rows].astype(np.int64)
    known = (user < bundle.n_users) & (item < bundle.n_items)
    errors = bundle.predict_rows(user[known], item[known]) - bundle.ratings.rating[rows][known]
    return float(np.sqrt(np.square(errors, dtype=np.float64).mean()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("stream", type=Path)
    parser.add_argument("stop", type=int, help="how many ratings have arrived")
    parser.add_argument("bundle", type=Path, help="folder to write")
    parser.add_argument("--sweeps", type=int, required=True)
    parser.add_argument("--noise", type=float, help="of a rating, in stars; measured by default")
    parser.add_argument("--warm-start", metavar="BUNDLE")
    arguments = parser.parse_args()
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    source = Arrived(Stream.load(arguments.stream), arguments.stop)
    data = RatingDataModule(source, split="random", test_fraction=HELD_OUT)
    data.setup()
    noise = measured_noise(data, arguments.sweeps) if arguments.noise is None else arguments.noise
    data = data.with_fit_on("all")
    bundle = make_bundle(fitted(data, arguments.sweeps, arguments.warm_start), data, noise)
    bundle.save(arguments.bundle)


if __name__ == "__main__":
    main()
