"""Version: what a bundle in the store was made of."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

CHAMPION = "champion"  # the alias that commands mean unless told otherwise
FIT, UPDATE, FORGET = "fit", "update", "forget"  # what made a version
FORGOTTEN, RETENTION = "forgotten", "retention"  # why a version was withdrawn
SHA256 = re.compile(r"[0-9a-f]{64}")
SHOWN = 12  # digits that people see of a version


class VersionError(ValueError):
    """A version or an alias cannot be found, made or used; the message names it."""


class VersionConflictError(VersionError):
    """What a new version was made from has changed meanwhile: make it again."""


@dataclass(frozen=True)
class Version:
    """An immutable bundle: its row in the database."""

    version: str  # SHA-256 of the bundle's manifest
    parent: str | None  # the version that it was made from
    cut: int  # made of all events with seq <= cut
    created: int  # unix seconds
    made_by: str  # FIT, UPDATE or FORGET
    metrics: dict[str, Any] = field(default_factory=dict)
    configuration: dict[str, Any] = field(default_factory=dict)
    git_commit: str | None = None
    withdrawn: int | None = None  # when its files were removed from the store, in unix seconds
    reason: str | None = None  # why: FORGOTTEN or RETENTION

    @property
    def short(self) -> str:
        """As people see it, and as the service reports it."""
        return self.version[:SHOWN]


def standing_in(version: str, rows: Mapping[str, Version]) -> str | None:
    """The version itself; if it is withdrawn as it held someone's rows, the one made of it without them.

    Args:
        version: All its digits.
        rows: Of all versions, by their digits.

    Returns:
        None if there is none: retention has removed it.
    """
    row = rows.get(version)
    if row is None or row.reason == RETENTION:
        return None
    if row.withdrawn is None:
        return version
    others = [one.version for one in rows.values() if one.parent == version and one.made_by == FORGET]
    return next((found for one in others if (found := standing_in(one, rows)) is not None), None)
