"""Side information: regression effects of features on the prior mean of rows.

    row ~ N(mean + F effects, 1 / precision)        effects ~ N(0, 1 / effect_precision)

independently for each coordinate, with a sparse `F (n, k)`. Effects are drawn jointly (Simm et al. 2015, Macau): if one
side of F is short enough, in the eigenbasis of its Gram matrix, which is computed once; otherwise by conjugate
gradients with a noisy right-hand side, whose exact solution is a draw.
"""

from __future__ import annotations

import torch
from torch import Tensor

from recsys.models.bayesian.conjugate import gamma

MAX_DENSE = 8192  # largest shorter side of F for the eigenbasis, which would take minutes and gigabytes beyond
RANK_TOLERANCE = 1e-6  # eigenvalues below this fraction of the largest count as zero
SHAPE, RATE = 1.0, 0.1  # of the gamma prior of the effects' precision
CG_STEPS, CG_TOLERANCE = 100, 1e-4  # of conjugate gradients; tolerance relative to the right-hand side


class Effects:
    """Effects of the features of one side's rows.

    Args:
        features: `F (n, k)`, sparse CSR.
        dense: Largest shorter side of F for which the eigenbasis is used.
    """

    def __init__(self, features: Tensor, dense: int = MAX_DENSE) -> None:
        self.features, self.transposed = features, features.t().to_sparse_csr()
        self.n, self.k = features.shape
        self.basis = _Basis(features) if min(self.n, self.k) <= dense else None

    def draw(
        self,
        rows: Tensor,
        precision: Tensor,
        effect_precision: Tensor,
        generator: torch.Generator,
        unit: Tensor | float = 1.0,
    ) -> tuple[Tensor, Tensor]:
        """Draw the effects `(k, e)`, and their precision given the effects, `(e,)`.

        Args:
            rows: Regression targets, `(n, e)`.
            precision: Precision of the residuals, `(e,)`.
            effect_precision: Prior precision of the effects, `(e,)`.
            generator: On the device of the rows.
            unit: Unit of each coordinate, `(e,)`.
        """
        if self.basis is None:
            effects = self._drawn_by_gradients(rows, precision, effect_precision, generator)
            squares = effects.square().sum(0)
        elif self.k <= self.n:
            drawn = self.basis.draw(
                self.basis.vectors.T @ (self.transposed @ rows), precision, effect_precision, generator
            )
            effects = self.basis.vectors @ drawn
            squares = drawn.square().sum(0)
        else:
            root = self.basis.values.sqrt()[:, None]
            drawn = self.basis.draw(root * (self.basis.vectors.T @ rows), precision, effect_precision, generator)
            effects = self.transposed @ (self.basis.vectors @ (drawn / root))
            # Directions in the null space of F follow the prior. They affect no row and are omitted.
            unseen = gamma((self.k - len(drawn)) / 2, effect_precision / 2, generator)
            squares = drawn.square().sum(0) + unseen
        return effects, gamma(SHAPE + self.k / 2, RATE * unit**2 + squares / 2, generator)

    def mean(self, rows: Tensor, ratio: Tensor) -> Tensor:
        """Effects by ridge regression on the rows `(n, e)`, `(k, e)`, with penalty `ratio (e,)`."""
        if self.basis is None:
            return self._by_gradients(self.transposed @ rows, ratio)
        vectors, system = self.basis.vectors, self.basis.values[:, None] + ratio
        if self.k <= self.n:
            effects: Tensor = vectors @ (vectors.T @ (self.transposed @ rows) / system)
        else:
            effects = self.transposed @ (vectors @ (vectors.T @ rows / system))
        return effects

    def predict(self, effects: Tensor) -> Tensor:
        """Part of each row that the features predict, `(n, e)`."""
        return self.features @ effects

    def _drawn_by_gradients(
        self, rows: Tensor, precision: Tensor, effect_precision: Tensor, generator: torch.Generator
    ) -> Tensor:
        noise = [
            torch.randn(n, rows.shape[1], generator=generator, device=rows.device, dtype=rows.dtype)
            for n in (self.n, self.k)
        ]
        ratio = effect_precision / precision
        wanted = self.transposed @ (rows + noise[0] * precision.rsqrt()) + noise[1] * (ratio / precision).sqrt()
        return self._by_gradients(wanted, ratio)

    def _by_gradients(self, wanted: Tensor, ratio: Tensor) -> Tensor:
        """Solve `(F'F + ratio) x = wanted` for x, `(k, e)`."""
        diagonal = self.transposed.values().square()
        level = torch.zeros(self.k, device=wanted.device, dtype=wanted.dtype)
        counts = self.transposed.crow_indices().diff()
        level.index_add_(0, torch.arange(self.k, device=wanted.device).repeat_interleave(counts), diagonal)
        return _conjugate_gradients(
            lambda x: self.transposed @ (self.features @ x) + ratio * x, wanted, level[:, None] + ratio
        )


def cold_start_row(rows: Tensor, features: Effects, penalty: Tensor) -> tuple[Tensor, Tensor]:
    """What attributes say of the row of someone without ratings, by ridge regression on the fitted rows.

    Args:
        rows: Fitted rows, `(n, e)`.
        features: Their attributes.
        penalty: Of each coordinate's effects, `(e,)`.

    Returns:
        The effects `(k, e)`, and the row without attributes `(e,)`.
    """
    mean = rows.mean(0)
    effects = features.mean(rows - mean, penalty)
    return effects, mean - features.predict(effects).mean(0)


class _Basis:
    """Eigenvalues `(r,)` and eigenvectors `(min(n, k), r)` of the Gram matrix of the shorter side of F."""

    def __init__(self, features: Tensor) -> None:
        table = features.to_dense()
        gram = table.T @ table if table.shape[1] <= table.shape[0] else table @ table.T
        values, vectors = torch.linalg.eigh(gram)
        short = table.shape[1] > table.shape[0]
        kept = values > RANK_TOLERANCE * values[-1] if short else torch.ones_like(values, dtype=torch.bool)
        self.values, self.vectors = values[kept].clamp_min(0), vectors[:, kept].contiguous()

    def draw(self, rhs: Tensor, precision: Tensor, effect_precision: Tensor, generator: torch.Generator) -> Tensor:
        """Effects along the eigenvectors, given their `F' rows`, `(r, e)`."""
        system = self.values[:, None] + effect_precision / precision
        noise = torch.randn(rhs.shape, generator=generator, device=rhs.device, dtype=rhs.dtype)
        drawn: Tensor = rhs / system + noise * (system * precision).rsqrt()
        return drawn


def _conjugate_gradients(product: object, wanted: Tensor, diagonal: Tensor) -> Tensor:
    """Solve `product(x) = wanted` for x by column, with a diagonal preconditioner."""
    assert callable(product)
    x, residual = torch.zeros_like(wanted), wanted.clone()
    direction = residual / diagonal
    level = (residual * direction).sum(0)
    enough = CG_TOLERANCE**2 * level
    for _ in range(CG_STEPS):
        if bool((level <= enough).all()):
            break
        image = product(direction)
        step = level / (direction * image).sum(0).clamp_min(torch.finfo(x.dtype).tiny)
        x += step * direction
        residual -= step * image
        conditioned = residual / diagonal
        before, level = level, (residual * conditioned).sum(0)
        direction = conditioned + level / before.clamp_min(torch.finfo(x.dtype).tiny) * direction
    return x
