"""What two versions differ in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from recsys.bundle import Bundle
from recsys.versions.version import SHOWN, Version

PAIRS = 10_000  # of a user and an item whose predictions are compared


@dataclass(frozen=True)
class Difference:
    """What two versions differ in."""

    rows: list[tuple[str, Any, Any]]  # name, and its value in each
    rms: float | None  # difference of predictions of pairs that both know; None if they share none, or one ranks


def difference(one: tuple[Version, Bundle], other: tuple[Version, Bundle], seed: int = 0) -> Difference:
    """Compare two versions.

    Args:
        one: A version and its bundle.
        other: Another one.
        seed: Of the pairs of a user and an item.
    """
    rows = [
        (name, a, b)
        for name, (a, b) in _paired(_facts(*one), _facts(*other)).items()
        if a != b and not (isinstance(a, float) and isinstance(b, float) and np.isclose(a, b, rtol=1e-9, atol=0))
    ]
    return Difference(rows, _rms(one[1], other[1], seed))


def _facts(version: Version, bundle: Bundle) -> dict[str, Any]:
    facts = {
        "made_by": version.made_by, "parent": (version.parent or "")[:SHOWN] or None, "cut": version.cut,
        "model": bundle.manifest.get("model"), "data": bundle.manifest["data"], "git_commit": version.git_commit,
        "users": len(bundle.user_ids), "items": len(bundle.item_ids), "ratings": len(bundle.ratings.item),
        "fitted users": bundle.n_users, "fitted items": bundle.fitted_items, "samples": bundle.factors.samples,
    }  # fmt: skip
    return facts | _flat(version.metrics) | _flat(version.configuration)


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested values by names with dots."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return found


def _paired(one: dict[str, Any], other: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    return {name: (one.get(name), other.get(name)) for name in [*one, *(name for name in other if name not in one)]}


def _rms(one: Bundle, other: Bundle, seed: int) -> float | None:
    """The root mean square of the difference in stars, on pairs of users and items that both are fitted on."""
    users = [user for user in one.user_ids[: one.n_users].tolist() if 0 <= other.user_row.get(user, -1) < other.n_users]
    items = [item for item in one.item_ids[: one.n_items].tolist() if 0 <= other.item_row.get(item, -1) < other.n_items]
    if not users or not items or one.is_ranking or other.is_ranking:
        return None
    draw = np.random.default_rng(seed)
    user, item = draw.integers(len(users), size=PAIRS), draw.integers(len(items), size=PAIRS)

    def predicted(bundle: Bundle) -> Any:
        rows = np.array([bundle.user_row[one] for one in users]), np.array([bundle.item_row[one] for one in items])
        return bundle.predict_rows(rows[0][user], rows[1][item])

    return float(np.sqrt(np.mean((predicted(one) - predicted(other)) ** 2)))
