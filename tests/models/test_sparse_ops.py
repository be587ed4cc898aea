"""Sparse products against the obvious way, gradients included."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from recsys.models import sparse_ops as products

N_USERS, N_ITEMS, DIM = 7, 5, 3


def tables(n_users: int = N_USERS, n_items: int = N_ITEMS) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    draw = lambda n: torch.randn(n, DIM, generator=generator, dtype=torch.float64).requires_grad_()  # noqa: E731
    return draw(n_users), draw(n_items)


def pairs(n: int = 40, *, ascending: bool = True) -> tuple[torch.Tensor, torch.Tensor]:
    """Pairs with repeats; the last user and the last item have none."""
    random = np.random.default_rng(1)
    user, item = random.integers(0, N_USERS - 1, n), random.integers(0, N_ITEMS - 1, n)
    return torch.from_numpy(np.sort(user) if ascending else user), torch.from_numpy(item)


@pytest.mark.parametrize("ascending", [True, False])
@pytest.mark.parametrize("n", [0, 1, 40])
def test_dot_and_its_gradients_are_those_of_the_looked_up_rows(n: int, ascending: bool) -> None:
    users, items = tables()
    user, item = pairs(n, ascending=ascending)
    weight = torch.linspace(-1, 2, n, dtype=torch.float64)
    wanted = (users[user] * items[item]).sum(1)
    gradients = torch.autograd.grad((wanted * weight).sum(), (users, items), retain_graph=True)
    got = products.dot_and_squares(users, items, user, item)[0]
    torch.testing.assert_close(got, wanted)
    for mine, theirs in zip(torch.autograd.grad((got * weight).sum(), (users, items)), gradients, strict=True):
        torch.testing.assert_close(mine, theirs)


def test_dot_is_not_disturbed_by_what_memory_held_before() -> None:
    """A product that is added to zero times what was there takes over its NaNs."""
    users, items = tables()
    user, item = pairs()
    for _ in range(50):
        torch.full((len(user),), float("nan"), dtype=torch.float64)  # given back, and likely handed out again
        assert products.dot_and_squares(users, items, user, item)[0].isfinite().all()


def test_gradcheck() -> None:
    users, items = tables()
    user, item = pairs(12)
    weight = torch.rand(N_USERS, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    assert torch.autograd.gradcheck(
        lambda p, q: products.dot_and_squares(p, q, user, item, weight, weight[:N_ITEMS]), (users, items)
    )
    assert torch.autograd.gradcheck(lambda table: products.rows(table, item), (items,))
    assert torch.autograd.gradcheck(lambda table: products.weighted_squares(table, weight), (users,))


@pytest.mark.parametrize("n", [12, 40])
def test_squares_are_weighted_and_add_to_the_gradient(n: int) -> None:
    users, items = tables()
    user, item = pairs(n)
    weight = torch.rand(N_USERS, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    wanted = (users[user] * items[item]).sum() + 3 * (weight @ users.square().sum(1))
    dot, squares = products.dot_and_squares(users, items, user, item, weight)
    torch.testing.assert_close(squares, weight @ users.square().sum(1))
    gradients = torch.autograd.grad(wanted, (users, items))
    for mine, theirs in zip(torch.autograd.grad(dot.sum() + 3 * squares, (users, items)), gradients, strict=True):
        torch.testing.assert_close(mine, theirs)


def test_one_side_may_have_no_gradient() -> None:
    users, items = tables()
    products.dot_and_squares(users, items.detach(), *pairs())[0].sum().backward()
    assert users.grad is not None
    users.grad = None
    products.dot_and_squares(users.detach(), items, *pairs())[0].sum().backward()
    assert users.grad is None
    assert items.grad is not None


def test_tables_of_more_rows_than_16_bits_count() -> None:
    """Rows whose order in 16 bits is another."""
    n = (1 << 16) + 10
    users, items = tables(n, n)
    row, other = torch.tensor([n - 1, 20, n - 1, (1 << 16) + 3]), torch.tensor([20, n - 1, 1 << 16, 3])
    weight = torch.tensor([1.0, -2.0, 3.0, 5.0], dtype=torch.float64)
    for order in (torch.arange(4), torch.argsort(row)):
        user, item, scale = row[order], other[order], weight[order]
        wanted = torch.autograd.grad(((users[user] * items[item]).sum(1) * scale).sum(), (users, items))
        dot, _ = products.dot_and_squares(users, items, user, item)
        got = torch.autograd.grad((dot * scale).sum(), (users, items))
        looked_up = (products.rows(users, user) * products.rows(items, item)).sum(1)
        for found in (got, torch.autograd.grad((looked_up * scale).sum(), (users, items))):
            for mine, theirs in zip(found, wanted, strict=True):
                torch.testing.assert_close(mine, theirs)


def test_half_precision_takes_the_obvious_way() -> None:
    users, items = (table.detach().bfloat16() for table in tables())
    user, item = pairs()
    torch.testing.assert_close(
        products.dot_and_squares(users, items, user, item)[0], (users[user] * items[item]).sum(1)
    )


def test_counts() -> None:
    assert products.counts(torch.tensor([2, 0, 2]), 4).tolist() == [1, 0, 2, 0]


def test_counts_are_exact_whatever_the_default_precision() -> None:
    """Half precision counts to 256, and an item may be rated a thousand times in a batch."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:
        assert products.counts(torch.zeros(1000, dtype=torch.int64), 2).tolist() == [1000, 0]
    finally:
        torch.set_default_dtype(before)
