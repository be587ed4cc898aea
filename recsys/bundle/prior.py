"""The prior of a user's `[p, b]`: its mean and precision, given attributes, rated items and the number of ratings."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from recsys.bundle.typing import Float32Array, Float64Array, IndexArray

__all__ = ["UserPrior", "implicit_weights", "is_first"]

RELATIVE_RIDGE = 1e-5  # added to the diagonal of the prior precision
ABOUT_NOTHING = 1e-4  # of the least precision of a direction: the ridge that a rating adds


@dataclass(frozen=True, eq=False)
class UserPrior:
    """A Gaussian prior in units of the noise; `Factors` has the formula and the shapes."""

    mean: Float32Array  # (samples, dim + 1)
    precision: Float32Array  # (terms, samples, dim + 1, dim + 1)
    exponent: Float32Array  # (terms,)
    offset: Float32Array | None  # (terms,)
    attribute_effects: Float32Array | None  # (attributes, samples, dim + 1)
    item_implicit: Float32Array | None  # (n_items, samples, dim + 1)
    design_power: float  # mean square of the items' design, in these units:
    units: Float32Array  # (dim + 1,) of a coordinate's precision

    def mean_given(self, attributes: IndexArray) -> Float32Array:
        """The prior mean of a user with these attributes, `(samples, dim + 1)`."""
        if not len(attributes):
            return self.mean
        if self.attribute_effects is None:
            raise ValueError("attributes: this model knows no attributes of users")
        return np.asarray(self.mean + self.attribute_effects[attributes].sum(0), np.float32)

    def precision_given(self, n: int | IndexArray) -> Float64Array:
        """The prior precision of users with n ratings each, `(*n, samples, dim + 1, dim + 1)`."""
        exponents, offsets, terms = self._terms
        powers = (np.asarray(n)[..., None] + offsets) ** exponents
        return (powers @ terms).reshape(*powers.shape[:-1], *self.precision.shape[1:])

    @cached_property
    def is_about_constant(self) -> bool:
        """Whether only the ridge grows with the number of ratings, and by next to nothing with each."""
        if self.exponent.any():
            return False
        growth = np.abs(self.precision_given(1) - self.precision_given(0)).max()
        return bool(growth < ABOUT_NOTHING * np.linalg.eigvalsh(self.precision_given(0)).min())

    def drawn(self, n: IndexArray, generator: np.random.Generator) -> Float64Array:
        """Draws from `N(0, P)` with the prior precision P of users with n ratings each, `(users, samples, dim + 1)`."""
        exponents, offsets, _ = self._terms
        terms, samples, width, _ = self._roots.shape
        normal = generator.standard_normal((terms, samples, len(n), width)) @ self._roots.swapaxes(-1, -2)
        scale = np.sqrt((n[:, None] + offsets) ** exponents)  # (users, terms)
        return np.asarray(np.einsum("ut,tsue->use", scale, normal))

    @cached_property
    def implicit(self) -> Float32Array | None:
        """`item_implicit` as `(samples, n_items, dim + 1)`."""
        return None if self.item_implicit is None else np.ascontiguousarray(self.item_implicit.transpose(1, 0, 2))

    @cached_property
    def _roots(self) -> Float64Array:
        """A matrix R with `R R'` as each term's precision, which may be singular, `(terms, samples, e, e)`."""
        terms = self._terms[2]
        values, vectors = np.linalg.eigh(terms.reshape(len(terms), *self.precision.shape[1:]))
        return np.asarray(vectors * np.sqrt(values.clip(min=0))[..., None, :])

    @cached_property
    def _terms(self) -> tuple[Float64Array, Float64Array, Float64Array]:
        """Exponents and offsets `(t,)`, and flat precisions of as many terms, `(t, samples * (dim + 1)^2)`.

        Without a penalty, fewer ratings than coordinates leave the system singular: a small ridge on every
        coordinate then selects the shortest solution, as far as it outweighs the rounding of float32.
        """
        ridge = RELATIVE_RIDGE * np.diag(self.units.astype(np.float64))
        terms = {(0.0, 0.0): ridge, (1.0, 0.0): ridge * self.design_power}
        offset = np.zeros_like(self.exponent) if self.offset is None else self.offset
        growths = zip(self.exponent.tolist(), offset.tolist(), strict=True)
        for growth, precision in zip(growths, self.precision, strict=True):
            terms[growth] = terms.get(growth, 0) + precision.astype(np.float64)
        shape = self.precision.shape[1:]
        exponents, offsets = np.array([*terms]).T
        return exponents, offsets, np.stack([np.broadcast_to(term, shape).ravel() for term in terms.values()])


def implicit_weights(item: IndexArray) -> Float32Array:
    """The weight `|N|^-1/2` of each of n rated items in the prior mean, `(n,)`; repeated ratings of one share it."""
    if len(set(item.tolist())) == len(item):
        return np.full(len(item), len(item) ** -0.5, np.float32)
    _, position, count = np.unique(item, return_inverse=True, return_counts=True)
    return np.asarray(1 / (count[position] * np.sqrt(len(count))), np.float32)


def is_first(item: IndexArray) -> NDArray[np.bool_]:
    """Whether each of n rated items was not rated before, `(n,)`."""
    found = np.zeros(len(item), bool)
    found[np.unique(item, return_index=True)[1]] = True
    return found
