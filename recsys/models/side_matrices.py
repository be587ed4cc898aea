"""Sparse matrices of side information: attributes of rows, and who rated what."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from recsys.data.features import Attributes

warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta state")


def attribute_matrix(attributes: Attributes) -> Tensor:
    """The 0/1 table as a sparse CSR matrix, `(rows, attributes)`."""
    indptr, index = torch.from_numpy(attributes.indptr), torch.from_numpy(attributes.index)
    return compressed_rows(indptr, index, torch.ones(len(index)), len(attributes.names))


def rated_matrix(row: Tensor, other: Tensor, n: int, n_other: int) -> Tensor:
    """Implicit-feedback matrix: distinct rated pairs, rows scaled by 1 / sqrt(count), `(n, n_other)`."""
    pairs = torch.unique(row * n_other + other)
    count = torch.bincount(pairs // n_other, minlength=n)
    values = count.clamp_min(1).float().rsqrt()[pairs // n_other]
    return compressed_rows(torch.nn.functional.pad(count.cumsum(0), (1, 0)), pairs % n_other, values, n_other)


def compressed_rows(indptr: Tensor, index: Tensor, values: Tensor, columns: int) -> Tensor:
    """A sparse CSR matrix, `(len(indptr) - 1, columns)`, whose structure is checked."""
    shape = (len(indptr) - 1, columns)
    return torch.sparse_csr_tensor(indptr.long(), index.long(), values, shape, check_invariants=True)
