"""What a transformer over histories predicts: here the next item; the stars of what comes are in `stars`.

A head has the items' side, which reads an event and scores it, and the loss.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from recsys.data.batches import RatingRows
from recsys.data.datamodule import RatingDataModule
from recsys.data.histories import Histories, HistoryBatch
from recsys.models.attention.softmax import sampled_items, softmax_loss
from recsys.models.attribute_effects import AttributeEffects, with_biases, with_embeddings

START_STD = 0.02
FULL_SOFTMAX = 50_000  # items up to which all are in the loss
NEGATIVES = 8192  # that are drawn beyond


class Rows(NamedTuple):
    """Rows of all histories."""

    item: Tensor  # (rows,) int64
    rating: Tensor  # (rows,) on the [0, 1] scale


class Head(nn.Module, ABC):
    """The items' side of a model of histories, and its loss."""

    @abstractmethod
    def describe(self, data: RatingDataModule, histories: Histories) -> None:
        """Take what the data say of items, and what is made of all fitted rows, before the first epoch or a resume."""

    def start_from(self, rows: RatingRows) -> None:
        """Start from the fitted rows, before the first epoch."""

    @abstractmethod
    def make_place(self, state: Mapping[str, Any], prefix: str) -> None:
        """Make place for what of a state is not of every model."""

    @abstractmethod
    def items(self) -> Tensor:
        """`e_i`, `(n_items, dim)`."""

    @abstractmethod
    def biases(self) -> Tensor:
        """`b_i`, `(n_items,)`."""

    @abstractmethod
    def users(self) -> Tensor:
        """`[p, b]` of the fitted users, to which what is written of them is added, `(n_users, coordinates + 1)`."""

    @abstractmethod
    def read(self, row: Tensor, item: Tensor, rating: Tensor, known: Tensor | None) -> Tensor:
        """Embeddings of events, `(..., dim)`, but for rating and time.

        Args:
            row: Of the histories, `(...)`.
            item: Item rows, `(...)`.
            rating: On the [0, 1] scale, `(...)`.
            known: 0 where the rating is not to be known, `(...)`; None: all are.
        """

    @abstractmethod
    def write(self, state: Tensor) -> Tensor:
        """Added to `[p, b]` of a user, `(..., coordinates + 1)`, from the transformer's last state, `(..., dim)`."""

    def added(self, state: Tensor, events: Tensor) -> Tensor:
        """What outside training is added to `[p, b]` of users, after so many events, `(users, coordinates + 1)`.

        Args:
            state: After each user's last event, `(users, dim)`.
            events: Of each user, `(users,)`.
        """
        return self.write(state)

    @property
    def is_calibrated(self) -> bool:
        """Whether what is learned outside training is of the weights as they are."""
        return True

    def calibrate(self, encoded: Callable[[Tensor], Tensor], rows: Rows, most: int) -> None:
        """Learn what is learned outside training.

        Args:
            encoded: Gives the state after each row of windows, `(windows, rows, dim)`, for rows of the histories.
            rows: Of all histories.
            most: Events that are read at most.
        """

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

    def __init__(self, n_users: int, n_items: int, dim: int, negatives: int | None, *, attributes: bool) -> None:
        super().__init__()
        self.n_users = n_users
        self.with_attributes = attributes
        self.negatives = (0 if n_items <= FULL_SOFTMAX else NEGATIVES) if negatives is None else negatives
        self.item_embedding = nn.Parameter(START_STD * torch.randn(n_items, dim))
        self.item_bias = nn.Parameter(torch.zeros(n_items))
        self.item_attributes: AttributeEffects | None = None
        self.register_buffer("share", torch.full((n_items,), 1 / n_items))  # of the events

    def describe(self, data: RatingDataModule, histories: Histories) -> None:
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

    def users(self) -> Tensor:
        n_users, width = self.n_users, self.item_embedding.shape[1] + 1
        return self.item_bias.new_zeros(n_users, width)

    def read(self, row: Tensor, item: Tensor, rating: Tensor, known: Tensor | None) -> Tensor:
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
