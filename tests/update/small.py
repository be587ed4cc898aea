"""Small bundles with priors of both sides, and events for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from recsys.bundle import Bundle
from recsys.bundle.factors import Factors
from recsys.events import EventColumns
from tests.bundles import make_bundle, random_factors

SIZES = {"n_users": 12, "n_items": 9, "dim": 3}
STARS = (1.0, 2.0, 3.0, 4.0, 5.0)


def both_sides(**options: Any) -> Factors:
    """Random factors with a prior of items too, drawn like that of users."""
    factors = random_factors(**SIZES | options)
    turned = random_factors(**SIZES | {key: value for key, value in options.items() if key == "samples"}, seed=7)
    return replace(
        factors,
        item_prior_mean=turned.prior_mean,
        item_prior_precision=turned.prior_precision,
        item_prior_exponent=turned.prior_exponent,
    )


def bundle_of(factors: Factors, *, fit_on: str = "all", seed: int = 1, **manifest: Any) -> Bundle:
    """A bundle in which two thirds of the cells are rated, one after the other; those of the first item are test."""
    rng, (users, items) = np.random.default_rng(seed), (len(factors.user_bias), len(factors.item_bias))
    rated = [
        (user, item, float(rng.integers(1, 6)), 2 * (item == 0))
        for user in range(users)
        for item in range(items)
        if rng.random() < 2 / 3 or item == user % items
    ]
    return make_bundle(
        factors, [10 + user for user in range(users)], [100 + item for item in range(items)], rated,
        [*range(1000, 1000 + len(rated))], fit_on=fit_on, **manifest,
    )  # fmt: skip


def events(*rows: tuple[Any, Any, float | None], first: int = 1, time: int = 5000) -> list[EventColumns]:
    """Ratings (or, without stars, withdrawals) of users and items, one after the other."""
    return [columns([(str(u), str(i), "withdrawal" if r is None else "rating", r) for u, i, r in rows], first, time)]


def columns(rows: Sequence[tuple[str, str, str, float | None]], first: int = 1, time: int = 5000) -> EventColumns:
    n = np.arange(len(rows))
    return EventColumns(
        first + n,
        [user for user, *_ in rows],
        [item for _, item, *_ in rows],
        [kind for *_, kind, _ in rows],
        np.array([np.nan if rating is None else rating for *_, rating in rows]),
        time + n,
    )
