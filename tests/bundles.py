"""Small bundles: made by hand, and of random factors; and folders of bundles that are altered."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from recsys.bundle import TEST, TRAIN, VAL, Bundle, BundleError, UserRatings
from recsys.bundle.encoder import RANKING_ARRAYS, STARS_ARRAYS, Encoder
from recsys.bundle.encoder_events import KNOTS, RATING_LEVELS, TIME_LEVELS
from recsys.bundle.factors import Factors
from recsys.bundle.item_fold_in import ItemRatings
from recsys.bundle.manifest import DIGEST, MANIFEST, listed, sha256_of
from recsys.bundle.schema import ENCODER_SPECS

# Of the bundle `small`: user 30 and item 99 are in the data but were not fitted.
USERS, ITEMS = [10, 20, 30], [7, 3, 5, 99]
RATED = [(0, 0, 4.0, 0), (0, 3, 2.0, 2), (1, 1, 1.0, 1), (2, 2, 5.0, 2)]
NAMES = ["Zoë", "李", "a|b"], ["ā", "", "x\ny", "🎬"]


def make_bundle(
    factors: Factors,
    user_ids: Any,
    item_ids: Any,
    rated: list[tuple[int, int, float, int]] | None = None,
    times: list[int] | None = None,
    **manifest: Any,
) -> Bundle:
    """A bundle from factors; `rated` holds (user row, item row, stars, part), by user, and `times` when each was."""
    rated = rated or []
    counts = np.bincount([user for user, *_ in rated], minlength=len(user_ids)) if rated else np.zeros(len(user_ids))
    kind = "int" if isinstance(user_ids[0], int) else "str"
    as_ids = lambda ids: np.array(ids, np.int64 if kind == "int" else object)  # noqa: E731
    return Bundle(
        {"task": "rating", "rating_scale": [1.0, 5.0], "id_kind": kind, "data": "small"} | manifest,
        factors,
        as_ids(user_ids),
        as_ids(item_ids),
        UserRatings(
            np.append(0, np.cumsum(counts)).astype(np.int64),
            np.array([item for _, item, _, _ in rated], np.int32),
            np.array([stars for _, _, stars, _ in rated], np.float32),
            np.array([part for *_, part in rated], np.uint8),
            None if times is None else np.array(times, np.int64),
        ),
        [{"title": f"Film {row}", "year": 1990 + row, "genres": ["Drama"]} for row in range(len(item_ids))],
    )


def trained_and_folded(bundle: Bundle) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Of every fitted user: scores of all items by their row, by the fold-in of the ratings that made it, and these
    ratings' items.
    """
    fitted = bundle.ratings.part <= {"train": TRAIN, "train_val": VAL, "all": TEST}[bundle.manifest["fit_on"]]
    for user in range(bundle.n_users):
        entries = bundle.ratings.slice_of(user)
        rows = np.arange(entries.start, entries.stop)[fitted[entries]]
        scores = bundle.factors.scores(bundle.fold_in_entries(user, rows).vector)
        yield bundle.scores_of(np.array([user]), fitted)[0], scores, bundle.ratings.item[rows]


def trained_and_folded_items(bundle: Bundle) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Of every fitted item: scores of all users by its row, and by the fold-in of the ratings that made it."""
    rated, user = bundle.ratings, bundle.ratings.user_index()
    fitted = rated.part <= {"train": TRAIN, "train_val": VAL, "all": TEST}[bundle.manifest["fit_on"]]
    mirrored, known = bundle.factors.mirrored(), bundle.item_attributes
    for item in range(bundle.fitted_items):
        entries = np.flatnonzero(fitted & (rated.item == item))
        [folded] = bundle.fold_in_item_rows(
            [ItemRatings(user[entries], rated.rating[entries])], None if known is None else [known.of(item)]
        )
        yield mirrored.scores(mirrored.user(item)), mirrored.scores(folded.vector)


def random_factors(
    *,
    n_users: int = 4,
    n_items: int = 12,
    samples: int = 1,
    dim: int = 3,
    exponents: tuple[float, ...] = (1.0,),
    implicit: bool = False,
    noisy: bool = False,
    levels: tuple[float, ...] = (),
    attributes: int = 0,
    drift: bool = False,
    items: bool = False,
    item_attributes: int = 0,
    seed: int = 0,
) -> Factors:
    """Factors drawn at random, with a dense prior of as many terms as there are exponents.

    `noisy` ones differ in noise by user and item, and `levels` make an ordinal link; with `items`, these have a prior
    too. What is asked for beyond leaves the other arrays as they are.
    """
    rng = np.random.default_rng(seed)
    draw = lambda *shape: rng.normal(0, 0.4, shape).astype(np.float32)  # noqa: E731
    root = rng.normal(size=(len(exponents), samples, dim + 1, dim + 1))
    factors = Factors(
        mu=3.3 + draw(samples),
        user_bias=draw(n_users, samples),
        item_bias=draw(n_items, samples),
        user_factors=draw(n_users, samples, dim),
        item_factors=draw(n_items, samples, dim),
        prior_mean=draw(samples, dim + 1),
        prior_precision=(root @ root.swapaxes(2, 3) / (2 * dim) + 0.1 * np.eye(dim + 1)).astype(np.float32),
        prior_exponent=np.array(exponents, np.float32),
        item_implicit=draw(n_items, samples, dim + 1) if implicit else None,
    )
    middles = np.array(levels[:-1], np.float32) + np.diff(np.array(levels, np.float32)) / 2 if levels else None
    factors = replace(
        factors,
        precision=1.5 + rng.random(samples, np.float32) if noisy or levels else None,
        user_precision=np.exp(draw(n_users, samples)) if noisy else None,
        item_precision=np.exp(draw(n_items, samples)) if noisy else None,
        drift=np.array([3, 2], np.float32) if drift else None,
        levels=np.array(levels, np.float32) if levels else None,
        thresholds=None if middles is None else np.sort(middles + 0.5 * draw(samples, len(middles)), axis=1),
        attribute_effects=draw(attributes, samples, dim + 1) if attributes else None,
        cold_start_mean=draw(samples, dim + 1) if attributes else None,
        cold_start_effects=draw(attributes, samples, dim + 1) if attributes else None,
        cold_start_items=draw(n_items, samples) if attributes else None,
    )
    if not items:
        return factors
    root = rng.normal(size=(len(exponents) + 1, samples, dim + 1, dim + 1))
    return replace(
        factors,
        item_prior_mean=draw(samples, dim + 1),
        item_prior_precision=(root @ root.swapaxes(2, 3) / (2 * dim) + 0.1 * np.eye(dim + 1)).astype(np.float32),
        item_prior_exponent=np.array([*exponents, 0.25], np.float32),
        item_prior_offset=np.arange(len(exponents) + 1, dtype=np.float32),
        user_implicit=draw(n_users, samples, dim + 1) if implicit else None,
        item_attribute_effects=draw(item_attributes, samples, dim + 1) if item_attributes else None,
        item_cold_start_mean=draw(samples, dim + 1) if item_attributes else None,
    )


def history_factors(
    *, n_users: int = 3, n_items: int = 12, half_life: float | None = 2.0, seed: int = 0, weights: Any = None
) -> Factors:
    """Factors of a model of item weights, drawn at random unless given."""
    rng = np.random.default_rng(seed)
    if weights is None:
        weights = rng.normal(0, 0.3, (n_items, n_items)) * (1 - np.eye(n_items))
    zeros = lambda *shape: np.zeros(shape, np.float32)  # noqa: E731
    return Factors(
        mu=zeros(1),
        user_bias=zeros(n_users, 1),
        item_bias=rng.normal(0, 0.1, (n_items, 1)).astype(np.float32),
        user_factors=zeros(n_users, 1, 1),
        item_factors=zeros(n_items, 1, 1),
        prior_mean=zeros(1, 2),
        prior_precision=np.ones((1, 1, 2, 2), np.float32) * np.eye(2, dtype=np.float32),
        prior_exponent=zeros(1),
        item_weights=np.asarray(weights, np.float32),
        history_half_life=None if half_life is None else np.array([half_life], np.float32),
    )


def history_bundle(factors: Factors | None = None, **manifest: Any) -> Bundle:
    """A ranking bundle of item weights for users 10, 20 and 30 and twelve items, 100 to 111.

    10 has rated 103, 101 and 105, the last of them a test row; 20 has rated 101; user 40 was not fitted.
    """
    rated = [(0, 3, 5.0, TRAIN), (0, 1, 5.0, VAL), (0, 5, 5.0, TEST), (1, 1, 4.0, TRAIN), (3, 2, 5.0, TEST)]
    given = {"task": "ranking", "fold_in": "items", "fit_on": "train_val", "model": "ease"} | manifest
    return make_bundle(
        factors or history_factors(), [10, 20, 30, 40], list(range(100, 112)), rated, [1, 2, 3, 1, 4], **given
    )


def seal(folder: Path) -> None:
    """Let the digest agree with a manifest that was altered."""
    (folder / DIGEST).write_text(f"{sha256_of((folder / MANIFEST).read_bytes())}  {MANIFEST}\n")


def rewritten(folder: Path, **changes: object) -> None:
    """Alter the manifest, and let the digest agree."""
    manifest = json.loads((folder / MANIFEST).read_text()) | changes
    (folder / MANIFEST).write_text(json.dumps(manifest))
    seal(folder)


def reseal(folder: Path, name: str) -> None:
    """Let the manifest agree with a file that was exchanged."""
    files = json.loads((folder / MANIFEST).read_text())["files"]
    rewritten(folder, files=files | {name: listed((folder / name).read_bytes())})


def exchange(folder: Path, file: str, **arrays: np.ndarray | None) -> None:
    """Put arrays in the place of a file's, or take them away, and let the manifest agree."""
    found = load_file(folder / file) | arrays
    save_file({name: array for name, array in found.items() if array is not None}, folder / file)
    reseal(folder, file)


def one_sentence(error: pytest.ExceptionInfo[BundleError]) -> str:
    """The message, which says all in one line and carries no array or traceback."""
    text = str(error.value)
    assert "\n" not in text
    assert 10 < len(text) < 300
    return text


def random_encoder(
    dim: int = 8,
    *,
    blocks: int = 2,
    heads: int = 2,
    max_length: int = 6,
    seed: int = 0,
    adds_to: tuple[int, int] | None = None,
) -> Encoder:
    """An encoder of random weights that tells histories apart; of stars, it adds to (samples, dim) of a fold-in."""
    rng = np.random.default_rng(seed)
    samples, width = adds_to or (1, dim)
    sizes = {"c": dim, "p": samples * width, "q": samples * (width + 1), "b": blocks, "h": 2 * dim,
             "n": RATING_LEVELS + 1, "g": TIME_LEVELS + 1, "m": 12, "o": KNOTS, "2": 2}  # fmt: skip
    absent = ("query_gap", *(RANKING_ARRAYS if adds_to else STARS_ARRAYS))
    arrays = {
        name.removeprefix("encoder_"): rng.normal(0, 0.5, [sizes[axis] for axis in spec.axes]).astype(np.float32)
        for name, spec in ENCODER_SPECS.items()
        if name.removeprefix("encoder_") not in absent
    }
    if "slope" in arrays:
        arrays["slope"] = np.abs(arrays["slope"])
    return Encoder(heads, max_length, True, **arrays)


def stars_bundle() -> Bundle:
    """A rating bundle of three samples and a random encoder; users, items and ratings are those of `encoder_bundle`."""
    encoder = random_encoder(adds_to=(3, 4))
    factors = random_factors(n_users=2, n_items=12, dim=4, samples=3)
    rated = [(0, 3, 5.0, TRAIN), (0, 1, 4.0, VAL), (0, 5, 1.0, TEST), (1, 1, 2.0, TRAIN), (2, 2, 5.0, TEST)]
    given = {"fold_in": "encoder", "encoder": encoder.settings, "model": "attention", "fit_on": "train_val"}
    made = make_bundle(
        factors, [10, 20, 40], list(range(100, 112)), rated, [10**9 + 5000 * n for n in range(5)], **given
    )
    return replace(made, encoder=encoder)


def encoder_bundle(user_ids: Any = None, item_ids: Any = None, rated: Any = None, **manifest: Any) -> Bundle:
    """A ranking bundle of a random encoder; the fitted users' rows are those of their rated items.

    Unless given, users 10 and 20 and twelve items, 100 to 111: 10 has rated 103, 101 and 105, the last of them a test
    row; 20 has rated 101; user 40 was not fitted.
    """
    user_ids, item_ids = user_ids or [10, 20, 40], item_ids or list(range(100, 112))
    rated = rated or [(0, 3, 5.0, TRAIN), (0, 1, 4.0, VAL), (0, 5, 1.0, TEST), (1, 1, 2.0, TRAIN), (2, 2, 5.0, TEST)]
    encoder, fitted = random_encoder(), len(user_ids) - 1
    factors = replace(
        random_factors(n_users=fitted, n_items=12, dim=8), mu=np.zeros(1, np.float32),
        user_bias=np.zeros((fitted, 1), np.float32),
    )  # fmt: skip
    given = {"task": "ranking", "fold_in": "encoder", "encoder": encoder.settings, "model": "attention"}
    given |= {"fit_on": "train_val"} | manifest
    times = [10**9 + 5000 * place for place in range(len(rated))]
    bundle = replace(make_bundle(factors, user_ids, item_ids, rated, times, **given), encoder=encoder)
    known = bundle.ratings.part <= VAL
    for user in range(fitted):
        entries = bundle.ratings.slice_of(user)
        rows = np.arange(entries.start, entries.stop)[known[entries] & (bundle.ratings.item[entries] < 12)]
        factors.user_factors[user] = bundle.fold_in_entries(user, rows).vector.factors
    return bundle


def events_bundle() -> Bundle:
    """As `encoder_bundle`, of views, carts and purchases."""
    rated = [(0, 3, 0.0, TRAIN), (0, 1, 1.0, VAL), (0, 5, 0.5, TEST), (1, 1, 0.0, TRAIN), (2, 2, 1.0, TEST)]
    return encoder_bundle(rated=rated, rating_scale=[0.0, 1.0], events=["view", "cart", "purchase"])
