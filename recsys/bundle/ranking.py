"""How lists of a rating model are ordered, and what its manifest says of that.

The orders:

stars    the predicted stars
gain     the stars beyond what the average person would give: they say nothing of how good an item is
bound    the stars minus z times their standard deviation over the samples of a posterior
liking   the chance that this person picks the item, times the stars expected (`recsys.bundle.choice`)
"""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Integral, Real
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

from numpy.typing import NDArray

from recsys.bundle.typing import Float32Array, Id, IndexArray

RANK_BY = ("stars", "gain", "bound", "liking")  # simpler ones first
KEY = "ranking"  # of the manifest
MAX_RATINGS = 2**31 - 1  # that `min_ratings` may ask for
MAX_WEIGHT, MAX_WEIGHTS = 1e3, 100  # magnitude of a weight of the choice model, and how many there may be
OPTIONAL = ("ndcg", "users")  # how the defaults were found
POPULARITY, GAIN, RECENT = "popularity", "gain", "recent"  # weights of the choice model that are of no attribute
EVERY = MappingProxyType({POPULARITY: 1.0, GAIN: 1.0, RECENT: 0.0})  # weights that were not fitted; 1 for attributes


class ListSettings(NamedTuple):
    """The defaults of a bundle's lists, learned from validation rows; those of a bundle without any."""

    rank_by: str = "stars"
    min_ratings: Mapping[str, int] = MappingProxyType({})  # by order, 0 where there is none
    z: float = 1.0  # standard deviations below the mean, in `bound`
    half_life: float = 3.0  # later items by which the weight of an item of the history halves, in `liking`
    weights: Mapping[str, float] | None = None  # of the choice model, 0 where there is none; None: `EVERY`

    def weight(self, name: str) -> float:
        """Of a feature of the choice model."""
        return EVERY.get(name, 1.0) if self.weights is None else self.weights.get(name, 0.0)


class ListScores(Protocol):
    """What orders the lists of another bundle: `recsys.bundle.partner.Partner`."""

    mix: float

    def scores(
        self,
        user_id: Id | None,
        history: IndexArray,
        gain: Float32Array | None = None,
        stars: Float32Array | None = None,
        time: NDArray[Any] | None = None,
    ) -> Float32Array: ...


class Order(NamedTuple):
    """How one list is ordered."""

    rank_by: str  # one of `RANK_BY`; "" for a ranking model, which has one order, and where one gives the order
    min_ratings: int = 0  # fewest fitted ratings of an item
    diversity: float = 0.0  # in [0, 1], 0 for none (`recsys.bundle.diversity`)


def settings_of(manifest: Mapping[str, Any]) -> ListSettings:
    """The settings in a manifest that is valid; the usual ones where it has none."""
    found = manifest.get(KEY)
    if found is None:
        return ListSettings()
    return ListSettings(**{name: found[name] for name in ListSettings._fields if name in found})


def is_valid(settings: Any) -> bool:
    """Whether this can be a manifest's `ranking`."""
    if settings is None:
        return True
    if not isinstance(settings, dict) or not settings.keys() <= {*ListSettings._fields, *OPTIONAL}:
        return False
    known, weights = settings.get("min_ratings", {}), settings.get("weights", {})
    return (
        settings.get("rank_by", "stars") in RANK_BY
        and isinstance(known, dict)
        and known.keys() <= set(RANK_BY)
        and all(type(least) is int and 0 <= least <= MAX_RATINGS for least in known.values())
        and _within(settings.get("z", 1.0), 0, 100)
        and _within(settings.get("half_life", 1.0), 1e-3, 1e6)
        and isinstance(weights, dict)
        and len(weights) <= MAX_WEIGHTS
        and all(isinstance(name, str) and _within(one, -MAX_WEIGHT, MAX_WEIGHT) for name, one in weights.items())
    )


def _within(value: Any, low: float, high: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high


def check_order(
    settings: ListSettings,
    rank_by: str | None,
    min_ratings: int | None,
    diversity: float,
    *,
    is_ranking: bool,
    samples: int,
) -> Order:
    """The order that is asked for, with the defaults of a bundle.

    Args:
        settings: Of the bundle.
        rank_by: One of `RANK_BY`; None: the bundle's default.
        min_ratings: Fewest fitted ratings of an item; None: what was learned for this order.
        diversity: In [0, 1].
        is_ranking: Whether the bundle's model ranks, and so has one order.
        samples: Of the bundle.

    Raises:
        ValueError: One of them is not possible; the message names it and what is allowed.
    """
    if isinstance(diversity, bool) or not isinstance(diversity, Real) or not 0 <= diversity <= 1:
        raise ValueError(f"diversity must be a number in [0, 1], got {diversity!r:.80}")
    is_count = isinstance(min_ratings, Integral) and not isinstance(min_ratings, bool)
    if min_ratings is not None and not (is_count and 0 <= min_ratings <= MAX_RATINGS):
        raise ValueError(f"min_ratings must be an integer in [0, {MAX_RATINGS}], or null, got {min_ratings!r:.80}")
    if is_ranking:
        if rank_by is not None:
            raise ValueError(f"rank_by must be left out: this model ranks items and has one order, got {rank_by!r:.80}")
        return Order("", min_ratings or 0, float(diversity))
    if rank_by not in (None, *RANK_BY):
        raise ValueError(f"rank_by must be one of {', '.join(RANK_BY)}, got {rank_by!r:.80}")
    rank_by = settings.rank_by if rank_by is None else rank_by
    if rank_by == "bound" and samples == 1:
        raise ValueError("rank_by=bound needs the samples of a posterior, and this bundle has one")
    least = settings.min_ratings.get(rank_by, 0) if min_ratings is None else min_ratings
    return Order(rank_by, least, float(diversity))
