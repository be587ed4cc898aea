"""The encoder: a causal transformer that reads a history in order and says who its user is now. NumPy only.

    x_t = e_item + rating + gap + age (+ query gap),  then blocks,  then p = norm(x_last)

An event's item is read by the very factors that score it; its rating, the time since the event before and the time
since the first one are read in levels. Blocks are those of `recsys.models.attention.layers`, which trains them. Of a
model that predicts stars, what comes out is added to the `[p, b]` of the ridge fold-in (`EncoderFoldIn`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from recsys.bundle.encoder_events import Events, events_of, time_levels
from recsys.bundle.encoder_layers import Rotations, normed, sigmoid, turned
from recsys.bundle.typing import Float32Array, IndexArray, Int64Array

__all__ = ["Encoder"]

QUARTERS = 4  # of the scale: the unit of deviations
POSITION_BASE = 10_000.0
MIN_WAVE, MAX_WAVE = 240.0, 4 * 365 * 86_400.0  # seconds, of the waves that times are read by
SETTINGS = ("heads", "max_length", "has_times")  # fields of an encoder that are no arrays
RANKING_ARRAYS = ("user_mean",)  # of a task alone
STARS_ARRAYS = ("own", "rated", "level", "output", "output_shift", "slope")
MOST = 1 << 20  # of the numbers among them
WINDOWS = 64  # histories that are encoded together at most, in pieces of as many rows
ROWS = 1 << 14


class Past(NamedTuple):
    """Keys and values of rows in a block."""

    key: Float32Array  # (windows, heads, rows, dim of a head)
    value: Float32Array


@dataclass(frozen=True, eq=False)
class Encoder:
    """The user side of a model of histories, as float32 arrays, and what is no array."""

    heads: int  # of attention
    max_length: int  # events that are read, the latest ones
    has_times: bool  # whether it was trained with times
    item_mean: Float32Array  # (coordinates,) added to an item's factors, of all samples, which are centred
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
    user_mean: Float32Array | None = None  # (dim,) taken from the vectors, which are centred, of a model that ranks
    # Of a model that predicts stars:
    own: Float32Array | None = None  # (coordinates, dim) what an item is read by
    rated: Float32Array | None = None  # (coordinates, dim) and, times the deviation of its rating from its level
    level: Float32Array | None = None  # (items,) what the average user gives, on the [0, 1] scale
    output: Float32Array | None = None  # (dim, width) from the last state to what is added to [p, b]
    output_shift: Float32Array | None = None  # (width,)
    slope: Float32Array | None = None  # (KNOTS,) by which this is multiplied, by the number of events

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
        return int(self.norm.shape[1])

    @property
    def coordinates(self) -> int:
        """Of an item that is read."""
        return len(self.item_mean)

    @property
    def width(self) -> int:
        """Numbers that come out: `[p, b]` of each sample."""
        return self.dim + 1 if self.output_shift is None else len(self.output_shift)

    @property
    def adds(self) -> bool:
        """Whether what comes out is added to a fold-in."""
        return self.output is not None

    @property
    def blocks(self) -> int:
        return len(self.query)

    def arrays(self) -> dict[str, Float32Array]:
        """The arrays that there are, by name."""
        found = {part.name: getattr(self, part.name) for part in fields(self)}
        return {name: array for name, array in found.items() if isinstance(array, np.ndarray)}

    @property
    def weights(self) -> int:
        """Numbers in the matrices, by each of which an event is multiplied once."""
        matrices = [array for array in self.arrays().values() if array.ndim == 3]
        return int(sum(array.size for array in (*matrices, self.own, self.rated, self.output) if array is not None))

    def work(self, events: int) -> int:
        """Multiplications that a history of so many events takes."""
        n = min(events, self.max_length)
        return n * self.weights + 2 * self.blocks * self.dim * n * n

    @property
    def working_bytes(self) -> int:
        """Memory that encoding takes at most."""
        rows = max(ROWS, self.max_length)
        coordinates = (
            3 * self.coordinates
            + self.width
            + 8 * self.dim
            + 3 * int(self.feed_up.shape[2])
            + 2 * self.heads * self.max_length
        )
        return 4 * rows * coordinates

    def vector(self, item_factors: Float32Array, events: Events, at: int | None = None) -> Float32Array:
        """`[p, b]` of each sample of a user after their events, or what is added to it, `(width,)`; zeros without any.

        Args:
            item_factors: Of all items, `(n_items, coordinates)`.
            events: In order.
            at: Unix seconds of the question, for a model with query times; None: not known.
        """
        n = len(events.item)
        if not n:
            return np.zeros(self.width, np.float32)
        asked = None if at is None else np.array([at])
        return np.asarray(self.vectors(item_factors, events, np.array([n]), asked)[0])

    def vectors(
        self, item_factors: Float32Array, events: Events, known: Int64Array, at: Int64Array | None = None
    ) -> Float32Array:
        """As `vector`, after their first n events, for many n, `(len(known), width)`.

        Args:
            item_factors: Of all items, `(n_items, coordinates)`.
            events: In order.
            known: Numbers n of events, in [1, events].
            at: Unix seconds of each question, `(len(known),)`.
        """
        unread = max(0, int(known.min(initial=len(events.item))) - self.max_length)
        events, known = events.part(slice(unread, None)), known - unread
        x = self._inputs(item_factors, events)
        found = np.empty((len(known), self.width), np.float32)
        alone = (known > self.max_length) | (self.query_gap is not None)
        if (~alone).sum() > 1:  # one pass gives all of these
            short = known[~alone]
            n = int(short.max())
            found[~alone] = self._encoded([x[:n]], [_part(events.time, slice(0, n))], every=True)[0][short - 1]
        else:
            alone[:] = True
        long = np.flatnonzero(alone)
        step = max(1, min(WINDOWS, ROWS // self.max_length))
        for start in range(0, len(long), step):
            place = long[start : start + step]
            rows = [slice(max(0, n - self.max_length), n) for n in known[place].tolist()]
            asked = [None] * len(rows) if at is None else at[place].tolist()
            parts = [(x[row], events.part(row)) for row in rows]
            windows = [self._window(*part, when) for part, when in zip(parts, asked, strict=True)]
            found[place] = self._encoded(*zip(*windows, strict=True))
        return found

    def vectors_of(self, item_factors: Float32Array, histories: Sequence[Events]) -> Float32Array:
        """As `vector`, of several people with events, at a time that is not known, one row each."""
        read = [events.part(slice(max(0, len(events.item) - self.max_length), None)) for events in histories]
        step = max(1, ROWS // max(len(events.item) for events in read))
        found = []
        for start in range(0, len(read), step):
            windows = [self._window(self._inputs(item_factors, one), one, None) for one in read[start : start + step]]
            found.append(self._encoded(*zip(*windows, strict=True)))
        return np.concatenate(found)

    def vectors_without(
        self, item_factors: Float32Array, item: IndexArray, rating: NDArray[np.floating] | None,
        time: NDArray[np.integer] | None, places: Sequence[int], at: int | None = None,
    ) -> Float32Array:  # fmt: skip
        """As `vector`, without one event each, `(len(places), width)`, in one pass over all of them.

        Args:
            item_factors: Of all items, `(n_items, coordinates)`.
            item: Item rows in order, `(n,)`.
            rating: Scaled to [0, 1], `(n,)`; None: not known.
            time: Unix seconds, `(n,)`; None: not known.
            places: Of the events that are left out.
            at: As in `vector`.
        """
        found = np.zeros((len(places), self.width), np.float32)
        n = len(item)
        if n < 2 or not len(places):
            return found
        window, first = max(0, n - self.max_length), min(places)
        whole = events_of(item, rating, time, np.zeros(1, np.int64))
        shared = slice(window, max(window, first - 1))  # the time until the first one left out is the next one's
        past = None
        if shared.start < shared.stop:
            known = whole.part(slice(window, first))
            before, _ = self._window(self._inputs(item_factors, known), known, None)
            past = self._past(before[:-1], _part(whole.time, shared))
        windows = []
        for place in places:
            kept = np.delete(np.arange(n), place)
            events = events_of(item[kept], _part(rating, kept), _part(time, kept), np.zeros(1, np.int64))
            rows = events.part(slice(max(shared.stop, window), n - 1))
            windows.append(self._window(self._inputs(item_factors, rows), rows, at))
        began = None if time is None or past is None else int(time[window])
        return self._encoded(*zip(*windows, strict=True), past=past, began=began)

    def _inputs(self, item_factors: Float32Array, events: Events) -> Float32Array:
        """`x` before the first block, `(n, dim)`."""
        x: Float32Array = item_factors[events.item] + self.item_mean
        if self.own is not None and self.rated is not None:
            read = x @ self.own
            if events.scaled is not None:
                read += (x * self._deviation(events.item, events.scaled)[:, None]) @ self.rated
            x = read
        x += self.rating[events.rating]
        if self.has_times:
            x += self.gap[events.gap]
            x += self.age[events.age]
        return x

    def _deviation(self, item: IndexArray, scaled: NDArray[np.floating]) -> Float32Array:
        """Ratings less what the average user gives, in quarters of the scale; 0 for an item that was not fitted."""
        assert self.level is not None
        known = item < len(self.level)
        away = scaled - self.level[np.where(known, item, 0)]
        return np.asarray(np.where(known, QUARTERS * away, 0), np.float32)

    def _window(self, x: Float32Array, events: Events, at: int | None) -> tuple[Float32Array, Int64Array | None]:
        """The inputs `x` of a window of events, and their times; the last one is asked at `at`."""
        if self.query_gap is None:
            return x, events.time
        level = np.append(events.gap[1:], 0)
        if at is not None and events.time is not None:
            level[-1:] = time_levels(at - events.time[-1:])
        return np.asarray(x + self.query_gap[level], np.float32), events.time

    def _encoded(
        self,
        inputs: Sequence[Float32Array],
        times: Sequence[Int64Array | None],
        *,
        every: bool = False,
        past: list[Past] | None = None,
        began: int | None = None,
    ) -> Float32Array:
        """As `vector`, after each window's last row, `(windows, width)`, or each row, `(windows, rows, ...)`.

        Args:
            inputs: Of each window, `(rows, dim)`.
            times: Unix seconds, likewise; None: not known.
            every: Whether after every row.
            past: What came before, the same for all windows, block by block.
            began: Unix seconds of the first row of that.
        """
        length = np.array([len(x) for x in inputs])
        x = np.zeros((len(inputs), int(length.max()), self.dim), np.float32)
        for number, rows in enumerate(inputs):
            x[number, : len(rows)] = rows
        turns = self._turns(times, x.shape[1], 0 if past is None else past[0].key.shape[2], began)
        for block in range(self.blocks):
            last = length - 1 if block == self.blocks - 1 and not every else None
            x, _ = self._block(block, x, turns, last, None if past is None else past[block])
        state = normed(x if every else x[:, 0], self.norm)
        if self.output is not None and self.output_shift is not None:
            return np.asarray(state @ self.output + self.output_shift, np.float32)
        assert self.user_mean is not None
        return np.concatenate([state - self.user_mean, np.zeros((*state.shape[:-1], 1), np.float32)], -1)

    def _past(self, x: Float32Array, time: Int64Array | None) -> list[Past]:
        """Keys and values of rows, block by block, for those that come after them."""
        turns, found, rows = self._turns([time], len(x), 0, None), [], x[None]
        for block in range(self.blocks):
            rows, past = self._block(block, rows, turns, None, None)
            found.append(past)
        return found

    def _turns(self, times: Sequence[Int64Array | None], rows: int, before: int, began: int | None) -> Rotations:
        """Cosines and sines by which a head's rows are turned, `(windows or 1, 1, rows, dim of a head / 2)`.

        Args:
            times: Unix seconds of the windows' rows; None: not known.
            rows: Of the windows.
            before: Rows before them.
            began: Unix seconds of the first of these.
        """
        pairs = self.dim // self.heads // 2
        by_time = pairs // 2 if self.has_times else 0
        exponent = np.arange(pairs - by_time) / (pairs - by_time)
        angle = (np.arange(before, before + rows)[:, None] * POSITION_BASE**-exponent)[None]
        if by_time:
            waves = MIN_WAVE * (MAX_WAVE / MIN_WAVE) ** np.linspace(0, 1, by_time)
            turns = np.zeros((len(times), rows, by_time))
            for number, time in enumerate(times):
                if time is not None:
                    turns[number, : len(time)] = (time - (time[0] if began is None else began))[:, None] / waves
            turns -= np.floor(turns)
            angle = np.concatenate([np.broadcast_to(angle, (len(times), *angle.shape[1:])), 2 * np.pi * turns], -1)
        angle = angle[:, None]
        return Rotations(np.cos(angle, dtype=np.float32), np.sin(angle, dtype=np.float32))

    @cached_property
    def _attention_in(self) -> Float32Array:
        """Key, value, query and gate in one matrix, `(blocks, dim, 4 * dim)`."""
        return np.concatenate([self.key, self.value, self.query, self.attention_gate], -1)

    @cached_property
    def _feed_in(self) -> Float32Array:
        """`(blocks, dim, 2 * hidden + dim)`."""
        return np.concatenate([self.feed_up, self.feed_along, self.feed_gate], -1)

    def _block(
        self, block: int, x: Float32Array, turns: Rotations, last: Int64Array | None, past: Past | None
    ) -> tuple[Float32Array, Past]:
        """Rows after a block, `(windows, rows, dim)`, and their keys and values.

        Args:
            block: Which.
            x: Rows before it, `(windows, rows, dim)`.
            turns: Of the rows.
            last: The row of each window that is wanted, `(windows,)`, for `(windows, 1, dim)`; None: all.
            past: Of rows before all windows.
        """
        dim, level, window = self.dim, normed(x, self.attention_norm[block]), np.arange(len(x))
        turns_of_query = turns
        if last is None:
            key, value, query, gate = np.split(level @ self._attention_in[block], 4, -1)
        else:
            key, value = np.split(level @ self._attention_in[block][:, : 2 * dim], 2, -1)
            asking = level[window, last][:, None]
            query, gate = np.split(asking @ self._attention_in[block][:, 2 * dim :], 2, -1)
            of = np.minimum(window, len(turns.cos) - 1)
            turns_of_query = Rotations(*(turn[of, :, last][:, :, None] for turn in turns))
            x = x[window, last][:, None]
        own = Past(turned(self._by_head(key), turns), self._by_head(value))
        keys, values = own if past is None else (
            np.concatenate([np.broadcast_to(old, (len(x), *old.shape[1:])), new], 2)
            for old, new in zip(past, own, strict=True)
        )  # fmt: skip
        before = keys.shape[2] - key.shape[1]
        score = turned(self._by_head(query), turns_of_query) @ keys.swapaxes(-1, -2)
        score *= np.float32((dim // self.heads) ** -0.5)
        asked = np.arange(key.shape[1])[:, None] if last is None else last[:, None, None, None]
        hidden = np.arange(keys.shape[2]) > before + asked
        np.copyto(score, np.float32(-np.inf), where=hidden)
        score -= score.max(-1, keepdims=True)
        np.exp(score, out=score)
        score /= score.sum(-1, keepdims=True)
        attended = (score @ values).swapaxes(1, 2).reshape(x.shape)
        x = x + (attended @ self.attention_out[block]) * sigmoid(gate)
        hidden_dim = self.feed_up.shape[2]
        fed = normed(x, self.feed_norm[block]) @ self._feed_in[block]
        up, along, gate = fed[..., :hidden_dim], fed[..., hidden_dim : 2 * hidden_dim], fed[..., 2 * hidden_dim :]
        after: Float32Array = x + ((up * sigmoid(up) * along) @ self.feed_out[block]) * sigmoid(gate)
        return after, own

    def _by_head(self, x: Float32Array) -> Float32Array:
        """`(windows, rows, dim)` as `(windows, heads, rows, dim of a head)`."""
        return x.reshape(*x.shape[:2], self.heads, -1).swapaxes(1, 2)


def _part(values: NDArray[Any] | None, rows: slice | IndexArray) -> NDArray[Any] | None:
    return None if values is None else values[rows]
