"""The bundle: what a trained model leaves behind and a service answers from. NumPy and safetensors only.

    r(u, i) = mean over samples s of link(mu_s + b_us + b_is + p_us . q_is)

A bundle is a folder: `manifest.json`, `factors.safetensors`, `ids.safetensors`, `ratings.safetensors` and
`items.json`. The manifest is written last and names every other file with its size and SHA-256.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import MISSING, dataclass, field, fields, replace
from numbers import Real
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from recsys.bundle.attributes import UserAttributes, attribute_rows
from recsys.bundle.factors import Factors, Floats, FoldIn, Rows, UserVector
from recsys.bundle.storage import BundleError, packed_ids, read_folder, unpacked_ids, write_folder

__all__ = ["TEST", "TRAIN", "VAL", "Bundle", "BundleError", "Explanation", "RatedRows", "Reason", "Recommendation"]

REQUIRED = ("task", "rating_scale", "id_kind", "data")  # what answering needs of the manifest
TIMESTAMP = "timestamp"  # the array of the ratings that may be absent
MOST = 1e30  # of a number in the manifest
CHUNK = 1 << 22  # products of two coordinates at a time, of many predictions: 16 MiB
# Type and lengths of each array, where a letter is one number throughout: samples, users and items that have factors,
# dim, e = dim + 1, terms of the prior, levels, k = levels - 1, attributes, ratings, U = all users + 1, and x, all that
# is known of all users. The first type is the usual one.
LAYOUT = {
    "prior_mean": (("f4",), "se"), "mu": (("f4",), "s"), "user_bias": (("f4",), "us"), "item_bias": (("f4",), "is"),
    "user_factors": (("f4",), "usd"), "item_factors": (("f4",), "isd"), "prior_exponent": (("f4",), "t"),
    "prior_offset": (("f4",), "t"),
    "prior_precision": (("f4",), "tsee"), "item_implicit": (("f4",), "ise"), "indptr": (("i8", "i4"), "U"),
    "item": (("i4", "i8"), "r"), "rating": (("f4",), "r"), "part": (("u1",), "r"), TIMESTAMP: (("i8",), "r"),
    "precision": (("f4",), "s"), "user_precision": (("f4",), "us"), "item_precision": (("f4",), "is"),
    "drift": (("f4",), "2"), "levels": (("f4",), "l"), "thresholds": (("f4",), "sk"),
    "attribute_effects": (("f4",), "ase"), "newcomer_effects": (("f4",), "ase"), "newcomer_mean": (("f4",), "se"),
    "newcomer_items": (("f4",), "is"),
    "attribute_indptr": (("i8", "i4"), "U"),
    "attribute": (("i4", "i8"), "x"),
}  # fmt: skip
OPTIONAL = tuple(part.name for part in fields(Factors) if part.default is None)  # arrays that may be absent
POSITIVE = ("precision", "user_precision", "item_precision")
ASCENDING = ("levels", "thresholds")
TRAIN, VAL, TEST = 0, 1, 2  # the byte of a rating: which rows it belonged to

Id = int | str


class RatedRows(NamedTuple):
    """All ratings of the data set, by user and time: user row u has entries `indptr[u]` to `indptr[u + 1]`."""

    indptr: Rows  # (all users + 1,)
    item: NDArray[np.int32]  # (ratings,) item row
    rating: Floats  # (ratings,) stars
    part: NDArray[np.uint8]  # (ratings,) TRAIN, VAL or TEST
    timestamp: NDArray[np.int64] | None = None  # (ratings,) unix seconds; None where the source has none

    def of(self, user: int) -> slice:
        """The entries of a user's row; none for a row outside the data set."""
        if not 0 <= user < len(self.indptr) - 1:
            return slice(0, 0)
        return slice(int(self.indptr[user]), int(self.indptr[user + 1]))

    def users(self) -> NDArray[np.int64]:
        """The user row of every rating, `(ratings,)`."""
        return np.repeat(np.arange(len(self.indptr) - 1), np.diff(self.indptr))


class Predicted(NamedTuple):
    mean: Floats  # (rows,) stars
    std: Floats | None  # (rows,) of a rating around it, in stars; None where nobody asked
    shares: Floats | None = None  # (rows, levels): how likely each level is; None where the link is not ordinal


class Recommendation(NamedTuple):
    item_id: Id
    score: float  # predicted stars, or a ranking model's score; for similar items, the similarity
    title: str
    year: int | None
    genres: list[str]


class Reason(NamedTuple):
    item_id: Id
    rating: float  # stars that the user gave
    contribution: float  # to the score, in stars unless the model ranks; negative where it spoke against
    title: str


class Explanation(NamedTuple):
    """`score = base + sum of the reasons' contributions + remainder`, unclipped; in stars unless the model ranks."""

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
    user_attributes: UserAttributes | None = None  # of all users
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
        """Items that can be scored and recommended: they have factors, fitted or inferred from what the item is."""
        return len(self.factors.item_bias)

    @property
    def fitted_items(self) -> int:
        """Items the model was fitted on, the first ones; a rating is warm if its user and item are fitted."""
        counts = self.manifest.get("counts")
        items = counts.get("items") if isinstance(counts, dict) else None
        return items if type(items) is int else self.n_items

    @property
    def scale(self) -> tuple[float, float]:
        low, high = self.manifest["rating_scale"]
        return float(low), float(high)

    @property
    def ranks_only(self) -> bool:
        """Whether scores order items and are not stars."""
        return bool(self.manifest["task"] == "ranking")

    @property
    def can_fold_in(self) -> bool:
        """Whether new users can be taken in."""
        return bool(self.manifest.get("fold_in", "ridge") == "ridge")

    @property
    def says_std(self) -> bool:
        """Whether predictions come with a standard deviation: of noise, or of several samples."""
        noise = self.factors.precision is not None or self.manifest.get("noise") is not None
        return noise or self.factors.samples > 1

    @property
    def attributes(self) -> list[str]:
        """What may be known of a user: names and values, such as "gender=F"."""
        return list(self.manifest.get("attributes", []))

    def vector(self, user: int) -> UserVector:
        """A user's row as the model knows it: fitted, or as their attributes say, or else the average user."""
        if user >= self.n_users and self.user_attributes is not None:
            return self.factors.described(self.user_attributes.of(user))
        return self.factors.user(user)

    def predict_rows(self, user: Rows, item: Rows) -> Floats:
        """Predicted stars `(rows,)` for rows of `user_ids` and `item_ids`; -1 and rows past the last are unseen."""
        return self.predicted(user, item).mean

    def predicted(self, user: Rows, item: Rows, *, std: bool = False) -> Predicted:
        """As `predict`, for rows of `user_ids` and `item_ids`; `std` as its `return_std`."""
        return self._in_steps(len(item), lambda rows: self._linear(user[rows], item[rows]), std)

    def predicted_for(self, vector: UserVector, item: Rows, *, std: bool = False) -> Predicted:
        """As `predicted`, for one user."""
        return self._in_steps(len(item), lambda rows: self._linear_for(vector, item[rows], std=std), std)

    def _in_steps(self, n: int, linear: Callable[[slice], tuple[Floats, Floats | None]], std: bool) -> Predicted:
        """Predictions of n rows, so many at a time that memory stays bounded."""
        _, samples, dim = self.factors.item_factors.shape
        levels = 1 if self.factors.levels is None else len(self.factors.levels)
        step: int = max(1, CHUNK // (samples * max(dim, levels)))
        if n <= step:
            return self._predicted(*linear(slice(n)), std=std)
        parts = [self._predicted(*linear(slice(i, i + step)), std=std) for i in range(0, n, step)]
        spread = [part.std for part in parts if part.std is not None]
        shares = [part.shares for part in parts if part.shares is not None]
        return Predicted(
            np.concatenate([part.mean for part in parts]),
            np.concatenate(spread) if spread else None,
            np.concatenate(shares) if shares else None,
        )

    def _predicted(self, linear: Floats, precision: Floats | None, *, std: bool) -> Predicted:
        if std and not self.says_std:
            raise ValueError("return_std: this bundle has one sample and no noise, which say nothing of the spread")
        if self.factors.ordinal is not None and precision is not None and not self.ranks_only:
            shares, levels = self.factors.ordinal.probabilities(linear, precision), self.factors.ordinal.levels
            mean = shares @ levels
            return Predicted(mean, np.sqrt(np.maximum(shares @ levels**2 - mean**2, 0)) if std else None, shares)
        stars = self.linked(linear)
        mean = np.asarray(stars.mean(1), np.float32)
        if not std:
            return Predicted(mean, None)
        noise: Any = np.float32(self.manifest.get("noise") or 0) ** 2 if precision is None else (1 / precision).mean(1)
        return Predicted(mean, np.asarray(np.sqrt(stars.var(1) + noise), np.float32))

    def predict(
        self, user_ids: Iterable[Id] | FoldIn, item_ids: Iterable[Id], *, return_std: bool = False
    ) -> Floats | tuple[Floats, Floats]:
        """Predicted stars, clipped to the scale, `(pairs,)`; an id never seen is the average user or item.

        Args:
            user_ids: Users, or one `fold_in` for all items.
            item_ids: As many items.
            return_std: Also give the standard deviation of a rating around its prediction, in stars, `(pairs,)`:
                the noise, and the spread of the samples' predictions where there are several. The noise is the
                model's own for this user and item, where it has a `precision`, else the manifest's `noise`: a
                trained point estimate's is its RMSE on validation rows. Behind an ordinal link it is the standard
                deviation of the stars by `star_probabilities`.

        Raises:
            ValueError: The two lists differ in length; or the bundle has neither noise nor several samples; or the
                fold-in is another bundle's.
            TypeError: An id is not of the data set's kind, an integer or a string.
        """
        mean, spread, _ = self._asked(user_ids, item_ids, std=return_std)
        return mean if spread is None else (mean, spread)

    def star_probabilities(self, user_ids: Iterable[Id] | FoldIn, item_ids: Iterable[Id]) -> Floats:
        """How likely each level of the scale is, `(pairs, levels)`, for the levels of `factors.levels`.

        Args:
            user_ids: Users, or one `fold_in` for all items.
            item_ids: As many items.

        Raises:
            ValueError: The model's link is not ordinal; or as in `predict`.
            TypeError: As in `predict`.
        """
        shares = self._asked(user_ids, item_ids).shares
        if shares is None:
            raise ValueError(
                "star_probabilities: this model predicts a mean (link: identity), no levels (link: ordinal)"
            )
        return shares

    def _asked(self, user_ids: Iterable[Id] | FoldIn, item_ids: Iterable[Id], *, std: bool = False) -> Predicted:
        """Predictions for pairs of ids, checked."""
        items = self._checked_ids("item_ids", item_ids)
        item = np.array([self.item_row.get(i, -1) for i in items], np.int64)
        if isinstance(user_ids, FoldIn):
            return self.predicted_for(self._vector_of(user_ids), item, std=std)
        users = self._checked_ids("user_ids", user_ids)
        if len(users) != len(items):
            raise ValueError(f"user_ids and item_ids must be equally long, got {len(users)} and {len(items)}")
        return self.predicted(np.array([self.user_row.get(u, -1) for u in users], np.int64), item, std=std)

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
            ValueError: `k` is below 1; or the fold-in is another bundle's.
            TypeError: An id is not of the data set's kind.
        """
        mask = None
        if allowed is not None:
            chosen = [self.item_row.get(item, -1) for item in self._checked_ids("allowed", allowed)]
            mask = np.zeros(self.n_items, bool)
            mask[[row for row in chosen if 0 <= row < self.n_items]] = True
        if isinstance(user_id, FoldIn):
            vector, seen = self._vector_of(user_id), user_id.items
        else:
            row = self.row_of_user(user_id)
            vector, seen = self.vector(row), self.seen(row)
        rows, scores = self.top(vector, k, seen=seen if exclude_seen else None, allowed=mask)
        return [self.about(row, score) for row, score in zip(rows.tolist(), scores.tolist(), strict=True)]

    def similar_items(self, item_id: Id, k: int = 10) -> list[Recommendation]:
        """The k items whose vectors point the same way, best first, by a similarity in [-1, 1].

        An item without factors has none.

        Raises:
            ValueError: `k` is below 1, or the item is not in the data set.
            TypeError: `item_id` is not of the data set's kind.
        """
        row = self._row_of_item(item_id)
        if k < 1:
            raise ValueError(f"k must be >= 1, got {k}")
        if row >= self.n_items:
            return []
        rows, alike = self.similar_rows(row, k)
        return [self.about(row, score) for row, score in zip(rows.tolist(), alike.tolist(), strict=True)]

    def similar_rows(self, item: int, k: int) -> tuple[Rows, Floats]:
        """As `similar_items`, for the row of an item with factors: rows and similarities."""
        alike = self.factors.similar(item)
        alike[item] = -np.inf
        rows = best(alike, k)
        return rows, alike[rows]

    def fold_in(self, ratings: Mapping[Id, float], attributes: Mapping[str, object] | None = None) -> FoldIn:
        """Someone new, from their ratings in stars: a vector and a bias per sample, by ridge regression.

        Items without factors say nothing and are left out. Where the manifest has a `fold_in_target`,
        it is that they were rated which tells, and the stars are of no account.

        Args:
            ratings: Stars by item id.
            attributes: What else is known of them, such as `{"gender": "F"}`.

        Raises:
            ValueError: A rating is not finite or outside the scale; an attribute is not one of `attributes`; or this
                bundle's model cannot fold in.
            TypeError: An item id is not of the data set's kind, or a rating is not a number.
        """
        if not isinstance(ratings, Mapping):
            raise TypeError(f"ratings must map item ids to stars, got {ratings!r:.80}")
        rows = [self.item_row.get(item, -1) for item in self._checked_ids("ratings", ratings)]
        low, high = self.scale
        for item, rating in ratings.items():
            if not isinstance(rating, Real) or isinstance(rating, bool):
                raise TypeError(f"rating of item {item!r} must be a number, got {rating!r:.80}")
            if not low <= rating <= high:
                raise ValueError(f"rating of item {item!r} must be in [{low:g}, {high:g}], got {rating}")
        known = [(row, stars) for row, stars in zip(rows, ratings.values(), strict=True) if 0 <= row < self.n_items]
        row, stars = zip(*known, strict=True) if known else ((), ())
        known_of = None if attributes is None else attribute_rows(self.attributes, attributes)
        return self.fold_in_rows(np.array(row, np.int64), np.array(stars, np.float32), known_of)

    def fold_in_rows(self, item: Rows, rating: Floats, attributes: Rows | None = None) -> FoldIn:
        """As `fold_in`, for rows of items with factors, and positions among `attributes`."""
        if not self.can_fold_in:
            raise ValueError(f"a {self.manifest.get('model')} takes in no new users (fold_in: none)")
        target = self.manifest.get("fold_in_target")
        if target is None:
            return self.factors.fold_in(item, rating, attributes)
        folded = self.factors.fold_in(item, np.full(len(item), target, np.float32), attributes)
        return replace(folded, rating=rating)  # reasons name the stars

    def fold_in_user(self, user: int) -> FoldIn:
        """What a user's row is, seen as the fold-in of their attributes and all their ratings of items with factors."""
        entries = self.ratings.of(user)
        item, rating = self.ratings.item[entries], self.ratings.rating[entries]
        if self.n_items < len(self.item_ids):
            fitted = item < self.n_items
            item, rating = item[fitted], rating[fitted]
        return self.fold_in_rows(item, rating, self._attributes_of(user))

    def _attributes_of(self, user: int) -> Rows | None:
        return None if self.user_attributes is None else self.user_attributes.of(user)

    def explain(self, user_id: Id | FoldIn, item_id: Id) -> Explanation:
        """What each item that the user rated contributed to the score of another one.

        Exact for someone folded in. For a fitted user the parts are those of their fold-in, and the remainder is
        what separates it from the trained score.

        Raises:
            ValueError: The item is not in the data set, or the model was not fitted on it; or it cannot fold in; or
                the fold-in is another bundle's.
            TypeError: An id is not of the data set's kind.
        """
        row = self._row_of_item(item_id)
        if row >= self.n_items:
            raise ValueError(f"the model was not fitted on item {item_id!r}")
        if isinstance(user_id, FoldIn):
            folded, vector = user_id, self._vector_of(user_id)
        else:
            user = self.row_of_user(user_id)
            folded, vector = self._fold_in_of(user), self.vector(user)
        score = float(self.factors.predict_for(vector, row).mean())
        bases, parts = folded.contributions(np.array([row]))
        reasons = [
            Reason(self.item_id(item), float(folded.rating[j]), float(parts[0, j]), self.items[item]["title"])
            for j in np.argsort(-parts[0], kind="stable")
            for item in [int(folded.items[j])]
        ]
        return Explanation(score, float(bases[0]), reasons, score - float(bases[0]) - float(parts[0].sum()))

    def _fold_in_of(self, user: int) -> FoldIn:
        """What `vector` knows of a user's row: their ratings count only if the model was fitted on them."""
        if user < self.n_users:
            return self.fold_in_user(user)
        return self.fold_in_rows(np.zeros(0, np.int64), np.zeros(0, np.float32), self._attributes_of(user))

    def _vector_of(self, folded: FoldIn) -> UserVector:
        if folded.model is not self.factors:
            raise ValueError("this fold-in was made by another bundle, whose coordinates mean nothing here")
        return folded.vector

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
        self,
        vector: UserVector,
        k: int,
        *,
        scores: Floats | None = None,
        seen: Rows | None = None,
        allowed: NDArray[np.bool_] | None = None,
    ) -> tuple[Rows, Floats]:
        """Item rows and predictions of a user's k best items, best first, ties by row.

        The order is that of the mean linear part; the predictions are what `predict` says of these items.

        Args:
            vector: The user.
            k: At least 1.
            scores: `factors.scores(vector)`, if at hand, `(n_items,)`; changed in place.
            seen: Item rows to leave out; those without factors are ignored.
            allowed: Whether an item may be chosen, `(n_items,)`.

        Raises:
            ValueError: `k` is below 1.
        """
        if scores is None:
            scores = self.factors.scores(vector)
        if seen is not None:
            scores[seen if self.n_items == len(self.item_ids) else seen[seen < self.n_items]] = -np.inf
        if allowed is not None:
            scores[~allowed] = -np.inf
        rows = best(scores, k)
        if self.factors.samples == 1 and self.factors.ordinal is None:  # then the score is the linear part
            return rows, self.linked(scores[rows])
        return rows, self.predicted_for(vector, rows).mean

    def top_items(self, users: Rows, k: int, *, exclude_seen: bool = True) -> Iterator[tuple[Rows, Floats]]:
        """For each user row, what `top` gives."""
        for user in users.tolist():
            yield self.top(self.vector(user), k, seen=self.seen(user) if exclude_seen else None)

    def _linear(self, user: Rows, item: Rows) -> tuple[Floats, Floats | None]:
        """The linear part and the noise precision, `(rows, samples)`, for rows of `user_ids` and `item_ids`."""
        fitted, known = np.where(user < self.n_users, user, -1), np.where(item < self.n_items, item, -1)
        linear = self.factors.predict(fitted, known)
        if self.user_attributes is not None:
            unseen = np.flatnonzero(user >= self.n_users)
            for newcomer in np.unique(user[unseen]).tolist():
                rows = unseen[user[unseen] == newcomer]
                linear[rows] = self.factors.predict_rows_for(self.vector(newcomer), known[rows])
        return linear, self.factors.noise_precision(fitted, known)

    def _linear_for(self, vector: UserVector, item: Rows, *, std: bool) -> tuple[Floats, Floats | None]:
        """As `_linear`, for one user and rows of `item_ids`; the precision only where an answer needs it."""
        known = np.where(item < self.n_items, item, -1)
        needed = std or self.factors.ordinal is not None
        precision = self.factors.noise_precision_for(vector, known) if needed else None
        return self.factors.predict_rows_for(vector, known), precision

    def linked(self, linear: Floats) -> Floats:
        """What the linear part says in stars, of an identity link: itself, within the scale; a ranking's is no star.

        Raises:
            ValueError: The link is ordinal, and `predicted` says what it makes of the linear part and the noise.
        """
        if self.factors.ordinal is not None and not self.ranks_only:
            raise ValueError("linked: behind an ordinal link stars also depend on the noise; see predicted")
        return linear if self.ranks_only else linear.clip(*self.scale)

    def _checked_ids(self, name: str, ids: Iterable[Id]) -> list[Id]:
        wanted = (int, np.integer) if self.manifest["id_kind"] == "int" else str
        kind = "integers" if self.manifest["id_kind"] == "int" else "strings"
        if isinstance(ids, str | bytes) or not isinstance(ids, Iterable):  # a string would fall apart into letters
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
        arrays = {
            "factors": _present({part.name: getattr(self.factors, part.name) for part in fields(Factors)}),
            "ids": packed_ids("user", self.user_ids) | packed_ids("item", self.item_ids),
            "ratings": _present(self.ratings._asdict() | self._attribute_arrays()),
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
            required = {part.name: found[part.name] for part in fields(Factors) if part.default is MISSING}
            factors = Factors(**required, **{name: found[name] for name in OPTIONAL if name in found})
            rated = arrays["ratings"]
            ratings = RatedRows(**{name: rated[name] for name in RatedRows._fields if name != TIMESTAMP},
                                timestamp=rated.get(TIMESTAMP))  # fmt: skip
            user_ids, item_ids = unpacked_ids("user", arrays["ids"]), unpacked_ids("item", arrays["ids"])
            known = None
            if "attribute" in arrays["ratings"]:
                known = UserAttributes(arrays["ratings"]["attribute_indptr"], arrays["ratings"]["attribute"])
        except KeyError as error:
            raise BundleError(f"{path} is not a usable bundle: there is no array {error}") from error
        except ValueError as error:
            raise BundleError(f"{path} is not a usable bundle: {error}") from error
        bundle = cls(manifest, factors, user_ids, item_ids, ratings, items, sha256, known)
        bundle._check(path)
        return bundle

    def _check(self, path: Path) -> None:
        """Raise a BundleError where the parts do not fit together; `path` names the bundle in it."""
        self._check_manifest(path)
        factors = {part.name: getattr(self.factors, part.name) for part in fields(Factors)}
        arrays = _present(factors | self.ratings._asdict() | self._attribute_arrays())
        sizes = {"U": len(self.user_ids) + 1, "2": 2}  # of each letter of LAYOUT
        for name, (kind, letters) in LAYOUT.items():
            if name not in arrays:
                continue
            array = arrays[name]
            if array.ndim != len(letters):
                raise BundleError(f"{path}: {name} has shape {array.shape}, expected {len(letters)} dimensions")
            sizes = dict(zip(letters, array.shape, strict=True)) | sizes
            for whole, short in (("e", "d"), ("l", "k")):
                sizes |= {short: sizes[whole] - 1} if whole in sizes else {}
            if array.shape != (expected := tuple(sizes[letter] for letter in letters)):
                raise BundleError(f"{path}: {name} has shape {array.shape}, expected {expected}")
            if array.dtype.str[1:] not in kind:
                raise BundleError(f"{path}: {name} holds {array.dtype}, expected {np.dtype(kind[0])}")
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                raise BundleError(f"{path}: {name} holds values that are not finite numbers")
        if not sizes["s"] * sizes["u"] * sizes["i"]:
            raise BundleError(f"{path}: the factors are those of no sample, no user or no item")
        for name in POSITIVE:
            if name in arrays and (arrays[name] <= 0).any():
                raise BundleError(f"{path}: {name} must be > 0")
        for name in ASCENDING:
            if name in arrays and (np.diff(arrays[name]) <= 0).any():
                raise BundleError(f"{path}: {name} must ascend")
        precision, exponent = self.factors.prior_precision, self.factors.prior_exponent
        if (np.einsum("tsee->tse", precision) < 0).any():
            raise BundleError(f"{path}: prior_precision has negative numbers on its diagonal")
        if not ((exponent >= 0) & (exponent <= 1)).all():
            raise BundleError(f"{path}: prior_exponent must be in [0, 1]")
        if self.factors.prior_offset is not None and (self.factors.prior_offset < 0).any():
            raise BundleError(f"{path}: prior_offset must be >= 0")
        self._check_noise(path)
        if (drift := self.factors.drift) is not None and not (drift[0] > 0 and drift[1] >= 0):
            raise BundleError(f"{path}: drift must be a number > 0 and one >= 0, got {drift.tolist()}")
        self._check_attributes(path)
        self._check_rows(path)

    def _check_noise(self, path: Path) -> None:
        factors, (low, high) = self.factors, self.scale
        for name in ("user_precision", "item_precision", "thresholds"):
            if getattr(factors, name) is not None and factors.precision is None:
                raise BundleError(f"{path}: {name} needs precision, which is missing")
        levels, link = factors.levels, self.manifest.get("link", "identity")
        if (levels is None) != (factors.thresholds is None) or (link == "ordinal") != (levels is not None):
            raise BundleError(f"{path}: levels and thresholds are what link ordinal has, and no other")
        if levels is not None and not (len(levels) > 1 and low <= levels[0] and levels[-1] <= high):
            raise BundleError(f"{path}: levels must be two or more in [{low:g}, {high:g}]")

    def _check_attributes(self, path: Path) -> None:
        names, effects, known = self.attributes, self.factors.attribute_effects, self.user_attributes
        if len(names) != (0 if effects is None else len(effects)):
            raise BundleError(f"{path}: attribute_effects must be those of the manifest's {len(names)} attributes")
        if known is None:
            return
        n = len(known.attribute)
        if known.indptr[0] != 0 or known.indptr[-1] != n or (np.diff(known.indptr) < 0).any():
            raise BundleError(f"{path}: attribute_indptr does not cut the {n} attributes into users")
        if n and not 0 <= int(known.attribute.min()) <= int(known.attribute.max()) < len(names):
            raise BundleError(f"{path}: an attribute of a user is not in the manifest's attributes")

    def _attribute_arrays(self) -> dict[str, NDArray[Any] | None]:
        """As they are called in the bundle's files and in LAYOUT."""
        known = self.user_attributes
        return {} if known is None else {"attribute_indptr": known.indptr, "attribute": known.attribute}

    def _check_manifest(self, path: Path) -> None:
        def number(value: Any) -> bool:
            return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < MOST

        scale, noise = self.manifest.get("rating_scale"), self.manifest.get("noise")
        target = self.manifest.get("fold_in_target")
        names = self.manifest.get("attributes", [])
        understood = {
            "task": self.manifest.get("task") in ("rating", "ranking"),
            "id_kind": self.manifest.get("id_kind") in ("int", "str"),
            "data": isinstance(self.manifest.get("data"), str),
            "rating_scale": isinstance(scale, list | tuple) and len(scale) == 2 and all(map(number, scale))
                            and scale[0] < scale[1],
            "link": self.manifest.get("link", "identity") in ("identity", "ordinal"),
            "fold_in": self.manifest.get("fold_in", "ridge") in ("ridge", "none"),
            "noise": noise is None or (number(noise) and noise >= 0),
            "fold_in_target": target is None or (number(target) and target > 0),
            "attributes": isinstance(names, list) and all(isinstance(name, str) and "=" in name for name in names)
                          and len(set(names)) == len(names),
        }  # fmt: skip
        if missing := [key for key in REQUIRED if key not in self.manifest]:
            raise BundleError(f"{path}: the manifest lacks {', '.join(missing)}")
        for key, known in understood.items():
            if not known:
                raise BundleError(f"{path}: the manifest's {key} is not understood: {self.manifest[key]!r:.80}")

    def _check_rows(self, path: Path) -> None:
        ratings, users, items = self.ratings, len(self.user_ids), len(self.item_ids)
        n = len(ratings.item)
        if ratings.indptr[0] != 0 or ratings.indptr[-1] != n or (np.diff(ratings.indptr) < 0).any():
            raise BundleError(f"{path}: indptr does not cut the {n} ratings into users")
        if {len(self.user_row), len(self.item_row)} != {users, items}:
            raise BundleError(f"{path}: an id occurs twice")
        if self.n_users > users or self.n_items > items:
            raise BundleError(f"{path}: there are more factors than ids")
        if not 0 < self.fitted_items <= self.n_items:
            raise BundleError(f"{path}: counts.items must be in [1, {self.n_items}], got {self.fitted_items}")
        if n and not 0 <= int(ratings.item.min()) <= int(ratings.item.max()) < items:
            raise BundleError(f"{path}: an item row of the ratings is outside the ids")
        if n and ratings.part.max() > TEST:
            raise BundleError(f"{path}: part must be in [{TRAIN}, {TEST}], got {ratings.part.max()}")
        kind = "i" if self.manifest["id_kind"] == "int" else "O"
        if {self.user_ids.dtype.kind, self.item_ids.dtype.kind} != {kind}:
            raise BundleError(f"{path}: the ids are not of the kind that the manifest says")
        if not isinstance(self.items, list) or len(self.items) != items:
            raise BundleError(f"{path}: items.json must hold a list of {items} items, one for each id")
        for row, about in enumerate(self.items):
            if not _describes(about):
                raise BundleError(
                    f"{path}: items.json must hold title (text), year (integer or null) and genres (list of texts) of "
                    f"every item, got {about!r:.80} for item {row}"
                )


def _present(arrays: Mapping[str, NDArray[Any] | None]) -> dict[str, NDArray[Any]]:
    return {name: array for name, array in arrays.items() if array is not None}


def _describes(about: Any) -> bool:
    """Whether that is what `items` holds of one item; services rely on the types."""
    return (
        isinstance(about, dict)
        and isinstance(about.get("title"), str)
        and "year" in about
        and (about["year"] is None or (type(about["year"]) is int and abs(about["year"]) <= 9999))
        and isinstance(about.get("genres"), list)
        and all(isinstance(genre, str) for genre in about["genres"])
    )


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
