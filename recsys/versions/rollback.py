"""Rollback: the version that an alias named before the one that it names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from recsys.versions.aliases import AliasChange
from recsys.versions.version import Version, standing_in

WHY = "rollback"  # with which the reason of a change begins that goes back


def before_current(changes: Sequence[AliasChange], rows: Mapping[str, Version]) -> str | None:
    """The version that an alias named before the current one; going back twice goes back further.

    Versions that retention has removed are passed over, and what stands in for a forgotten one counts as the same.

    Args:
        changes: Of one alias, in their order.
        rows: Of all versions, by their digits.

    Returns:
        None if there is none.
    """
    stack: list[str] = []
    for change in changes:
        version = standing_in(change.version, rows) or change.version
        if change.reason.startswith(WHY) and version in stack:
            while stack[-1] != version:
                stack.pop()
        elif stack[-1:] != [version]:
            stack.append(version)
    return next((version for version in reversed(stack[:-1]) if standing_in(version, rows) is not None), None)
