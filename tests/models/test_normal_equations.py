"""Every row's solution against its own dense system, and draws against the distribution they are drawn from."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor

from recsys.models import normal_equations
from recsys.models.draws import Draws
from recsys.models.normal_equations import Noise, NormalEquations
from recsys.models.padded_rows import NotPositiveDefiniteError, Prior

N, M, WIDTH = 30, 20, 4


class Case:
    """Ratings of rows of very unequal degree, one of which has none."""

    def __init__(self, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        cells = np.flatnonzero(rng.random((N, M)) < np.linspace(0, 1, N)[:, None] ** 2)
        self.row, self.other = (torch.from_numpy(v) for v in np.divmod(rng.permutation(cells), M))
        draw = lambda *shape: torch.from_numpy(rng.normal(size=shape)).float()  # noqa: E731
        self.design, self.target, self.offset = draw(M, WIDTH), draw(len(self.row)), draw(M)
        self.weight, self.scale, self.rhs = draw(M).abs() + 0.1, draw(N).abs() + 0.1, draw(N, WIDTH)
        root = draw(WIDTH, WIDTH)
        self.shared, self.diagonal = root @ root.T + torch.eye(WIDTH), draw(N, WIDTH).abs()

    def side(self, numbers: int = 0) -> NormalEquations:
        return NormalEquations(self.row, self.other, N, M, WIDTH, numbers=numbers)

    def prior(self) -> Prior:
        return Prior(self.shared, self.diagonal, self.rhs)

    def brute_force(self, row: int, gram_scale: float | None = None) -> tuple[Tensor, Tensor]:
        """The system of one row in double precision."""
        mine = self.row == row
        z, w = self.design[self.other[mine]].double(), self.weight[self.other[mine]].double()
        surprise = (self.target[mine] - self.offset[self.other[mine]]).double()
        scale = self.scale[row].double()
        system = self.shared.double() + self.diagonal[row].double().diag()
        system += (scale if gram_scale is None else gram_scale) * (z.T * w) @ z
        return system, self.rhs[row].double() + scale * (z.T * w) @ surprise

    def solve(self, side: NormalEquations, **arguments: object) -> Tensor:
        return side.solve(
            self.design, side.sorted(self.target), self.prior(), offset=self.offset, root=self.weight.sqrt(),
            scale=self.scale, **arguments,  # type: ignore[arg-type]
        )  # fmt: skip


def noise(seed: int) -> Noise:
    return partial(Draws(torch.Generator().manual_seed(seed), torch.float32).normal, 0, width=WIDTH)


@pytest.mark.parametrize("numbers", [0, 1, 5 * WIDTH, 40 * WIDTH])
def test_every_row_solves_its_own_dense_system(numbers: int) -> None:
    case = Case()
    side = case.side(numbers)
    assert side.count.min() == 0
    assert torch.equal(side.count, torch.bincount(case.row, minlength=N))
    found = case.solve(side)
    assert found.shape == (N, WIDTH)
    for row in range(N):
        torch.testing.assert_close(
            found[row].double(), torch.linalg.solve(*case.brute_force(row)), atol=1e-4, rtol=1e-4
        )


def test_a_scale_of_the_matrices_alone() -> None:
    case = Case()
    found = case.solve(case.side(), gram_scale=0.3)
    for row in range(N):
        expected = torch.linalg.solve(*case.brute_force(row, gram_scale=0.3))
        torch.testing.assert_close(found[row].double(), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("numbers", [0, 3 * WIDTH])
def test_weights_of_ratings_in_the_matrices_alone(numbers: int) -> None:
    case = Case()
    weight = torch.rand(len(case.row), generator=torch.Generator().manual_seed(1)) + 0.5
    residual = torch.empty_like(case.target)
    side = case.side(numbers)
    found = side.solve(
        case.design, side.sorted(case.target), case.prior(), gram_weight=side.sorted(weight), residual=residual
    )
    for row in range(N):
        z, w = case.design[case.other[case.row == row]].double(), weight[case.row == row].double()
        system = case.shared.double() + case.diagonal[row].double().diag() + (z.T * w) @ z
        expected = torch.linalg.solve(system, case.rhs[row].double() + z.T @ case.target[case.row == row].double())
        torch.testing.assert_close(found[row].double(), expected, atol=1e-4, rtol=1e-4)
    left = case.target - (case.design[case.other] * found[case.row]).sum(1)
    torch.testing.assert_close(side.restored(residual), left, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("numbers", [0, 3 * WIDTH])
def test_residuals_are_what_the_solutions_leave_of_the_targets(numbers: int) -> None:
    case = Case()
    residual = torch.empty_like(case.target)
    side = case.side(numbers)
    found = case.solve(side, residual=residual)
    expected = case.target - case.offset[case.other] - (case.design[case.other] * found[case.row]).sum(1)
    torch.testing.assert_close(side.restored(residual), expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("numbers", [1, 7, 200, 1000])
def test_no_padded_block_is_larger_than_its_bound(numbers: int) -> None:
    case = Case()
    side = case.side(numbers * WIDTH)
    for block in side.blocks:
        groups = block.padded.groups
        looked_up = [piece[0].numel() for group in groups for piece in block.padded._pieces(group)]
        assert max(looked_up) <= max(numbers, max(len(group.row) for group in groups))
        assert all(group.other.numel() <= numbers for group in groups if len(group.row) > 1)
        assert sorted(torch.cat([group.row for group in groups]).tolist()) == list(range(block.stop - block.first))


@pytest.mark.parametrize("size", [1, 20, 1000])
def test_blocks_have_all_rows_in_order_and_about_as_many_ratings(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(normal_equations, "BLOCK", size)
    monkeypatch.setattr(normal_equations, "FEWEST_BLOCKS", 8)
    case = Case()
    side = case.side()
    assert [row for block in side.blocks for row in range(block.first, block.stop)] == list(range(N))
    assert torch.equal(torch.cat([block.other for block in side.blocks]).long(), side.sorted(case.other))
    blocks = max(8, -(-len(case.row) // size))
    assert len(side.blocks) == min(blocks, N)
    largest = (len(case.row) + 16 * N) / blocks + side.count.max() + 16
    assert max(len(block.other) for block in side.blocks) <= largest
    expected = torch.stack([torch.linalg.solve(*case.brute_force(row)) for row in range(N)])
    torch.testing.assert_close(case.solve(side).double(), expected, atol=1e-4, rtol=1e-4)


def test_a_block_s_solution_does_not_depend_on_other_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bit by bit: whoever solves it."""
    monkeypatch.setattr(normal_equations, "FEWEST_BLOCKS", 8)
    case = Case()
    whole, side = case.solve(case.side()), case.side()
    side.blocks = side.blocks[2:5]
    rows = slice(side.blocks[0].first, side.blocks[-1].stop)
    assert torch.equal(case.solve(side), whole[rows])


@pytest.mark.parametrize(("ratings", "blocks"), [(0, 2), (100_000, 2), (330_000, 5), (1_000_000, 8), (25_000_000, 48)])
def test_small_data_have_few_blocks(ratings: int, blocks: int) -> None:
    assert len(normal_equations._block_bounds(np.full(1000, ratings // 1000))) - 1 == blocks


def test_sums_of_values_by_row_and_of_rows() -> None:
    case = Case()
    side = case.side()
    values = case.target.double()
    torch.testing.assert_close(side.sums(side.sorted(values)), torch.bincount(case.row, values, minlength=N))
    squares, of_row, of_other = values.square(), case.scale.double(), case.weight.double()
    found = side.sums(side.sorted(squares), of_other)
    torch.testing.assert_close(found, torch.bincount(case.row, squares * of_other[case.other], minlength=N))
    found = side.sums_of_other(side.sorted(squares), of_row)
    expected = torch.bincount(case.other, squares * of_row[case.row], minlength=M)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=0)
    assert torch.equal(side.sums_of_other(torch.zeros(len(values)), of_row), torch.zeros(M, dtype=torch.float64))
    rows, weight = case.rhs.double(), case.scale.double()
    torch.testing.assert_close(side.gram(rows), rows.T @ rows)
    torch.testing.assert_close(side.gram(rows, weight), (rows.T * weight) @ rows)


def test_values_in_the_order_of_rows_and_back() -> None:
    case = Case()
    side = case.side()
    assert torch.equal(side.row, case.row.sort(stable=True).values)
    assert torch.equal(side.restored(side.sorted(case.target)), case.target)
    again = NormalEquations(side.row, side.other.long(), N, M, WIDTH)
    assert again.order is None
    assert torch.equal(again.sorted(case.target), case.target)


def test_nobody_has_rated_anything() -> None:
    none = torch.empty(0, dtype=torch.int64)
    side = NormalEquations(none, none, N, M, WIDTH)
    case = Case()
    found = side.solve(case.design, torch.empty(0), case.prior())
    for row in range(N):
        expected = torch.linalg.solve(case.shared + case.diagonal[row].diag(), case.rhs[row])
        torch.testing.assert_close(found[row], expected, atol=1e-4, rtol=1e-4)


def test_draws_have_the_mean_and_the_covariance_of_the_conditional_distribution() -> None:
    """Of copies of three rows, one without a rating and one with all, drawn at once."""
    case, chosen, n = Case(), (0, 5, N - 1), 4000
    ratings = [torch.nonzero(case.row == row)[:, 0] for row in chosen]
    assert [len(of_row) for of_row in ratings] == [0, 2, M]
    ratings *= n
    place, copies = torch.cat(ratings), torch.tensor(chosen).repeat(n)
    row = torch.arange(len(copies)).repeat_interleave(torch.tensor([len(of_copy) for of_copy in ratings]))
    found = NormalEquations(row, case.other[place], len(copies), M, WIDTH).solve(
        case.design, case.target[place], Prior(case.shared, case.diagonal[copies], case.rhs[copies]),
        offset=case.offset, root=case.weight.sqrt(), scale=case.scale[copies], noise=noise(0),
    )  # fmt: skip
    draws = found.double().view(n, len(chosen), WIDTH)
    for number, original in enumerate(chosen):
        system, rhs = case.brute_force(original)
        covariance = torch.linalg.inv(system)
        spread = covariance.diagonal().sqrt()
        error = (draws[:, number].mean(0) - torch.linalg.solve(system, rhs)) / spread * n**0.5
        assert error.abs().max() < 4.5
        correlation = torch.cov(draws[:, number].T) / spread[:, None] / spread
        torch.testing.assert_close(correlation, covariance / spread[:, None] / spread, atol=0.1, rtol=0)


def test_the_same_noise_gives_the_same_draws() -> None:
    case = Case()
    first, second = (case.solve(case.side(), noise=noise(3)) for _ in range(2))
    assert torch.equal(first, second)
    assert not torch.equal(first, case.solve(case.side(), noise=noise(4)))


def test_a_matrix_that_is_barely_singular_is_helped_along() -> None:
    """Without a prior a row of one rating says nothing of most directions."""
    case = Case()
    found = case.side().solve(case.design, case.target, Prior(torch.zeros(WIDTH, WIDTH), torch.full((N, WIDTH), 1e-7)))
    assert found.isfinite().all()


def test_a_matrix_that_is_not_positive_definite_is_an_error_that_says_what_to_do() -> None:
    case = Case()
    with pytest.raises(NotPositiveDefiniteError, match=r"(\d+) of \1 matrices .*model\.reg_lambda > 0"):
        case.side().solve(case.design, case.target, Prior(-10 * torch.eye(WIDTH)))
    with pytest.raises(NotPositiveDefiniteError):
        case.side().solve(case.design * float("nan"), case.target, case.prior())
