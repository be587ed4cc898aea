"""Models fitted in sweeps: closed-form updates (or draws) of users given items and items given users.

And what they share with all others that have no gradients.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from recsys.bundle import Bundle
from recsys.data.batches import Batch, RatingRows
from recsys.data.datamodule import RatingDataModule
from recsys.data.ids import IdMap
from recsys.evaluation.baselines import fit_biases
from recsys.models.base import RatingModel, rows_or_mean
from recsys.models.normal_equations import NormalEquations
from recsys.models.validation import check_range

PRECISIONS = ("32-true", "64-true")
START_STD = 0.1  # of the initial embeddings, in units^1/2


class FullBatchModel(RatingModel):
    """A model without gradients, whose training step takes all ratings at once."""

    full_batch: ClassVar[bool] = True

    def __init__(self, n_users: int, n_items: int, rating_min: float, rating_max: float, seed: int) -> None:
        super().__init__(n_users, n_items, rating_min, rating_max, seed)
        self.automatic_optimization = False

    def setup(self, stage: str) -> None:
        trainer = self.trainer
        if stage == "fit" and trainer.world_size > 1 and not self.spans_processes:
            raise ValueError(f"trainer.devices must be 1, as {self.name} needs all ratings, got {trainer.world_size}")
        if stage == "fit" and trainer.precision not in PRECISIONS:
            raise ValueError(f"trainer.precision must be one of {', '.join(PRECISIONS)}, got {trainer.precision}")
        super().setup(stage)

    def configure_optimizers(self) -> Optimizer:
        return _NoSteps(self.parameters())

    def count_step(self) -> None:
        """Count a training step, as Lightning's `global_step`, which ModelCheckpoint needs."""
        optimizer = self.optimizers()
        assert not isinstance(optimizer, list)
        optimizer.step()


class SweepModel(FullBatchModel):
    """A factorization whose epochs are sweeps; each solves for, or draws, one side after the other.

    All parameters are in stars. The last coordinate of a row is its bias: `user_rows (n_users, embedding_dim + 1)`,
    `item_rows (n_items, embedding_dim + 1)`; `mu ()` is the mean rating. Where several processes share a fit, each
    solves for some of the rows, and has all of them.

    Args:
        n_users: Users the model is fitted on.
        n_items: Items the model is fitted on.
        rating_min: Lowest rating of the scale, in stars.
        rating_max: Highest rating of the scale, in stars.
        embedding_dim: Length of `p_u` and `q_i`, at least 1.
        warm_start: Folder of a bundle of any model, whose factors initialize rows with the same ids; None: small random
            embeddings.
        seed: Seed of the initialization and all draws.
    """

    spans_processes: ClassVar[bool] = True

    def __init__(
        self,
        n_users: int,
        n_items: int,
        rating_min: float,
        rating_max: float,
        embedding_dim: int,
        warm_start: str | None,
        seed: int,
    ) -> None:
        super().__init__(n_users, n_items, rating_min, rating_max, seed)
        check_range("embedding_dim", embedding_dim, 1)
        self.width, self.warm_start = embedding_dim + 1, warm_start
        generator = torch.Generator().manual_seed(seed)
        self.user_rows, self.item_rows = (
            nn.Parameter(self._start(n, generator), requires_grad=False) for n in (n_users, n_items)
        )
        self.mu = nn.Parameter(torch.tensor(0.5 * (rating_min + rating_max)), requires_grad=False)
        self.sides: tuple[NormalEquations, NormalEquations] | None = None

    def _start(self, n: int, generator: torch.Generator) -> Tensor:
        """Small random embeddings and zero bias, `(n, e)`."""
        rows: Tensor = START_STD * self.unit**0.5 * torch.randn(n, self.width, generator=generator)
        rows[:, -1] = 0
        return rows

    @abstractmethod
    def sweep(self, users: NormalEquations, items: NormalEquations) -> Tensor:
        """Run one sweep over the ratings of both sides, in stars. Returns the mean squared training error, a scalar."""

    def setup(self, stage: str) -> None:
        self.sides = None  # of another fit's rows
        super().setup(stage)
        data = getattr(self.trainer, "datamodule", None)
        if stage == "fit" and self.warm_start is not None and isinstance(data, RatingDataModule):
            self._start_from(Bundle.load(self.warm_start), data)

    def _start_from(self, bundle: Bundle, data: RatingDataModule) -> None:
        """Copy the rows of common ids from the bundle's last sample, up to the smaller dimension."""
        factors = bundle.factors
        dim = min(self.width - 1, factors.user_factors.shape[2])
        sides: tuple[tuple[Tensor, IdMap, Mapping[Any, int], Any, Any], ...] = (
            (self.user_rows, data.users, bundle.user_row, factors.user_factors, factors.user_bias),
            (self.item_rows, data.items, bundle.item_row, factors.item_factors, factors.item_bias),
        )
        for rows, ids, known, embeddings, biases in sides:
            there = torch.tensor([known.get(value, len(biases)) for value in ids.values.tolist()])
            found = there < len(biases)
            rows[found, :dim] = torch.from_numpy(embeddings[there[found], -1, :dim])
            rows[found, -1] = torch.from_numpy(biases[there[found], -1])
        self.item_rows[:, -1] += float(factors.mu[-1]) - self.mu

    @torch.no_grad()
    def training_step(self, batch: Batch, batch_idx: int) -> None:
        if self.sides is None:
            self.sides = self.sides_of(batch.user, batch.item, self.known(batch))
        self.train_loss += self.sweep(*self.sides)
        self.count_step()

    def known(self, batch: Batch) -> Tensor | None:
        """What sweeps know of each rating, `(ratings,)`: its stars."""
        return self.stars(batch.rating)

    def sides_of(self, user: Tensor, item: Tensor, known: Tensor | None) -> tuple[NormalEquations, NormalEquations]:
        """The normal equations of users and of items, of ratings by their rows and what is known of them, `(ratings,)`.

        Ratings that are sorted by user take less memory.
        """
        n, m = self.n_users, self.n_items
        return NormalEquations(user, item, n, m, self.width, known), NormalEquations(
            item, user, m, n, self.width, known
        )

    def start_from_means(self, rows: RatingRows) -> None:
        """Initialize `mu` and the biases at the shrunk means of the rows."""
        user, item, rating = (column.cpu().numpy() for column in rows.columns)
        biases = fit_biases(user, item, rating, self.n_users, self.n_items, sweeps=2)  # rough: the sweeps refine them
        self.mu.fill_(self.rating_min + self.span * biases.mu)
        self.user_rows[:, -1] = self.span * torch.from_numpy(biases.user)
        self.item_rows[:, -1] = self.span * torch.from_numpy(biases.item)

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        """Predicted stars, unclipped, `(batch,)`; row -1 is treated as the average user or item."""
        return self.mu + linear_part(self.user_rows, self.item_rows, user, item)


class _NoSteps(Optimizer):
    """A no-op optimizer, since Lightning's `global_step` counts optimizer steps."""

    def __init__(self, parameters: Any) -> None:
        super().__init__(parameters, {"lr": 0.0})

    def step(self, closure: Any = None) -> Any:
        return closure() if closure is not None else None


def linear_part(users: Tensor, items: Tensor, user: Tensor, item: Tensor) -> Tensor:
    """`b_u + b_i + p_u . q_i` of pairs, `(batch,)`, from rows `(n, e)`; row -1 is the mean row."""
    p, q = rows_or_mean(user, users), rows_or_mean(item, items)
    return p[:, -1] + q[:, -1] + (p[:, :-1] * q[:, :-1]).sum(-1)


def design_of(rows: Tensor) -> tuple[Tensor, Tensor]:
    """The design matrix `[q, 1]` for the other side's rows, and the offsets (biases)."""
    design = rows.clone()
    design[:, -1] = 1
    return design, rows[:, -1]
