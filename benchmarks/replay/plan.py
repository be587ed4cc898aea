"""What is compared, and how much is replayed."""

from __future__ import annotations

from typing import NamedTuple

POLICIES = {
    "frozen": "frozen",
    "folded": "users folded in",
    "updated": "users and items by updates",
    "warm": "warm refit each step",
    "full": "full refit each step",
}


class Plan(NamedTuple):
    """How much is replayed."""

    name: str
    data: str
    steps: int
    sweeps: int  # of a fit from the beginning
    warm_sweeps: int  # of one that goes on from the version before
    asked: int  # users a step whose answers are compared with the library's, and asked for again at the end
    forgotten: int  # users in the end


FULL = Plan("full", "ml-1m", steps=20, sweeps=40, warm_sweeps=3, asked=50, forgotten=20)
SHORT = Plan("short", "ml-100k", steps=2, sweeps=5, warm_sweeps=2, asked=10, forgotten=2)
