"""Sparse products against the obvious way, gradients included."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from recsys.models import products

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
    n = (1 << 16) + 10
    table = torch.zeros(n, DIM, dtype=torch.float64, requires_grad=True)
    row = torch.tensor([n - 1, 3, n - 1, (1 << 16) + 3])
    products.rows(table, row).sum().backward()
    assert table.grad is not None
    assert table.grad[:, 0].nonzero().flatten().tolist() == [3, (1 << 16) + 3, n - 1]
    assert table.grad[n - 1, 0] == 2


def test_half_precision_takes_the_obvious_way() -> None:
    users, items = (table.detach().bfloat16() for table in tables())
    user, item = pairs()
    torch.testing.assert_close(
        products.dot_and_squares(users, items, user, item)[0], (users[user] * items[item]).sum(1)
    )


def test_counts() -> None:
    assert products.counts(torch.tensor([2, 0, 2]), 4).tolist() == [1, 0, 2, 0]
