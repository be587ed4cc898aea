"""Steps of all rows at once against each row's own dense system."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import pad

from recsys.models import sparse_ops
from recsys.models.conjugate_gradient import Common, Systems, conjugate_gradient
from recsys.models.sparse_ops import SortedPairs

N, M, WIDTH = 30, 20, 4


class Case:
    """Pairs of rows of very unequal degree, one of which has none."""

    def __init__(self, *, weighted: bool = True) -> None:
        rng = np.random.default_rng(0)
        cells = np.flatnonzero(rng.random((N, M)) < np.linspace(0, 1, N)[:, None] ** 2)
        self.row, self.column = (torch.from_numpy(part) for part in np.divmod(cells, M))
        draw = lambda *shape: torch.from_numpy(rng.normal(size=shape))  # noqa: E731
        self.design, self.penalty, root = draw(M, WIDTH), draw(N).abs() + 0.1, draw(WIDTH, WIDTH)
        self.shared, self.start = root @ root.T, draw(N, WIDTH)
        shape = (len(cells),) if weighted else ()
        self.weight, self.target = draw(*shape).abs(), draw(*shape)
        self.systems = self.of(self.row, self.column, self.penalty)

    def of(self, row: Tensor, column: Tensor, penalty: Tensor) -> Systems:
        """The systems of pairs, sorted by row."""
        weight, z = self.weight.expand(len(row)), self.design[column]
        common = Common(self.design, self.shared, (z.T * weight) @ z, weight.sum(), N)
        pairs = SortedPairs(pad(torch.bincount(row, minlength=N).cumsum(0), (1, 0)), column, M)
        return Systems(common, pairs, penalty, torch.bincount(row, weight, N), self.weight, self.target)

    def dense(self, row: int) -> tuple[Tensor, Tensor]:
        """The matrix and right-hand side of one row."""
        mine = self.row == row
        z = self.design[self.column[mine]]
        weight, target = (part[mine] if part.ndim else part.expand(len(z)) for part in (self.weight, self.target))
        return self.shared + self.penalty[row] * torch.eye(WIDTH) + (z.T * weight) @ z, z.T @ target


every_weight = pytest.mark.parametrize("weighted", [True, False])


@every_weight
@pytest.mark.parametrize("sparse", [True, False], ids=["sparse", "gathered"])
def test_as_many_steps_as_coordinates_solve_every_row(
    weighted: bool, sparse: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not sparse:  # as on a GPU, in several parts
        monkeypatch.setattr(sparse_ops, "_sparse", lambda table: False)
        monkeypatch.setattr(sparse_ops, "GATHERED_PAIRS", 50)
    case = Case(weighted=weighted)
    dot = torch.empty(len(case.row), dtype=torch.float64)
    found = conjugate_gradient(case.systems, case.start, WIDTH, dot)
    for row in range(N):
        torch.testing.assert_close(found[row], torch.linalg.solve(*case.dense(row)), atol=1e-8, rtol=1e-8)
    wanted = (found[case.row] * case.design[case.column]).sum(1)
    torch.testing.assert_close(dot, wanted)


@every_weight
def test_every_step_lowers_every_row_s_loss(weighted: bool) -> None:
    case = Case(weighted=weighted)

    def losses(rows: Tensor) -> Tensor:
        systems = [case.dense(row) for row in range(N)]
        return torch.stack([x @ a @ x / 2 - b @ x for x, (a, b) in zip(rows, systems, strict=True)])

    before = losses(case.start)
    for steps in range(1, WIDTH):
        after = losses(conjugate_gradient(case.systems, case.start, steps))
        assert (after < before).all()
        before = after


def test_one_step_solves_rows_whose_systems_are_all_alike() -> None:
    """The preconditioner is their inverse."""
    case = Case(weighted=False)
    row, column = torch.meshgrid(torch.arange(N), torch.arange(M), indexing="ij")
    systems = case.of(row.flatten(), column.flatten(), torch.full((N,), 0.3, dtype=torch.float64))
    found = conjugate_gradient(systems, case.start, 1)
    a = case.shared + 0.3 * torch.eye(WIDTH) + case.weight * case.design.T @ case.design
    torch.testing.assert_close(found, torch.linalg.solve(a, case.target * case.design.sum(0)).expand(N, -1))


def test_solved_rows_stay_as_they_are() -> None:
    case = Case()
    solved = conjugate_gradient(case.systems, case.start, 2 * WIDTH)
    torch.testing.assert_close(conjugate_gradient(case.systems, solved, 3), solved)


def test_nothing_to_solve() -> None:
    """No penalty, no pairs, no target: rows of zeros, and no division by zero."""
    none, zero = torch.empty(0, dtype=torch.int64), torch.zeros(())
    common = Common(torch.zeros(2, 4), torch.zeros(4, 4), torch.zeros(4, 4), zero, 3)
    systems = Systems(common, SortedPairs(torch.zeros(4), none, 2), torch.zeros(3), torch.zeros(3), zero, zero)
    assert torch.equal(conjugate_gradient(systems, torch.zeros(3, 4), 2), torch.zeros(3, 4))
