"""The bundle: what a trained model leaves behind and a service answers from. NumPy and safetensors only.

    r(u, i) = mean over samples s of link(mu_s + b_us + b_is + p_us . q_is)

A bundle is a folder: `manifest.json`, `factors.safetensors`, `ids.safetensors`, `ratings.safetensors` and
`items.json`. The manifest is written last and names every other file with its size and SHA-256.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from recsys.bundle_files import BundleError, packed_ids, read_folder, unpacked_ids, write_folder
from recsys.factors import Factors, Floats, FoldIn, Rows

__all__ = ["TEST", "TRAIN", "VAL", "Bundle", "BundleError", "Explanation", "RatedRows", "Reason", "Recommendation"]

REQUIRED = ("task", "rating_scale", "id_kind", "data")  # what answering needs of the manifest
IMPLICIT = "item_implicit"  # the one array of the factors that may be absent
TRAIN, VAL, TEST = 0, 1, 2  # the byte of a rating: which rows it belonged to

Id = int | str


class RatedRows(NamedTuple):
    """All ratings of the data set, by user: user row u has entries `indptr[u]` to `indptr[u + 1]`."""

    indptr: Rows  # (all users + 1,)
    item: NDArray[np.int32]  # (ratings,) item row
    rating: Floats  # (ratings,) stars
    part: NDArray[np.uint8]  # (ratings,) TRAIN, VAL or TEST

    def of(self, user: int) -> slice:
        """The entries of a user's row; none for a row outside the data set."""
        if not 0 <= user < len(self.indptr) - 1:
            return slice(0, 0)
        return slice(int(self.indptr[user]), int(self.indptr[user + 1]))

    def users(self) -> Rows:
        """The user row of every rating, `(ratings,)`."""
        return np.repeat(np.arange(len(self.indptr) - 1), np.diff(self.indptr))


class Recommendation(NamedTuple):
    item_id: Id
    score: float  # predicted stars, or a ranking model's score; for similar items, the cosine
    title: str
    year: int | None
    genres: list[str]


class Reason(NamedTuple):
    item_id: Id
    rating: float  # stars that the user gave
    contribution: float  # to the predicted score, in stars; negative where it spoke against
    title: str


class Explanation(NamedTuple):
    """`score = base + sum of the reasons' contributions + remainder`, in stars, before clipping to the scale."""

    score: float
    base: float  # what the model says to someone of whom it knows nothing
    reasons: list[Reason]  # one a rated item, the largest contribution first
    remainder: float  # of a fitted user: what training found beyond the fold-in of their ratings


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
    sha256: str | None = None  # of the manifest it was loaded with
    user_row: Mapping[Id, int] = field(init=False, repr=False)  # of user_ids
    item_row: Mapping[Id, int] = field(init=False, repr=False)  # of item_ids

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

    @property
    def ranks_only(self) -> bool:
        """Whether scores order items and are not stars."""
        return bool(self.manifest["task"] == "ranking")

    def predict_rows(self, user: Rows, item: Rows) -> Floats:
        """Predicted stars `(rows,)` for rows of `user_ids` and `item_ids`; -1 and rows past the fitted: unseen."""
        return np.asarray(self.linked(self._linear(user, item)).mean(1), np.float32)

    def predict(
        self, user_ids: Iterable[Id] | FoldIn, item_ids: Iterable[Id], *, return_std: bool = False
    ) -> Floats | tuple[Floats, Floats]:
        """Predicted stars, clipped to the scale, `(pairs,)`; an id never seen is the average user or item.

        Args:
            user_ids: Users, or one `fold_in` for all items.
            item_ids: As many items.
            return_std: Also give the standard deviation of a rating around its prediction, in stars, `(pairs,)`:
                the manifest's `noise`, and the spread of the samples' predictions where there are several.

        Raises:
            ValueError: The two lists differ in length; or the bundle has neither noise nor several samples.
            TypeError: An id is not of the data set's kind, an integer or a string.
        """
        items = self._checked_ids("item_ids", item_ids)
        item = np.array([self.item_row.get(i, -1) for i in items], np.int64)
        if isinstance(user_ids, FoldIn):
            parts = [self.factors.predict_for(user_ids.vector, row if row < self.n_items else -1) for row in item]
            linear = np.stack(parts) if parts else np.zeros((0, self.factors.samples), np.float32)
        else:
            users = self._checked_ids("user_ids", user_ids)
            if len(users) != len(items):
                raise ValueError(f"user_ids and item_ids must be equally long, got {len(users)} and {len(items)}")
            linear = self._linear(np.array([self.user_row.get(u, -1) for u in users], np.int64), item)
        predicted = self.linked(linear)
        mean: Floats = np.asarray(predicted.mean(1), np.float32)
        if not return_std:
            return mean
        noise = self.manifest.get("noise")
        if noise is None and self.factors.samples == 1:
            raise ValueError("return_std: this bundle has one sample and no noise, which say nothing of the spread")
        return mean, np.sqrt(predicted.var(1) + np.float32(noise or 0) ** 2)

    def recommend(
        self,
        user_id: Id | FoldIn,
        k: int = 10,
        *,
        exclude_seen: bool = True,
        allowed: Iterable[Id] | None = None,
    ) -> list[Recommendation]:
        """The k best items for a user, best first; an unknown user gets the average user's.

        Args:
            user_id: A user, or someone new as `fold_in` gives them.
            k: At least 1; fewer items come back where fewer are left.
            exclude_seen: Leave out all that the user has rated.
            allowed: Items to choose from, unknown ones ignored; all, if None.

        Raises:
            ValueError: `k` is below 1.
            TypeError: An id is not of the data set's kind.
        """
        mask = None
        if allowed is not None:
            chosen = [self.item_row.get(item, -1) for item in self._checked_ids("allowed", allowed)]
            mask = np.zeros(self.n_items, bool)
            mask[[row for row in chosen if 0 <= row < self.n_items]] = True
        if isinstance(user_id, FoldIn):
            vector, seen = user_id.vector, user_id.items
        else:
            row = self.row_of_user(user_id)
            vector, seen = self.factors.user(row), self.seen(row)
        rows, scores = self.top(self.factors.scores(vector), k, seen=seen if exclude_seen else None, allowed=mask)
        return [self.about(row, score) for row, score in zip(rows.tolist(), scores.tolist(), strict=True)]

    def similar_items(self, item_id: Id, k: int = 10) -> list[Recommendation]:
        """The k items whose vectors point the same way (cosine in [-1, 1]), best first; none for an unfitted item.

        Raises:
            ValueError: `k` is below 1, or the item is not in the data set.
            TypeError: `item_id` is not of the data set's kind.
        """
        row = self._row_of_item(item_id)
        if row >= self.n_items:
            return []
        rows, cosines = self.similar_rows(row, k)
        return [self.about(row, score) for row, score in zip(rows.tolist(), cosines.tolist(), strict=True)]

    def similar_rows(self, item: int, k: int) -> tuple[Rows, Floats]:
        """As `similar_items`, for a fitted item's row: rows and cosines."""
        cosines = self.factors.similar(item)
        cosines[item] = -np.inf
        rows = best(cosines, k)
        return rows, cosines[rows]

    def fold_in(self, ratings: Mapping[Id, float]) -> FoldIn:
        """Someone new, from their ratings in stars: a vector and a bias per sample, by ridge regression.

        Items that the model was not fitted on say nothing and are left out.

        Raises:
            ValueError: A rating is not finite or outside the scale; or this bundle's model cannot fold in.
            TypeError: An item id is not of the data set's kind.
        """
        low, high = self.scale
        for item, rating in ratings.items():
            if not low <= rating <= high:
                raise ValueError(f"rating of item {item!r} must be in [{low:g}, {high:g}], got {rating}")
        rows = [self.item_row.get(item, -1) for item in self._checked_ids("ratings", ratings)]
        known = [(row, stars) for row, stars in zip(rows, ratings.values(), strict=True) if 0 <= row < self.n_items]
        row, stars = zip(*known, strict=True) if known else ((), ())
        return self.fold_in_rows(np.array(row, np.int64), np.array(stars, np.float32))

    def fold_in_rows(self, item: Rows, rating: Floats) -> FoldIn:
        """As `fold_in`, for fitted item rows, each once."""
        if self.manifest.get("fold_in", "ridge") != "ridge":
            raise ValueError(f"a {self.manifest.get('model')} takes in no new users (fold_in: none)")
        return self.factors.fold_in(item, rating)

    def fold_in_user(self, user: int) -> FoldIn:
        """What a user's row is, seen as the fold-in of all their ratings of fitted items."""
        entries = self.ratings.of(user)
        item, rating = self.ratings.item[entries], self.ratings.rating[entries]
        if self.n_items < len(self.item_ids):
            fitted = item < self.n_items
            item, rating = item[fitted], rating[fitted]
        return self.fold_in_rows(item, rating)

    def explain(self, user_id: Id | FoldIn, item_id: Id) -> Explanation:
        """What each item that the user rated contributed to the score of another one.

        Exact for someone folded in. For a fitted user the parts are those of their fold-in, and the remainder is
        what separates it from the trained score.

        Raises:
            ValueError: The item is not in the data set, or the model was not fitted on it; or it cannot fold in.
            TypeError: An id is not of the data set's kind.
        """
        row = self._row_of_item(item_id)
        if row >= self.n_items:
            raise ValueError(f"the model was not fitted on item {item_id!r}")
        if isinstance(user_id, FoldIn):
            folded, vector = user_id, user_id.vector
        else:
            user = self.row_of_user(user_id)
            folded = self.fold_in_user(user if user < self.n_users else -1)
            vector = self.factors.user(user)
        score = float(self.factors.predict_for(vector, row).mean())
        bases, parts = folded.contributions(np.array([row]))
        reasons = [
            Reason(self.item_id(item), float(folded.rating[j]), float(parts[0, j]), self.items[item]["title"])
            for j in np.argsort(-parts[0], kind="stable")
            for item in [int(folded.items[j])]
        ]
        return Explanation(score, float(bases[0]), reasons, score - float(bases[0]) - float(parts[0].sum()))

    def row_of_user(self, user_id: Id) -> int:
        """The row of a user; -1 for one who is not in the data set.

        Raises:
            TypeError: The id is not of the data set's kind.
        """
        self._checked_ids("user_id", [user_id])
        return self.user_row.get(user_id, -1)

    def _row_of_item(self, item_id: Id) -> int:
        self._checked_ids("item_id", [item_id])
        if item_id not in self.item_row:
            raise ValueError(f"no item {item_id!r} in {self.manifest['data']}")
        return self.item_row[item_id]

    def item_id(self, item: int) -> Id:
        """The id of an item's row."""
        found = self.item_ids[item]
        return int(found) if self.item_ids.dtype.kind == "i" else str(found)

    def about(self, item: int, score: float) -> Recommendation:
        """An item's row and its score as what people see."""
        about = self.items[item]
        return Recommendation(self.item_id(item), score, about["title"], about["year"], about["genres"])

    def seen(self, user: int) -> Rows:
        """The item rows that a user's row has rated, whatever part of the split they are in."""
        return self.ratings.item[self.ratings.of(user)]

    def top(
        self, scores: Floats, k: int, *, seen: Rows | None = None, allowed: NDArray[np.bool_] | None = None
    ) -> tuple[Rows, Floats]:
        """Item rows and predictions of the k highest of `scores (n_items,)`, best first, ties by row.

        The order is that of the scores as they are; a rating model's are clipped to the scale for showing.

        Args:
            scores: As `factors.scores` gives them; changed in place.
            k: At least 1.
            seen: Item rows to leave out; rows past the fitted are ignored.
            allowed: Whether an item may be chosen, `(n_items,)`.

        Raises:
            ValueError: `k` is below 1.
        """
        if seen is not None:
            scores[seen if self.n_items == len(self.item_ids) else seen[seen < self.n_items]] = -np.inf
        if allowed is not None:
            scores[~allowed] = -np.inf
        rows = best(scores, k)
        return rows, scores[rows] if self.ranks_only else scores[rows].clip(*self.scale)

    def top_items(self, users: Rows, k: int, *, exclude_seen: bool = True) -> Iterator[tuple[Rows, Floats]]:
        """For each user row, what `top` gives."""
        for user in users.tolist():
            scores = self.factors.scores(self.factors.user(user))
            yield self.top(scores, k, seen=self.seen(user) if exclude_seen else None)

    def _linear(self, user: Rows, item: Rows) -> Floats:
        """The linear part, `(rows, samples)`, for rows of `user_ids` and `item_ids`."""
        return self.factors.predict(np.where(user < self.n_users, user, -1), np.where(item < self.n_items, item, -1))

    def linked(self, linear: Floats) -> Floats:
        """What the linear part of each sample says in stars: itself, within the scale; a ranking's is no star."""
        return linear if self.ranks_only else linear.clip(*self.scale)

    def _checked_ids(self, name: str, ids: Iterable[Id]) -> list[Id]:
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
        """Write the folder `path`: beside it under another name first, synced, then renamed into place.

        Raises:
            BundleError: The parts do not fit together.
        """
        self._check(Path(path))
        factors = {part.name: getattr(self.factors, part.name) for part in fields(Factors)}
        arrays = {
            "factors": {name: array for name, array in factors.items() if array is not None},
            "ids": packed_ids("user", self.user_ids) | packed_ids("item", self.item_ids),
            "ratings": self.ratings._asdict(),
        }
        write_folder(Path(path), self.manifest, arrays, self.items)

    @classmethod
    def load(cls, path: str | Path) -> Bundle:
        """Read a bundle's folder, verifying size and SHA-256 of every file before parsing it.

        Raises:
            BundleError: The folder is missing, truncated, altered, of a newer schema or inconsistent.
        """
        path = Path(path)
        manifest, sha256, arrays, items = read_folder(path)
        found = arrays["factors"]
        if manifest["schema_version"] == 1 and "prior_precision" in found:
            found = found | {
                "prior_precision": found["prior_precision"][None],
                "prior_exponent": np.ones(1, np.float32),
            }
        try:
            factors = Factors(**{part.name: found[part.name] for part in fields(Factors) if part.name != IMPLICIT},
                              item_implicit=found.get(IMPLICIT))  # fmt: skip
            ratings = RatedRows(**{name: arrays["ratings"][name] for name in RatedRows._fields})
            user_ids, item_ids = unpacked_ids("user", arrays["ids"]), unpacked_ids("item", arrays["ids"])
            bundle = cls(manifest, factors, user_ids, item_ids, ratings, items, sha256)
        except (KeyError, ValueError, TypeError) as error:
            raise BundleError(f"{path} is not a usable bundle: {error}") from error
        bundle._check(path)
        return bundle

    def _check(self, path: Path) -> None:
        """Raise a BundleError where the parts do not fit together; `path` names the bundle in it."""
        f = self.factors
        if missing := [key for key in REQUIRED if key not in self.manifest]:
            raise BundleError(f"{path}: the manifest lacks {', '.join(missing)}")
        self._check_manifest(path)
        if f.prior_mean.ndim != 2:
            raise BundleError(f"{path}: prior_mean has shape {f.prior_mean.shape}, expected two dimensions")
        samples, dim = f.prior_mean.shape[0], f.prior_mean.shape[1] - 1
        expected = {
            "mu": (samples,),
            "user_bias": (self.n_users, samples),
            "item_bias": (self.n_items, samples),
            "user_factors": (self.n_users, samples, dim),
            "item_factors": (self.n_items, samples, dim),
            "prior_precision": (len(f.prior_exponent), samples, dim + 1, dim + 1),
            "prior_exponent": (len(f.prior_exponent),),
            IMPLICIT: (self.n_items, samples, dim + 1),
        }
        floats = {part.name: getattr(f, part.name) for part in fields(Factors)} | {"rating": self.ratings.rating}
        if floats[IMPLICIT] is None:
            del floats[IMPLICIT], expected[IMPLICIT]
        for name, shape in expected.items():
            if floats[name].shape != shape:
                raise BundleError(f"{path}: {name} has shape {floats[name].shape}, expected {shape}")
        for name, array in floats.items():
            if array.dtype.kind != "f" or not np.isfinite(array).all():
                raise BundleError(f"{path}: {name} holds values that are not finite numbers")
        self._check_rows(path)

    def _check_manifest(self, path: Path) -> None:
        try:
            low, high = map(float, self.manifest["rating_scale"])
            known = self.manifest["task"] in ("rating", "ranking") and self.manifest["id_kind"] in ("int", "str")
        except (TypeError, ValueError):
            known, low, high = False, 0.0, 0.0
        if not known or not -np.inf < low < high < np.inf:
            told = {key: self.manifest[key] for key in ("task", "rating_scale", "id_kind")}
            raise BundleError(f"{path}: the manifest's values are not understood: {told}")
        if self.manifest.get("link", "identity") != "identity":
            raise BundleError(f"{path}: link {self.manifest['link']!r} is not known to this recsys")

    def _check_rows(self, path: Path) -> None:
        ratings, users, items = self.ratings, len(self.user_ids), len(self.item_ids)
        n = len(ratings.item)
        indptr_fits = len(ratings.indptr) == users + 1 and ratings.indptr[0] == 0 and ratings.indptr[-1] == n
        if not indptr_fits or {len(ratings.rating), len(ratings.part)} != {n} or len(self.items) != items:
            raise BundleError(f"{path}: ratings, ids and items do not fit together")
        if (np.diff(ratings.indptr) < 0).any() or {len(self.user_row), len(self.item_row)} != {users, items}:
            raise BundleError(f"{path}: ratings, ids and items do not fit together")
        if self.n_users > users or self.n_items > items:
            raise BundleError(f"{path}: there are more factors than ids")
        if n and not 0 <= int(ratings.item.min()) <= int(ratings.item.max()) < items:
            raise BundleError(f"{path}: an item row of the ratings is outside the ids")
        kind = "i" if self.manifest["id_kind"] == "int" else "O"
        if {self.user_ids.dtype.kind, self.item_ids.dtype.kind} != {kind}:
            raise BundleError(f"{path}: the ids are not of the kind that the manifest says")
        for about in self.items:
            if not isinstance(about, dict) or not {"title", "year", "genres"} <= set(about):
                raise BundleError(f"{path}: items.json must hold title, year and genres of every item")


def best(scores: Floats, k: int) -> Rows:
    """Positions of the k highest scores above -inf, highest first, ties by position.

    Raises:
        ValueError: `k` is below 1.
    """
    if k < 1:
        raise ValueError(f"k must be >= 1, got {k}")
    candidates = np.arange(len(scores))
    if k < len(scores):
        candidates = np.flatnonzero(scores >= np.partition(scores, -k)[-k])
    rows: Rows = candidates[np.argsort(-scores[candidates], kind="stable")][:k]
    return rows[scores[rows] > -np.inf]
