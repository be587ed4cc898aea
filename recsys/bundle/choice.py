"""The chance that somebody picks an item: a conditional logit over the catalogue (McFadden 1974).

    P(i | person) = exp(u_i) / sum over the items j that they have not rated of exp(u_j)
    u_i = w_popularity log(1 + n_i) + w_gain gain_i + w_recent cos_i + sum over attributes a of w_a log lift_ai

`n_i` are the item's fitted ratings; `gain_i` is what the person would give beyond the average one, in units of the
rating scale; `cos_i` is the cosine between the item's direction and the mean direction of the person's latest items;
`lift_ai` says how much more often their items have its genres, or another attribute (`recsys.bundle.attribute_shares`).
The weights are fitted on validation rows and stored in the manifest (`recsys.evaluation.fit_lists`).
"""

from __future__ import annotations

from copy import copy

import numpy as np

from recsys.bundle.attribute_shares import AttributeShares, SmallShares, is_small
from recsys.bundle.ranking import GAIN, POPULARITY, RECENT, ListSettings
from recsys.bundle.typing import Float32Array, Float64Array, IndexArray

LOOKED_BACK = 8  # half-lives of a history that its mean direction is made of


class ChoiceModel:
    """The chance of each item to be picked.

    Args:
        settings: With weights and half-life.
        counts: Fitted ratings of each item, `(n_items,)`.
        directions: Of each item, of length 1 at most, `(n_items, dim)`.
        shares: Attributes of items by name.
        unit: A quarter of the rating scale, in stars.
    """

    def __init__(
        self,
        settings: ListSettings,
        counts: Float64Array,
        directions: Float32Array,
        shares: dict[str, AttributeShares],
        unit: float = 1.0,
    ) -> None:
        self.settings, self.directions, self.shares, self.unit = settings, directions, shares, unit
        self.log_count = np.log1p(counts).astype(np.float32)
        self.names = (POPULARITY, GAIN, RECENT, *shares)
        last = int(np.ceil(LOOKED_BACK * settings.half_life))
        self._recency = (0.5 ** (np.arange(last)[::-1] / settings.half_life)).astype(np.float32)
        self._constant = np.float32(settings.weight(POPULARITY)) * self.log_count
        self._weights = {name: np.float32(settings.weight(name)) for name in self.names}
        self._of_gain = self._weights[GAIN] / np.float32(unit)
        self._small = SmallShares(shares, self._weights) if is_small(shares) else None
        self._scored, self._sets = directions, {name: one.set_of for name, one in shares.items()}

    def of(self, rows: IndexArray) -> ChoiceModel:
        """The same for a catalogue of some items, in this order; histories keep the rows of all."""
        part = copy(self)
        part.log_count, part._constant = self.log_count[rows], self._constant[rows]
        part._scored = np.ascontiguousarray(self._scored[rows])
        part._sets = {name: sets[rows] for name, sets in self._sets.items()}
        return part

    def features(self, gain: Float32Array, history: IndexArray) -> Float32Array:
        """What the weights belong to, `(n_items, features)`, in the order of `names`.

        Args:
            gain: Of each item in stars, `(n_items,)`.
            history: Item rows, the latest last, `(n,)`.
        """
        columns = [self.log_count, gain / np.float32(self.unit), self._cosines(history)]
        columns += [shares.log_lift(history)[self._sets[name]] for name, shares in self.shares.items()]
        return np.stack(columns, 1)

    def constant(self, average: Float32Array) -> Float32Array:
        """What everyone's utilities have in common, `(n_items,)`.

        Args:
            average: The linear part of the average user, `(n_items,)`, from which a gain is measured.
        """
        return self._constant - self._of_gain * average

    def utilities(self, linear: Float32Array, constant: Float32Array, history: IndexArray) -> Float32Array:
        """`u_i` of each item, `(n_items,)`.

        Args:
            linear: The person's linear part, `(n_items,)`.
            constant: Of the average user who the gain is over, from `constant`.
            history: Item rows, the latest last, `(n,)`.
        """
        found: Float32Array = linear * self._of_gain
        found += constant
        if self._weights[RECENT] and len(history):
            found += self._cosines(history, self._weights[RECENT])
        if len(history):
            if self._small is not None:
                weighted = self._small.weighted(history)
                for name, sets in self._sets.items():
                    found += weighted[self._small.places[name]].take(sets)
                return found
            for name, shares in self.shares.items():
                if weight := self._weights[name]:
                    found += (weight * shares.log_lift(history))[self._sets[name]]
        return found

    def _cosines(self, history: IndexArray, weight: float | np.float32 = 1.0) -> Float32Array:
        """Times the weight."""
        latest = history[-len(self._recency) :]
        mean = self._recency[len(self._recency) - len(latest) :] @ self.directions[latest]
        length = float(mean @ mean) ** 0.5
        return np.asarray(self._scored @ (mean * np.float32(weight / (length or 1.0))), np.float32)


def chances(utilities: Float32Array, seen: IndexArray, *, of_seen: bool) -> Float32Array:
    """The chance of each item to be picked, `(n_items,)`; those of items that were not seen sum to 1.

    Args:
        utilities: `(n_items,)`; overwritten by the result.
        seen: Item rows, `(n,)`.
        of_seen: Whether those of seen items matter; else they are 0.
    """
    utilities -= np.maximum.reduce(utilities, initial=-np.inf)
    np.exp(utilities, out=utilities)
    kept = utilities[seen] if of_seen else 0.0
    utilities[seen] = 0
    total = float(np.add.reduce(utilities))
    if of_seen:
        utilities[seen] = kept
    utilities *= np.float32(1 / max(total, 1e-30))
    return utilities
