"""Scoring: a bundle's arithmetic by row, for callers that have looked ids up already."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from recsys.bundle.encoder_fold_in import EncoderFoldIn
from recsys.bundle.factors import UserVector
from recsys.bundle.fold_in import FoldIn, RidgeFoldIn, fold_in
from recsys.bundle.history_fold_in import HistoryFoldIn
from recsys.bundle.item_fold_in import ItemRatings, fold_in_items
from recsys.bundle.noise import RatingNoise
from recsys.bundle.parts import BundleParts
from recsys.bundle.ratings import LAST_PART
from recsys.bundle.results import Predictions
from recsys.bundle.running_fold_ins import running_fold_ins
from recsys.bundle.topk import argtopk
from recsys.bundle.typing import Float32Array, IndexArray

CHUNK_ELEMENTS = 1 << 22  # products of two coordinates held at a time: 16 MiB


class ItemScores(NamedTuple):
    """Of every item with factors, for one user, `(n_items,)` each: lists are sorted by the first, then the second."""

    shown: Float32Array | None  # predictions in stars; None where `apply_link` of the other gives them, in its order
    linear: Float32Array  # the mean linear part, which still orders predictions clipped to the same end of the scale


@dataclass(frozen=True, eq=False)
class Scoring(BundleParts):
    """Rows in, rows out: rows are positions in `user_ids` and `item_ids`; -1 and rows past the last are unseen."""

    def vector(self, user: int) -> UserVector:
        """A user's vector: fitted, or else from their attributes, or else the average user's.

        With item weights, a fitted user's is the history of all their ratings here, whatever part of the split.
        """
        if self.has_histories and 0 <= user < self.n_users:
            return self.fold_in_user(user).vector
        if user >= self.n_users and self.user_attributes is not None:
            return self.factors.user_from_attributes(self.user_attributes.of(user))
        return self.factors.user(user)

    def predict_rows(self, user: IndexArray, item: IndexArray) -> Float32Array:
        """Predicted stars `(rows,)`, clipped to the scale."""
        return self.predictions(user, item).mean

    def mean_linear_part(self, user: IndexArray, item: IndexArray) -> Float32Array:
        """The mean of the linear part over the samples, `(rows,)`: neither clipped nor behind a link."""
        _, samples, dim = self.factors.item_factors.shape
        step = max(1, CHUNK_ELEMENTS // (samples * dim))
        blocks = [slice(start, start + step) for start in range(0, max(1, len(item)), step)]
        return np.concatenate([self._linear(user[rows], item[rows])[0].mean(1) for rows in blocks])

    def predictions(self, user: IndexArray, item: IndexArray, *, std: bool = False) -> Predictions:
        """Predictions of rows; `std` as `return_std` of `Bundle.predict`."""
        return self._in_chunks(len(item), lambda rows: self._linear(user[rows], item[rows]), std)

    def predictions_for(self, vector: UserVector, item: IndexArray, *, std: bool = False) -> Predictions:
        """As `predictions`, for one user."""
        return self._in_chunks(len(item), lambda rows: self._linear_for(vector, item[rows], std=std), std)

    def apply_link(self, linear: Float32Array) -> Float32Array:
        """Stars of an identity link: the linear part within the scale; a ranking model's scores stay as they are.

        Raises:
            ValueError: The link is ordinal: stars then depend on the noise too, see `predictions`.
        """
        if self.factors.ordinal is not None and not self.is_ranking:
            raise ValueError("apply_link: with an ordinal link, stars also depend on the noise; use predictions")
        if self.is_ranking:
            return linear
        low, high = self.scale
        return np.minimum(np.maximum(linear, np.float32(low)), np.float32(high))  # faster than clip

    def item_scores(self, vector: UserVector) -> ItemScores:
        """The scores of all items with factors for one user; those shown are the predictions of `predictions`."""
        if self.is_ranking or (self.factors.samples == 1 and self.factors.ordinal is None):
            return ItemScores(None, self.factors.scores(vector))
        every, items = self.factors.linear_parts(vector), np.arange(self.n_items)  # (n_items, samples)

        def of(rows: slice) -> tuple[Float32Array, Float32Array | None]:
            ordinal = self.factors.ordinal is not None
            return every[rows], self._noise.precision_for(vector, items[rows]) if ordinal else None

        mean = every @ np.full(self.factors.samples, 1 / self.factors.samples, np.float32)  # faster than mean(1)
        return ItemScores(self._in_chunks(self.n_items, of, False).mean, mean)

    def top_n(
        self,
        vector: UserVector,
        k: int,
        *,
        scores: ItemScores | None = None,
        seen: IndexArray | None = None,
        allowed: NDArray[np.bool_] | None = None,
    ) -> tuple[IndexArray, Float32Array]:
        """Item rows and scores of a user's k best items, best first.

        The scores are the predictions of `predictions`, and never increase along the list. Equal ones, as where
        several are clipped to the end of the scale, go by the mean linear part, then by row.

        Args:
            vector: The user.
            k: At least 1.
            scores: `item_scores(vector)` if the caller has it; overwritten.
            seen: Item rows to exclude; those without factors are ignored.
            allowed: Whether an item may be chosen, `(n_items,)`.

        Raises:
            ValueError: `k` is below 1.
            TypeError: `k` is not an integer.
        """
        shown, linear = self.item_scores(vector) if scores is None else scores
        ranked = linear if shown is None else shown
        if seen is not None:
            ranked[seen if self.n_items == len(self.item_ids) else seen[seen < self.n_items]] = -np.inf
        if allowed is not None:
            ranked[~allowed] = -np.inf
        rows = argtopk(ranked, k, None if shown is None else linear)
        return rows, self.apply_link(linear[rows]) if shown is None else shown[rows]

    def scores_of(self, users: IndexArray, counts: NDArray[np.bool_]) -> Float32Array:
        """Scores of every item with factors for user rows, as evaluation needs them, `(users, n_items)`.

        Args:
            users: User rows; one that was not fitted is the average user.
            counts: Which of `ratings` a history is made of, `(ratings,)`, such as those that the model was fitted on.
        """
        if not self.has_histories:
            return self.factors.scores_of(users)
        scores = np.empty((len(users), self.n_items), np.float32)
        for place, user in enumerate(users.tolist()):
            entries = self.ratings.slice_of(user) if user < self.n_users else slice(0)
            item, rating = self.ratings.item[entries][counts[entries]], self.ratings.rating[entries][counts[entries]]
            scores[place] = self.factors.scores(self.fold_in_rows(item, rating).vector)
        return scores

    def top_items(
        self, users: IndexArray, k: int, *, exclude_seen: bool = True
    ) -> Iterator[tuple[IndexArray, Float32Array]]:
        """`top_n` of each user row."""
        for user in users.tolist():
            yield self.top_n(self.vector(user), k, seen=self.seen(user) if exclude_seen else None)

    def similar_rows(self, item: int, k: int) -> tuple[IndexArray, Float32Array]:
        """The k most similar items of an item row: rows and similarities in [-1, 1], best first, ties by row.

        With item weights they are what goes with the item: `Factors.weights_from`. An item without factors or weights
        has none, nor has one whose vector is zero.
        """
        if self.has_histories:
            weights = self.factors.weights_from(item)
            rows = argtopk(weights, k)
            return rows, weights[rows]
        fitted = item < self.n_items and bool(self.factors.item_factors[item].any())
        similarity = self.factors.similar(item) if fitted else np.full(self.n_items, -np.inf, np.float32)
        if fitted:
            similarity[item] = -np.inf
        rows = argtopk(similarity, k)
        return rows, similarity[rows]

    def fold_in_rows(
        self,
        item: IndexArray,
        rating: Float32Array,
        attributes: IndexArray | None = None,
        time: NDArray[Any] | None = None,
        at: int | None = None,
    ) -> FoldIn:
        """Fold in a user, from ratings in order of time, the latest last, which counts where `is_ordered`.

        Args:
            item: Item rows with factors, `(n,)`.
            rating: Stars, `(n,)`.
            attributes: Positions among `attributes`.
            time: Unix seconds, `(n,)`, which an encoder reads; None if they are not known.
            at: And of the question, for an encoder with query times.
        """
        if not self.can_fold_in:
            raise ValueError(f"model {self.manifest.get('model')} cannot fold in new users (fold_in: none)")
        if self.has_histories:
            return HistoryFoldIn(self.factors, item, rating, time=time)
        if self.encoder is not None:
            return EncoderFoldIn(self.factors, item, rating, self.encoder, self.scale, attributes, at, time=time)
        target = self.manifest.get("fold_in_target")
        taken = rating if target is None else np.full(len(item), target, np.float32)
        folded = fold_in(self.factors, item, taken, attributes)
        return replace(folded, rating=rating, time=time)  # explanations name the stars

    def running_vectors(
        self,
        item: IndexArray,
        rating: Float32Array,
        known: NDArray[np.int64],
        attributes: IndexArray | None = None,
        time: NDArray[Any] | None = None,
        at: NDArray[Any] | None = None,
    ) -> Iterator[tuple[slice, UserVector]]:
        """The fold-ins of a user's first n ratings, for many n.

        Args:
            item: Item rows with factors, in order of time, `(ratings,)`.
            rating: Stars, `(ratings,)`.
            known: Numbers n of ratings, ascending, in [0, ratings].
            attributes: Positions among `attributes`.
            time: Unix seconds, `(ratings,)`; None if they are not known.
            at: And of each question, `(known,)`.

        Yields:
            A slice of `known`, and a vector: one for all of it, or with a first axis one for each number in it.
        """
        if self.encoder is not None:
            folded = EncoderFoldIn(self.factors, item, rating, self.encoder, self.scale, attributes, time=time)
            yield from folded.running_vectors(known, at)
            return
        # Plain fold-ins also without ratings, of histories, and for an ordinal link, not linear in the ratings.
        is_ridge = self.factors.ordinal is None and not self.has_histories
        plain = int(np.searchsorted(known, 1)) if is_ridge else len(known)
        for n in np.unique(known[:plain]).tolist():
            start, stop = np.searchsorted(known, [n, n + 1]).tolist()
            yield slice(start, stop), self.fold_in_rows(item[:n], rating[:n], attributes).vector
        if (target := self.manifest.get("fold_in_target")) is not None:
            rating = np.full(len(item), target, np.float32)
        for piece, vectors in running_fold_ins(self.factors, item, rating, known[plain:], attributes):
            yield slice(plain + piece.start, plain + piece.stop), vectors

    def stars_for(self, vectors: UserVector, item: IndexArray) -> Float32Array:
        """Predicted stars `(rows,)` of item rows, for one vector or, as `running_vectors` gives them, one for each."""
        if vectors.bias.ndim == 1:
            return self.predictions_for(vectors, item).mean
        linear = self.factors.predict_rows_for(vectors, np.where(item < self.n_items, item, -1))
        return np.asarray(self.apply_link(linear).mean(1), np.float32)

    def scores_for(self, vectors: UserVector) -> Float32Array:
        """The mean linear part of every item, `(vectors, n_items)`, for one vector or several, as `running_vectors`."""
        return self.factors.scores(vectors)[None] if vectors.bias.ndim == 1 else self.factors.scores_of_rows(vectors)

    def fold_in_item_rows(
        self,
        items: Sequence[ItemRatings],
        attributes: Sequence[IndexArray] | None = None,
        raters: UserVector | None = None,
    ) -> list[RidgeFoldIn]:
        """Fold in items from their ratings; see `fold_in_items`. A `fold_in_target` replaces the stars."""
        if not self.can_fold_in_items:
            raise ValueError(
                f"this bundle of {self.manifest.get('model')} cannot fold in items: it has no prior of them"
            )
        target = self.manifest.get("fold_in_target")
        if target is not None:
            items = [item._replace(rating=np.full(len(item.rating), target, np.float32)) for item in items]
        return fold_in_items(self.factors, items, attributes, raters)

    def fold_in_user(self, user: int) -> FoldIn:
        """A user as the fold-in of their attributes and their ratings of items with factors.

        Of a fitted user those that training knew, which made their vector; with item weights, or of others, all.
        """
        entries = np.arange(*self.ratings.slice_of(user).indices(len(self.ratings.item)))
        last = LAST_PART.get(str(self.manifest.get("fit_on")))
        if user < self.n_users and not self.has_histories and last is not None:
            entries = entries[self.ratings.part[entries] <= last]
        if self.n_items < len(self.item_ids):
            entries = entries[self.ratings.item[entries] < self.n_items]
        return self.fold_in_entries(user, entries)

    def fold_in_entries(self, user: int, entries: IndexArray, at: int | None = None) -> FoldIn:
        """A user as the fold-in of their attributes and some entries of `ratings`, of items with factors.

        Args:
            user: The user's row.
            entries: Positions in `ratings`, in order of time.
            at: Unix seconds of the question; None if it is not known.
        """
        rated = self.ratings
        time = None if rated.timestamp is None else rated.timestamp[entries]
        return self.fold_in_rows(rated.item[entries], rated.rating[entries], self.attributes_of(user), time, at)

    def fold_in_of(self, user: int) -> FoldIn:
        """The fold-in that matches `vector`: a user's ratings count only if the model was fitted on them."""
        if user < self.n_users:
            return self.fold_in_user(user)
        return self.fold_in_rows(np.zeros(0, np.int64), np.zeros(0, np.float32), self.attributes_of(user))

    def attributes_of(self, user: int) -> IndexArray | None:
        """The attributes of a user's row, as positions among `attributes`; None if none are known."""
        return None if self.user_attributes is None else self.user_attributes.of(user)

    @cached_property
    def _noise(self) -> RatingNoise:
        return RatingNoise(self.factors)

    def _linear(self, user: IndexArray, item: IndexArray) -> tuple[Float32Array, Float32Array | None]:
        """The linear part and the noise precision, `(rows, samples)`."""
        fitted, known = np.where(user < self.n_users, user, -1), np.where(item < self.n_items, item, -1)
        linear = self.factors.predict(fitted, known)
        if self.user_attributes is not None:
            unseen = np.flatnonzero(user >= self.n_users)
            for cold in np.unique(user[unseen]).tolist():
                rows = unseen[user[unseen] == cold]
                linear[rows] = self.factors.predict_rows_for(self.vector(cold), known[rows])
        if self.has_histories:
            order = np.argsort(fitted, kind="stable")
            one, start = np.unique(fitted[order], return_index=True)
            for user_row, rows in zip(one.tolist(), np.split(order, start[1:]), strict=True):
                linear[rows] = self.factors.predict_rows_for(self.vector(user_row), known[rows])
        return linear, self._noise.precision(fitted, known)

    def _linear_for(
        self, vector: UserVector, item: IndexArray, *, std: bool
    ) -> tuple[Float32Array, Float32Array | None]:
        """As `_linear`, for one user; the precision only where it is needed."""
        known = np.where(item < self.n_items, item, -1)
        needed = std or self.factors.ordinal is not None
        precision = self._noise.precision_for(vector, known) if needed else None
        return self.factors.predict_rows_for(vector, known), precision

    def _in_chunks(
        self, n: int, linear: Callable[[slice], tuple[Float32Array, Float32Array | None]], std: bool
    ) -> Predictions:
        """Predictions of n rows, in chunks that bound the memory."""
        _, samples, dim = self.factors.item_factors.shape
        levels = 1 if self.factors.levels is None else len(self.factors.levels)
        step: int = max(1, CHUNK_ELEMENTS // (samples * max(dim, levels)))
        if n <= step:
            return self._with_link(*linear(slice(n)), std=std)
        chunks = [self._with_link(*linear(slice(i, i + step)), std=std) for i in range(0, n, step)]
        spread = [chunk.std for chunk in chunks if chunk.std is not None]
        levels_of = [chunk.probabilities for chunk in chunks if chunk.probabilities is not None]
        return Predictions(
            np.concatenate([chunk.mean for chunk in chunks]),
            np.concatenate(spread) if spread else None,
            np.concatenate(levels_of) if levels_of else None,
        )

    def _with_link(self, linear: Float32Array, precision: Float32Array | None, *, std: bool) -> Predictions:
        if std and not self.has_uncertainty:
            raise ValueError("return_std: this bundle has one sample and no noise, so its uncertainty is unknown")
        if self.factors.ordinal is not None and precision is not None and not self.is_ranking:
            probabilities, levels = self.factors.ordinal.probabilities(linear, precision), self.factors.ordinal.levels
            mean = probabilities @ levels
            variance = np.maximum(probabilities @ levels**2 - mean**2, 0) if std else None
            return Predictions(mean, None if variance is None else np.sqrt(variance), probabilities)
        stars = self.apply_link(linear)
        mean = np.asarray(stars.mean(1), np.float32)
        if not std:
            return Predictions(mean, None)
        noise: Any = np.float32(self.manifest.get("noise") or 0) ** 2 if precision is None else (1 / precision).mean(1)
        return Predictions(mean, np.asarray(np.sqrt(stars.var(1) + noise), np.float32))
