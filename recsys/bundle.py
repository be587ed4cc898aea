"""The bundle: what a trained model leaves behind and a service answers from. NumPy and safetensors only.

    r(u, i) = mean over samples s of link(mu_s + b_us + b_is + p_us . q_is)

A bundle is a folder: `manifest.json`, `factors.safetensors`, `ids.safetensors`, `ratings.safetensors` and
`items.json`. The manifest is written last and names every other file with its size and SHA-256.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

SCHEMA_VERSION = 1
FILES = ("factors.safetensors", "ids.safetensors", "ratings.safetensors", "items.json")
REQUIRED = ("task", "rating_scale", "id_kind")  # what answering needs of the manifest
TRAIN, VAL, TEST = 0, 1, 2  # the byte of a rating: which rows it belonged to

Floats = NDArray[np.float32]
Rows = NDArray[np.int64]


class BundleError(ValueError):
    """A folder is not a bundle that this version can trust; the message names the file and the reason."""


@dataclass(frozen=True)
class Factors:
    """A trained model as float32 arrays in stars; row 0..n_users - 1 and 0..n_items - 1 are the fitted ids.

    A row never seen is the zero vector with bias 0, which by centring is the average user or item. A new
    user's `[p, b]` minimises, in each sample and over their n ratings, `sum (r - r^)^2 + n d' P d` with
    `d = [p, b] - m`.
    """

    mu: Floats  # (samples,)
    user_bias: Floats  # (n_users, samples)
    item_bias: Floats  # (n_items, samples)
    user_factors: Floats  # (n_users, samples, dim)
    item_factors: Floats  # (n_items, samples, dim)
    prior_mean: Floats  # (samples, dim + 1): m
    prior_precision: Floats  # (samples, dim + 1, dim + 1): P, per rating

    def predict(self, user: Rows, item: Rows) -> Floats:
        """The linear part in stars, `(rows, samples)`, for dense rows; -1 is a row never seen."""
        known_user, known_item = (user >= 0)[:, None], (item >= 0)[:, None]
        biases = np.where(known_user, self.user_bias[user], 0) + np.where(known_item, self.item_bias[item], 0)
        dot = np.einsum("nsd,nsd->ns", self.user_factors[user], self.item_factors[item])
        return np.asarray(self.mu + biases + np.where(known_user & known_item, dot, 0), np.float32)


def centred_factors(
    mu: float,
    user_bias: NDArray[np.float64],
    item_bias: NDArray[np.float64],
    user_factors: NDArray[np.float64],
    item_factors: NDArray[np.float64],
    prior_mean: NDArray[np.float64],
    prior_precision: NDArray[np.float64],
) -> Factors:
    """One sample of factors, moved so that the mean row of each side is the zero vector with bias 0.

    With means `p0, q0`: `p.q = (p - p0).(q - q0) + p.q0 + p0.q - p0.q0`, so that each side's bias takes the
    product with the other side's mean. Predictions stay as they are.

    Args:
        mu: Global level in stars.
        user_bias: `(n_users,)`.
        item_bias: `(n_items,)`.
        user_factors: `(n_users, dim)`.
        item_factors: `(n_items, dim)`.
        prior_mean: Of a user's `[p, b]` before centring, `(dim + 1,)`.
        prior_precision: Its diagonal, per rating, `(dim + 1,)`.
    """
    p0, q0 = user_factors.mean(0), item_factors.mean(0)
    user_bias, item_bias = user_bias + user_factors @ q0, item_bias + item_factors @ p0
    mu = mu - float(p0 @ q0) + float(user_bias.mean() + item_bias.mean())
    # The user's new coordinates are y = T x - t; the prior follows them.
    to_new = np.eye(len(prior_mean))
    to_new[-1, :-1] = q0
    to_old = np.eye(len(prior_mean))
    to_old[-1, :-1] = -q0
    origin = np.append(p0, user_bias.mean())
    return Factors(
        mu=np.array([mu], np.float32),
        user_bias=(user_bias - user_bias.mean()).astype(np.float32)[:, None],
        item_bias=(item_bias - item_bias.mean()).astype(np.float32)[:, None],
        user_factors=(user_factors - p0).astype(np.float32)[:, None],
        item_factors=(item_factors - q0).astype(np.float32)[:, None],
        prior_mean=(to_new @ prior_mean - origin).astype(np.float32)[None],
        prior_precision=(to_old.T * prior_precision @ to_old).astype(np.float32)[None],
    )


class RatedRows(NamedTuple):
    """All ratings of the data set, by user: user row u has entries `indptr[u]` to `indptr[u + 1]`."""

    indptr: Rows  # (all users + 1,)
    item: NDArray[np.int32]  # (ratings,) item row
    rating: Floats  # (ratings,) stars
    part: NDArray[np.uint8]  # (ratings,) TRAIN, VAL or TEST

    def of(self, user: int) -> slice:
        return slice(int(self.indptr[user]), int(self.indptr[user + 1]))

    def users(self) -> Rows:
        """The user row of every rating, `(ratings,)`."""
        return np.repeat(np.arange(len(self.indptr) - 1), np.diff(self.indptr))


class Recommendation(NamedTuple):
    item_id: int | str
    score: float  # predicted stars, or a ranking model's score
    title: str
    year: int | None
    genres: list[str]


@dataclass(frozen=True, eq=False)
class Bundle:
    """A trained model with its ids, items and ratings.

    `user_ids` and `item_ids` hold every id of the data set: first those that the model was fitted on, in the
    order of the factors' rows, then those that it never saw.
    """

    manifest: dict[str, Any]
    factors: Factors
    user_ids: NDArray[Any]  # (all users,) int64 or str
    item_ids: NDArray[Any]  # (all items,)
    ratings: RatedRows
    items: list[dict[str, Any]]  # title, year, genres by item row
    user_row: Mapping[int | str, int] = field(init=False, repr=False)  # of user_ids
    item_row: Mapping[int | str, int] = field(init=False, repr=False)  # of item_ids

    def __post_init__(self) -> None:
        users = {user: row for row, user in enumerate(self.user_ids.tolist())}
        items = {item: row for row, item in enumerate(self.item_ids.tolist())}
        object.__setattr__(self, "user_row", users)
        object.__setattr__(self, "item_row", items)

    @property
    def n_users(self) -> int:
        """Users the model was fitted on."""
        return len(self.factors.user_bias)

    @property
    def n_items(self) -> int:
        """Items the model was fitted on."""
        return len(self.factors.item_bias)

    @property
    def scale(self) -> tuple[float, float]:
        low, high = self.manifest["rating_scale"]
        return float(low), float(high)

    def predict_rows(self, user: Rows, item: Rows) -> Floats:
        """Predicted stars `(rows,)` for rows of `user_ids` and `item_ids`; -1 and rows past the fitted: unseen."""
        user = np.where(user < self.n_users, user, -1)
        item = np.where(item < self.n_items, item, -1)
        linear = self.factors.predict(user, item)
        if self.manifest["task"] == "ranking":
            return np.asarray(linear.mean(1), np.float32)
        return np.asarray(linear.clip(*self.scale).mean(1), np.float32)

    def predict(self, user_ids: Iterable[int | str], item_ids: Iterable[int | str]) -> Floats:
        """Predicted stars, clipped to the scale, `(pairs,)`; an id never seen is the average user or item.

        Raises:
            ValueError: The two lists differ in length.
            TypeError: An id is not of the data set's kind, an integer or a string.
        """
        users, items = self._checked_ids("user_ids", user_ids), self._checked_ids("item_ids", item_ids)
        if len(users) != len(items):
            raise ValueError(f"user_ids and item_ids must be equally long, got {len(users)} and {len(items)}")
        user = np.array([self.user_row.get(u, -1) for u in users], np.int64)
        item = np.array([self.item_row.get(i, -1) for i in items], np.int64)
        return self.predict_rows(user, item)

    def recommend(self, user_id: int | str, k: int = 10, *, exclude_seen: bool = True) -> list[Recommendation]:
        """The k best items for a user, best first; an unknown user gets the average user's.

        Raises:
            ValueError: `k` is below 1.
            TypeError: `user_id` is not of the data set's kind.
        """
        self._checked_ids("user_id", [user_id])
        row = self.user_row.get(user_id, -1)
        [(items, scores)] = self.top_items(np.array([row]), k, exclude_seen=exclude_seen)
        return [self.recommendation(int(item), score) for item, score in zip(items, scores, strict=True)]

    def recommendation(self, item: int, score: float) -> Recommendation:
        about = self.items[item]
        item_id = self.item_ids[item].item() if self.item_ids.dtype.kind == "i" else str(self.item_ids[item])
        return Recommendation(item_id, float(score), about["title"], about["year"], about["genres"])

    def top_items(self, users: Rows, k: int, *, exclude_seen: bool = True) -> Iterator[tuple[Rows, Floats]]:
        """For each user row, item rows and scores of the best k, best first, ties by item row.

        The order is by the mean of the linear part: one product of concatenated samples. Scores of a rating
        model are clipped to the scale for showing, after the order is made.
        """
        if k < 1:
            raise ValueError(f"k must be >= 1, got {k}")
        f = self.factors
        samples = len(f.mu)
        items = f.item_factors.reshape(self.n_items, -1)  # (n_items, samples * dim)
        level = f.item_bias.mean(1) + f.mu.mean()
        for user in users.tolist():
            scores = level.copy()
            if 0 <= user < self.n_users:
                scores += items @ (f.user_factors[user].reshape(-1) / samples) + f.user_bias[user].mean()
            if exclude_seen and user >= 0:
                seen = self.ratings.item[self.ratings.of(user)]
                scores[seen[seen < self.n_items]] = -np.inf
            best = _best(scores, k)
            shown = scores[best] if self.manifest["task"] == "ranking" else scores[best].clip(*self.scale)
            yield best, shown

    def _checked_ids(self, name: str, ids: Iterable[int | str]) -> list[int | str]:
        wanted = (int, np.integer) if self.manifest["id_kind"] == "int" else str
        kind = "integers" if self.manifest["id_kind"] == "int" else "strings"
        if isinstance(ids, str):  # would fall apart into letters
            raise TypeError(f"{name} must be a list of {kind}, got {ids!r}")
        checked = list(ids)
        for value in checked:
            if not isinstance(value, wanted) or isinstance(value, bool):
                raise TypeError(f"{name} must be {kind}, got {value!r}")
        return checked

    def save(self, path: Path) -> None:
        """Write the folder `path`: beside it under another name first, synced, then renamed into place."""
        path = Path(path)
        self._check(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        working = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
        try:
            self._write(working)
            working.chmod(0o755)
            if path.exists():
                old = working.with_name(working.name + "-old")
                path.rename(old)
                try:
                    working.rename(path)
                except BaseException:
                    old.rename(path)
                    raise
                shutil.rmtree(old)
            else:
                working.rename(path)
            _sync(path.parent)
        finally:
            shutil.rmtree(working, ignore_errors=True)

    def _check(self, path: Path) -> None:
        """Raise a BundleError where the parts do not fit together; `path` names the bundle in it."""
        f, ratings, users, items = self.factors, self.ratings, len(self.user_ids), len(self.item_ids)
        if missing := [key for key in REQUIRED if key not in self.manifest]:
            raise BundleError(f"{path}: the manifest lacks {', '.join(missing)}")
        if f.prior_mean.ndim != 2:
            raise BundleError(f"{path}: prior_mean has shape {f.prior_mean.shape}, expected two dimensions")
        samples, dim = f.prior_mean.shape[0], f.prior_mean.shape[1] - 1
        expected = {
            "mu": (samples,),
            "user_bias": (self.n_users, samples),
            "item_bias": (self.n_items, samples),
            "user_factors": (self.n_users, samples, dim),
            "item_factors": (self.n_items, samples, dim),
            "prior_precision": (samples, dim + 1, dim + 1),
        }
        for name, shape in expected.items():
            if getattr(f, name).shape != shape:
                raise BundleError(f"{path}: {name} has shape {getattr(f, name).shape}, expected {shape}")
        floats = {part.name: getattr(f, part.name) for part in fields(Factors)} | {"rating": ratings.rating}
        for name, array in floats.items():
            if not np.isfinite(array).all():
                raise BundleError(f"{path}: {name} holds values that are not finite")
        n = len(ratings.item)
        indptr_fits = len(ratings.indptr) == users + 1 and ratings.indptr[0] == 0 and ratings.indptr[-1] == n
        if not indptr_fits or {len(ratings.rating), len(ratings.part)} != {n} or len(self.items) != items:
            raise BundleError(f"{path}: ratings, ids and items do not fit together")
        if self.n_users > users or self.n_items > items:
            raise BundleError(f"{path}: there are more factors than ids")
        if n and not 0 <= int(ratings.item.min()) <= int(ratings.item.max()) < items:
            raise BundleError(f"{path}: an item row of the ratings is outside the ids")

    def _write(self, folder: Path) -> None:
        # Contiguous, since safetensors writes another order's bytes as they lie.
        arrays = {part.name: np.ascontiguousarray(getattr(self.factors, part.name)) for part in fields(Factors)}
        save_file(arrays, folder / "factors.safetensors")
        ids = _packed_ids("user", self.user_ids) | _packed_ids("item", self.item_ids)
        save_file(ids, folder / "ids.safetensors")
        ratings = {name: np.ascontiguousarray(array) for name, array in self.ratings._asdict().items()}
        save_file(ratings, folder / "ratings.safetensors")
        (folder / "items.json").write_text(json.dumps(self.items, ensure_ascii=False), encoding="utf-8")
        files = {}
        for file in sorted(folder.iterdir()):
            _sync(file)
            files[file.name] = {"size": file.stat().st_size, "sha256": _sha256(file)}
        version = {"schema_version": SCHEMA_VERSION}
        manifest = version | self.manifest | version | {"files": files}
        text = json.dumps(manifest, indent=2, ensure_ascii=False, allow_nan=False)
        (folder / "manifest.json").write_text(text + "\n", encoding="utf-8")
        _sync(folder / "manifest.json")
        _sync(folder)

    @classmethod
    def load(cls, path: str | Path) -> Bundle:
        """Read a bundle's folder, verifying size and SHA-256 of every file before parsing it.

        Raises:
            BundleError: The folder is missing, truncated, altered, of a newer schema or inconsistent.
        """
        path = Path(path)
        manifest = _read_manifest(path)
        arrays: dict[str, NDArray[Any]] = {}
        try:
            for name in ("factors", "ids", "ratings"):
                arrays |= load_file(path / f"{name}.safetensors")
            factors = Factors(**{field.name: arrays[field.name] for field in fields(Factors)})
            ratings = RatedRows(**{name: arrays[name] for name in RatedRows._fields})
            user_ids, item_ids = _unpacked_ids("user", arrays), _unpacked_ids("item", arrays)
            items = json.loads((path / "items.json").read_text(encoding="utf-8"))
        except (SafetensorError, KeyError, ValueError) as error:
            raise BundleError(f"{path} is not a usable bundle: {error}") from error
        bundle = cls(manifest, factors, user_ids, item_ids, ratings, items)
        bundle._check(path)
        return bundle


def _read_manifest(path: Path) -> dict[str, Any]:
    file = path / "manifest.json"
    if not file.is_file():
        raise BundleError(f"{path} is not a bundle: it has no manifest.json")
    try:
        manifest: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        version, listed = int(manifest["schema_version"]), manifest["files"]
        if version > SCHEMA_VERSION:
            raise BundleError(f"{file} has schema version {version}; this recsys reads up to {SCHEMA_VERSION}")
        expected = [(path / name, int(listed[name]["size"]), str(listed[name]["sha256"])) for name in FILES]
    except BundleError:
        raise
    except (ValueError, KeyError, TypeError) as error:
        raise BundleError(f"{file} is not a bundle's manifest: {error!r}") from error
    for part, size, sha256 in expected:
        _verify(part, size, sha256)
    return manifest


def _verify(file: Path, size: int, sha256: str) -> None:
    if not file.is_file():
        raise BundleError(f"{file} is missing")
    if (found := file.stat().st_size) != size:
        raise BundleError(f"{file} has {found} bytes, the manifest says {size}")
    if _sha256(file) != sha256:
        raise BundleError(f"{file} was altered: its SHA-256 is not the manifest's")


def _best(scores: Floats, k: int) -> Rows:
    """Positions of the k highest scores above -inf, highest first, ties by position."""
    candidates = np.arange(len(scores))
    if k < len(scores):
        candidates = np.flatnonzero(scores >= np.partition(scores, -k)[-k])
    best: Rows = candidates[np.argsort(-scores[candidates], kind="stable")][:k]
    return best[scores[best] > -np.inf]


def _packed_ids(side: str, ids: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """Integers as they are; strings as UTF-8 bytes and the offsets between them."""
    if ids.dtype.kind == "i":
        return {f"{side}_ids": ids.astype(np.int64)}
    encoded = [str(value).encode() for value in ids]
    return {
        f"{side}_ids_utf8": np.frombuffer(b"".join(encoded), np.uint8).copy(),
        f"{side}_ids_offsets": np.cumsum([0, *map(len, encoded)], dtype=np.int64),
    }


def _unpacked_ids(side: str, arrays: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
    if f"{side}_ids" in arrays:
        return arrays[f"{side}_ids"]
    text, offsets = arrays[f"{side}_ids_utf8"].tobytes(), arrays[f"{side}_ids_offsets"].tolist()
    return np.array([text[a:b].decode() for a, b in pairwise(offsets)], dtype=object)


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
