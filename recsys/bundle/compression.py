"""Compression of a posterior's samples into one point estimate by a randomized truncated SVD."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from recsys.bundle.bundle import Bundle
from recsys.bundle.factors import Factors
from recsys.bundle.ratings import LAST_PART
from recsys.bundle.typing import Float32Array
from recsys.bundle.widths import KEY as WIDTHS
from recsys.bundle.widths import WidthRule, cut_rows

AUTO = "auto"  # as many coordinates as a row's number of ratings justifies
OVERSAMPLING = 16  # directions beyond those wanted (Halko et al.)
POWER_ITERATIONS = 6  # leave an error within a thousandth of the optimum
RANK_TOLERANCE = 1e-6  # singular values below, relative to the largest, are rounding
RELATIVE_RIDGE = 1e-3  # of the users' mean variance, added to each coordinate's


def check_compress(compress: object, *, auto: bool = False) -> None:
    """Raise a ValueError where `compress` is no number of coordinates; `auto` is one if it may be."""
    if compress is None or (auto and compress == AUTO):
        return
    if not isinstance(compress, int) or isinstance(compress, bool) or compress < 1:
        raise ValueError(f"compress must be null{', auto' * auto} or an integer >= 1, got {compress!r}")


def narrowed_bundle(bundle: Bundle, rule: WidthRule) -> Bundle:
    """The bundle with zeros in place of all but the first coordinates of rows with few fitted ratings.

    What new users and items are folded in by stays as it is: rows of theirs have all coordinates.

    Args:
        bundle: Of one sample in principal coordinates, as `compressed_bundle` makes it.
        rule: How many a row keeps.
    """
    factors, ratings = bundle.factors, bundle.ratings
    last = LAST_PART.get(str(bundle.manifest.get("fit_on")))
    counted = slice(None) if last is None else ratings.part <= last
    users, items = (
        cut_rows(table, rule.widths(factor, np.bincount(row[counted], minlength=len(table))[: len(table)]))
        for table, factor, row in (
            (factors.user_factors, rule.users, ratings.user_index()),
            (factors.item_factors, rule.items, ratings.item),
        )
    )
    manifest = bundle.manifest | {WIDTHS: rule._asdict()}
    return replace(bundle, factors=replace(factors, user_factors=users, item_factors=items), manifest=manifest)


def compressed_bundle(bundle: Bundle, dim: int, noise: float | None = None) -> Bundle:
    """The bundle with `compressed` factors; its manifest tells what they are made of.

    Args:
        bundle: Of one sample or many.
        dim: Coordinates at most.
        noise: What a point estimate has, its RMSE on validation rows, in stars; None: the manifest's.

    Raises:
        ValueError: As `compressed`; or the bundle has item weights or an encoder.
    """
    model = bundle.manifest.get("model")
    if bundle.has_histories:
        raise ValueError(f"compress must be null for {model}, whose item weights are no samples' coordinates")
    if bundle.encoder is not None:
        raise ValueError(f"compress must be null for {model}, whose encoder reads items in the coordinates it has")
    samples, before = bundle.factors.item_factors.shape[1:]
    noise = bundle.manifest.get("noise") if noise is None else noise
    factors = compressed(bundle.factors, dim, noise)
    before_manifest = {key: value for key, value in bundle.manifest.items() if key != WIDTHS}
    manifest = before_manifest | {"samples": 1, "noise": noise, "compressed": {"samples": samples, "dim": before}}
    return replace(bundle, factors=factors, manifest=manifest, sha256=None)


def compressed(factors: Factors, dim: int, noise: float | None = None) -> Factors:
    """One sample whose linear part is the mean over all samples, as well as so many coordinates can tell.

    The mean of `p_s . q_s` over S samples of d coordinates is a product of rank S d at most: that of all samples'
    coordinates in a row. Its best approximation of rank `dim` (a truncated SVD) is found by subspace iteration (Halko,
    Martinsson & Tropp 2011), which never forms the matrix of users and items: O((users + items) S d dim). Levels and
    biases are means.

    A user's new `[p, b]` is linear in their old ones, so the prior mean, what attributes and what rated items say of
    it keep their meaning. The prior precision is the noise variance times the inverse covariance of the users' new
    `[p, b]`: point estimates vary less than what they estimate, so a newcomer's ratings move them somewhat less than
    in the posterior's own fold-in. What the samples say of their spread is lost, and with it the noise by user and
    item; behind an ordinal link, which predicts by it, it is kept as a mean.

    Args:
        factors: Of one sample or many.
        dim: Coordinates at most; fewer come where users, items or the samples' coordinates are fewer.
        noise: Standard deviation of a rating around its prediction, in stars; None: by the factors' precision.

    Raises:
        ValueError: `dim` is below 1, or there is neither noise nor precision.
    """
    if dim < 1:
        raise ValueError(f"dim must be >= 1, got {dim}")
    if noise is None and factors.precision is None:
        raise ValueError("noise must be given for factors without precision, got None")
    ordinal = factors.ordinal is not None
    variance = noise**2 if noise is not None and not ordinal else _noise_variance(factors)
    samples = factors.samples
    users, items = _flatten_samples(factors.user_factors), _flatten_samples(factors.item_factors) / np.float32(samples)
    to_new, item_factors = _randomized_svd(users, items, dim)

    def moved(solutions: Float32Array) -> Float32Array:
        """Old `[p, b]` as new ones, `(rows, samples, d + 1)` to `(rows, 1, dim + 1)`."""
        factors, bias = _flatten_samples(solutions[:, :, :-1]) @ to_new, solutions[:, :, -1:].mean(1)
        return np.concatenate([factors, bias], 1)[:, None]

    user = moved(np.concatenate([factors.user_factors, factors.user_bias[:, :, None]], 2))
    effects, implicit = factors.attribute_effects, factors.item_implicit
    strength = np.square(user[:, 0, :-1], dtype=np.float64).sum(0)  # the singular values
    to_new_items = (users.T @ user[:, 0, :-1]) * np.divide(1, strength, out=np.zeros_like(strength), where=strength > 0)
    item = np.concatenate([item_factors, factors.item_bias.mean(1, keepdims=True)], 1)
    of_items = _item_prior(factors, to_new_items.astype(np.float32), item, variance)
    return Factors(
        mu=_mean(factors.mu),
        user_bias=np.ascontiguousarray(user[:, :, -1]),
        item_bias=factors.item_bias.mean(1, keepdims=True),
        user_factors=np.ascontiguousarray(user[:, :, :-1]),
        item_factors=item_factors[:, None],
        prior_mean=moved(factors.prior_mean[None])[0],
        prior_precision=empirical_precision(user[:, 0], variance, factors.unit)[None, None],
        prior_exponent=np.zeros(1, np.float32),
        item_implicit=None if implicit is None else moved(implicit),
        precision=np.array([1 / variance], np.float32) if ordinal else None,
        user_precision=_row_mean(factors.user_precision) if ordinal else None,
        item_precision=_row_mean(factors.item_precision) if ordinal else None,
        drift=factors.drift,
        levels=factors.levels,
        unit=factors.unit,
        thresholds=None if factors.thresholds is None else factors.thresholds.mean(0, keepdims=True),
        attribute_effects=None if effects is None else moved(effects),
        cold_start_items=None if factors.cold_start_items is None else factors.cold_start_items.mean(1, keepdims=True),
        cold_start_mean=None if factors.cold_start_mean is None else moved(factors.cold_start_mean[None])[0],
        cold_start_effects=None if factors.cold_start_effects is None else moved(factors.cold_start_effects),
        **of_items,
    )


def _item_prior(
    factors: Factors, to_new: Float32Array, item: Float32Array, variance: float
) -> dict[str, Float32Array | None]:
    """The prior of an item's new `[q, b]`, which is made as that of a user's.

    Args:
        factors: Of all samples.
        to_new: What takes items, over the number of samples, to new coordinates, `(samples * d, dim)`.
        item: The items' new rows, `(n_items, dim + 1)`.
        variance: Of the noise.
    """
    if not factors.can_fold_in_items:
        return {}

    def moved(solutions: Float32Array | None) -> Float32Array | None:
        if solutions is None:
            return None
        flat = _flatten_samples(solutions[:, :, :-1]) / np.float32(factors.samples)
        return np.concatenate([flat @ to_new, solutions[:, :, -1:].mean(1)], 1)[:, None]

    mean, cold = factors.item_prior_mean, factors.item_cold_start_mean
    moved_mean, moved_cold = (moved(None if rows is None else rows[None]) for rows in (mean, cold))
    return {
        "item_prior_mean": None if moved_mean is None else moved_mean[0],
        "item_prior_precision": empirical_precision(item, variance, factors.unit)[None, None],
        "item_prior_exponent": np.zeros(1, np.float32),
        "item_attribute_effects": moved(factors.item_attribute_effects),
        "item_cold_start_mean": None if moved_cold is None else moved_cold[0],
        "user_implicit": moved(factors.user_implicit),
    }


def _randomized_svd(users: Float32Array, items: Float32Array, dim: int) -> tuple[Float32Array, Float32Array]:
    """What takes users to new coordinates, `(width, dim)`, and the items in these, `(n_items, dim)`.

    Args:
        users: `(n_users, width)`.
        items: `(n_items, width)`; `users @ items.T` is approximated.
        dim: Columns at most.
    """
    most = min(len(users), len(items), users.shape[1])
    wide, dim = min(dim + OVERSAMPLING, most), min(dim, most)
    right = np.linalg.qr(items @ np.random.default_rng(0).standard_normal((items.shape[1], wide), np.float32))[0]
    for _ in range(POWER_ITERATIONS):
        left = np.linalg.qr(users @ (items.T @ right))[0]
        right, core = np.linalg.qr(items @ (users.T @ left))
    turn, singular, _ = np.linalg.svd(core)
    root = np.sqrt(singular[:dim])
    directions = (right @ turn[:, :dim]).astype(np.float32)  # orthonormal, over the items
    found = root > RANK_TOLERANCE**0.5 * root[0]
    scale = np.divide(1, root, out=np.zeros_like(root), where=found)
    return (items.T @ directions) * scale, directions * np.where(found, root, 0)


def empirical_precision(user: Float32Array, variance: float, unit: Float32Array | None) -> Float32Array:
    """Of the prior of `[p, b]`, in units of the noise: `(dim + 1, dim + 1)` from the users' `(n_users, dim + 1)`."""
    star = 1.0 if unit is None else float(unit[0])
    units = np.append(np.full(user.shape[1] - 1, star**0.5), star)  # of [p, b]
    spread = np.atleast_2d(np.cov(user.astype(np.float64) / units, rowvar=False, bias=True))
    spread += (RELATIVE_RIDGE * np.trace(spread) / len(spread) + 1e-9) * np.eye(len(spread))
    return (variance * np.linalg.inv(spread) / np.outer(units, units)).astype(np.float32)


def _noise_variance(factors: Factors) -> float:
    assert factors.precision is not None
    return float((1 / factors.precision).mean())


def _flatten_samples(array: Float32Array) -> Float32Array:
    """All samples' coordinates of each row, `(rows, samples * d)`."""
    return np.ascontiguousarray(array.reshape(len(array), -1))


def _mean(array: Float32Array) -> Float32Array:
    return np.asarray(array.mean(keepdims=True))


def _row_mean(array: Float32Array | None) -> Float32Array | None:
    return None if array is None else array.mean(1, keepdims=True)
