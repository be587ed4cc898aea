"""BundleParts: the contents of a bundle, and whether they fit together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys.bundle.attributes import RowAttributes
from recsys.bundle.encoder import RANKING_ARRAYS, STARS_ARRAYS, Encoder
from recsys.bundle.encoder_events import KNOTS, RATING_LEVELS, TIME_LEVELS, kind_ratings
from recsys.bundle.factors import Factors
from recsys.bundle.manifest_checks import check_manifest
from recsys.bundle.ranking import settings_of
from recsys.bundle.ratings import UserRatings
from recsys.bundle.schema import ENCODER, ENCODER_SPECS, FACTOR_SPECS, LARGEST, ROW_SPECS, check_arrays
from recsys.bundle.titles import natural_title
from recsys.bundle.typing import IndexArray


def stars_within(low: float, high: float) -> str:
    """What a scale allows, in words."""
    return f"in [{low:g}, {high:g}]" if low < high else f"{high:g}, as all are in implicit feedback"


@dataclass(frozen=True, eq=False)
class BundleParts:
    """What a bundle holds, and what its manifest says of the model.

    `user_ids` and `item_ids` hold every id of the data set: first those that the model was fitted on, in the
    order of the factors' rows, then those that it never saw.
    """

    manifest: dict[str, Any]
    factors: Factors
    user_ids: NDArray[Any]  # (all users,) int64 or str
    item_ids: NDArray[Any]  # (all items,)
    ratings: UserRatings
    items: list[dict[str, Any]]  # title, year, genres by item row; the method `title` is how a title is shown
    sha256: str | None = None  # of the manifest it was loaded with
    user_attributes: RowAttributes | None = None  # of all users
    item_attributes: RowAttributes | None = None  # of all items
    encoder: Encoder | None = None  # by which a history is a user's vector

    @property
    def n_users(self) -> int:
        """Users the model was fitted on."""
        return len(self.factors.user_bias)

    @property
    def n_items(self) -> int:
        """Items that can be scored and recommended: they have factors, fitted or inferred from their attributes."""
        return len(self.factors.item_bias)

    @property
    def fitted_items(self) -> int:
        """Items the model was fitted on, the first ones; a rating is warm if its user and item are fitted."""
        counts = self.manifest.get("counts")
        items = counts.get("items") if isinstance(counts, dict) else None
        return items if type(items) is int else self.n_items

    @property
    def scale(self) -> tuple[float, float]:
        low, high = self.manifest["rating_scale"]
        return float(low), float(high)

    @property
    def is_ranking(self) -> bool:
        """Whether scores order items and are not stars."""
        return bool(self.manifest["task"] == "ranking")

    @cached_property
    def is_implicit(self) -> bool:
        """Whether the data has no stars: every rating is the top of the scale, or says the kind of an event."""
        rating = self.ratings.rating
        is_top = len(rating) > 0 and bool((rating == np.float32(self.scale[1])).all())
        return self.is_ranking and (bool(self.kind_ratings) or is_top)

    @cached_property
    def kind_ratings(self) -> dict[str, float]:
        """The ratings that stand for kinds of events of implicit feedback; none if kinds do not count."""
        return kind_ratings(self.manifest.get("events", []))

    @property
    def given_scale(self) -> tuple[float, float]:
        """The lowest and highest rating that someone new may give; for implicit feedback there is one, the highest."""
        low, high = self.scale
        return (high, high) if self.is_implicit else (low, high)

    @property
    def allowed_stars(self) -> str:
        """What `given_scale` allows, for messages that say what a rating must be."""
        return stars_within(*self.given_scale)

    @property
    def can_fold_in(self) -> bool:
        """Whether new users can be folded in."""
        return bool(self.manifest.get("fold_in", "ridge") != "none")

    @property
    def has_histories(self) -> bool:
        """Whether a user is the history of their items, by a matrix of item weights, and has no row of their own."""
        return self.factors.item_weights is not None

    @property
    def is_ordered(self) -> bool:
        """Whether the order of a user's ratings counts."""
        ordered = (self.encoder, self.factors.history_half_life, self.factors.drift)
        return any(part is not None for part in ordered)

    @property
    def reads_query_time(self) -> bool:
        """Whether answers depend on when they are asked for."""
        return self.encoder is not None and self.encoder.query_gap is not None

    @property
    def has_uncertainty(self) -> bool:
        """Whether predictions come with a standard deviation: of noise, or of several samples."""
        noise = self.factors.precision is not None or self.manifest.get("noise") is not None
        return noise or self.factors.samples > 1

    @property
    def attributes(self) -> list[str]:
        """Attributes of users that the model knows: names and values, such as "gender=F"."""
        return list(self.manifest.get("attributes", []))

    @property
    def item_attribute_names(self) -> list[str]:
        """Attributes of items that the model knows: names and values, such as "genre=Drama"."""
        return list(self.manifest.get("item_attributes", []))

    @property
    def can_fold_in_items(self) -> bool:
        """Whether items that were not fitted can be folded in from their ratings."""
        return self.can_fold_in and self.factors.can_fold_in_items

    def title(self, item: int) -> str:
        """The title of an item's row, as people read it; its id if there is no title, or none with anything to see."""
        title: str = self.items[item]["title"]
        visible = any(char.isprintable() and not char.isspace() for char in title)
        return natural_title(title) if visible else str(self.item_ids[item])

    def seen(self, user: int) -> IndexArray:
        """The item rows that a user's row has rated, whatever part of the split they are in."""
        return self.ratings.item[self.ratings.slice_of(user)]

    def factor_arrays(self) -> dict[str, NDArray[Any]]:
        """The arrays of the factors, and of the encoder, that there are, by name."""
        encoder = {} if self.encoder is None else self.encoder.arrays()
        arrays = {name: getattr(self.factors, name) for name in FACTOR_SPECS}
        return _present(arrays | {f"{ENCODER}{name}": array for name, array in encoder.items()})

    def row_arrays(self) -> dict[str, NDArray[Any]]:
        """The arrays of ratings and of users' and items' attributes that there are, by name."""
        arrays = self.ratings._asdict()
        for prefix, known in (("", self.user_attributes), ("item_", self.item_attributes)):
            if known is not None:
                arrays |= {f"{prefix}attribute_indptr": known.indptr, f"{prefix}attribute": known.attribute}
        return _present(arrays)

    def check(self) -> None:
        """Check that the parts fit together.

        Raises:
            ValueError: They do not; the message names the part, its value and what is expected.
        """
        check_manifest(self.manifest)
        arrays = self.factor_arrays() | self.row_arrays()
        sizes = check_arrays(
            arrays, FACTOR_SPECS | ENCODER_SPECS | ROW_SPECS, {"U": len(self.user_ids) + 1, "I": len(self.item_ids) + 1}
        )
        if not sizes["s"] * sizes["u"] * sizes["i"]:
            raise ValueError("the factors have no sample, no user or no item")
        self._check_factors()
        if settings_of(self.manifest).rank_by == "bound" and sizes["s"] == 1:
            raise ValueError(
                "manifest: ranking.rank_by is bound, which needs the samples of a posterior, and there is one"
            )
        self._check_attributes()
        self._check_rows()
        _check_items(self.items, len(self.item_ids))

    def _check_factors(self) -> None:
        factors, (low, high) = self.factors, self.scale
        for name in ("prior_precision", "item_prior_precision"):
            terms = getattr(factors, name)
            if terms is not None and (np.einsum("tsee->tse", terms) < 0).any():
                raise ValueError(f"{name} has negative numbers on its diagonal")
        _check_item_prior(factors)
        _check_item_weights(self.manifest, factors)
        _check_encoder(self.manifest, factors, self.encoder)
        if (reach := _reach(factors)) > LARGEST:
            raise ValueError(f"the factors may predict {reach:.1g}, beyond [{-LARGEST:g}, {LARGEST:g}]")
        if (drift := factors.drift) is not None and not drift[0] > 0:
            raise ValueError(f"drift must be a number > 0 and one >= 0, got {drift.tolist()}")
        for name in ("user_precision", "item_precision", "thresholds"):
            if getattr(factors, name) is not None and factors.precision is None:
                raise ValueError(f"{name} needs precision, which is missing")
        levels, link = factors.levels, self.manifest.get("link", "identity")
        if (levels is None) != (factors.thresholds is None) or (link == "ordinal") != (levels is not None):
            raise ValueError("levels and thresholds belong to link ordinal and to no other")
        if levels is not None and not (len(levels) > 1 and low <= levels[0] and levels[-1] <= high):
            raise ValueError(f"levels must be two or more in [{low:g}, {high:g}]")

    def _check_attributes(self) -> None:
        factors = self.factors
        for prefix, row, names, effects, known in (
            ("", "user", self.attributes, factors.attribute_effects, self.user_attributes),
            ("item_", "item", self.item_attribute_names, factors.item_attribute_effects, self.item_attributes),
        ):
            key, listed = f"{prefix}attributes", len(names)
            if listed != (0 if effects is None else len(effects)):
                raise ValueError(f"{prefix}attribute_effects must be those of the manifest's {listed} {key}")
            if known is None:
                continue
            _check_indptr(f"{prefix}attribute_indptr", known.indptr, len(known.attribute), key, f"{row}s")
            if len(known.attribute) and not 0 <= int(known.attribute.min()) <= int(known.attribute.max()) < listed:
                raise ValueError(
                    f"an attribute of {'a user' if row == 'user' else 'an item'} is not in the manifest's {key}"
                )

    def _check_rows(self) -> None:
        ratings, users, items = self.ratings, len(self.user_ids), len(self.item_ids)
        n = len(ratings.item)
        _check_indptr("indptr", ratings.indptr, n, "ratings")
        if self.n_users > users or self.n_items > items:
            raise ValueError("there are more factors than ids")
        if not 0 < self.fitted_items <= self.n_items:
            raise ValueError(f"counts.items must be in [1, {self.n_items}], got {self.fitted_items}")
        if n and not 0 <= int(ratings.item.min()) <= int(ratings.item.max()) < items:
            raise ValueError("an item row of the ratings is outside the ids")
        kind = "i" if self.manifest["id_kind"] == "int" else "O"
        if {self.user_ids.dtype.kind, self.item_ids.dtype.kind} != {kind}:
            raise ValueError("the ids are not of the manifest's id_kind")


def _check_encoder(manifest: dict[str, Any], factors: Factors, encoder: Encoder | None) -> None:
    if (encoder is None) != (manifest.get("fold_in") != "encoder"):
        raise ValueError("the arrays of an encoder belong to fold_in encoder and to no other")
    if encoder is None:
        return
    _check_task_of_encoder(manifest, factors, encoder)
    if encoder.dim % (2 * encoder.heads):
        raise ValueError(f"encoder.heads must divide {encoder.dim // 2} pairs of coordinates, got {encoder.heads}")
    if encoder.slope is not None and len(encoder.slope) != KNOTS:
        raise ValueError(f"encoder_slope must have {KNOTS} numbers, got {len(encoder.slope)}")
    levels = len(encoder.rating), len(encoder.gap)
    if levels != (RATING_LEVELS + 1, TIME_LEVELS + 1):
        raise ValueError(
            f"an encoder needs {RATING_LEVELS + 1} levels of ratings and {TIME_LEVELS + 1} of times, got "
            f"{levels[0]} and {levels[1]}"
        )


def _check_task_of_encoder(manifest: dict[str, Any], factors: Factors, encoder: Encoder) -> None:
    """Ranking, it says all of a user; of stars, it adds to a fold-in."""
    ranks = manifest["task"] == "ranking"
    of_task, of_other = (RANKING_ARRAYS, STARS_ARRAYS) if ranks else (STARS_ARRAYS, RANKING_ARRAYS)
    for names, needed in ((of_task, True), (of_other, False)):
        for name in names:
            if (getattr(encoder, name) is not None) != needed:
                word = "is missing in" if needed else "must be absent from"
                raise ValueError(f"{ENCODER}{name} {word} an encoder of task {manifest['task']}")
    samples, dim = factors.item_factors.shape[1:]
    for what, found, wanted in (
        ("read items of", encoder.coordinates, samples * dim),
        ("give users of", encoder.width, samples * (dim + 1)),
    ):
        if found != wanted:
            raise ValueError(f"the encoder must {what} {wanted} numbers, got {found}")
    if encoder.level is not None and len(encoder.level) > len(factors.item_bias):
        raise ValueError(f"{ENCODER}level must be of {len(factors.item_bias)} items at most, got {len(encoder.level)}")
    absent = ("precision", "drift", "attribute_effects", "cold_start_items", "item_prior_mean") if ranks else ()
    if ranks and samples > 1:
        raise ValueError(f"an encoder of task ranking needs one sample, got {samples}")
    for name in ("levels", *absent):
        if getattr(factors, name) is not None:
            raise ValueError(f"{name} must be absent where there is an encoder of task {manifest['task']}")


def _check_item_weights(manifest: Mapping[str, Any], factors: Factors) -> None:
    if (factors.item_weights is None) != (manifest.get("fold_in") != "items"):
        raise ValueError("item_weights belong to fold_in items and to no other")
    if factors.item_weights is None:
        if factors.history_half_life is not None:
            raise ValueError("history_half_life needs item_weights, which are missing")
        return
    if (weighted := len(factors.item_weights)) > len(factors.item_bias):
        raise ValueError(f"item_weights must be of {len(factors.item_bias)} items at most, got {weighted}")
    if manifest["task"] != "ranking":
        raise ValueError(f"item_weights need task ranking, got {manifest['task']}")
    if factors.samples > 1:
        raise ValueError(f"item_weights need one sample, got {factors.samples}")
    for name in ("precision", "levels", "drift", "attribute_effects", "cold_start_items", "item_prior_mean"):
        if getattr(factors, name) is not None:
            raise ValueError(f"{name} must be absent where there are item_weights")
    for name in ("user_bias", "user_factors"):
        if getattr(factors, name).any():
            raise ValueError(f"{name} must be 0 where there are item_weights, as a user is their history alone")


def _reach(factors: Factors) -> float:
    """A bound on the magnitude of all predictions but those of folded-in users."""
    histories = 0 if factors.item_weights is None else len(factors.item_weights) * _most(factors.item_weights)
    attributes = 0 if factors.cold_start_effects is None else len(factors.cold_start_effects)
    cold = _most(factors.cold_start_mean) + attributes * _most(factors.cold_start_effects)
    level = sum(map(_most, (factors.mu, factors.user_bias, factors.item_bias, factors.cold_start_items))) + cold
    dim: int = factors.item_factors.shape[2]
    return level + histories + dim * max(_most(factors.user_factors), cold) * _most(factors.item_factors)


def _most(array: NDArray[Any] | None) -> float:
    """The largest magnitude."""
    return 0.0 if array is None else float(max(-array.min(initial=0), array.max(initial=0)))


def _present(arrays: dict[str, Any]) -> dict[str, NDArray[Any]]:
    return {name: array for name, array in arrays.items() if array is not None}


def _check_indptr(name: str, indptr: IndexArray, n: int, what: str, rows: str = "users") -> None:
    if indptr[0] != 0 or indptr[-1] != n or (np.diff(indptr) < 0).any():
        raise ValueError(f"{name} does not cut the {n} {what} into {rows}")


def _check_item_prior(factors: Factors) -> None:
    whole = {"item_prior_mean", "item_prior_precision", "item_prior_exponent"}
    found = {name for name in whole if getattr(factors, name) is not None}
    if found and found != whole:
        raise ValueError(f"the prior of items lacks {', '.join(sorted(whole - found))}")
    for name in ("item_prior_offset", "item_attribute_effects", "item_cold_start_mean", "user_implicit"):
        if getattr(factors, name) is not None and not found:
            raise ValueError(f"{name} needs item_prior_mean, which is missing")


def _check_items(items: Any, n: int) -> None:
    if not isinstance(items, list) or len(items) != n:
        raise ValueError(f"items.json must hold a list of {n} items, one for each id")
    for row, item in enumerate(items):
        if not _is_item(item):
            raise ValueError(
                "items.json must hold title (text), year (integer or null) and genres (list of texts) of every item, "
                f"got {item!r:.80} for item {row}"
            )


def _is_item(item: Any) -> bool:
    """Services rely on these types."""
    return (
        isinstance(item, dict)
        and isinstance(item.get("title"), str)
        and "year" in item
        and (item["year"] is None or (type(item["year"]) is int and abs(item["year"]) <= 9999))
        and isinstance(item.get("genres"), list)
        and all(isinstance(genre, str) for genre in item["genres"])
    )
