"""Convert samples of the chain to the arrays of a bundle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import pad

from recsys.bundle.centring import Side, centred_factors
from recsys.bundle.factors import Factors
from recsys.models.bayesian.drift import Drift
from recsys.models.bayesian.row_prior import RowPrior
from recsys.models.bayesian.side_information import cold_start_row
from recsys.models.closed_form import design_of

RATER_SHRINKAGE = 0.5  # expected deviation of a new rater from the mean user, relative to that of the item's raters
RATER_PRIOR_COUNT = 50.0  # number of ratings of an item at which this is halved
COLD_START_PENALTY = 10.0  # of the effects of attributes on new users' rows, relative to the sampler's


def cold_start_arrays(
    user_rows: Tensor, item_rows: Tensor, priors: tuple[RowPrior, RowPrior], n_unfitted: int
) -> dict[str, Tensor]:
    """Prior expectations of a user without ratings.

    Without implicit feedback, attributes explain more of a user than in the model, so their effects are fitted again.
    They are shrunk more: the sampler's weak prior costs a user with ratings nothing, but a new one has only these
    effects, which hundreds of users determine badly and later ones may not share. A new user who rates an item probably
    resembles its raters; the raters' deviation from the mean user is shrunk, since their rows also depend on that very
    rating.

    Args:
        user_rows: User rows of the sample, `(n_users, e)`.
        item_rows: Item rows of the sample, `(n_items, e)`.
        priors: Priors of users and items.
        n_unfitted: Number of items that the model is not fitted on.
    """
    prior, mean = priors[0], user_rows.mean(0)
    arrays = {}
    if "implicit" in priors[1].blocks:
        raters, (design, _) = priors[1].blocks["implicit"].features, design_of(item_rows)
        count = raters.crow_indices().diff().to(mean)[:, None]
        above = count.sqrt() * (raters @ (user_rows - mean)) / (count + RATER_PRIOR_COUNT)
        arrays["cold_start_items"] = pad(RATER_SHRINKAGE * (above * design).sum(1), (0, n_unfitted))
    if "attributes" not in prior.blocks:
        return arrays
    block, ratio = prior.blocks["attributes"], prior.state["attributes_precision"] / prior.state["precision"]
    effects, row = cold_start_row(user_rows, block, COLD_START_PENALTY * ratio)
    return arrays | {"cold_start_effects": effects, "cold_start_mean": row}


def sample_factors(
    sample: Mapping[str, NDArray[np.float64]],
    *,
    mu: float,
    n_items: int,
    heteroscedastic: bool,
    drift: Drift,
    levels: NDArray[np.float64] | None,
) -> Factors:
    """The factors of one sample, centred.

    Args:
        sample: Arrays by name.
        mu: Mean rating.
        n_items: Number of items that the model is fitted on; later rows are other items.
        heteroscedastic: Whether noise varies by user and item.
        drift: Drift of the model.
        levels: Ratings of an ordinal scale, ascending, `(levels,)`; None for a Gaussian likelihood.
    """
    users, items = sample["user_rows"], sample["item_rows"]
    n_unfitted = len(items) - n_items
    implicit = sample.get("implicit")
    factors = centred_factors(
        mu,
        Side(
            bias=users[:, -1],
            factors=users[:, :-1],
            prior_mean=sample["mean"],
            prior_precision=sample["row_precision"][None] / sample["precision"],
            prior_exponent=(0.0,),
            implicit=None if implicit is None else np.pad(implicit, ((0, n_unfitted), (0, 0))),
            attribute_effects=sample.get("attributes"),
            cold_start_effects=sample.get("cold_start_effects"),
            cold_start_mean=sample.get("cold_start_mean"),
        ),
        Side(
            bias=items[:, -1],
            factors=items[:, :-1],
            prior_mean=sample.get("item_mean", np.zeros(items.shape[1])),
            prior_precision=sample.get("item_row_precision", np.ones(items.shape[1]))[None] / sample["precision"],
            prior_exponent=(0.0,),
            implicit=sample.get("user_implicit"),
            attribute_effects=sample.get("item_attributes"),
            cold_start_mean=sample.get("item_cold_start_mean"),
        ),
        fitted_items=n_items,
    )
    if "item_mean" not in sample:  # of a checkpoint whose samples lack it
        factors = replace(factors, item_prior_mean=None, item_prior_precision=None, item_prior_exponent=None)
    arrays = {"precision": sample["precision"].astype(np.float32).reshape(1)}
    if "cold_start_items" in sample:
        arrays["cold_start_items"] = sample["cold_start_items"].astype(np.float32)[:, None]
    if heteroscedastic:
        item_precision = np.pad(sample["item_precision"], (0, n_unfitted), constant_values=1)
        arrays["user_precision"] = sample["user_precision"].astype(np.float32)[:, None]
        arrays["item_precision"] = item_precision.astype(np.float32)[:, None]
    if drift.ratings:
        arrays["drift"] = np.array([drift.ratings, drift.shrinkage], np.float32)
    if levels is not None:
        arrays["levels"] = levels.astype(np.float32)
        arrays["thresholds"] = sample["thresholds"].astype(np.float32)[None]
    return replace(factors, **arrays)
