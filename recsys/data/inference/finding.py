"""What was inferred, and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

AUTO = "auto"  # the value of an option that is inferred


@dataclass(frozen=True)
class Finding:
    """An option that was inferred.

    Attributes:
        option: Name of the option, such as `separator`.
        value: The value that would have to be set.
        why: A short phrase, such as "';' splits each of the first 100 lines into 4".
    """

    option: str
    value: Any
    why: str
