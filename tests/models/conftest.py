from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from importlib.metadata import entry_points

import pytest


@pytest.fixture(scope="session", autouse=True)
def _known_entry_points() -> Iterator[None]:
    """Every trainer looks for callbacks in all packages that are installed: here, all trainers look once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lightning.fabric.utilities.registry.entry_points", cache(entry_points))
        yield
