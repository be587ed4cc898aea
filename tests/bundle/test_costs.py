"""What a bundle costs is estimated from above, and the defaults fit the data that they are made for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from recsys.bundle import Budget, Bundle, BundleError, UserRatings
from recsys.bundle.array_file import Described
from recsys.bundle.attributes import RowAttributes
from recsys.bundle.budget import Spending
from recsys.bundle.costs import take_arrays
from tests.bundles import make_bundle, random_factors

F4, I4, I8, U1 = (np.dtype(kind) for kind in ("f4", "i4", "i8", "u1"))
USERS, ITEMS, RATED = 162_541, 59_047, 25_000_095  # of MovieLens-25M


def movielens_25m(samples: int, dim: int, *, noise: bool = False) -> dict[str, dict[str, Described]]:
    each = {
        "mu": (samples,), "user_bias": (USERS, samples), "item_bias": (ITEMS, samples),
        "user_factors": (USERS, samples, dim), "item_factors": (ITEMS, samples, dim), "prior_mean": (samples, dim + 1),
        "prior_precision": (2, samples, dim + 1, dim + 1), "prior_exponent": (2,),
    }  # fmt: skip
    each |= {
        "item_prior_mean": (samples, dim + 1),
        "item_prior_precision": (2, samples, dim + 1, dim + 1),
        "item_prior_exponent": (2,),
    }
    if noise:
        implicit = {"item_implicit": (ITEMS, samples, dim + 1), "user_implicit": (USERS, samples, dim + 1)}
        each |= {"precision": (samples,)} | implicit
    ratings = {"item": I4, "rating": F4, "part": U1, "timestamp": I8}
    return {
        "factors": {name: Described(shape, F4) for name, shape in each.items()},
        "ids": {"user_ids": Described((USERS,), I8), "item_ids": Described((ITEMS,), I8)},
        "ratings": {name: Described((RATED,), kind) for name, kind in ratings.items()}
        | {"indptr": Described((USERS + 1,), I8)},
    }


@pytest.mark.parametrize(("samples", "dim", "noise"), [(1, 128, False), (1, 128, True), (8, 128, True), (30, 32, True)])
def test_movielens_25m_fits_the_default(samples: int, dim: int, noise: bool) -> None:
    files, spending = movielens_25m(samples, dim, noise=noise), Spending(Path("bundle"), Budget())
    take_arrays(files, 3, spending)
    spending.take(24 * 32_202 * samples * (dim + 1) + (700 << 20), "busiest user and texts")
    total = sum(array.nbytes for file in files.values() for array in file.values())
    assert total < Budget().bytes
    assert total < spending.memory


def test_arrays_that_do_not_fit_together_are_refused_before_they_are_read() -> None:
    files = movielens_25m(1, 8)
    files["factors"]["user_bias"] = Described((USERS, 2), F4)
    with pytest.raises(BundleError, match=r"user_bias has shape \(162541, 2\), expected \(162541, 1\)"):
        take_arrays(files, 3, Spending(Path("bundle"), Budget()))
    files["factors"]["user_bias"] = Described((USERS, 1), I8)
    with pytest.raises(BundleError, match="user_bias holds int64, expected float32"):
        take_arrays(files, 3, Spending(Path("bundle"), Budget()))


def small(**shape: int) -> Bundle:
    names = {"attributes": [f"a={n}" for n in range(shape["attributes"])]} if "attributes" in shape else {}
    return make_bundle(random_factors(n_users=2, n_items=4, **shape), [1, 2], [1, 2, 3, 4], **names)


@pytest.mark.parametrize(
    ("change", "limits", "message"),
    [
        ({"ratings": 100_000}, {"memory": 10_000_000}, "with its busiest user it takes about"),
        ({"ratings": 100_000}, {"work": 1_000_000}, "folding in a user with 100,000 ratings takes"),
        ({"attributes": 1_000_000}, {"memory": 30_000_000}, "with its busiest user it takes about"),
        ({"title": "x" * 11_000}, {}, r"the title of item 3 has 11,000 characters, the limit is 10,000 \(text"),
        ({"genre": "x" * 11_000}, {}, "a genre has 11,000 characters, the limit is 10,000"),
        ({"title": "é" * 9_000}, {"work": 1_000_000}, "the search index of its titles takes as long as"),
        ({"title": "e" * 1_000}, {"memory": 101_000}, "with its titles it takes about"),
    ],
)
def test_what_shapes_do_not_say_is_refused_before_it_is_used(
    tmp_path: Path, change: dict, limits: dict[str, int], message: str
) -> None:
    bundle = small(attributes=2)
    if n := change.get("ratings"):
        rated = UserRatings(np.array([0, n, n]), np.zeros(n, np.int32), np.ones(n, np.float32), np.zeros(n, np.uint8))
        bundle = replace(bundle, ratings=rated)
    if n := change.get("attributes"):
        bundle = replace(bundle, user_attributes=RowAttributes(np.array([0, n, n]), np.zeros(n, np.int32)))
    last = {"title": change.get("title", ""), "year": None, "genres": [change.get("genre", "")]}
    replace(bundle, items=[*bundle.items[:3], last]).save(tmp_path / "bundle")
    with pytest.raises(BundleError, match=message):
        Bundle.load(tmp_path / "bundle", budget=Budget(**limits))


def test_ids_are_as_long_as_those_of_data(tmp_path: Path) -> None:
    for text, fits in (("x" * 2048, True), ("🎬" * 2048, True), ("x" * 2049, False), ("x" * 9000, False)):
        names = make_bundle(random_factors(n_users=2, n_items=4), ["a", text], ["b", "c", "d", "e"])
        names.save(tmp_path / "bundle")
        if fits:
            assert Bundle.load(tmp_path / "bundle").user_ids[1] == text
        else:
            with pytest.raises(BundleError, match="user_ids must have at most 2048 characters each"):
                Bundle.load(tmp_path / "bundle")
