"""The encoder: a causal transformer that reads a history in order and says who its user is now. NumPy only.

    x_t = e_item + rating + gap + age (+ query gap),  then blocks,  then p = norm(x_last)

An event's item is read by the very factors that score it; its rating, the time since the event before and the time
since the first one are read in levels. Blocks are those of `recsys.models.attention.layers`, which trains them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from recsys.bundle.typing import Float32Array, IndexArray, Int64Array

__all__ = ["Encoder", "Events", "events_of", "rating_levels", "time_levels"]

RATING_LEVELS = 10  # of the scale, beside 0 for a rating that is not known
TIME_LEVELS = 40  # of a duration, beside 0 for one that is not known
TIME_STEPS = 1.3  # levels in which a duration doubles: the last begins at 20 years
EPSILON = 1e-5  # of the variance in a norm
POSITION_BASE = 10_000.0
MIN_WAVE, MAX_WAVE = 240.0, 4 * 365 * 86_400.0  # seconds, of the waves that times are read by
SETTINGS = ("heads", "max_length", "has_times")  # fields of an encoder that are no arrays
MOST = 1 << 20  # of the numbers among them
WINDOWS = 64  # histories that are encoded together at most, in pieces of as many rows
ROWS = 1 << 14


class Events(NamedTuple):
    """A history as the encoder reads it, the oldest first."""

    item: IndexArray  # (n,) item rows with factors
    rating: Int64Array  # (n,) levels, 0: not known
    gap: Int64Array  # (n,) level of the time since the event before, 0: there is none, or it is not known
    age: Int64Array  # (n,) level of the time since the first event
    time: Int64Array | None  # (n,) unix seconds


def rating_levels(rating: NDArray[np.floating]) -> Int64Array:
    """The level of ratings scaled to [0, 1]: 1 to `RATING_LEVELS`."""
    return np.asarray(1 + np.rint((RATING_LEVELS - 1) * np.clip(rating, 0, 1)), np.int64)


def time_levels(seconds: NDArray[np.integer]) -> Int64Array:
    """The level of durations: 1 for none, then in logarithmic steps."""
    known = np.maximum(seconds, 1).astype(np.float64)
    level = 2 + np.floor(TIME_STEPS * np.log2(known)).astype(np.int64)
    return np.where(seconds > 0, np.minimum(level, TIME_LEVELS), 1)


def events_of(
    item: IndexArray, rating: NDArray[np.floating] | None, time: NDArray[np.integer] | None, start: IndexArray
) -> Events:
    """Histories, user after user, as the encoder reads them.

    Args:
        item: Item rows, the oldest of each user first, `(n,)`.
        rating: Scaled to [0, 1], `(n,)`; None: not known.
        time: Unix seconds, ascending for each user, `(n,)`; None: not known.
        start: Where each user's begin, `(users,)` or more, ascending from 0.
    """
    unknown = np.zeros(len(item), np.int64)
    level = unknown if rating is None else rating_levels(rating)
    if time is None:
        return Events(item, level, unknown, unknown, None)
    start = start[start < len(item)]
    gap = time_levels(np.diff(time, prepend=time[:1]))
    gap[start] = 0
    first = np.repeat(start, np.diff(start, append=len(item)))
    return Events(item, level, gap, time_levels(time - time[first]), np.asarray(time, np.int64))


@dataclass(frozen=True, eq=False)
class Encoder:
    """The user side of a model of histories, as float32 arrays, and what is no array."""

    heads: int  # of attention
    max_length: int  # events that are read, the latest ones
    has_times: bool  # whether it was trained with times
    item_mean: Float32Array  # (dim,) added to an item's factors, which are centred
    user_mean: Float32Array  # (dim,) taken from the vectors, likewise
    rating: Float32Array  # (RATING_LEVELS + 1, dim)
    gap: Float32Array  # (TIME_LEVELS + 1, dim)
    age: Float32Array  # (TIME_LEVELS + 1, dim)
    attention_norm: Float32Array  # (blocks, 2, dim) scale and shift
    query: Float32Array  # (blocks, dim, dim)
    key: Float32Array  # (blocks, dim, dim)
    value: Float32Array  # (blocks, dim, dim)
    attention_gate: Float32Array  # (blocks, dim, dim)
    attention_out: Float32Array  # (blocks, dim, dim)
    feed_norm: Float32Array  # (blocks, 2, dim)
    feed_up: Float32Array  # (blocks, dim, hidden)
    feed_along: Float32Array  # (blocks, dim, hidden)
    feed_gate: Float32Array  # (blocks, dim, dim)
    feed_out: Float32Array  # (blocks, hidden, dim)
    norm: Float32Array  # (2, dim)
    query_gap: Float32Array | None = None  # (TIME_LEVELS + 1, dim): the time until the question

    @classmethod
    def of_settings(cls, settings: Mapping[str, Any], arrays: Mapping[str, Any]) -> Encoder:
        """From the settings in a manifest, and arrays by name.

        Raises:
            ValueError: A setting is missing, or not of its type or range.
        """
        heads, max_length, has_times = (settings.get(name) for name in SETTINGS)
        whole = all(type(value) is int and 1 <= value <= MOST for value in (heads, max_length))
        if not whole or type(has_times) is not bool:
            raise ValueError(f"the manifest's encoder is not valid: {settings!r:.80}")
        return cls(**{**arrays, "heads": heads, "max_length": max_length, "has_times": has_times})

    @property
    def settings(self) -> dict[str, Any]:
        """What is no array, as a manifest has it."""
        return {name: getattr(self, name) for name in SETTINGS}

    @property
    def dim(self) -> int:
        return len(self.item_mean)

    @property
    def blocks(self) -> int:
        return len(self.query)

    def arrays(self) -> dict[str, Float32Array]:
        """The arrays that there are, by name."""
        found = {part.name: getattr(self, part.name) for part in fields(self)}
        return {name: array for name, array in found.items() if isinstance(array, np.ndarray)}

    def vector(self, item_factors: Float32Array, events: Events, at: int | None = None) -> Float32Array:
        """Who the user is after their events, `(dim,)`; zeros, the average user, without any.

        Args:
            item_factors: Of all items, `(n_items, dim)`.
            events: In order.
            at: Unix seconds of the question, for a model with query times; None: not known.
        """
        n = len(events.item)
        if not n:
            return np.zeros(self.dim, np.float32)
        asked = None if at is None else np.array([at])
        return np.asarray(self.vectors(item_factors, events, np.array([n]), asked)[0])

    def vectors(
        self, item_factors: Float32Array, events: Events, known: Int64Array, at: Int64Array | None = None
    ) -> Float32Array:
        """Who the user was after their first n events, for many n, `(len(known), dim)`.

        Args:
            item_factors: Of all items, `(n_items, dim)`.
            events: In order.
            known: Numbers n of events, in [1, events].
            at: Unix seconds of each question, `(len(known),)`.
        """
        x = self._inputs(item_factors, events)
        found = np.empty((len(known), self.dim), np.float32)
        asked = self.query_gap is not None and at is not None and events.time is not None
        short = (known <= self.max_length) & (not asked)
        if short.sum() > 1:  # one pass gives all of these
            n = int(known[short].max())
            found[short] = self._encoded([x[:n]], [_part(events.time, slice(0, n))], every=True)[0][known[short] - 1]
        else:
            short[:] = False
        long = np.flatnonzero(~short)
        step = max(1, min(WINDOWS, ROWS // self.max_length))
        for start in range(0, len(long), step):
            place = long[start : start + step]
            rows = [slice(max(0, n - self.max_length), n) for n in known[place].tolist()]
            inputs = [x[row] for row in rows]
            if asked:
                assert at is not None
                assert events.time is not None
                assert self.query_gap is not None
                waited = time_levels(at[place] - events.time[known[place] - 1])
                for number, level in enumerate(waited.tolist()):
                    inputs[number] = inputs[number].copy()
                    inputs[number][-1] += self.query_gap[level]
            found[place] = self._encoded(inputs, [_part(events.time, row) for row in rows])
        return found

    def vectors_without(
        self, item_factors: Float32Array, item: IndexArray, rating: NDArray[np.floating] | None,
        time: NDArray[np.integer] | None, places: Sequence[int],
    ) -> Float32Array:  # fmt: skip
        """Who the user would be without one event each, `(len(places), dim)`, in one pass over all of them."""
        kept = [np.delete(np.arange(len(item)), place) for place in places]
        histories = [
            events_of(item[rows], _part(rating, rows), _part(time, rows), np.zeros(1, np.int64)) for rows in kept
        ]
        found = np.zeros((len(places), self.dim), np.float32)
        if len(item) < 2:
            return found
        last = slice(-self.max_length, None)
        inputs = [self._inputs(item_factors, events)[last] for events in histories]
        times = [_part(events.time, last) for events in histories]
        step = max(1, ROWS // len(inputs[0])) if inputs else 1
        for start in range(0, len(inputs), step):
            found[start : start + step] = self._encoded(inputs[start : start + step], times[start : start + step])
        return found

    def _inputs(self, item_factors: Float32Array, events: Events) -> Float32Array:
        """`x` before the first block, `(n, dim)`."""
        x: Float32Array = item_factors[events.item] + self.item_mean
        x += self.rating[events.rating]
        if self.has_times:
            x += self.gap[events.gap]
            x += self.age[events.age]
        return x

    def _encoded(
        self, inputs: list[Float32Array], times: Sequence[Int64Array | None], *, every: bool = False
    ) -> Float32Array:
        """The vectors after each window's last row, `(windows, dim)`, or after every row, `(windows, rows, dim)`."""
        length = np.array([len(x) for x in inputs])
        x = np.zeros((len(inputs), int(length.max()), self.dim), np.float32)
        for number, rows in enumerate(inputs):
            x[number, : len(rows)] = rows
        cos, sin = self._rotation(times, x.shape[1])
        last = None if every else length - 1
        for block in range(self.blocks):
            x = self._block(block, x, cos, sin, last if block == self.blocks - 1 else None)
        vectors: Float32Array = _normed(x if every or not self.blocks else x[:, 0], self.norm) - self.user_mean
        return vectors

    def _rotation(self, times: Sequence[Int64Array | None], rows: int) -> tuple[Float32Array, Float32Array]:
        """Cosines and sines by which a head's rows are turned, `(windows or 1, 1, rows, dim of a head / 2)`."""
        pairs = self.dim // self.heads // 2
        by_time = pairs // 2 if self.has_times else 0
        exponent = np.arange(pairs - by_time) / (pairs - by_time)
        angle = (np.arange(rows)[:, None] * POSITION_BASE**-exponent)[None]
        if by_time:
            waves = MIN_WAVE * (MAX_WAVE / MIN_WAVE) ** np.linspace(0, 1, by_time)
            turns = np.zeros((len(times), rows, by_time))
            for number, time in enumerate(times):
                if time is not None:
                    turns[number, : len(time)] = (time - time[0])[:, None] / waves
            turns -= np.floor(turns)
            angle = np.concatenate([np.broadcast_to(angle, (len(times), *angle.shape[1:])), 2 * np.pi * turns], -1)
        angle = angle[:, None]
        return np.cos(angle, dtype=np.float32), np.sin(angle, dtype=np.float32)

    @cached_property
    def _attention_in(self) -> Float32Array:
        """Key, value, query and gate in one matrix, `(blocks, dim, 4 * dim)`."""
        return np.concatenate([self.key, self.value, self.query, self.attention_gate], -1)

    @cached_property
    def _feed_in(self) -> Float32Array:
        """`(blocks, dim, 2 * hidden + dim)`."""
        return np.concatenate([self.feed_up, self.feed_along, self.feed_gate], -1)

    def _block(
        self, block: int, x: Float32Array, cos: Float32Array, sin: Float32Array, last: Int64Array | None
    ) -> Float32Array:
        """Rows after a block, `(windows, rows, dim)`; with `last` only that row of each window, `(windows, 1, dim)`."""
        dim, normed, window = self.dim, _normed(x, self.attention_norm[block]), np.arange(len(x))
        if last is None:
            found = normed @ self._attention_in[block]
            key, value, query, gate = np.split(found, 4, -1)
            cos_of_query, sin_of_query = cos, sin
        else:
            key, value = np.split(normed @ self._attention_in[block][:, : 2 * dim], 2, -1)
            asking = normed[window, last][:, None]
            query, gate = np.split(asking @ self._attention_in[block][:, 2 * dim :], 2, -1)
            of = np.minimum(window, len(cos) - 1)
            cos_of_query, sin_of_query = (turn[of, :, last][:, :, None] for turn in (cos, sin))
            x = x[window, last][:, None]
        query = _turned(self._by_head(query), cos_of_query, sin_of_query)
        score = query @ _turned(self._by_head(key), cos, sin).swapaxes(-1, -2)
        score *= np.float32((dim // self.heads) ** -0.5)
        rows = np.arange(key.shape[1])
        hidden = rows > rows[:, None] if last is None else rows > last[:, None, None, None]
        np.copyto(score, np.float32(-np.inf), where=hidden)
        score -= score.max(-1, keepdims=True)
        np.exp(score, out=score)
        score /= score.sum(-1, keepdims=True)
        attended = (score @ self._by_head(value)).swapaxes(1, 2).reshape(x.shape)
        x = x + (attended @ self.attention_out[block]) * _sigmoid(gate)
        hidden_dim = self.feed_up.shape[2]
        fed = _normed(x, self.feed_norm[block]) @ self._feed_in[block]
        up, along, gate = fed[..., :hidden_dim], fed[..., hidden_dim : 2 * hidden_dim], fed[..., 2 * hidden_dim :]
        after: Float32Array = x + ((up * _sigmoid(up) * along) @ self.feed_out[block]) * _sigmoid(gate)
        return after

    def _by_head(self, x: Float32Array) -> Float32Array:
        """`(windows, rows, dim)` as `(windows, heads, rows, dim of a head)`."""
        return x.reshape(*x.shape[:2], self.heads, -1).swapaxes(1, 2)


def _part(values: NDArray[Any] | None, rows: slice | IndexArray) -> NDArray[Any] | None:
    return None if values is None else values[rows]


def _normed(x: Float32Array, norm: Float32Array) -> Float32Array:
    """Layer normalization with `norm`, scale and shift."""
    centred: Float32Array = x - x.mean(-1, keepdims=True)
    variance = np.einsum("...d,...d->...", centred, centred)[..., None] / np.float32(x.shape[-1])
    centred *= norm[0] / np.sqrt(variance + np.float32(EPSILON))
    centred += norm[1]
    return centred


def _turned(x: Float32Array, cos: Float32Array, sin: Float32Array) -> Float32Array:
    """Rows of heads turned by their position and time."""
    first, second = np.split(x, 2, -1)
    return np.concatenate([first * cos - second * sin, first * sin + second * cos], -1)


def _sigmoid(x: Float32Array) -> Float32Array:
    with np.errstate(over="ignore"):  # of exp(-x), whose inverse is 0
        return np.asarray(1 / (1 + np.exp(-x)), np.float32)
