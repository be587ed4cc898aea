"""The Gibbs sampler: initial state, and draws of the noise and of the latent values of ordinal ratings."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from recsys.data.features import Attributes
from recsys.models.bayesian.conjugate import gamma
from recsys.models.bayesian.ordinal import Latent, midpoints
from recsys.models.bayesian.row_prior import RowPrior
from recsys.models.bayesian.side_information import Effects
from recsys.models.draws import Draws
from recsys.models.normal_equations import NormalEquations
from recsys.models.side_matrices import attribute_matrix

NOISE_SHAPE, NOISE_RATE = 1.0, 1.0  # of the gamma prior of the noise precision, in units
PROPOSAL_SCALE = 3.0  # initial standard deviation of threshold proposals, times the root of the number of ratings
TARGET_ACCEPTANCE = 0.4  # acceptance rate of threshold proposals
USERS, ITEMS, LATENT = range(3)  # streams of draws: rows of each side, latent values

Chain = dict[str, Tensor]


def initial_chain(n_users: int, n_items: int, unit: float, like: Tensor, levels: Sequence[float]) -> Chain:
    """Initial noise, with the dtype and device of `like`; with `levels`, thresholds half-way between them."""
    one = like.new_ones(())
    chain = {
        "precision": one / unit**2,
        "user_precision": one.repeat(n_users),
        "item_precision": one.repeat(n_items),
    }
    known = like.new_tensor(levels)
    return chain | {"levels": known, "thresholds": midpoints(known)} if levels else chain


def initial_latent(rating: Tensor, unit: float) -> Chain:
    """Initial state of an ordinal likelihood, from all ratings in stars."""
    levels = torch.unique(rating)
    proposal = rating.new_ones(()).repeat(len(levels) - 1) * PROPOSAL_SCALE * unit / math.sqrt(len(rating))
    return {"levels": levels, "thresholds": midpoints(levels), "latent": rating, "proposal": proposal}


def attribute_effects(table: Attributes | None, n: int, like: Tensor) -> dict[str, Effects]:
    """Effects of the attributes of the first `n` rows; empty without a table."""
    if table is None or not table.names:
        return {}
    return {"attributes": Effects(attribute_matrix(table.take(np.arange(n))).to(like))}


def row_priors(
    counts: Sequence[int], effects: Sequence[dict[str, Effects]], unit: float, row: Tensor
) -> tuple[RowPrior, RowPrior]:
    """Initial priors of user and item rows.

    Args:
        counts: Numbers of users and items.
        effects: Effects of user and item features, by name.
        unit: See `RatingModel.unit`.
        row: Any row, for its length, dtype and device.
    """
    scale = row.new_full(row.shape, unit**0.5)
    scale[-1] = unit
    users, items = (RowPrior(n, len(row), of, scale) for n, of in zip(counts, effects, strict=True))
    return users, items


def sample_shapes(
    chain: Chain, priors: tuple[RowPrior, RowPrior], n_rows: Mapping[str, int]
) -> dict[str, tuple[int, ...]]:
    """Shapes of the stored arrays of a sample by name, in file order.

    Args:
        chain: The initial chain.
        priors: Priors of the user and item rows.
        n_rows: Numbers of `user_rows` and of `item_rows`, including items that are not fitted.
    """
    users, items = priors
    e, state = len(users.state["mean"]), users.state
    shapes: dict[str, tuple[int, ...]] = {name: (n, e) for name, n in n_rows.items()}
    shapes |= {"mean": (e,), "row_precision": (e,), "precision": ()}
    shapes |= {name: tuple(chain[name].shape) for name in ("user_precision", "item_precision")}
    shapes |= {name: tuple(state[name].shape) for name in users.blocks}
    if "attributes" in shapes:
        shapes |= {"cold_start_effects": shapes["attributes"], "cold_start_mean": (e,)}
    if "implicit" in shapes:
        shapes["cold_start_items"] = (n_rows["item_rows"],)
    shapes |= {name: tuple(array.shape) for name, array in item_prior_arrays(items).items()}
    return shapes | {name: tuple(chain[name].shape) for name in ("thresholds",) if name in chain}


def item_prior_arrays(items: RowPrior) -> dict[str, Tensor]:
    """The prior of an item's row, from which a new item is folded in, by the names of a sample's arrays."""
    arrays = {"item_mean": items.state["mean"], "item_row_precision": items.state["precision"]}
    if "attributes" in items.blocks:
        arrays["item_attributes"] = items.state["attributes"]
        arrays["item_cold_start_mean"] = items.means().mean(0) - items.feature_mean("attributes").mean(0)
    if "implicit" in items.blocks:
        arrays["user_implicit"] = items.state["implicit"]
    return arrays


def draw_noise(
    chain: Chain,
    users: NormalEquations,
    items: NormalEquations,
    errors: Tensor,
    shape: float,
    unit: float,
    generator: torch.Generator,
) -> None:
    """Draw the noise precisions of users, items and all ratings; updates the chain.

    Args:
        chain: Contains the precisions.
        users: Ratings by user.
        items: Ratings by item.
        errors: Residuals of the ratings in the order of items, `(ratings,)`, in stars.
        shape: Shape of the gamma prior of user and item precisions; 0: all are 1.
        unit: See `RatingModel.unit`.
        generator: Random generator.
    """
    squares, half = errors.square(), 0.5 * chain["precision"]
    if shape:
        by_user = items.sums_of_other(squares, chain["item_precision"]).to(half)
        chain["user_precision"] = gamma(shape + users.count / 2, shape + half * by_user, generator)
        by_item = items.sums(squares, chain["user_precision"]).to(half)
        chain["item_precision"] = gamma(shape + items.count / 2, shape + half * by_item, generator)
        total = (by_item * chain["item_precision"]).sum(dtype=torch.float64)
    else:
        total = items.total(squares)
    rate = NOISE_RATE * unit**2 + total / 2
    chain["precision"] = gamma(NOISE_SHAPE + items.ratings / 2, rate, generator).to(half)


def draw_latent(
    chain: Chain, latent: Latent, users: NormalEquations, mean: Tensor, draws: Draws, generator: torch.Generator,
    *, adapt: bool,
) -> None:  # fmt: skip
    """Draw thresholds, then latent values of the ratings; updates the chain.

    Args:
        chain: Contains thresholds, proposal sizes and precisions.
        latent: Ratings by level, in the order of users.
        users: Ratings by user.
        mean: Mean of the latent values in the order of users, `(ratings,)`, in stars.
        draws: Of the sweep.
        generator: Random generator.
        adapt: Whether to adapt the proposal sizes to the target acceptance rate (during burn-in).
    """
    noise = chain["user_precision"][users.row] * chain["item_precision"].index_select(0, users.other)
    root = (chain["precision"] * noise).sqrt()
    chain["thresholds"], moved = latent.step(mean, root, chain["thresholds"], chain["proposal"], generator)
    if adapt:
        step = torch.where(moved, 1 + (1 - TARGET_ACCEPTANCE) / 5, 1 - TARGET_ACCEPTANCE / 5)
        chain["proposal"] = chain["proposal"] * step
    share = draws.uniform(LATENT, users.first_rating, users.first_rating + len(mean))
    chain["latent"] = users.restored(latent.draw(mean, root, chain["thresholds"], share))
