"""A bundle with items that it was not fitted on: rows from their attributes and, once rated, from their ratings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from recsys.bundle.attributes import RowAttributes, item_attribute_rows, undescribed
from recsys.bundle.factors import Factors, UserVector
from recsys.bundle.ids import checked_ids
from recsys.bundle.item_fold_in import ItemRatings, raters_moment, row_precision
from recsys.bundle.scoring import Scoring
from recsys.bundle.sides import append_items, stack_vectors, take_items, zero_rows
from recsys.bundle.typing import Id

__all__ = ["bundle_with_items", "own_ratings"]

NO_RATINGS = ItemRatings(np.zeros(0, np.int64), np.zeros(0, np.float32))

Whole = TypeVar("Whole", bound=Scoring)


def bundle_with_items(
    bundle: Whole,
    item_row: Mapping[Id, int],
    ids: Sequence[Id],
    about: Sequence[Mapping[str, Any] | None] | None,
    attributes: Sequence[Mapping[str, object] | None] | None,
    ratings: Mapping[Id, ItemRatings] | None,
    raters: UserVector | None,
) -> Whole:
    """See `Bundle.with_items`; `item_row` is the bundle's."""
    ids = checked_ids(bundle.manifest["id_kind"], "ids", ids)
    if len(set(ids)) != len(ids):
        raise ValueError("ids must not repeat")
    for name, column in (("about", about), ("attributes", attributes)):
        if column is not None and len(column) != len(ids):
            raise ValueError(f"{name} must have one entry for each of the {len(ids)} ids, got {len(column)}")
    unknown = [item for item in ids if item not in item_row]
    all_ids = np.concatenate([bundle.item_ids, np.array(unknown, bundle.item_ids.dtype)])
    row_of = {**item_row, **{item: len(bundle.item_ids) + k for k, item in enumerate(unknown)}}
    items = [*bundle.items, *map(undescribed, unknown)]
    known: dict[int, NDArray[Any]] = {}  # attributes of changed items, by row
    for number, item in enumerate(ids):
        row, told = row_of[item], None if about is None else about[number]
        if told is not None:
            items[row] = {name: told[name] for name in ("title", "year", "genres")}
        more = None if attributes is None else attributes[number]
        if told is not None or more is not None or row >= len(bundle.item_ids):
            known[row] = item_attribute_rows(bundle.item_attribute_names, items[row], more)
    table = _with_rows(bundle.item_attributes, known, len(all_ids)) if bundle.item_attribute_names else None
    rated = {row_of[item]: entry for item, entry in (ratings or {}).items() if item in row_of}
    factors = _with_rated_rows(bundle, table, rated, set(known), len(all_ids), raters)
    counts = bundle.manifest.get("counts")
    counts = (counts if isinstance(counts, dict) else {}) | {"items": bundle.fitted_items}
    return replace(
        bundle, manifest=bundle.manifest | {"counts": counts}, factors=factors, item_ids=all_ids, items=items,
        item_attributes=table,
    )  # fmt: skip


def own_ratings(bundle: Scoring, items: NDArray[np.int64]) -> dict[int, ItemRatings]:
    """The bundle's ratings of some of its items, whatever part of the split they are in, by item row.

    Args:
        bundle: With ratings by user.
        items: Item rows, ascending.

    Returns:
        Of each item that was rated: rows of `user_ids`, which may be of users who were not fitted, and stars.
    """
    if not len(items):
        return {}
    rated = bundle.ratings
    wanted = np.zeros(len(bundle.item_ids), bool)
    wanted[items] = True
    entries = np.flatnonzero(wanted[rated.item])
    entries = entries[np.argsort(rated.item[entries], kind="stable")]
    user = np.searchsorted(rated.indptr, entries, side="right") - 1
    found, start = np.unique(rated.item[entries], return_index=True)
    pieces = zip(np.split(user, start[1:]), np.split(rated.rating[entries], start[1:]), strict=True)
    return {item: ItemRatings(*piece) for item, piece in zip(found.tolist(), pieces, strict=False)}


def _with_rated_rows(
    bundle: Scoring,
    table: RowAttributes | None,
    rated: Mapping[int, ItemRatings],
    changed: set[int],
    n_items: int,
    raters: UserVector | None,
) -> Factors:
    """Factors with a row for each item: those that were not fitted by their ratings, or else by their attributes."""
    factors, first = bundle.factors, bundle.fitted_items
    if not bundle.can_fold_in_items:
        return append_items(factors, zero_rows(factors, n_items - bundle.n_items))
    rows = np.arange(first, n_items)
    own = own_ratings(bundle, rows[(rows < len(bundle.item_ids)) & ~np.isin(rows, list(rated))])
    others = np.unique([row for entry in own.values() for row in entry.user[entry.user >= bundle.n_users].tolist()])
    vectors = [] if raters is None else [_vector(raters, row) for row in range(len(raters.bias))]
    ratings = {row: _renumbered(entry, bundle.n_users, others, len(vectors)) for row, entry in own.items()}
    ratings |= {row: entry for row, entry in rated.items() if row >= first}
    vectors += [bundle.fold_in_user(user).vector for user in others.tolist()]
    solved = [row for row in rows.tolist() if row >= bundle.n_items or row in ratings or row in changed]
    if not solved:
        return factors
    folded = bundle.fold_in_item_rows(
        [ratings.get(row, NO_RATINGS) for row in solved],
        None if table is None else [table.of(row) for row in solved],
        stack_vectors(vectors) if vectors else None,
    )
    found = {row: one.vector for row, one in zip(solved, folded, strict=True)}
    moment = raters_moment(factors)
    if moment is not None:
        unrated = None  # their prior is the same but for its mean
        for row, one in zip(solved, folded, strict=True):
            precision = row_precision(one, moment) if len(one.items) or unrated is None else unrated
            unrated = unrated if len(one.items) else precision
            found[row] = found[row]._replace(precision=precision)
        if factors.item_precision is None:
            factors = replace(factors, item_precision=np.ones_like(factors.item_bias))
    before = UserVector(factors.item_bias, factors.item_factors, factors.item_precision)
    kept = {row: _vector(before, row) for row in range(first, bundle.n_items)}
    return append_items(take_items(factors, slice(first)), stack_vectors([*(kept | found).values()]))


def _vector(rows: UserVector, row: int) -> UserVector:
    """One of many rows."""
    return UserVector(rows.bias[row], rows.factors[row], None if rows.precision is None else rows.precision[row])


def _renumbered(entry: ItemRatings, n_users: int, others: NDArray[np.int64], before: int) -> ItemRatings:
    """Users who were not fitted as rows among the raters, after those `before`."""
    return entry._replace(
        user=np.where(entry.user < n_users, entry.user, n_users + before + np.searchsorted(others, entry.user))
    )


def _with_rows(known: RowAttributes | None, changed: Mapping[int, NDArray[Any]], n: int) -> RowAttributes:
    """A table of n rows, of which some are changed, and those after the last one have no attributes."""
    before = RowAttributes(np.zeros(1, np.int64), np.zeros(0, np.int32)) if known is None else known
    if not changed and n == len(before.indptr) - 1:
        return before
    return RowAttributes.of_rows([changed[row] if row in changed else before.of(row) for row in range(n)])
