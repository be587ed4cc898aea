"""Few coordinates for many: directions that keep the cosines of wide rows."""

from __future__ import annotations

import numpy as np

from recsys.bundle.typing import Float32Array

OVERSAMPLING = 16  # directions beyond those wanted (Halko et al.)


def narrow_rows(rows: Float32Array, dim: int) -> Float32Array:
    """Rows of `dim` coordinates whose products are about those of the rows given, `(n, dim)`.

    The rows on their first right singular directions, by one step of subspace iteration (Halko, Martinsson & Tropp
    2011), from the same start each time.

    Args:
        rows: `(n, width)`.
        dim: Coordinates; the rows themselves come back if they have no more.
    """
    width = rows.shape[1]
    if width <= dim:
        return rows
    start = np.random.default_rng(0).standard_normal((width, min(dim + OVERSAMPLING, width, len(rows))), np.float32)
    basis = np.linalg.qr(rows.T @ np.linalg.qr(rows @ start)[0])[0]  # (width, wide)
    small = rows @ basis  # (n, wide)
    turn = np.linalg.eigh(small.T @ small)[1][:, ::-1][:, :dim]
    return np.ascontiguousarray(small @ turn.astype(np.float32))
