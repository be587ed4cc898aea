"""Side information: what features say of the rows of one side, as regression effects on their prior mean.

    row ~ N(mean + F effects, 1 / precision)        effects ~ N(0, 1 / effect_precision)

for each coordinate by itself, with a sparse `F (n, k)`. Effects are drawn jointly (Simm et al. 2015, Macau): where one
side of F is short enough, in the eigenvectors of its Gram matrix, which are found once; else by conjugate gradients on
a right-hand side with noise, whose exact solution is a draw.
"""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from recsys.data.features import Attributes
from recsys.models.bayesian.conjugate import gamma

warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta state")

DENSE = 8192  # of the shorter side of F: beyond that its eigenvectors take minutes and gigabytes
RANK = 1e-6  # eigenvalues below this share of the largest are none
SHAPE, RATE = 1.0, 0.1  # of the gamma prior of the effects' precision
STEPS, TOLERANCE = 100, 1e-4  # of conjugate gradients, the residual relative to the right-hand side


class Effects:
    """Effects of the features of one side's rows.

    Args:
        features: `F (n, k)`, sparse CSR.
        dense: Longest shorter side of F for which eigenvectors are found.
    """

    def __init__(self, features: Tensor, dense: int = DENSE) -> None:
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
        """A draw of the effects `(k, e)`, and of their precision given them, `(e,)`.

        Args:
            rows: What the features are to explain, `(n, e)`.
            precision: Of the rows around what the features say, `(e,)`.
            effect_precision: Of the effects around 0, `(e,)`.
            generator: Of the device of the rows.
            unit: Of each coordinate, `(e,)`.
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
            # Directions that no row shows are as the prior has them. They change no row, and are left out.
            unseen = gamma((self.k - len(drawn)) / 2, effect_precision / 2, generator)
            squares = drawn.square().sum(0) + unseen
        return effects, gamma(SHAPE + self.k / 2, RATE * unit**2 + squares / 2, generator)

    def mean(self, rows: Tensor, ratio: Tensor) -> Tensor:
        """The effects that explain the rows `(n, e)` best, `(k, e)`, by ridge regression of strength `ratio (e,)`."""
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
        """The x of `(F'F + ratio) x = wanted`, `(k, e)`."""
        diagonal = self.transposed.values().square()
        level = torch.zeros(self.k, device=wanted.device, dtype=wanted.dtype)
        counts = self.transposed.crow_indices().diff()
        level.index_add_(0, torch.arange(self.k, device=wanted.device).repeat_interleave(counts), diagonal)
        return _conjugate_gradients(
            lambda x: self.transposed @ (self.features @ x) + ratio * x, wanted, level[:, None] + ratio
        )


class _Basis:
    """Eigenvalues `(r,)` and eigenvectors `(min(n, k), r)` of the Gram matrix of the shorter side of F."""

    def __init__(self, features: Tensor) -> None:
        table = features.to_dense()
        gram = table.T @ table if table.shape[1] <= table.shape[0] else table @ table.T
        values, vectors = torch.linalg.eigh(gram)
        short = table.shape[1] > table.shape[0]
        kept = values > RANK * values[-1] if short else torch.ones_like(values, dtype=torch.bool)
        self.values, self.vectors = values[kept].clamp_min(0), vectors[:, kept].contiguous()

    def draw(self, rhs: Tensor, precision: Tensor, effect_precision: Tensor, generator: torch.Generator) -> Tensor:
        """Effects along the eigenvectors, given their `F' rows`, `(r, e)`."""
        system = self.values[:, None] + effect_precision / precision
        noise = torch.randn(rhs.shape, generator=generator, device=rhs.device, dtype=rhs.dtype)
        drawn: Tensor = rhs / system + noise * (system * precision).rsqrt()
        return drawn


def _conjugate_gradients(product: object, wanted: Tensor, diagonal: Tensor) -> Tensor:
    """The x of `product(x) = wanted`, every column by itself, preconditioned by the diagonal."""
    assert callable(product)
    x, residual = torch.zeros_like(wanted), wanted.clone()
    direction = residual / diagonal
    level = (residual * direction).sum(0)
    enough = TOLERANCE**2 * level
    for _ in range(STEPS):
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


def attribute_matrix(attributes: Attributes) -> Tensor:
    """The table of 0 and 1 as sparse rows, `(rows, attributes)`."""
    values = torch.ones(len(attributes.index))
    return _rows(torch.from_numpy(attributes.indptr), torch.from_numpy(attributes.index), values, len(attributes.names))


def rated_matrix(row: Tensor, other: Tensor, n: int, n_other: int) -> Tensor:
    """Who rated what, each row over the root of its count, `(n, n_other)`; a pair counts once."""
    pairs = torch.unique(row * n_other + other)
    count = torch.bincount(pairs // n_other, minlength=n)
    values = count.clamp_min(1).float().rsqrt()[pairs // n_other]
    return _rows(torch.nn.functional.pad(count.cumsum(0), (1, 0)), pairs % n_other, values, n_other)


def _rows(indptr: Tensor, index: Tensor, values: Tensor, columns: int) -> Tensor:
    shape = (len(indptr) - 1, columns)
    return torch.sparse_csr_tensor(indptr.long(), index.long(), values, shape, check_invariants=True)
