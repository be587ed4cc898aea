"""Layers of the encoder."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from recsys.bundle.typing import Float32Array

__all__ = ["EPSILON", "Rotations", "normed", "sigmoid", "turned"]

EPSILON = 1e-5  # of the variance in a norm


class Rotations(NamedTuple):
    """What rows of heads are turned by."""

    cos: Float32Array  # (windows or 1, 1, rows, dim of a head / 2)
    sin: Float32Array


def normed(x: Float32Array, norm: Float32Array) -> Float32Array:
    """Layer normalization with `norm`, scale and shift."""
    centred: Float32Array = x - x.mean(-1, keepdims=True)
    variance = np.einsum("...d,...d->...", centred, centred)[..., None] / np.float32(x.shape[-1])
    centred *= norm[0] / np.sqrt(variance + np.float32(EPSILON))
    centred += norm[1]
    return centred


def turned(x: Float32Array, turns: Rotations) -> Float32Array:
    """Rows of heads turned by their position and time."""
    (first, second), (cos, sin) = np.split(x, 2, -1), turns
    return np.concatenate([first * cos - second * sin, first * sin + second * cos], -1)


def sigmoid(x: Float32Array) -> Float32Array:
    with np.errstate(over="ignore"):  # of exp(-x), whose inverse is 0
        return np.asarray(1 / (1 + np.exp(-x)), np.float32)
