"""What a transformer over histories predicts: the next item, or the stars of the items that come.

A head has the items' side, which reads an event and scores it, and the loss.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from recsys.data.batches import RatingRows
from recsys.data.datamodule import RatingDataModule
from recsys.data.histories import HistoryBatch
from recsys.models.als import ALS
from recsys.models.attention.softmax import sampled_items, softmax_loss
from recsys.models.attribute_effects import AttributeEffects, with_biases, with_embeddings
from recsys.models.base import SPAN_IN_UNITS
from recsys.models.normal_equations import NormalEquations

START_STD = 0.02
FULL_SOFTMAX = 50_000  # items up to which all are in the loss
NEGATIVES = 8192  # that are drawn beyond
SWEEPS, ITEM_REG_LAMBDA = 8, 0.08  # of the ALS that items come from: best on validation rows of ML-1M
READ_STD = 0.3  # of the coordinates of an item where it is read
HORIZON = 50.0  # events ahead over which the weight of stars that are to be predicted falls by e


class Rows(NamedTuple):
    """Rows of all histories."""

    item: Tensor  # (rows,) int64
    rating: Tensor  # (rows,) on the [0, 1] scale


class Head(nn.Module, ABC):
    """The items' side of a model of histories, and its loss."""

    def describe(self, data: RatingDataModule) -> None:
        """Take what the data say of items besides ratings."""

    @abstractmethod
    def start_from(self, rows: RatingRows) -> None:
        """Start from the fitted rows, before the first epoch."""

    def make_place(self, state: Mapping[str, Any], prefix: str) -> None:
        """Make place for what of a state is not of every model."""

    @abstractmethod
    def items(self) -> Tensor:
        """`e_i`, `(n_items, dim)`."""

    @abstractmethod
    def biases(self) -> Tensor:
        """`b_i`, `(n_items,)`."""

    @abstractmethod
    def read(self, item: Tensor, rating: Tensor, known: Tensor | None) -> Tensor:
        """Embeddings of events, `(..., dim)`, but for rating and time.

        Args:
            item: Item rows, `(...)`.
            rating: On the [0, 1] scale, `(...)`.
            known: 0 where the rating is not to be known, `(...)`; None: all are.
        """

    @abstractmethod
    def write(self, state: Tensor) -> Tensor:
        """`[p, b]` of a user, `(..., dim + 1)`, from the last state of the transformer, `(..., dim)`."""

    @abstractmethod
    def loss(self, state: Tensor, batch: HistoryBatch, rows: Rows, generator: torch.Generator) -> Tensor:
        """The mean loss of a batch, a scalar.

        Args:
            state: After each row of the windows, `(windows, rows, dim)`.
            batch: The windows.
            rows: Of all histories.
            generator: For draws.
        """


class NextItem(Head):
    """Cross-entropy of the next item, over all or over a sample.

    Learned: `item_embedding (n_items, dim)` and `item_bias (n_items,)`, and those of items' attributes.
    """

    def __init__(self, n_items: int, dim: int, negatives: int | None, *, attributes: bool) -> None:
        super().__init__()
        self.with_attributes = attributes
        self.negatives = (0 if n_items <= FULL_SOFTMAX else NEGATIVES) if negatives is None else negatives
        self.item_embedding = nn.Parameter(START_STD * torch.randn(n_items, dim))
        self.item_bias = nn.Parameter(torch.zeros(n_items))
        self.item_attributes: AttributeEffects | None = None
        self.register_buffer("share", torch.full((n_items,), 1 / n_items))  # of the events

    def describe(self, data: RatingDataModule) -> None:
        if self.with_attributes:
            self.item_attributes = AttributeEffects.of_table(data.item_attributes(), *self.item_embedding.shape)

    @torch.no_grad()
    def start_from(self, rows: RatingRows) -> None:
        """Start biases at the logarithm of an item's share of the events."""
        count = torch.bincount(rows.columns.item, minlength=len(self.item_bias)).to(self.item_bias)
        self.get_buffer("share").copy_(count / count.sum().clamp(min=1))
        self.item_bias.copy_(torch.log((count + 1) / (count + 1).mean()))

    def make_place(self, state: Mapping[str, Any], prefix: str) -> None:
        self.item_attributes = AttributeEffects.of_state(
            state, f"{prefix}item_attributes.", self.item_embedding.shape[0]
        )

    def items(self) -> Tensor:
        return with_embeddings(self.item_embedding, self.item_attributes)

    def biases(self) -> Tensor:
        return with_biases(self.item_bias, self.item_attributes)

    def read(self, item: Tensor, rating: Tensor, known: Tensor | None) -> Tensor:
        return nn.functional.embedding(item, self.items())

    def write(self, state: Tensor) -> Tensor:
        return nn.functional.pad(state, (0, 1))

    def loss(self, state: Tensor, batch: HistoryBatch, rows: Rows, generator: torch.Generator) -> Tensor:
        vector, target = state[batch.is_target], rows.item[batch.row[batch.is_target] + 1]
        items, bias = self.items(), self.biases()
        if not self.negatives:
            return softmax_loss(vector, items, bias, target)
        chosen, place, log_chance = sampled_items(target, self.get_buffer("share"), self.negatives, generator)
        return softmax_loss(vector, items[chosen], bias[chosen] - log_chance, place)


class NextStars(Head):
    """Mean squared error of the stars of all items that come, less of those that are far ahead.

    Items come from a short ALS of the same rows, and stay as they are: what is learned is to make a user of a history.
    An event is read as `A e_i + d B e_i`, with d its rating less `mu + b_i`. All in units (`RatingModel.unit`).

    Learned: `own` A, `rated` B, and `output`, from the last state to `[p, b]`.
    """

    def __init__(self, n_users: int, n_items: int, dim: int, seed: int) -> None:
        super().__init__()
        self.n_users, self.seed = n_users, seed
        self.own, self.rated, self.output = (
            nn.Linear(dim, dim),
            nn.Linear(dim, dim, bias=False),
            nn.Linear(dim, dim + 1),
        )
        nn.init.normal_(self.output.weight, std=START_STD)
        nn.init.zeros_(self.output.bias)
        for name, shape in (("item_embedding", (n_items, dim)), ("item_bias", (n_items,)), ("mu", ())):
            self.register_buffer(name, torch.zeros(shape))

    @torch.no_grad()
    def start_from(self, rows: RatingRows) -> None:
        """Fit the items."""
        n_items, dim = self.get_buffer("item_embedding").shape
        user, item, rating = (column.cpu() for column in rows.columns)
        als = ALS(
            self.n_users, n_items, 0.0, SPAN_IN_UNITS, embedding_dim=dim, reg_lambda=ITEM_REG_LAMBDA, seed=self.seed
        )
        als.init_from_data(rows.to(torch.device("cpu")))
        sides = (
            NormalEquations(user, item, self.n_users, n_items, als.width),
            NormalEquations(item, user, n_items, self.n_users, als.width),
        )
        for _ in range(SWEEPS):
            als.sweep(*sides, SPAN_IN_UNITS * rating)
        embedding = als.item_rows[:, :-1]
        embedding *= READ_STD / embedding.std().clamp(min=1e-6)
        for name, value in (("item_embedding", embedding), ("item_bias", als.item_rows[:, -1]), ("mu", als.mu)):
            self.get_buffer(name).copy_(value)

    def items(self) -> Tensor:
        return self.get_buffer("item_embedding")

    def biases(self) -> Tensor:
        return self.get_buffer("item_bias")

    def level(self) -> Tensor:
        """What the average user gives each item, on the [0, 1] scale, `(n_items,)`."""
        return (self.get_buffer("mu") + self.biases()) / SPAN_IN_UNITS

    def read(self, item: Tensor, rating: Tensor, known: Tensor | None) -> Tensor:
        event, deviation = nn.functional.embedding(item, self.items()), SPAN_IN_UNITS * (rating - self.level()[item])
        deviation = deviation if known is None else deviation * known
        read: Tensor = self.own(event) + self.rated(event * deviation[..., None].to(event.dtype))
        return read

    def write(self, state: Tensor) -> Tensor:
        written: Tensor = self.output(state)
        return written

    def loss(self, state: Tensor, batch: HistoryBatch, rows: Rows, generator: torch.Generator) -> Tensor:
        written = self.write(state).to(self.items().dtype)  # (windows, rows, dim + 1)
        coming = batch.row + batch.is_target.long()  # whatever, where nothing is to be predicted
        item = rows.item[coming]
        predicted = torch.bmm(written[..., :-1], nn.functional.embedding(item, self.items()).mT) + written[..., -1:]
        predicted = predicted + (self.get_buffer("mu") + self.biases()[item])[:, None]  # (windows, rows, coming)
        error = predicted - SPAN_IN_UNITS * rows.rating[coming][:, None]
        place = torch.arange(batch.row.shape[1], device=batch.row.device)
        ahead = place - place[:, None]
        weight = torch.where(ahead >= 0, torch.exp(-ahead / HORIZON), 0) * batch.is_target[:, None]
        loss: Tensor = (weight * error.square()).sum() / weight.sum()
        return loss
