"""Lists of cases in an order other than that of the mean linear part: by gain, bound or liking, or with a threshold."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from recsys.bundle import Bundle
from recsys.bundle.factors import UserVector
from recsys.bundle.ranking import RANK_BY, Order
from recsys.bundle.typing import IndexArray
from recsys.evaluation.cases import Cases
from recsys.evaluation.ranking import Scores


def default_order(bundle: Bundle) -> Order:
    """The order of a bundle's lists unless another one is asked for."""
    return bundle.ranker.order()


def orders_of(bundle: Bundle, rank_by: str = "all") -> dict[str, Order]:
    """One order by name, or all that a bundle has; each with the threshold that was learned for it.

    Raises:
        ValueError: The bundle's model ranks items, or has no such order.
    """
    if bundle.is_ranking:
        raise ValueError("rank_by must be left out: this model ranks items and has one order")
    asked: tuple[str, ...] = RANK_BY if rank_by == "all" else (rank_by,)
    if rank_by == "all" and bundle.factors.samples == 1:
        asked = tuple(name for name in asked if name != "bound")
    return {name: bundle.ranker.order(name) for name in asked}


def in_order(
    bundle: Bundle, cases: Cases, scored: Iterable[tuple[slice, Scores]], order: Order, *, folded: bool
) -> Iterator[tuple[slice, Scores]]:
    """The same blocks, with what the lists are sorted by.

    Args:
        bundle: The model.
        cases: Of the blocks, with the places of their histories in the ratings of the bundle.
        scored: Consecutive cases, and the mean linear part of every item for each.
        order: Of the lists.
        folded: Whether users are folded in from their histories, and not as the model was fitted.
    """
    if order.rank_by in ("", "stars") and not order.min_ratings:
        yield from scored
        return
    for block, linear in scored:
        found = [
            bundle.ranker.scores(_vector(bundle, cases, case, order, folded), order, _history(cases, case), own)
            for case, own in zip(range(block.start, block.stop), np.asarray(linear, np.float32), strict=True)
        ]
        yield block, np.stack(found)


def _history(cases: Cases, case: int) -> IndexArray:
    return cases.history[cases.start[case] : cases.stop[case]]


def _vector(bundle: Bundle, cases: Cases, case: int, order: Order, folded: bool) -> UserVector:
    """A case's user; of one who is folded in, only what the order needs beside the mean linear part."""
    if not folded:
        return bundle.vector(int(cases.user[case]))
    known = _history(cases, case) < bundle.n_items
    if order.rank_by != "bound" or cases.rows is None:  # it matters only whether there is a history
        return bundle.vector(-1)._replace(cold_start=not known.any())
    rows = cases.rows[cases.start[case] : cases.stop[case]][known]
    return bundle.fold_in_entries(int(cases.user[case]), rows).vector
