"""Attributes of one side's rows as summed embeddings and biases."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from recsys.bundle.centring import Side
from recsys.data.features import Attributes
from recsys.models import sparse_ops as products
from recsys.models.bayesian.side_information import Effects, cold_start_row
from recsys.models.side_matrices import compressed_rows

COLD_START_PENALTY = 10.0  # in users, of the effects of attributes on the row of a user without ratings


class AttributeEffects(nn.Module):
    """An embedding and a bias for each attribute; a row has the sums over its attributes.

    Learned, initialized at zero: `embedding (attributes, dim)`, `bias (attributes,)`. The table of who has which is
    part of the state, so that a checkpoint predicts without the data.

    Args:
        indptr: Start of each row's attributes, `(all rows + 1,)`: fitted rows first, then those of other ids.
        attribute: The attributes, `(entries,)`.
        n_attributes: Number of attributes.
        n_rows: Number of fitted rows.
        dim: Length of an embedding.
    """

    def __init__(self, indptr: Tensor, attribute: Tensor, n_attributes: int, n_rows: int, dim: int) -> None:
        super().__init__()
        self.n_rows = n_rows
        self.embedding = nn.Parameter(torch.zeros(n_attributes, dim))
        self.bias = nn.Parameter(torch.zeros(n_attributes))
        self.register_buffer("indptr", indptr.long())
        self.register_buffer("attribute", attribute.int())
        self._matrices: tuple[Tensor, Tensor] | None = None

    @classmethod
    def of_table(cls, table: Attributes | None, n_rows: int, dim: int) -> AttributeEffects | None:
        """The effects of a table's attributes; None without any."""
        if table is None or not table.names:
            return None
        indptr, attribute = torch.from_numpy(table.indptr), torch.from_numpy(table.index)
        return cls(indptr, attribute, len(table.names), n_rows, dim)

    @classmethod
    def of_state(cls, state: Mapping[str, Any], prefix: str, n_rows: int) -> AttributeEffects | None:
        """Effects of the shapes in a model's state, into which it can be loaded; None if it has none."""
        if f"{prefix}embedding" not in state:
            return None
        embedding, indptr, attribute = (state[f"{prefix}{name}"] for name in ("embedding", "indptr", "attribute"))
        n_attributes, dim = embedding.shape
        return cls(torch.zeros_like(indptr), torch.zeros_like(attribute), n_attributes, n_rows, dim)

    def add_embeddings(self, own: Tensor) -> Tensor:
        """Embeddings `(n_rows, dim)` plus the sums over each row's attributes."""
        return products.with_sums(own, self.embedding, *self._fitted())

    def add_biases(self, own: Tensor) -> Tensor:
        """Biases `(n_rows,)` plus the sums over each row's attributes."""
        return products.with_sums(own[:, None], self.bias[:, None], *self._fitted())[:, 0]

    def in_stars(self, unit: NDArray[np.float64]) -> NDArray[np.float64]:
        """Embedding and bias of each attribute in these units, `(attributes, dim + 1)`."""
        both = torch.cat([self.embedding, self.bias[:, None]], 1).detach().double().cpu().numpy()
        return np.asarray(both * unit)

    def table(self, *, fitted: bool = True) -> Tensor:
        """Who has which attribute: the fitted rows, or the others, as a sparse matrix, `(rows, attributes)`."""
        starts = slice(self.n_rows + 1) if fitted else slice(self.n_rows, None)
        indptr = self.get_buffer("indptr")[starts]
        index = self.get_buffer("attribute")[indptr[0] : indptr[-1]]
        ones = torch.ones(len(index), dtype=torch.float32, device=index.device)
        return compressed_rows(indptr - indptr[0], index, ones, len(self.bias))

    @torch.inference_mode(False)
    def _fitted(self) -> tuple[Tensor, Tensor]:
        """The table of the fitted rows, and its transpose."""
        if self._matrices is None or self._matrices[0].device != self.embedding.device:
            table = self.table()
            self._matrices = table, table.t().to_sparse_csr()
        return self._matrices


def with_embeddings(own: Tensor, attributes: AttributeEffects | None) -> Tensor:
    """Embeddings of a side's rows plus those of their attributes; `own` itself without attributes."""
    return own if attributes is None else attributes.add_embeddings(own)


def with_biases(own: Tensor, attributes: AttributeEffects | None) -> Tensor:
    """As `with_embeddings`, of biases."""
    return own if attributes is None else attributes.add_biases(own)


@torch.no_grad()
def user_side(side: Side, attributes: AttributeEffects | None, unit: NDArray[np.float64]) -> Side:
    """Add to the users' side what attributes say of new users, with ratings and without.

    Without ratings, attributes alone must explain what an own embedding otherwise would, so their effects are refitted.

    Args:
        side: Users before centring.
        attributes: Their attributes, if any.
        unit: What 1 is in each coordinate of an attribute's embedding and bias, in stars, `(dim + 1,)`.
    """
    if attributes is None:
        return side
    rows = torch.from_numpy(np.column_stack([side.factors, side.bias]))
    # Not by an eigenbasis, which needs the dense table.
    features = Effects(attributes.table().cpu().to(rows), dense=0)
    effects, row = cold_start_row(rows, features, rows.new_full(rows.shape[1:], COLD_START_PENALTY))
    return replace(
        side,
        attribute_effects=attributes.in_stars(unit),
        cold_start_effects=effects.numpy(),
        cold_start_mean=row.numpy(),
    )


@torch.no_grad()
def item_side(side: Side, attributes: AttributeEffects | None, unit: NDArray[np.float64]) -> Side:
    """As `user_side`, of items; those that were not fitted follow, with the rows that their attributes say."""
    if attributes is None:
        return side
    effects = attributes.in_stars(unit)
    rows = np.column_stack([side.factors, side.bias])
    told, unfitted = (
        (attributes.table(fitted=fitted).cpu().double() @ torch.from_numpy(effects)).numpy() for fitted in (True, False)
    )
    row = (rows - told).mean(0)
    return replace(
        side,
        bias=np.concatenate([side.bias, row[-1] + unfitted[:, -1]]),
        factors=np.concatenate([side.factors, row[:-1] + unfitted[:, :-1]]),
        attribute_effects=effects,
        cold_start_mean=row,
    )
