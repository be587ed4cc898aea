"""Budgets: what a bundle may cost. They are checked before the bytes that would cost it are read."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from recsys.bundle.errors import BundleError

SETTINGS = {  # of the environment, for what an honest bundle may need more of; the service has them as flags, too
    "bytes": "RECSYS_MAX_BUNDLE_BYTES",
    "memory": "RECSYS_MAX_BUNDLE_MEMORY",
    "work": "RECSYS_MAX_BUNDLE_WORK",
}


@dataclass(frozen=True)
class Budget:
    """Limits of a bundle from a stranger.

    The defaults fit MovieLens-25M (162,541 users, 59,047 items, 25 million ratings) with 128 coordinates and eight
    samples. What a bundle takes is estimated from the sizes of its files and the shapes of its arrays, from
    above, before they are read.

    Attributes:
        bytes: All files together.
        memory: Bytes that a service needs to load the bundle and to answer from it, beyond the program itself.
        work: Multiplications of the costliest answers, scoring every item and folding in the busiest user, and what
            takes as long; a core does 10 billion in a second.
        manifest_bytes: Size of the manifest.
        items_bytes: Size of the items.
        header_bytes: Size of the header of a file of arrays.
        arrays: Arrays in a file.
        depth: Nesting of JSON.
        manifest_values: Values in the manifest.
        values: Values in another file of JSON.
        samples: Samples of the posterior.
        genres: Different genres.
        attributes: Attributes of users.
        text: Characters of a title, of a genre, and of a name in the manifest.
    """

    bytes: int = 3 << 30
    memory: int = 8 << 30
    work: int = 40_000_000_000
    manifest_bytes: int = 4 << 20
    items_bytes: int = 64 << 20
    header_bytes: int = 64 << 10
    arrays: int = 64
    depth: int = 32
    manifest_values: int = 200_000
    values: int = 5_000_000
    samples: int = 10_000
    genres: int = 100_000
    attributes: int = 100_000
    text: int = 10_000

    @classmethod
    def from_environment(cls) -> Budget:
        """The defaults, but for what the environment sets.

        Raises:
            BundleError: A variable is no whole number above 0.
        """
        given = {limit: os.environ[name] for limit, name in SETTINGS.items() if os.environ.get(name)}
        for limit, text in given.items():
            if not (text.isascii() and text.isdigit() and 0 < len(text) < 19 and int(text)):
                raise BundleError(f"{SETTINGS[limit]} must be a whole number > 0, got {text!r:.80}")
        return cls(**{limit: int(text) for limit, text in given.items()})

    def check(self, limit: str, found: int, what: str) -> None:
        """Refuse what is beyond a limit.

        Args:
            limit: Name of the limit.
            found: To compare with it.
            what: Whose this is and its unit: "items.json has … bytes".

        Raises:
            BundleError: It is beyond; the message names the limit and its setting.
        """
        allowed = getattr(self, limit)
        if found > allowed:
            setting = SETTINGS.get(limit, f"{limit} of recsys.bundle.Budget")
            raise BundleError(f"{what.replace('…', f'{found:,}', 1)}, the limit is {allowed:,} ({setting})")


class Spending:
    """What of a budget loading one bundle has spent."""

    def __init__(self, path: Path, budget: Budget) -> None:
        self.path, self.budget, self.memory = path, budget, 0

    def take(self, memory: int, what: str) -> None:
        """Account for memory before it is taken.

        Args:
            memory: Bytes.
            what: Which part of the bundle takes them, in the plural.

        Raises:
            BundleError: It is more than is left.
        """
        self.memory += memory
        self.budget.check("memory", self.memory, f"{self.path}: with its {what} it takes about … bytes of memory")
