"""The sampler itself: each conditional by brute force, and all of them together against their joint distribution."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from recsys.models.bayesian.conjugate import COUNT, RATE, SHAPE
from recsys.models.bayesian.model import BayesianMF
from recsys.models.bayesian.sampler import NOISE_RATE, NOISE_SHAPE, draw_noise, row_priors
from recsys.models.bayesian.side_information import RATE as EFFECTS_RATE
from recsys.models.bayesian.side_information import SHAPE as EFFECTS_SHAPE
from recsys.models.bayesian.side_information import Effects
from recsys.models.normal_equations import Noise, NormalEquations
from recsys.models.side_matrices import rated_matrix

pytestmark = pytest.mark.long

MU = 3.0
LEVELS = torch.tensor([1.0, 2.0, 3.0, 4.0]).double()
States = dict[str, Tensor]  # arrays by name, each of shape (draws, ...)

CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "noise": {"noise_shape": 3.0},
    "features": {"features": True},
    "features by gradients": {"features": True, "dense": 0},
    "ordinal": {"likelihood": "ordinal"},
    "ordinal noise": {"likelihood": "ordinal", "noise_shape": 3.0},
    "features noise": {"features": True, "noise_shape": 3.0},
    "features ordinal noise": {"features": True, "likelihood": "ordinal", "noise_shape": 3.0},
}
every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)
SHORT = ("features noise", "features ordinal noise")  # the others are parts of these; gradients: test_side_information


class LaterEpochs(BayesianMF):
    """Past the first sweeps, which spare what says nothing yet, and long before any sample is kept."""

    current_epoch = 100


class Exact(NormalEquations):
    """The conditional means in the place of draws."""

    def solve(self, *arguments: Any, noise: Noise | None = None, **more: Any) -> Tensor:
        assert noise is not None
        return super().solve(*arguments, **more)


class Tiny:
    """A sampler of one coordinate and a bias, in double precision, whose parameters and ratings can be redrawn.

    Args:
        n: Users; two share each of two attributes.
        m: Items.
        seed: Which cells are rated, and all draws.
        noise_shape: As the model's.
        likelihood: As the model's; of four levels and thus one threshold that moves.
        features: Whether users have attributes, and both sides implicit features.
        dense: As `Effects` has it.
    """

    def __init__(
        self, n: int = 4, m: int = 3, seed: int = 0, *, noise_shape: float = 0.0, likelihood: str = "gaussian",
        features: bool = False, dense: int = 100,
    ) -> None:  # fmt: skip
        self.n, self.m, self.features, self.noise_shape = n, m, features, noise_shape
        self.ordinal = likelihood == "ordinal"
        self.generator = torch.Generator().manual_seed(seed)
        cells = torch.randperm(n * m, generator=self.generator)[: n * m * 5 // 6]
        self.user, self.item = cells // m, cells % m
        self.model = LaterEpochs(
            n, m, 1.0, 5.0, embedding_dim=1, noise_shape=noise_shape, likelihood=likelihood, burn_in=10**9
        ).double()
        self.model.generator.manual_seed(seed)
        self.blocks: list[dict[str, Tensor]] = [{}, {}]
        if features:
            kinds = torch.eye(2)[torch.arange(n) % 2].to_sparse_csr()
            self.blocks[0] = {"attributes": kinds, "implicit": rated_matrix(self.user, self.item, n, m)}
            self.blocks[1] = {"implicit": rated_matrix(self.item, self.user, m, n)}
        effects = [{name: Effects(table.double(), dense) for name, table in blocks.items()} for blocks in self.blocks]
        row = self.model.mu.expand(self.model.width)
        self.model.priors = row_priors((n, m), effects, self.model.unit, row)
        self.model.mu.fill_(MU)
        self.sides = self.sides_of(NormalEquations)

    def sides_of(self, kind: type[NormalEquations]) -> tuple[NormalEquations, NormalEquations]:
        return kind(self.user, self.item, self.n, self.m, 2), kind(self.item, self.user, self.m, self.n, 2)

    def gamma(self, shape: float, rate: float, *size: int) -> Tensor:
        wanted = torch.full(size, shape, dtype=torch.float64)
        return torch._standard_gamma(wanted, generator=self.generator) / rate

    def normal(self, *size: int) -> Tensor:
        return torch.randn(size, generator=self.generator, dtype=torch.float64)

    def from_prior(self, draws: int) -> States:
        """Parameters as the model's documentation says that they are distributed before there are ratings."""
        states: States = {"precision": self.gamma(NOISE_SHAPE, NOISE_RATE, draws)}
        for side, rows, blocks in zip(("user", "item"), (self.n, self.m), self.blocks, strict=True):
            shape = self.noise_shape
            own = self.gamma(shape, shape, draws, rows) if shape else torch.ones(draws, rows).double()
            precision = self.gamma(SHAPE, RATE, draws, 2)
            mean = self.normal(draws, 2) / (COUNT * precision).sqrt()
            said = mean[:, None].expand(-1, rows, -1)
            for name, table in blocks.items():
                strict = self.gamma(EFFECTS_SHAPE, EFFECTS_RATE, draws, 2)
                effects = self.normal(draws, table.shape[1], 2) / strict.sqrt()[:, None]
                said = said + table.to_dense().double() @ effects
                states |= {f"{side} {name}": effects, f"{side} {name}_precision": strict}
            states |= {
                f"{side} noise": own, f"{side} mean": mean, f"{side} precision": precision,
                f"{side} rows": said + self.normal(draws, rows, 2) / precision.sqrt()[:, None],
            }  # fmt: skip
        between = torch.rand(draws, generator=self.generator, dtype=torch.float64)
        states["threshold"] = 1.5 + 2 * between if self.ordinal else 2.5 + 0 * between
        return states

    def means(self, states: States) -> tuple[Tensor, Tensor]:
        """Mean and precision of what is behind each rating, `(draws, ratings)`."""
        p, q = (states[f"{side} rows"][:, row] for side, row in (("user", self.user), ("item", self.item)))
        noise = states["user noise"][:, self.user] * states["item noise"][:, self.item]
        return MU + p[..., 1] + q[..., 1] + p[..., 0] * q[..., 0], states["precision"][:, None] * noise

    def rated(self, states: States) -> States:
        """The states and the numbers `latent (draws, ratings)` behind the ratings, drawn, and the ratings."""
        mean, precision = self.means(states)
        latent = mean + self.normal(*mean.shape) / precision.sqrt()
        rating = latent
        if self.ordinal:
            above = [latent > 1.5, latent > states["threshold"][:, None], latent > 3.5]
            rating = LEVELS[torch.stack(above).sum(0)]
        return states | {"latent": latent, "rating": rating}

    def take(self, states: States) -> None:
        """Be in the first of these states."""
        first = {name: array[0].clone() for name, array in states.items()}
        for side, prior, rows in zip(("user", "item"), self.model.priors, self._rows(), strict=True):
            prior.load({name: first[f"{side} {name}"] for name in prior.state})
            rows.copy_(first[f"{side} rows"])
            self.model.chain[f"{side}_precision"] = first[f"{side} noise"]
        self.model.chain["precision"] = first["precision"]
        if self.ordinal:
            thresholds = torch.stack([torch.tensor(1.5), first["threshold"], torch.tensor(3.5)])
            self.model.chain |= {"levels": LEVELS, "thresholds": thresholds}

    def state(self) -> States:
        """The state it is in, as one draw."""
        chain = self.model.chain
        now = {"precision": chain["precision"]}
        for side, prior, rows in zip(("user", "item"), self.model.priors, self._rows(), strict=True):
            now |= {f"{side} {name}": array for name, array in prior.state.items()}
            now |= {f"{side} rows": rows.detach(), f"{side} noise": chain[f"{side}_precision"]}
        now["threshold"] = chain["thresholds"][1] if self.ordinal else torch.tensor(2.5).double()
        return {name: array[None].clone() for name, array in now.items()}

    def sweep(self, states: States, sides: tuple[NormalEquations, NormalEquations] | None = None) -> States:
        """The state after a sweep over the ratings of the first of these states, which it is in, and these ratings."""
        if self.ordinal:
            self.model.chain["latent"] = states["latent"][0]
            self.model.chain["proposal"] = torch.ones(3).double()  # not adapted: this chain has no burn-in
            self.model._latent = None  # of other ratings
        users, items = sides or self.sides
        for side in (users, items):
            side.value = side.sorted(states["rating"][0])
        with torch.no_grad():
            self.model.sweep(users, items)
        now = states["rating"]
        return self.state() | {"rating": now, "latent": self.model.chain["latent"][None] if self.ordinal else now}

    def _rows(self) -> tuple[Tensor, Tensor]:
        return self.model.user_rows, self.model.item_rows


def functions(tiny: Tiny, states: States) -> dict[str, Tensor]:
    """Functions of parameters and ratings whose means are compared, `(draws,)` each, without heavy tails."""
    mean, precision = tiny.means(states)
    rating, threshold = torch.atan(states["rating"] - MU).mean(1), states["threshold"] - 2.5
    between = (states["rating"] == LEVELS[1]).double().mean(1) - (states["rating"] == LEVELS[2]).double().mean(1)
    found = {
        "rating": rating,
        "threshold": threshold,
        "threshold given the rating": threshold * between,
        "mean given the rating": torch.atan(mean - MU).mean(1) * rating,
        "error": ((states["latent"] - mean).square() * precision).mean(1).log1p(),
    }
    for name, array in states.items():
        if name.endswith(("precision", "noise")):
            flat = array.log().view(len(array), -1)
            found |= {f"log {name}": flat.mean(1)} if "noise" in name else dict(_each(f"log {name}", flat))
        elif name.endswith("mean"):
            found |= _each(f"atan {name}", torch.atan(array)) | _each(f"log squared {name}", array.square().log1p())
        elif name.endswith("rows"):
            found |= _each(f"log squared {name}", array.square().mean(1).log1p())
    for side, blocks in zip(("user", "item"), tiny.blocks, strict=True):
        for name, table in blocks.items():  # what effects say, as those that say nothing of any row are left out
            said = table.to_dense().double() @ states[f"{side} {name}"]
            found |= _each(f"log squared said by {side} {name}", said.square().mean(1).log1p())
    product = states["user rows"][:, 0, 0] * states["item rows"][:, 0, 0]
    return found | {"atan product": torch.atan(product)}


def _each(name: str, columns: Tensor) -> dict[str, Tensor]:
    return {f"{name} {column}": columns[:, column] for column in range(columns.shape[1])}


@pytest.mark.parametrize(
    ("case", "sweeps"),
    [pytest.param(CASES[key], 300, id=key) for key in SHORT]
    + [pytest.param(case, 6_000, id=f"{key}-long", marks=pytest.mark.slow) for key, case in CASES.items()],
)
def test_a_sweep_keeps_to_the_joint_distribution_of_parameters_and_ratings(case: dict[str, Any], sweeps: int) -> None:
    """Geweke 2004, "Getting it right", with independent draws of the joint distribution that are swept once each.

    What a function was before the sweep explains much of what it is after, and is taken out by regression: the mean
    before is known.
    """
    tiny = Tiny(seed=1, **case)
    prior = functions(tiny, tiny.rated(tiny.from_prior(20_000)))
    drawn = tiny.rated(tiny.from_prior(sweeps))
    swept = []
    for number in range(sweeps):
        states = {name: array[number : number + 1] for name, array in drawn.items()}
        tiny.take(states)
        swept.append(tiny.sweep(states))
    before, after = (
        functions(tiny, drawn),
        functions(tiny, {name: torch.cat([s[name] for s in swept]) for name in drawn}),
    )
    errors = {}
    for name, values in after.items():
        mean, spread = prior[name].mean(), prior[name].var() / len(prior[name])
        x, y = before[name] - mean, values - mean
        slope = torch.cov(torch.stack([x, y]))[0, 1] / x.var().clamp_min(1e-12)
        left = y - slope * x
        deviation = (left.var() / sweeps + (1 - slope) ** 2 * spread).sqrt()
        errors[name] = (left.mean() / deviation.clamp_min(1e-12)).item()
    assert {name: error for name, error in errors.items() if abs(error) > 4.5} == {}


@pytest.mark.parametrize("shape", [0.0, 3.0])
def test_each_precision_of_the_noise_has_its_conditional_distribution(shape: float) -> None:
    """A gamma distribution of which the draw times its rate has a known shape, whatever the rate."""
    tiny, n = Tiny(seed=2, noise_shape=shape), 800
    errors = torch.linspace(-1.5, 2.5, len(tiny.user)).double()
    before = tiny.rated(tiny.from_prior(1))
    squares, precision = errors.square(), before["precision"][0]
    scaled: dict[str, list[Tensor]] = {"all": [], "user": [], "item": []}
    tiny.take(before)
    for _ in range(n):
        chain = dict(tiny.model.chain)
        users, items = tiny.sides
        draw_noise(chain, users, items, items.sorted(errors), shape, 2.0, tiny.generator)
        user, item = chain["user_precision"], chain["item_precision"]
        by_user, by_item = squares * before["item noise"][0, tiny.item], squares * user[tiny.user]
        scaled["user"].append(user * (shape + precision / 2 * torch.bincount(tiny.user, by_user)))
        scaled["item"].append(item * (shape + precision / 2 * torch.bincount(tiny.item, by_item)))
        total = (by_item * item[tiny.item]).sum()
        scaled["all"].append(chain["precision"] * (NOISE_RATE * 2.0**2 + total / 2))
    shapes = {"all": torch.tensor(NOISE_SHAPE + len(errors) / 2)}
    if shape:
        shapes |= {"user": shape + torch.bincount(tiny.user) / 2, "item": shape + torch.bincount(tiny.item) / 2}
    for name, expected in shapes.items():
        found = torch.stack(scaled[name])
        assert ((found.mean(0) - expected).abs() < 4 * (expected / n).sqrt()).all(), name
        assert ((found.var(0) / expected - 1).abs() < 0.3).all(), name
    assert shape or torch.equal(user, torch.ones_like(user))


@every_case
def test_a_sweep_draws_rows_around_their_dense_conditional_means(case: dict[str, Any]) -> None:
    """Users given the items before, items given the users after; each rating weighs as much as its noise lets it."""
    tiny = Tiny(7, 6, seed=3, **case)
    before = tiny.rated(tiny.from_prior(1))
    tiny.take(before)
    after = tiny.sweep(before, tiny.sides_of(Exact))
    target = before["latent"][0] - MU
    for side, other, row, others, tables, given in (
        ("user", "item", tiny.user, tiny.item, tiny.blocks[0], before),
        ("item", "user", tiny.item, tiny.user, tiny.blocks[1], after),
    ):
        rows = given[f"{other} rows"][0]
        precision, mean = after[f"{side} precision"][0], after[f"{side} mean"][0]
        for number, found in enumerate(after[f"{side} rows"][0]):
            expected = mean.clone()
            for name, table in tables.items():
                expected += table.to_dense().double()[number] @ after[f"{side} {name}"][0]
            mine = row == number
            design = torch.stack([rows[others[mine], 0], torch.ones(int(mine.sum()))], 1)
            noise = before["precision"][0] * before[f"{side} noise"][0, number]
            weight = noise * before[f"{other} noise"][0, others[mine]]
            system = precision.diag() + design.T * weight @ design
            rhs = precision * expected + design.T * weight @ (target[mine] - rows[others[mine], 1])
            torch.testing.assert_close(found, torch.linalg.solve(system, rhs), atol=1e-8, rtol=1e-8)


def test_the_first_sweep_spares_the_priors_of_which_nothing_is_known() -> None:
    tiny = Tiny(features=True)
    tiny.take(tiny.from_prior(1))
    before = tiny.state()
    tiny.model.__class__ = BayesianMF  # which is not trained yet: epoch 0
    after = tiny.sweep(tiny.rated(before))
    for name in before:
        drawn = name == "precision" or name.endswith("rows")
        assert torch.equal(before[name], after[name]) != drawn, name


def test_the_noise_of_users_and_items_is_told_apart() -> None:
    """Half of the users are four times as erratic as the others, and half of the items twice as much."""
    rng = np.random.default_rng(0)
    tiny = Tiny(60, 50, noise_shape=3.0)
    std = torch.where(tiny.user < 30, 0.25, 1.0) * torch.where(tiny.item < 25, 0.5, 1.0)
    rating = MU + torch.from_numpy(rng.normal(size=len(std))) * std
    kept = []
    for sweep in range(60):
        after = tiny.sweep({"rating": rating[None]})
        if sweep >= 20:
            kept.append(torch.cat([after["user noise"][0], after["item noise"][0]]).log())
    user, item = torch.stack(kept).mean(0).split([60, 50])
    # The prior takes a tenth off.
    assert (user[:30].mean() - user[30:].mean()).item() == pytest.approx(np.log(16), rel=0.15)
    assert (item[:25].mean() - item[25:].mean()).item() == pytest.approx(np.log(4), rel=0.15)
    assert user[:30].min() > user[30:].max()
