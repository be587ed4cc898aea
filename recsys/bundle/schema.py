"""The arrays of a bundle: one table, from which layout, sample axis and checks follow.

One more array is one more line here, and its field in `Factors`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

SAMPLES = "s"
LARGEST = 1e15  # magnitude of any number: what is made of several still is a float32
RELATIVE = (1e-9, 1e9)  # a user's or item's precision, to that of all
# One letter per axis; a letter is one number throughout the bundle: s samples, u and i fitted users and items, d dim,
# e dim + 1, t and v terms of users' and items' priors, l levels, k levels - 1, a and y attributes of users and items,
# w items with weights, c dim of an encoder, b its blocks, h the hidden part of its feed-forward layers, n and g its
# levels of ratings and of times, m items whose ratings it reads, o knots of numbers of events, p coordinates of an item
# that it reads, q numbers that come out of it, r ratings, U and I all users + 1 and all items + 1, x and z attributes
# of all users and of all items together. A digit is itself.
DEPENDENT = {"e": "d", "l": "k"}  # the second is one less than the first


class Shaped(Protocol):
    """An array, or what a file's header says of one."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def ndim(self) -> int: ...
    @property
    def dtype(self) -> np.dtype[Any]: ...


@dataclass(frozen=True)
class ArraySpec:
    """What an array must be.

    Attributes:
        axes: One letter per axis.
        dtypes: Accepted types, the usual one first.
        minimum: Lowest value allowed; None for any.
        maximum: Highest value allowed; None for any.
        positive: Whether every value must be > 0.
        ascending: Whether values must ascend strictly along the last axis.
    """

    axes: str
    dtypes: tuple[str, ...] = ("f4",)
    minimum: float | None = None
    maximum: float | None = None
    positive: bool = False
    ascending: bool = False

    @property
    def sample_axis(self) -> int | None:
        """Which axis the samples are on; None if there is none."""
        return self.axes.index(SAMPLES) if SAMPLES in self.axes else None

    def check_type(self, array: Shaped) -> str | None:
        """What is wrong with the type; None if nothing is."""
        if array.dtype.str[1:] not in self.dtypes:
            return f"holds {array.dtype}, expected {np.dtype(self.dtypes[0])}"
        return None

    def check_values(self, array: NDArray[Any]) -> str | None:
        """What is wrong with the values; None if nothing is."""
        most = float(max(-array.min(initial=0), array.max(initial=0))) if array.dtype.kind == "f" else 0.0
        if not np.isfinite(most):  # NaN, if there is one
            return "holds values that are not finite numbers"
        if self.positive and (array <= 0).any():
            return "must be > 0"
        if self.minimum is not None and self.maximum is not None:
            if not ((array >= self.minimum) & (array <= self.maximum)).all():
                return f"must be in [{self.minimum:g}, {self.maximum:g}]"
        elif self.minimum is not None and (array < self.minimum).any():
            return f"must be >= {self.minimum:g}"
        if most > LARGEST:
            return f"must be in [{-LARGEST:g}, {LARGEST:g}]"
        if self.ascending and (np.diff(array) <= 0).any():
            return "must ascend"
        return None


FACTOR_SPECS = {  # of the fields of `Factors`, in the order in which they are checked
    "prior_mean": ArraySpec("se"),
    "mu": ArraySpec("s"),
    "unit": ArraySpec("1", positive=True, minimum=1 / LARGEST, maximum=LARGEST),
    "user_bias": ArraySpec("us"),
    "item_bias": ArraySpec("is"),
    "user_factors": ArraySpec("usd"),
    "item_factors": ArraySpec("isd"),
    "prior_exponent": ArraySpec("t", minimum=0, maximum=1),
    "prior_offset": ArraySpec("t", minimum=0),
    "prior_precision": ArraySpec("tsee"),
    "item_implicit": ArraySpec("ise"),
    "precision": ArraySpec("s", positive=True, minimum=1 / LARGEST, maximum=LARGEST),
    "user_precision": ArraySpec("us", positive=True, minimum=RELATIVE[0], maximum=RELATIVE[1]),
    "item_precision": ArraySpec("is", positive=True, minimum=RELATIVE[0], maximum=RELATIVE[1]),
    "drift": ArraySpec("2", minimum=0),
    "levels": ArraySpec("l", ascending=True),
    "thresholds": ArraySpec("sk", ascending=True),
    "attribute_effects": ArraySpec("ase"),
    "cold_start_effects": ArraySpec("ase"),
    "cold_start_mean": ArraySpec("se"),
    "cold_start_items": ArraySpec("is"),
    "item_prior_mean": ArraySpec("se"),
    "item_prior_exponent": ArraySpec("v", minimum=0, maximum=1),
    "item_prior_offset": ArraySpec("v", minimum=0),
    "item_prior_precision": ArraySpec("vsee"),
    "item_attribute_effects": ArraySpec("yse"),
    "item_cold_start_mean": ArraySpec("se"),
    "user_implicit": ArraySpec("use"),
    "item_weights": ArraySpec("ww"),
    "history_half_life": ArraySpec("1", positive=True, minimum=1 / LARGEST, maximum=LARGEST),
}
MOST_WEIGHT = 1e6  # magnitude of a number of an encoder, so that its sums stay finite
ENCODER = "encoder_"  # with which the names of an encoder's arrays begin
ENCODER_SPECS = {  # of the fields of `Encoder`, as they are named in the file
    f"{ENCODER}{name}": ArraySpec(axes, minimum=-MOST_WEIGHT, maximum=MOST_WEIGHT)
    for name, axes in {
        "norm": "2c",
        "rating": "nc",
        "gap": "gc",
        "age": "gc",
        "query_gap": "gc",
        "attention_norm": "b2c",
        "query": "bcc",
        "key": "bcc",
        "value": "bcc",
        "attention_gate": "bcc",
        "attention_out": "bcc",
        "feed_norm": "b2c",
        "feed_up": "bch",
        "feed_along": "bch",
        "feed_gate": "bcc",
        "feed_out": "bhc",
        "item_mean": "p",
        "user_mean": "c",
        "own": "pc",
        "rated": "pc",
        "level": "m",
        "output": "cq",
        "output_shift": "q",
    }.items()
} | {f"{ENCODER}slope": ArraySpec("o", minimum=0, maximum=MOST_WEIGHT)}
LEGACY_ARRAYS = {f"newcomer_{name}": f"cold_start_{name}" for name in ("effects", "mean", "items")}  # of version 0.1
ROW_SPECS = {  # of the ratings and of users' and items' attributes
    "indptr": ArraySpec("U", ("i8", "i4")),
    "item": ArraySpec("r", ("i4", "i8")),
    "rating": ArraySpec("r"),
    "part": ArraySpec("r", ("u1",), maximum=3, minimum=0),
    "timestamp": ArraySpec("r", ("i8",)),
    "attribute_indptr": ArraySpec("U", ("i8", "i4")),
    "attribute": ArraySpec("x", ("i4", "i8")),
    "item_attribute_indptr": ArraySpec("I", ("i8", "i4")),
    "item_attribute": ArraySpec("z", ("i4", "i8")),
}


def check_arrays(
    arrays: Mapping[str, Shaped], specs: Mapping[str, ArraySpec], sizes: Mapping[str, int]
) -> dict[str, int]:
    """Check that arrays fit their specifications and each other.

    Args:
        arrays: By name; what is no array, but described by a file's header, has no values to check.
        specs: By name.
        sizes: Lengths known beforehand, by letter.

    Returns:
        The length of every axis, by letter.

    Raises:
        ValueError: One does not fit; the message names array, shape or type, and what is expected.
    """
    found = dict(sizes)
    for name, wanted in specs.items():
        if name not in arrays:
            continue
        array, axes = arrays[name], wanted.axes
        if array.ndim != len(axes):
            raise ValueError(f"{name} has shape {array.shape}, expected {len(axes)} dimensions")
        found = dict(zip(axes, array.shape, strict=True)) | found | {axis: int(axis) for axis in axes if axis.isdigit()}
        found |= {short: found[whole] - 1 for whole, short in DEPENDENT.items() if whole in found}
        if array.shape != (expected := tuple(found[axis] for axis in axes)):
            raise ValueError(f"{name} has shape {array.shape}, expected {expected}")
        problem = wanted.check_type(array)
        if problem is None and isinstance(array, np.ndarray):
            problem = wanted.check_values(array)
        if problem:
            raise ValueError(f"{name} {problem}")
    return found
