"""Base class of all models: rating scale, metrics and export to plain arrays."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from lightning import LightningModule
from numpy.typing import NDArray
from torch import Tensor

from recsys.bundle.encoder import Encoder
from recsys.bundle.factors import Factors
from recsys.data.batches import Batch, RatingRows, epoch_seed
from recsys.data.datamodule import RatingDataModule
from recsys.evaluation.registry import RMSE, Metric
from recsys.models.held_out_users import validate_held_out_users
from recsys.models.rating_errors import RatingErrors
from recsys.models.validation import check_range

LEGACY_BUFFERS = {"weight_of_one": "single_rating_weight", "penalty_of_one": "single_rating_weight"}  # of 0.1
SPAN_IN_UNITS = 4.0  # rating_max - rating_min, in the unit of penalties and priors: see `RatingModel.unit`


def to_float64(tensor: Tensor) -> NDArray[np.float64]:
    """A tensor as a NumPy array of float64."""
    return np.asarray(tensor.detach().double().cpu())


def rows_or_mean(row: Tensor, table: Tensor) -> Tensor:
    """Rows of a table, `(batch,)` or `(batch, dim)`; for -1 the mean row, which centred factors have at zero."""
    known, taken = row >= 0, table[row.clamp(min=0)]
    return torch.where(known if table.ndim == 1 else known[:, None], taken, table.mean(0))


def _upgrade_state(module: torch.nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """Make the module and a state fit: sizes that come from the data, names of older checkpoints, what they lack."""
    for name in getattr(module, "sized_by_state", ()):
        if prefix + name in state:
            setattr(module, name, module.get_buffer(name).new_empty(len(state[prefix + name])))
    for old, new in LEGACY_BUFFERS.items():
        if prefix + old in state:
            state[prefix + new] = state.pop(prefix + old)
    single = f"{prefix}item_single_rating_weight"
    if hasattr(module, "item_single_rating_weight") and single not in state:
        state[single] = _single_item_weight(state, prefix, float(getattr(module, "reg_exponent", 1.0)))


def _single_item_weight(state: dict[str, Any], prefix: str, exponent: float) -> Tensor:
    """The penalty's weight for an item with one rating, from what the penalties of all rows were made of.

    A row with n ratings has the weight `single n^(exponent - 1)` per rating (`item_weight`) or `single n^exponent`
    (`item_penalty`), and both sides have the same number of ratings.
    """
    weight, penalty = (state.get(f"{prefix}item_{name}") for name in ("weight", "penalty"))
    if exponent == 1:
        return torch.ones(())
    if penalty is not None:
        total = penalty.double().sum()
        single = penalty.max() if exponent == 0 else ((penalty.double() ** (1 / exponent)).sum() / total) ** exponent
    elif weight is not None:
        power, of_user = 1 / (exponent - 1), state[f"{prefix}single_rating_weight"].double()
        counts = (state[f"{prefix}user_weight"].double() / of_user) ** power
        single = ((weight.double() ** power).sum() / counts.sum()) ** (1 / power)
    else:
        single = 1.0
    return torch.as_tensor(single).float()


class RatingModel(LightningModule, ABC):
    """Base class of models fitted by gradient descent (`GradientModel`) or in closed-form sweeps (`SweepModel`).

    Ratings in batches are scaled to [0, 1]; losses, metrics and `forward` are in stars.

    Args:
        n_users: Users the model is fitted on.
        n_items: Items the model is fitted on.
        rating_min: Lowest rating of the scale, in stars.
        rating_max: Highest rating of the scale, in stars.
        seed: Seed of all random draws.
    """

    name: str  # in `metrics.json` and the bundle; a run sets it to the name of the model's YAML file
    task: str = "rating"
    monitor: Metric = RMSE  # validation metric for early stopping, model selection and comparison of runs
    full_batch: ClassVar[bool] = False  # whether a training step uses all rows, in order
    spans_processes: ClassVar[bool] = False  # whether several processes can share a fit
    sized_by_state: ClassVar[tuple[str, ...]] = ()  # buffers as long as those of a state that is loaded
    batches_of_items: ClassVar[bool] = False  # whether a training batch has all ratings of its items
    history_length: int = 0  # rows of the windows of histories in a training batch; 0: it has single ratings
    one_epoch: ClassVar[bool] = False  # whether one epoch fits the model, so that more would change nothing
    selected_by: str | None = None  # logged metric that selects the epoch, as `monitor` would; None: that one
    select_last_epoch: bool = False  # whether to select the last epoch regardless of its validation metric
    factors_of_epoch: ClassVar[bool] = True  # whether `factors()` are those of the epoch that was just validated
    patience: int | None = 8  # epochs without improvement before early stopping; None: never stopped early
    bias_shrinkage: float = 0.0  # pseudo-count of a bias of 0; 0: an export adds a prior of new users' biases
    fold_in_target: float | None = None  # regression target of every item in a fold-in that ignores the ratings

    def __init__(self, n_users: int, n_items: int, rating_min: float, rating_max: float, seed: int) -> None:
        super().__init__()
        check_range("n_users", n_users, 1)
        check_range("n_items", n_items, 1)
        check_range("seed", seed, 0)
        if not rating_min < rating_max:
            raise ValueError(f"rating_max must be > rating_min = {rating_min}, got {rating_max}")
        self.n_users, self.n_items, self.seed = n_users, n_items, seed
        self.rating_min, self.rating_max, self.span = rating_min, rating_max, rating_max - rating_min
        self.generator = torch.Generator()
        self.train_loss = torch.zeros(())
        each = not self.full_batch  # else all processes have all rows
        self.val_errors, self.test_errors = RatingErrors(sync_on_compute=each), RatingErrors(sync_on_compute=each)
        self.register_load_state_dict_pre_hook(_upgrade_state)  # type: ignore[no-untyped-call]

    def __setattr__(self, name: str, value: Any) -> None:
        """Bypass Module for one name that Lightning sets forty times per step, which would take 5% of a step."""
        if name == "_current_fx_name":
            self.__dict__[name] = value
        else:
            super().__setattr__(name, value)

    @abstractmethod
    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        """Predicted stars, unclipped, `(batch,)`; row -1 is an unseen user or item."""

    @abstractmethod
    def factors(self) -> Factors:
        """The trained model as plain arrays in stars, with user and item factors centred."""

    def encoder(self) -> Encoder | None:
        """By what a new user's history becomes a vector; None if by the prior, or item weights, of `factors`."""
        return None

    def set_artifact_dir(self, folder: Path, name: str) -> None:
        """Set the folder, and a part of the file names, of artifacts that are too large for checkpoints."""

    def missing_artifact(self, checkpoint: dict[str, Any]) -> str | None:
        """Which artifact of the checkpoint is missing or cut short, in words; None if all are there."""
        return None

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore extra content of a checkpoint; called before the state is loaded."""
        if "bias_shrinkage" not in checkpoint.get("hyper_parameters", {"bias_shrinkage": None}):
            self.bias_shrinkage = 0.0  # of a version without it

    @property
    def unit(self) -> float:
        """A quarter of the rating scale, in stars: the unit of penalties and priors, to be independent of the scale."""
        return self.span / SPAN_IN_UNITS

    def unit_of(self, metric: str) -> float:
        """What 1 unit of a logged metric is in stars, or in stars squared for a loss; 1 for a metric without stars."""
        power = {"rmse": 1, "mae": 1, "loss": 2}.get(metric.rpartition("/")[2], 0) if self.task == "rating" else 0
        return float(self.unit**power)

    def mean_train_loss(self) -> Tensor:
        """Mean training loss of the epoch in stars squared, a scalar."""
        return self.train_loss / self.trainer.num_training_batches

    def stars(self, rating: Tensor) -> Tensor:
        """Ratings in [0, 1] as stars."""
        return self.rating_min + self.span * rating

    def init_from_data(self, rows: RatingRows) -> None:
        """Initialise from the training rows, before the first epoch. Does nothing by default."""

    def setup(self, stage: str) -> None:
        """Initialize from the data. Runs before a checkpoint is loaded, which overwrites the result on a resume."""
        data = getattr(self.trainer, "datamodule", None)
        if stage == "fit" and isinstance(data, RatingDataModule):
            self.init_from_data(data.fit_data)

    def on_train_epoch_start(self) -> None:
        """Reseed the generator from seed and epoch (and rank), so that a resume needs no generator state."""
        self.generator = torch.Generator(self.device)
        stream = 0 if self.full_batch else self.global_rank  # processes of a sweep draw the same
        self.generator.manual_seed(epoch_seed(self.seed, self.current_epoch, 1 + stream))
        self.train_loss = torch.zeros((), device=self.device)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        loss = self._evaluate(batch, self.predicted(batch, batch_idx), self.val_errors)
        self.log("val/loss", loss, on_epoch=True, batch_size=len(batch.user), sync_dist=not self.full_batch)

    def on_validation_epoch_end(self) -> None:
        """Log validation metrics and training loss here, since `on_train_epoch_end` runs after the checkpoint."""
        if self.trainer.state.fn == "fit":
            self.log("train/loss", self.mean_train_loss(), sync_dist=not self.full_batch)
        figures, data = self.val_errors.compute(), getattr(self.trainer, "datamodule", None)
        if isinstance(data, RatingDataModule) and self.factors_of_epoch:
            folded = validate_held_out_users(self, data) or {}
            figures |= {name: torch.tensor(value) for name, value in folded.items() if value is not None}
        self.log_dict({"val/rmse": figures["rmse"].float(), "val/mae": figures["mae"].float()})
        self.val_errors.reset()

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        self._evaluate(batch, self.predicted(batch, batch_idx), self.test_errors)

    def on_test_epoch_end(self) -> None:
        figures = self.test_errors.compute()
        self.log_dict({f"test/{name}": value.float() for name, value in figures.items()})
        self.test_errors.reset()

    def predicted(self, batch: Batch, batch_idx: int) -> Tensor:
        """Predictions for validation and test, in stars, `(batch,)`."""
        predicted: Tensor = self(batch.user, batch.item)
        return predicted

    def _evaluate(self, batch: Batch, predicted: Tensor, errors: RatingErrors) -> Tensor:
        """Add a batch to the metrics. Returns its mean squared error in stars squared, with unclipped predictions."""
        rating = self.stars(batch.rating)
        warm = (batch.user >= 0) & (batch.item >= 0)
        errors.update(predicted.clamp(self.rating_min, self.rating_max), rating, warm)
        return torch.nn.functional.mse_loss(predicted, rating)
