"""Random numbers by row: the same for whoever asks, of the distribution that is asked for."""

from __future__ import annotations

import pytest
import torch

from recsys.models.draws import ROWS, Draws


def draws(seed: int = 0, dtype: torch.dtype = torch.float32) -> Draws:
    return Draws(torch.Generator().manual_seed(seed), dtype)


@pytest.mark.parametrize(("first", "stop"), [(0, 1), (3, 3), (5, ROWS), (ROWS - 2, ROWS + 2), (ROWS, 3 * ROWS)])
def test_a_row_s_numbers_do_not_depend_on_which_rows_are_asked_for(first: int, stop: int) -> None:
    whole = draws().normal(1, 0, 3 * ROWS, 5)
    assert torch.equal(draws().normal(1, first, stop, 5), whole[first:stop])
    assert torch.equal(draws().uniform(1, first, stop), draws().uniform(1, 0, 3 * ROWS)[first:stop])


def test_streams_rows_and_sweeps_are_independent() -> None:
    one, rows = draws(), 3 * ROWS
    generator = torch.Generator().manual_seed(0)
    first, second = (Draws(generator, torch.float32) for _ in range(2))
    columns = [one.normal(1, 0, rows, 2), one.normal(2, 0, rows, 2), draws(1).normal(1, 0, rows, 2)]
    columns += [one.normal(1, rows, 2 * rows, 2), second.normal(1, 0, rows, 2)]
    assert torch.equal(first.normal(1, 0, rows, 2), columns[0])
    correlation = torch.corrcoef(torch.cat(columns, 1).T)
    assert (correlation - torch.eye(len(correlation))).abs().max() < 4.5 / rows**0.5


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_numbers_are_normal_and_uniform(dtype: torch.dtype) -> None:
    n = 200 * ROWS
    normal = draws(2, dtype).normal(0, 0, n // 4, 4).flatten()
    assert normal.dtype == dtype
    for power, moment in ((1, 0), (2, 1), (3, 0), (4, 3)):
        drawn = normal.double() ** power
        assert abs(drawn.mean() - moment) < 4.5 * drawn.std() / n**0.5
    uniform = draws(2, dtype).uniform(0, 0, n)
    assert uniform.dtype == dtype
    assert uniform.min() >= 0
    assert uniform.max() < 1
    share = torch.histc(uniform.float(), 20, 0, 1) / n
    assert (share - 1 / 20).abs().max() < 4.5 * (0.05 / n) ** 0.5
