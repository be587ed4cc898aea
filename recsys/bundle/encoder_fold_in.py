"""Fold-in by an encoder: what it makes of a history is the user, or of stars is added to their ridge fold-in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys.bundle.encoder import Encoder
from recsys.bundle.encoder_events import Events, events_of, slope_at
from recsys.bundle.factors import UserVector
from recsys.bundle.fold_in import FoldIn, RidgeFoldIn, fold_in
from recsys.bundle.running_fold_ins import running_fold_ins
from recsys.bundle.typing import Float32Array, IndexArray

__all__ = ["EncoderFoldIn"]

REASONS = 16  # of the latest events, for each of which the history is encoded without it
START = np.zeros(1, np.int64)


@dataclass(frozen=True, eq=False, repr=False)
class EncoderFoldIn(FoldIn):
    """A user of a model with an encoder, from their events in order of time, the latest last."""

    encoder: Encoder
    scale: tuple[float, float]  # of the ratings, in stars
    attributes: IndexArray | None  # positions among the attributes; None: not known
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
    def solved(self) -> RidgeFoldIn | None:
        """The fold-in that the encoder adds to; None if it says all of a user."""
        return fold_in(self.model, self.items, self.rating, self.attributes) if self.encoder.adds else None

    @cached_property
    def encoded(self) -> Float32Array:
        """What the encoder says, `(width,)`."""
        return self._sloped(self.encoder.vector(self.model.concatenated_items, self.events, self.at), len(self.items))

    def _sloped(self, found: Float32Array, events: NDArray[np.integer] | int) -> Float32Array:
        """What comes out of the encoder as it counts after so many events, `(..., width)`."""
        if self.encoder.slope is None:
            return found
        return found * slope_at(self.encoder.slope, np.minimum(events, self.encoder.max_length))[..., None]

    @cached_property
    def vector(self) -> UserVector:
        """What the encoder makes of the history, added to the fold-in where there is one."""
        start = self.model.user(-1) if self.solved is None else self.solved.vector
        return _plus(start, self.encoded)._replace(cold_start=False) if len(self.items) else start

    def running_vectors(self, known: NDArray[np.int64], at: NDArray[Any] | None) -> Iterator[tuple[slice, UserVector]]:
        """As `Scoring.running_vectors`: before the first event, the average user or the one of the attributes."""
        none = int(np.searchsorted(known, 1))
        if none:
            yield slice(0, none), replace(self, items=self.items[:0], rating=self.rating[:0], time=None).vector
        if none == len(known):
            return
        asked = None if at is None else at[none:]
        found = self.encoder.vectors(self.model.concatenated_items, self.events, known[none:], asked)
        found = self._sloped(found, known[none:])
        starts: Iterable[tuple[slice, UserVector]] = [(slice(0, len(found)), self.model.user(-1))]
        if self.encoder.adds:
            starts = running_fold_ins(self.model, self.items, self.rating, known[none:], self.attributes)
        for piece, start in starts:
            yield slice(none + piece.start, none + piece.stop), _plus(start, found[piece])._replace(cold_start=False)

    @property
    def is_encoded(self) -> bool:
        """Whether the history is encoded already, or nothing has to be."""
        return not len(self.items) or "encoded" in self.__dict__

    @staticmethod
    def encode_together(people: Sequence[EncoderFoldIn]) -> None:
        """Encode the histories of people of one model in one pass; each is what `encoded` would have found alone."""
        encoder, table = people[0].encoder, people[0].model.concatenated_items
        for one, found in zip(people, encoder.vectors_of(table, [one.events for one in people]), strict=True):
            one.__dict__["encoded"] = one._sloped(found, len(one.items))  # as `cached_property` keeps it

    def contributions(self, targets: IndexArray) -> tuple[Float32Array, Float32Array]:
        """What the encoder's part of the scores would lose without each of the latest `REASONS` ratings.

        Where it adds to a fold-in, the exact parts of that are in them, and those of all ratings.

        Args:
            targets: Item rows, `(t,)`.

        Returns:
            `base (t,)`, the scores without ratings, and the `contributions (t, n)`; these are differences of a
            model that is not linear, so they need not add up to the score.
        """
        model, n = self.model, len(self.items)
        if self.solved is not None:
            base, parts = self.solved.contributions(targets)
        else:
            base = np.asarray(model.mu.mean() + model.item_bias[targets].mean(1), np.float32)
            parts = np.zeros((len(targets), n), np.float32)
        if n:
            table, places = model.concatenated_items, range(max(0, n - REASONS), n)
            others = self.encoder.vectors_without(table, self.items, self.scaled, self.time, places, self.at)
            others = self._sloped(others, n - 1)
            lost = (self.encoded - others).reshape(len(places), model.samples, -1)  # (places, samples, dim + 1)
            mean = np.float32(1 / model.samples)
            parts[:, places.start :] += mean * (table[targets] @ lost[:, :, :-1].reshape(len(places), -1).T)
            parts[:, places.start :] += lost[:, :, -1].mean(1)
        return base, parts


def _plus(start: UserVector, found: Float32Array) -> UserVector:
    """A user's vector, or that of the average user, plus what comes out of an encoder, `(..., width)`."""
    added = found.reshape(*found.shape[:-1], start.bias.shape[-1], -1)  # (..., samples, dim + 1)
    return start._replace(bias=start.bias + added[..., -1], factors=start.factors + added[..., :-1])
