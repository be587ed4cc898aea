"""Lists of one bundle in any order: what they are sorted by, which items may be in them, and what is shown."""

from __future__ import annotations

from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from recsys.bundle.attribute_shares import attribute_shares
from recsys.bundle.choice import ChoiceModel, chances
from recsys.bundle.diversity import CANDIDATES, diverse
from recsys.bundle.factors import Factors, UserVector
from recsys.bundle.ranking import Order, check_order, settings_of
from recsys.bundle.ratings import LAST_PART
from recsys.bundle.scoring import Scoring
from recsys.bundle.sides import take_items
from recsys.bundle.svd import narrow_rows
from recsys.bundle.topk import argtopk, check_k
from recsys.bundle.typing import Float32Array, Float64Array, IndexArray

__all__ = ["RankedItems", "Ranker"]

SMALLEST = np.float32(1e-30)  # of which a logarithm is taken
LIKING_SCALE = (1, 5)  # of the stars in a liking, whatever the data's
MOST_KEPT = 2  # thresholds whose items are kept apart
DIRECTIONS = 64  # coordinates of an item's direction at most
NOTHING = np.zeros(0, np.int64)


class RankedItems(NamedTuple):
    """A list, best first."""

    rows: IndexArray  # (k,) item rows
    scores: Float32Array  # (k,) what the list is ordered by; they never increase
    stars: Float32Array | None  # (k,) predictions; None of a ranking model


class _Items(NamedTuple):
    """Some items of a bundle, with what their liking is made of."""

    rows: IndexArray | None  # in the bundle; None: all
    position: IndexArray  # of each item of the bundle's data among these, -1 for others
    factors: Factors
    constant: Float32Array  # of the utilities
    constant_cold: Float32Array  # and of those of somebody without ratings
    choice: ChoiceModel

    def of_all(self, values: NDArray[Any]) -> NDArray[Any]:
        """Those of these items, of values of every item."""
        return values if self.rows is None else values[self.rows]

    def places(self, rows: IndexArray) -> IndexArray:
        """Where the items of these rows are, of those that are."""
        found = self.position[rows]
        return found[found >= 0]


class Ranker:
    """Orders the items of a bundle.

    Args:
        bundle: With the model.
        counts: Ratings of each item with factors, `(n_items,)`; None: those that the model was fitted on.
    """

    def __init__(self, bundle: Scoring, counts: Float64Array | None = None) -> None:
        self.bundle, self.settings = bundle, settings_of(bundle.manifest)
        self.counts = fitted_counts(bundle) if counts is None else counts
        self._kept: dict[int, _Items] = {}

    def order(self, rank_by: str | None = None, min_ratings: int | None = None, diversity: float = 0.0) -> Order:
        """The order that is asked for; the bundle's default for what is None. See `check_order`."""
        bundle = self.bundle
        if rank_by is None and min_ratings is None and not diversity:
            return self._default
        return check_order(
            self.settings, rank_by, min_ratings, diversity, is_ranking=bundle.is_ranking, samples=bundle.factors.samples
        )

    def top(
        self,
        vector: UserVector,
        k: int,
        order: Order,
        *,
        history: IndexArray = NOTHING,
        seen: IndexArray | None = None,
        allowed: NDArray[np.bool_] | None = None,
        boost: Float32Array | None = None,
        scores: Float32Array | None = None,
    ) -> RankedItems:
        """A user's k best items.

        Args:
            vector: The user.
            k: At least 1; fewer items come back where fewer are left.
            order: Of this bundle.
            history: Rows of the items that the user has rated, the latest last.
            seen: Item rows to exclude; those without factors are ignored.
            allowed: Whether an item may be chosen, `(n_items,)`.
            boost: Added to the score of each item, `(n_items,)`; to the logarithm of a `liking`.
            scores: What the list is sorted by in the place of the order's, `(n_items,)`; overwritten.

        Raises:
            ValueError: `k` is below 1.
            TypeError: `k` is not an integer.
        """
        check_k(k)
        bundle = self.bundle
        if order.rank_by == "liking" and scores is None:
            return self._by_liking(vector, k, order, history, seen, allowed, boost)
        if order.min_ratings:
            enough = self.counts >= order.min_ratings
            allowed = enough if allowed is None else allowed & enough
        if order.rank_by in ("stars", "") and boost is None and not order.diversity and scores is None:
            rows, scores = bundle.top_n(vector, k, seen=seen, allowed=allowed)
            return RankedItems(rows, scores, None if bundle.is_ranking else scores)
        if scores is None:
            ranked, then, linear = self._ranked(vector, order.rank_by)
        else:
            ranked, then, linear = scores, None, bundle.factors.scores(vector)
        if boost is not None:
            ranked = ranked + boost
        if seen is not None:
            ranked[seen if bundle.n_items == len(bundle.item_ids) else seen[seen < bundle.n_items]] = -np.inf
        if allowed is not None:
            ranked[~allowed] = -np.inf
        rows = argtopk(ranked, _candidates(k, order), then)
        best, linear = ranked[rows], linear[rows]
        if order.diversity:
            taken, best = diverse(best, rows, self.directions, k, order.diversity)
            rows, linear = rows[taken], linear[taken]
        elif order.rank_by == "bound" and boost is None:
            best = best.clip(*bundle.scale)
        return RankedItems(rows, best, None if bundle.is_ranking else self._stars(vector, rows, linear))

    def _by_liking(
        self,
        vector: UserVector,
        k: int,
        order: Order,
        history: IndexArray,
        seen: IndexArray | None,
        allowed: NDArray[np.bool_] | None,
        boost: Float32Array | None,
    ) -> RankedItems:
        """`top` by liking, of no other items than those with enough ratings: most of a catalogue has few."""
        items = self._items_with(order.min_ratings)
        linear = items.factors.scores(vector)
        ranked, known = self._liking(items, vector, linear, history, of_seen=seen is not history)
        if boost is not None:
            ranked = ranked * np.exp(items.of_all(boost))
        if seen is not None:
            ranked[known if seen is history else items.places(seen)] = -np.inf
        if allowed is not None:
            ranked[~items.of_all(allowed)] = -np.inf
        rows = argtopk(ranked, _candidates(k, order))
        scores, linear = ranked[rows], linear[rows]
        rows = rows if items.rows is None else items.rows[rows]
        if order.diversity:
            logarithm = np.log(np.maximum(scores, SMALLEST))
            taken, margins = diverse(logarithm, rows, self.directions, k, order.diversity)
            rows, scores, linear = rows[taken], np.exp(margins), linear[taken]
        return RankedItems(rows, scores, self._stars(vector, rows, linear))

    def _stars(self, vector: UserVector, rows: IndexArray, linear: Float32Array) -> Float32Array:
        """Predictions of some rows, whose mean linear part is known."""
        bundle = self.bundle
        plain = bundle.factors.samples == 1 and bundle.factors.ordinal is None
        return bundle.apply_link(linear) if plain else bundle.predictions_for(vector, rows).mean

    def scores(
        self, vector: UserVector, order: Order, history: IndexArray = NOTHING, linear: Float32Array | None = None
    ) -> Float32Array:
        """What a list is sorted by, of every item with factors, `(n_items,)`; -inf where it has too few ratings.

        Args:
            vector: The user.
            order: Of this bundle; by `stars`, the mean linear part, which of several samples is no prediction.
            history: Rows of the items that the user has rated, the latest last.
            linear: The mean linear part of every item, if the caller has it.
        """
        if order.rank_by == "liking":
            items = self._items_with(order.min_ratings)
            linear = self.bundle.factors.scores(vector) if linear is None else linear
            liking, _ = self._liking(items, vector, items.of_all(linear), history)
            if items.rows is None:
                return liking
            ranked = np.full(len(linear), -np.inf, np.float32)
            ranked[items.rows] = liking
            return ranked
        if order.rank_by == "stars":
            ranked = self.bundle.factors.scores(vector) if linear is None else linear.copy()
        else:
            ranked = self._ranked(vector, order.rank_by, linear)[0]
        if order.min_ratings:
            ranked[self.counts < order.min_ratings] = -np.inf
        return ranked

    def gain(self, vector: UserVector, linear: Float32Array) -> Float32Array:
        """Stars beyond those that the average person would give, before clipping, `(n_items,)`."""
        average = self._average_cold if vector.cold_start else self.bundle.factors.item_level
        return linear - average

    def _ranked(
        self, vector: UserVector, rank_by: str, linear: Float32Array | None = None
    ) -> tuple[Float32Array, Float32Array | None, Float32Array]:
        """What a list is sorted by, what decides where that is equal, and the mean linear part, `(n_items,)` each."""
        bundle = self.bundle
        if rank_by == "bound":
            every = bundle.factors.linear_parts(vector)
            mean = every.mean(1)
            return mean - np.float32(self.settings.z) * every.std(1), None, mean
        if rank_by == "stars":
            shown, linear = bundle.item_scores(vector)
            return np.array(bundle.apply_link(linear) if shown is None else shown), linear, linear
        if linear is None:
            linear = bundle.factors.scores(vector)
        if rank_by == "":
            return linear.copy(), None, linear
        return self.gain(vector, linear), linear, linear

    def _liking(
        self, items: _Items, vector: UserVector, linear: Float32Array, history: IndexArray, *, of_seen: bool = True
    ) -> tuple[Float32Array, IndexArray]:
        """The chance of each of the items times its stars, on `LIKING_SCALE`.

        Also where the items of the history are.
        """
        history = history if self._all_have_factors else history[history < self.bundle.n_items]
        constant = items.constant_cold if vector.cold_start else items.constant
        known = items.places(history)
        liking = chances(items.choice.utilities(linear, constant, history), known, of_seen=of_seen)
        low, high = self.bundle.scale
        stars = np.maximum(linear, np.float32(low))
        np.minimum(stars, np.float32(high), out=stars)
        if (low, high) != LIKING_SCALE:
            stars *= np.float32(4 / (high - low))
            stars += np.float32(1 - 4 * low / (high - low))
        liking *= stars
        return liking, known

    def _items_with(self, least: int) -> _Items:
        """The items with this many ratings; those of the last thresholds are kept."""
        if least not in self._kept:
            rows = np.flatnonzero(self.counts >= least) if least else None
            factors = self.bundle.factors if rows is None else take_items(self.bundle.factors, rows)
            taken = np.arange(self.bundle.n_items) if rows is None else rows
            position = np.full(len(self.bundle.item_ids), -1)
            position[taken] = np.arange(len(taken))
            choice = self.choice if rows is None else self.choice.of(rows)
            constants = (
                choice.constant(self.bundle.factors.item_level[taken]),
                choice.constant(self._average_cold[taken]),
            )
            while len(self._kept) >= MOST_KEPT:
                self._kept.pop(next(iter(self._kept)))
            self._kept[least] = _Items(rows, position, factors, *constants, choice)
        return self._kept[least]

    @cached_property
    def _all_have_factors(self) -> bool:
        return self.bundle.n_items == len(self.bundle.item_ids)

    @cached_property
    def _default(self) -> Order:
        is_ranking, samples = self.bundle.is_ranking, self.bundle.factors.samples
        return check_order(self.settings, None, None, 0.0, is_ranking=is_ranking, samples=samples)

    @cached_property
    def choice(self) -> ChoiceModel:
        """The chance that somebody picks an item."""
        bundle, unit = self.bundle, self.bundle.factors.unit
        shares = attribute_shares(bundle.items, bundle.item_attribute_names, bundle.item_attributes, self.counts)
        return ChoiceModel(self.settings, self.counts, self.directions, shares, 1.0 if unit is None else float(unit[0]))

    @cached_property
    def directions(self) -> Float32Array:
        """Of each item, all samples together, in few coordinates, `(n_items, dim)`; of length 1 at most.

        With item weights, of what having the item speaks for.
        """
        weights = self.bundle.factors.item_weights
        if weights is None:
            return narrow_rows(self.bundle.factors.item_directions, DIRECTIONS)
        lengths = np.maximum(np.linalg.norm(weights, axis=1, keepdims=True), np.float32(1e-12))
        rows = narrow_rows(weights / lengths, DIRECTIONS)
        return np.pad(rows, ((0, self.bundle.n_items - len(rows)), (0, 0)))

    @cached_property
    def _average_cold(self) -> Float32Array:
        cold = self.bundle.factors.cold_start_items
        return (
            self.bundle.factors.item_level
            if cold is None
            else np.asarray(self.bundle.factors.item_level + cold.mean(1), np.float32)
        )


def _candidates(k: int, order: Order) -> int:
    return max(CANDIDATES, 2 * k) if order.diversity else k


def fitted_counts(bundle: Scoring) -> Float64Array:
    """Ratings of each item with factors that the model was fitted on, `(n_items,)`."""
    rated, last = bundle.ratings, LAST_PART.get(str(bundle.manifest.get("fit_on")))
    item = rated.item if last is None else rated.item[rated.part <= last]
    return np.bincount(item, minlength=bundle.n_items)[: bundle.n_items].astype(np.float64)
