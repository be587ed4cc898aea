"""Sparse operations: dot products over the pairs of a batch and the penalty, with fast gradients; products of sweeps.

The naive way looks up both rows of each rating, multiplies them and scatters the gradients back: six arrays of
`(batch, dim)` per step, and an `index_add_` that is sequential on CPU. Instead, a batch is a sparse user-item matrix:
its predictions are a sampled product of the two tables, and both gradients are that matrix times a table, so that no
array of size `(batch, dim)` is written (timings: `python -m benchmarks.training_loop`).
"""

from __future__ import annotations

import warnings
from functools import cached_property
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta state")

GATHERED_PAIRS = 1 << 20  # whose rows are looked up at a time, where there is no sparse product


def dot_and_squares(
    users: Tensor,
    items: Tensor,
    user: Tensor,
    item: Tensor,
    user_weight: Tensor | None = None,
    item_weight: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """`p_u . q_i` of each pair, `(batch,)`, and the weighted squares of the tables; fastest if `user` is ascending.

    One function for both, so that each gradient is a single array written once, the main cost with millions of rows.

    Args:
        users: Factors of the users, `(n_users, dim)`.
        items: Factors of the items, `(n_items, dim)`.
        user: Row of each pair's user, `(batch,)` int64.
        item: Row of each pair's item, `(batch,)` int64.
        user_weight: Weight of each user's squares, `(n_users,)`, without gradient; None for none.
        item_weight: Weight of each item's squares, `(n_items,)`.
    """
    # With repeated pairs there may be more pairs than a sparse matrix can hold.
    if not _sparse(users) or users.dtype != items.dtype or len(user) > len(users) * len(items):
        squares = [
            weighted_squares(table, weight)
            for table, weight in ((users, user_weight), (items, item_weight))
            if weight is not None
        ]
        return (rows(users, user) * rows(items, item)).sum(-1), sum(squares, users.new_zeros(()))
    if bool((user[1:] < user[:-1]).any()):
        by_user = order(user, len(users))
        dot, squared = dot_and_squares(users, items, user[by_user], item[by_user], user_weight, item_weight)
        return dot[torch.argsort(by_user)], squared
    both: tuple[Tensor, Tensor] = _DotAndSquares.apply(users, items, user, item, user_weight, item_weight)  # type: ignore[no-untyped-call]
    return both


def rows(table: Tensor, row: Tensor) -> Tensor:
    """Rows of the table, `(batch, dim)`; not by plain indexing, whose gradient depends on the number of threads."""
    return cast(Tensor, _Rows.apply(table, row)) if _sparse(table) else table.index_select(0, row)  # type: ignore[no-untyped-call]


def looked_up(table: Tensor, row: Tensor) -> Tensor:
    """Rows of the table, `(len(row), dim)`, without gradient.

    On CPUs, sums of one row each, since only these fetch ahead what is not in a core's cache.
    """
    if table.device.type != "cpu" or table.dtype != torch.float32:
        return table.index_select(0, row)
    ends = torch.arange(len(row) + 1, dtype=row.dtype)
    return F.embedding_bag(row, table, ends, mode="sum", include_last_offset=True)


def product(dense: Tensor, matrix: Tensor, transpose: Tensor) -> Tensor:
    """`matrix @ dense`, for which PyTorch's own gradient would transpose in every step and take ten times as long.

    Args:
        dense: `(columns, dim)`.
        matrix: Sparse CSR, `(rows, columns)`.
        transpose: Its transpose, sparse CSR.
    """
    return cast(Tensor, _Product.apply(dense, matrix, transpose))  # type: ignore[no-untyped-call]


def with_sums(own: Tensor, dense: Tensor, matrix: Tensor, transpose: Tensor) -> Tensor:
    """`own + matrix @ dense`, in one array, for a matrix of ones.

    Args:
        own: `(rows, dim)`.
        dense: `(columns, dim)`.
        matrix: Sparse CSR, `(rows, columns)`; its values are taken as 1.
        transpose: Its transpose, sparse CSR.
    """
    return cast(Tensor, _WithSums.apply(own, dense, matrix, transpose))  # type: ignore[no-untyped-call]


def weighted_squares(table: Tensor, weight: Tensor) -> Tensor:
    """`sum_r weight_r |table_r|^2`, a scalar; the weights, `(n,)`, have no gradient."""
    return cast(Tensor, _WeightedSquares.apply(table, weight))  # type: ignore[no-untyped-call]


def counts(row: Tensor, n: int) -> Tensor:
    """How often each of n rows occurs, `(n,)` float32; `bincount` would make a GPU wait."""
    ones = torch.ones(len(row), dtype=torch.float32, device=row.device)  # half precision counts to 256
    return torch.zeros(n, dtype=torch.float32, device=row.device).index_add_(0, row, ones)


class SortedPairs:
    """Pairs of a row and a column, sorted by row: products with tables of the rows and of the columns, no gradients.

    A matrix of ones at the pairs, in compressed rows. Its products are what conjugate gradients are made of, at a
    hundredth of the cost of a row's dense matrix.

    Args:
        indptr: Where each row's pairs start, and their end, integers `(n_rows + 1,)`.
        column: Column of every pair, integers `(pairs,)`.
        n_columns: Number of columns.
    """

    def __init__(self, indptr: Tensor, column: Tensor, n_columns: int) -> None:
        self.n_rows, self.n_columns = len(indptr) - 1, n_columns
        integer = torch.int32 if max(len(column), self.n_rows, n_columns) < 1 << 31 else torch.int64
        self.indptr, self.column = indptr.to(integer), column.to(integer)

    @cached_property
    def row(self) -> Tensor:
        """Row of every pair, `(pairs,)`."""
        rows = torch.arange(self.n_rows, device=self.indptr.device, dtype=self.indptr.dtype)
        return rows.repeat_interleave(self.indptr.diff())

    def dot(self, rows: Tensor, columns: Tensor) -> Tensor:
        """`rows[r] . columns[c]` of each pair, `(pairs,)`.

        Args:
            rows: `(n_rows, e)`.
            columns: `(n_columns, e)`.
        """
        if _sparse(rows) and len(self.column) <= self.n_rows * self.n_columns:
            return _dot(rows, columns, self.indptr, self.column)
        parts = zip(torch.split(self.row, GATHERED_PAIRS), torch.split(self.column, GATHERED_PAIRS), strict=True)
        return torch.cat([torch.linalg.vecdot(rows.index_select(0, r), columns.index_select(0, c)) for r, c in parts])

    def sums(self, columns: Tensor, weight: Tensor) -> Tensor:
        """`sum of weight * columns[c]` over the pairs of each row, `(n_rows, e)`.

        Args:
            columns: `(n_columns, e)`.
            weight: Weight of each pair, `(pairs,)`.
        """
        return _bags(columns, self.column, self.indptr, weight)

    def spread(self, values: Tensor) -> Tensor:
        """The value of each pair's row, `(pairs,)`, from `(n_rows,)`."""
        return values.index_select(0, self.row)


class _DotAndSquares(torch.autograd.Function):
    """Pairs as compressed rows, users ascending: sampled product forward, embedding bags backward."""

    @staticmethod
    def forward(
        ctx: Any,
        users: Tensor,
        items: Tensor,
        user: Tensor,
        item: Tensor,
        user_weight: Tensor | None,
        item_weight: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        indptr = _indptr(user, len(users))
        ctx.save_for_backward(users, items, user, item, indptr, user_weight, item_weight)
        dot = _dot(users, items, indptr, item)
        squares = users.new_zeros(())
        for table, weight in ((users, user_weight), (items, item_weight)):
            if weight is not None:
                squares = squares + (_squares(table) * weight).sum()
        return dot, squares

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        users, items, user, item, indptr, user_weight, item_weight = ctx.saved_tensors
        of_dot, of_squares = gradients
        of_users = of_items = None
        if ctx.needs_input_grad[0]:
            of_users = _bags(items, item, indptr, of_dot.contiguous())
            if user_weight is not None:
                of_users.addcmul_(users, (2 * of_squares * user_weight)[:, None])
        if ctx.needs_input_grad[1]:
            by_item = order(item, len(items))
            of_items = _bags(users, user[by_item], _indptr(item, len(items)), of_dot[by_item])
            if item_weight is not None:
                of_items.addcmul_(items, (2 * of_squares * item_weight)[:, None])
        return of_users, of_items, None, None, None, None


class _Rows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, table: Tensor, row: Tensor) -> Tensor:
        ctx.save_for_backward(row)
        ctx.n = len(table)
        return table.index_select(0, row)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (row,) = ctx.saved_tensors
        return _bags(gradients[0].contiguous(), order(row, ctx.n), _indptr(row, ctx.n)), None


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, dense: Tensor, matrix: Tensor, transpose: Tensor) -> Tensor:
        ctx.transpose = transpose
        return _product(matrix, dense)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return _product(ctx.transpose, gradients[0].contiguous()), None, None


class _WithSums(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, own: Tensor, dense: Tensor, matrix: Tensor, transpose: Tensor) -> Tensor:
        ctx.transpose = transpose
        return _bags(dense.to(own.dtype), matrix.col_indices(), matrix.crow_indices()).add_(own)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None]:
        return gradients[0], _product(ctx.transpose, gradients[0].contiguous()), None, None


def _product(matrix: Tensor, dense: Tensor) -> Tensor:
    with torch.autocast(dense.device.type, enabled=False):
        return matrix @ dense.float()


class _WeightedSquares(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, table: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(table, weight)
        return (_squares(table) * weight).sum()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        table, weight = ctx.saved_tensors
        return table * (2 * gradients[0] * weight)[:, None], None


def _dot(rows: Tensor, columns: Tensor, indptr: Tensor, column: Tensor) -> Tensor:
    """Dot products of the pairs in compressed rows, `(pairs,)`."""
    # Zeros, not uninitialized memory: the product adds beta=0 times the content, and 0 * NaN is NaN.
    pairs = torch.sparse_csr_tensor(
        indptr, column, rows.new_zeros(len(column)), (len(rows), len(columns)), check_invariants=False
    )
    torch.sparse.sampled_addmm(pairs, rows, columns.t(), beta=0.0, out=pairs)
    return pairs.values()


def _squares(table: Tensor) -> Tensor:
    """Squared norm of each row, `(n,)`, in chunks, to avoid a temporary as large as the table."""
    with torch.autocast(table.device.type, enabled=False):
        return torch.cat([torch.linalg.vecdot(part, part) for part in torch.split(table, 1 << 14)])


def _sparse(table: Tensor) -> bool:
    """Whether to use sparse products: they are available and faster on CPU; on GPUs atomic additions are faster."""
    return table.device.type == "cpu" and table.dtype in (torch.float32, torch.float64)


def _bags(table: Tensor, row: Tensor, indptr: Tensor, weight: Tensor | None = None) -> Tensor:
    """Weighted sum of the rows in each bag, `(len(indptr) - 1, dim)`."""
    return F.embedding_bag(row, table, indptr, mode="sum", per_sample_weights=weight, include_last_offset=True)


def _indptr(row: Tensor, n: int) -> Tensor:
    """Start of each row's pairs in sorted order, `(n + 1,)`."""
    return F.pad(torch.bincount(row, minlength=n).cumsum(0), (1, 0))


def order(row: Tensor, n: int) -> Tensor:
    """Stable argsort by row; on CPU, NumPy's radix sort of 16 bits takes a fifth of the time."""
    if n > 1 << 16 or row.device.type != "cpu":
        return torch.argsort(row, stable=True)
    return torch.from_numpy(np.argsort(row.numpy().astype(np.uint16), kind="stable"))
