"""Versions of small bundles, in a folder and a database of the test's own."""

from __future__ import annotations

import os
import pkgutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recsys.bundle import Bundle
from recsys.database import Database
from recsys.versions import Version, Versions, open_versions
from recsys.versions.version import FIT
from tests.bundles import make_bundle, random_factors

Publish = Callable[..., Version]
KILLED = 9


@pytest.fixture
def versions(tmp_path: Path) -> Versions:
    return open_versions(f"sqlite:///{tmp_path}/live.db", tmp_path / "store", cache=tmp_path / "cache")


def of_users(*users: int, n_items: int = 12, seed: int = 0, **manifest: Any) -> Bundle:
    """A bundle of these users, who have rated two items each."""
    rated = [
        (row, (row + item) % n_items, float(1 + (row + item) % 5), 0) for row in range(len(users)) for item in (0, 1)
    ]
    factors = random_factors(n_users=len(users), n_items=n_items, seed=seed, attributes=2)
    return make_bundle(
        factors, list(users), list(range(n_items)), rated, times=[0] * len(rated), attributes=["a=b", "a=c"], **manifest
    )


@pytest.fixture
def publish(versions: Versions) -> Publish:
    """Publish the bundle of some users."""

    def of(*users: int, parent: str | None = None, cut: int = 0, made_by: str = FIT, seed: int = 0) -> Version:
        bundle = of_users(*users, seed=seed)
        return versions.publish(
            bundle, parent=parent, cut=cut, made_by=made_by, metrics={"test/rmse": 0.9}, configuration={"seed": seed}
        )

    return of


def same_answers(one: Bundle, other: Bundle, user: int) -> bool:
    """Whether both give a user the same top items."""
    return one.recommend(user, 5) == other.recommend(user, 5) and np.array_equal(
        one.predict([user] * 12, range(12)), other.predict([user] * 12, range(12))
    )


def reopened(versions: Versions) -> Versions:
    """The same for a process of its own: connections are of one process."""
    return open_versions(Database.open(versions.database.engine.url), versions.store, cache=versions.cache.root)


def killed_at(step: str, call: int, work: Callable[[], object], *, after: bool = False) -> None:
    """Do the work in a process that ends at the given call of a function, before or after it."""
    child = os.fork()
    if child == 0:
        try:
            with pytest.MonkeyPatch.context() as patch:
                _kill_at(patch, step, call, after)
                work()
        finally:
            os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == KILLED


def _kill_at(patch: pytest.MonkeyPatch, step: str, call: int, after: bool) -> None:
    original: Callable[..., object] = pkgutil.resolve_name(step)
    calls = 0

    def dying(*args: object, **kwargs: object) -> object:
        nonlocal calls
        calls += 1
        if calls == call and not after:
            os._exit(KILLED)
        result = original(*args, **kwargs)
        if calls == call:
            os._exit(KILLED)
        return result

    patch.setattr(step, dying)
