"""Several processes find what one finds, bit by bit."""

from __future__ import annotations

import multiprocessing
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor

from recsys.models import normal_equations
from recsys.models.als import ALS
from recsys.models.bayesian.model import BayesianMF
from recsys.models.closed_form import SweepModel
from recsys.models.ials import ImplicitALS
from recsys.models.ranks import Ranks

N, M, RATINGS = 90, 70, 1500
MODELS: dict[str, tuple[type[SweepModel], dict[str, Any]]] = {
    "als": (ALS, {"embedding_dim": 5}),
    "ials": (ImplicitALS, {"embedding_dim": 5}),
    "ials, exactly": (ImplicitALS, {"embedding_dim": 5, "solver": "cholesky"}),
    "bayesian_mf": (BayesianMF, {"embedding_dim": 5}),
    "bayesian_mf, even noise": (BayesianMF, {"embedding_dim": 5, "noise_shape": 0.0}),
    "bayesian_mf, ordinal": (BayesianMF, {"embedding_dim": 5, "likelihood": "ordinal"}),
}


class Middle:
    """In the place of an epoch."""

    current_epoch = 5


def swept(name: str) -> dict[str, Tensor]:
    """What a model holds after three sweeps over made-up ratings, and the errors of each."""
    torch.set_num_threads(1)
    normal_equations.FEWEST_BLOCKS = 8  # as of a million ratings
    generator = torch.Generator().manual_seed(0)
    user = (N * torch.rand(RATINGS, generator=generator) ** 2).long().sort().values
    item = (M * torch.rand(RATINGS, generator=generator) ** 2).long()
    rating = torch.randint(1, 6, (RATINGS,), generator=generator).float()
    kind, arguments = MODELS[name]
    model: Any = type(kind.__name__, (Middle, kind), {})(N, M, seed=3, **arguments)
    model.generator.manual_seed(1)
    if "ordinal" in name:
        from recsys.models.bayesian.sampler import initial_latent

        model.chain |= initial_latent(rating, model.unit)
        model.burn_in = 10
    if kind is BayesianMF:
        model.burn_in = 10**9
    sides = model.sides_of(user, item, None if kind is ImplicitALS else rating)
    with torch.no_grad():
        losses = [model.sweep(*sides) for _ in range(3)]
    rows = {"users": model.user_rows.data, "items": model.item_rows.data, "losses": torch.stack(losses)}
    return rows | getattr(model, "chain", {})


def of_rank(rank: int, world: int, folder: Path) -> None:
    dist.init_process_group("gloo", f"file://{folder}/rendezvous", rank=rank, world_size=world)
    torch.save({name: swept(name) for name in MODELS}, folder / f"{rank}.pt")
    dist.destroy_process_group()


def together(world: int, folder: Path) -> list[dict[str, dict[str, Tensor]]]:
    """What each of so many processes holds, by model."""
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=of_rank, args=(rank, world, folder)) for rank in range(world)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * world
    return [torch.load(folder / f"{rank}.pt") for rank in range(world)]


@pytest.mark.parametrize("world", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_sweeps_do_not_depend_on_the_number_of_processes(world: int, tmp_path: Path) -> None:
    alone = {name: swept(name) for name in MODELS}
    for found in together(world, tmp_path):
        for name, expected in alone.items():
            assert expected["users"].isfinite().all()
            for key, value in expected.items():
                assert torch.equal(found[name][key], value), (name, key)


def test_a_process_without_others_is_alone() -> None:
    ranks = Ranks()
    assert (ranks.rank, ranks.world) == (0, 1)
    part = torch.arange(3)
    assert ranks.shares(5) == [range(5)]
    assert ranks.joined(part, [3]) is part


def test_shares_are_consecutive_and_even() -> None:
    ranks = Ranks()
    ranks.world = 3
    assert ranks.shares(8) == [range(2), range(2, 5), range(5, 8)]
