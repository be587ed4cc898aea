"""Fold-in by an encoder: somebody is what it makes of their history, and nothing is solved."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys.bundle.encoder import Encoder
from recsys.bundle.encoder_events import Events, events_of
from recsys.bundle.factors import UserVector
from recsys.bundle.fold_in import FoldIn
from recsys.bundle.typing import Float32Array, IndexArray

__all__ = ["EncoderFoldIn"]

REASONS = 16  # of the latest events, for each of which the history is encoded without it
START = np.zeros(1, np.int64)


@dataclass(frozen=True, eq=False)
class EncoderFoldIn(FoldIn):
    """A user of a model with an encoder, from their events in order of time, the latest last."""

    encoder: Encoder
    scale: tuple[float, float]  # of the ratings, in stars
    time: NDArray[Any] | None  # (n,) unix seconds; None: not known
    at: int | None = None  # unix seconds of the question; None: not known

    @cached_property
    def scaled(self) -> Float32Array:
        """Ratings on the [0, 1] scale, `(n,)`."""
        low, high = self.scale
        return np.asarray((self.rating - np.float32(low)) / np.float32(high - low), np.float32)

    @cached_property
    def events(self) -> Events:
        """As the encoder reads them."""
        return events_of(self.items, self.scaled, self.time, START)

    @cached_property
    def vector(self) -> UserVector:
        """What the encoder makes of the history."""
        if not len(self.items):
            return self.model.user(-1)
        return self._vector_of(self.encoder.vector(self.model.item_factors[:, 0], self.events, self.at))

    def running_vectors(self, known: NDArray[np.int64], at: NDArray[Any] | None) -> Iterator[tuple[slice, UserVector]]:
        """As `Scoring.running_vectors`: the average user before the first event."""
        none = int(np.searchsorted(known, 1))
        if none:
            yield slice(none), self.model.user(-1)
        if none < len(known):
            asked = None if at is None else at[none:]
            found = self.encoder.vectors(self.model.item_factors[:, 0], self.events, known[none:], asked)
            yield slice(none, len(known)), UserVector(found[:, -1:], found[:, None, :-1])

    @property
    def is_encoded(self) -> bool:
        """Whether the vector is known already, or nothing has to be computed for it."""
        return not len(self.items) or "vector" in self.__dict__

    @staticmethod
    def encode_together(people: Sequence[EncoderFoldIn]) -> None:
        """Find the vectors of people of one model in one pass; each is what `vector` would have found alone."""
        encoder, table = people[0].encoder, people[0].model.item_factors[:, 0]
        for one, found in zip(people, encoder.vectors_of(table, [one.events for one in people]), strict=True):
            one.__dict__["vector"] = one._vector_of(found)  # as `cached_property` keeps it

    def contributions(self, targets: IndexArray) -> tuple[Float32Array, Float32Array]:
        """What the scores would lose without each of the latest `REASONS` ratings; see `FoldIn`.

        Args:
            targets: Item rows, `(t,)`.

        Returns:
            `base (t,)`, the scores of the average user, and the `contributions (t, n)`; these are differences of a
            model that is not linear, so they need not add up to the score.
        """
        model, n = self.model, len(self.items)
        parts = np.zeros((len(targets), n), np.float32)
        base = np.asarray(model.mu.mean() + model.item_bias[targets].mean(1), np.float32)
        if n:
            table, places = model.item_factors[:, 0], range(max(0, n - REASONS), n)
            others = self.encoder.vectors_without(table, self.items, self.scaled, self.time, places, self.at)
            lost = np.append(self.vector.factors, self.vector.bias[:, None], 1) - others  # (places, dim + 1)
            parts[:, places.start :] = table[targets] @ lost[:, :-1].T + lost[:, -1]
        return base, parts

    def _vector_of(self, found: Float32Array) -> UserVector:
        return UserVector(found[-1:], found[None, :-1])
