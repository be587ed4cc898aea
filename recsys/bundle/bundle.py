"""The bundle: what a trained model leaves behind and a service answers from. NumPy and safetensors only.

    r(u, i) = mean over samples s of link(mu_s + b_us + b_is + p_us . q_is)

or, for a model of item weights, mu + b_i + the sum of the weights of the user's history (`recsys.bundle.history`).

A bundle is a folder: `manifest.json`, `manifest.sha256`, `factors.safetensors`, `ids.safetensors`,
`ratings.safetensors` and `items.json`. The manifest names every other file with its size and SHA-256; its own SHA-256
is written last.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np

from recsys.bundle.attributes import attribute_rows
from recsys.bundle.budget import Budget, Spending
from recsys.bundle.contents import parts_of
from recsys.bundle.costs import take_parts
from recsys.bundle.errors import BundleError
from recsys.bundle.factors import UserVector
from recsys.bundle.fold_in import FoldIn
from recsys.bundle.ids import checked_ids, packed_ids
from recsys.bundle.item_fold_in import ItemRatings
from recsys.bundle.new_items import bundle_with_items
from recsys.bundle.ranker import Ranker
from recsys.bundle.ranking import ListScores
from recsys.bundle.results import Explanation, Predictions, Reason, Recommendation
from recsys.bundle.rules import boosts_of, rules_of
from recsys.bundle.scoring import Scoring
from recsys.bundle.storage import read_folder, write_folder
from recsys.bundle.typing import Float32Array, Id, Int64Array


@dataclass(frozen=True, eq=False)
class Bundle(Scoring):
    """A trained model with its ids, items and ratings: ids in, ids out."""

    user_row: Mapping[Id, int] = field(init=False, repr=False)  # of user_ids
    item_row: Mapping[Id, int] = field(init=False, repr=False)  # of item_ids

    def __post_init__(self) -> None:
        users = {user: row for row, user in enumerate(self.user_ids.tolist())}
        items = {item: row for row, item in enumerate(self.item_ids.tolist())}
        object.__setattr__(self, "user_row", users)
        object.__setattr__(self, "item_row", items)

    @cached_property
    def ranker(self) -> Ranker:
        """Lists in any order, by the ratings that the model was fitted on."""
        return Ranker(self)

    def check(self) -> None:
        super().check()
        if {len(self.user_row), len(self.item_row)} != {len(self.user_ids), len(self.item_ids)}:
            raise ValueError("an id occurs twice")

    def predict(
        self, user_ids: Iterable[Id] | FoldIn, item_ids: Iterable[Id], *, return_std: bool = False
    ) -> Float32Array | tuple[Float32Array, Float32Array]:
        """Predicted stars, clipped to the scale, `(pairs,)`; an id never seen is the average user or item.

        Args:
            user_ids: Users, or one `fold_in` for all items.
            item_ids: As many items.
            return_std: Also give the standard deviation of a rating around its prediction, in stars, `(pairs,)`:
                the noise, and the spread of the samples' predictions where there are several. The noise is the
                model's own for this user and item, where it has a `precision`, else the manifest's `noise`: a
                trained point estimate's is its RMSE on validation rows. Behind an ordinal link it is the standard
                deviation of the stars by `rating_probabilities`.

        Raises:
            ValueError: The two lists differ in length; or the bundle has neither noise nor several samples; or the
                fold-in is another bundle's.
            TypeError: An id is not of the data set's kind, an integer or a string.
        """
        mean, spread, _ = self._predict_ids(user_ids, item_ids, std=return_std)
        return mean if spread is None else (mean, spread)

    def rating_probabilities(self, user_ids: Iterable[Id] | FoldIn, item_ids: Iterable[Id]) -> Float32Array:
        """How likely each level of the scale is, `(pairs, levels)`, for the levels of `factors.levels`.

        Args:
            user_ids: Users, or one `fold_in` for all items.
            item_ids: As many items.

        Raises:
            ValueError: The model's link is not ordinal; or as in `predict`.
            TypeError: As in `predict`.
        """
        probabilities = self._predict_ids(user_ids, item_ids).probabilities
        if probabilities is None:
            raise ValueError("rating_probabilities: the link of the model must be ordinal, got identity")
        return probabilities

    star_probabilities = rating_probabilities  # its name in 0.1

    def _predict_ids(
        self, user_ids: Iterable[Id] | FoldIn, item_ids: Iterable[Id], *, std: bool = False
    ) -> Predictions:
        """Predictions for pairs of ids, checked."""
        items = checked_ids(self.manifest["id_kind"], "item_ids", item_ids)
        item = np.array([self.item_row.get(i, -1) for i in items], np.int64)
        if isinstance(user_ids, FoldIn):
            return self.predictions_for(self._vector_of(user_ids), item, std=std)
        users = checked_ids(self.manifest["id_kind"], "user_ids", user_ids)
        if len(users) != len(items):
            raise ValueError(f"user_ids and item_ids must be equally long, got {len(users)} and {len(items)}")
        return self.predictions(np.array([self.user_row.get(u, -1) for u in users], np.int64), item, std=std)

    def recommend(
        self,
        user_id: Id | FoldIn,
        k: int = 10,
        *,
        exclude_seen: bool = True,
        allowed: Iterable[Id] | None = None,
        rank_by: str | None = None,
        min_ratings: int | None = None,
        diversity: float = 0.0,
        exclude: Iterable[Id] = (),
        boost: Mapping[Id, float] | None = None,
        rank_with: ListScores | None = None,
    ) -> list[Recommendation]:
        """The k best items for a user, best first; an unknown user gets the average user's.

        `score` is what the list is ordered by, and never increases along it: the predicted stars, their gain, their
        lower bound, or the chance that the user picks the item times the stars (`recsys.bundle.ranking`); a ranking
        model's own. `rating` are the stars of `predict`. Equal scores go by the prediction before clipping, then by
        the item's row.

        Args:
            user_id: A user, or someone new as `fold_in` gives them.
            k: At least 1; fewer items come back where fewer are left.
            exclude_seen: Leave out all that the user has rated.
            allowed: Items to choose from, such as those in stock, unknown ones ignored; all, if None.
            rank_by: `stars`, `gain`, `bound` or `liking`; None: the bundle's default, which was best on validation
                rows. A ranking model has one order.
            min_ratings: Fewest ratings of an item; None: what was learned for this order, 0: any.
            diversity: In [0, 1]: 0 for the best items, more for items that are less alike. Scores are then margins.
            exclude: Items to leave out, unknown ones ignored.
            boost: Amounts in [-10, 10] by genre or item id, added to the score; to the logarithm of a `liking`.
            rank_with: A `Partner`, whose ranking bundle orders the list, so that there is no `rank_by`.

        Raises:
            ValueError: `k` is below 1, another argument is not as described, or the fold-in is another bundle's.
            TypeError: `k` is not an integer, or an id is not of the data set's kind.
        """
        order = self.ranker.order(rank_by, min_ratings, diversity)
        if rank_with is not None:
            if rank_by is not None:
                raise ValueError(f"rank_by must be left out with rank_with, got {rank_by!r:.80}")
            order = order._replace(rank_by="", min_ratings=0)
        order = order if min_ratings is None else order._replace(min_ratings=0)
        available = None if allowed is None else self._rows_of("allowed", allowed)
        boosts = boosts_of(boost or {}, self._rows_of_genre, lambda item: self.item_row.get(item, -1))
        rules = rules_of(self.n_items, available=available, exclude=self._rows_of("exclude", exclude), boost=boosts)
        if min_ratings:  # of all ratings, which people see; what was learned is of the fitted ones
            enough = self._ratings_of_items >= min_ratings
            rules = rules._replace(allowed=enough if rules.allowed is None else rules.allowed & enough)
        if isinstance(user_id, FoldIn):
            vector, history, given, who = self._vector_of(user_id), user_id.items, user_id.rating, None
            time = user_id.time
        else:
            row = self.row_of_user(user_id)
            entries, rated = self.ratings.slice_of(row), self.ratings
            vector, history, given, who = self.vector(row), rated.item[entries], rated.rating[entries], user_id
            time = None if rated.timestamp is None else rated.timestamp[entries]
        scores = None
        if rank_with is not None:
            gain = self.ranker.gain(vector, self.factors.scores(vector)) if rank_with.mix else None
            scores = rank_with.scores(who, history, gain, given, time)
        ranked = self.ranker.top(
            vector, k, order, history=history, seen=history if exclude_seen else None, allowed=rules.allowed,
            boost=rules.boost, scores=scores,
        )  # fmt: skip
        stars = [None] * len(ranked.rows) if ranked.stars is None else ranked.stars.tolist()
        columns = zip(ranked.rows.tolist(), ranked.scores.tolist(), stars, strict=True)
        return [self.describe_item(row, score)._replace(rating=rating) for row, score, rating in columns]

    @cached_property
    def _ratings_of_items(self) -> Int64Array:
        """All ratings of each item with factors, `(n_items,)`."""
        return np.bincount(self.ratings.item, minlength=self.n_items)[: self.n_items]

    def _rows_of(self, name: str, ids: Iterable[Id]) -> list[int]:
        """The rows of items, -1 for unknown ones."""
        return [self.item_row.get(item, -1) for item in checked_ids(self.manifest["id_kind"], name, ids)]

    def _rows_of_genre(self, genre: object) -> list[int]:
        return [row for row in range(self.n_items) if genre in self.items[row]["genres"]]

    def similar_items(self, item_id: Id, k: int = 10) -> list[Recommendation]:
        """The k items whose vectors point the same way, best first, by a similarity in [-1, 1].

        With item weights, those that having the item speaks for most. An item without factors has none.

        Raises:
            ValueError: `k` is below 1, or the item is not in the data set.
            TypeError: `k` is not an integer, or `item_id` is not of the data set's kind.
        """
        rows, alike = self.similar_rows(self._row_of_item(item_id), k)
        return [self.describe_item(row, score) for row, score in zip(rows.tolist(), alike.tolist(), strict=True)]

    def fold_in(
        self,
        ratings: Mapping[Id, float | str],
        attributes: Mapping[str, object] | None = None,
        times: Mapping[Id, int] | None = None,
    ) -> FoldIn:
        """Someone new, from their ratings in stars: a vector and a bias per sample, by ridge regression.

        Items without factors say nothing and are left out. Where the manifest has a `fold_in_target`,
        it replaces the stars: what counts is that an item was rated. A model with item weights, drift or an encoder
        takes the order given for the order of time, the latest last, unless there are `times`.

        Args:
            ratings: Stars by item id; with implicit feedback 1 for each item that was chosen, or the kind of the event,
                one of `kind_ratings`.
            attributes: What else is known of them, such as `{"gender": "F"}`.
            times: Unix seconds of each rating; an encoder also reads how far apart they are.

        Raises:
            ValueError: A rating is not finite or outside the scale, or has no time where others do; an attribute is not
                one of `attributes`; or this bundle's model cannot fold in.
            TypeError: An item id is not of the data set's kind, or a rating is not a number.
        """
        if not isinstance(ratings, Mapping):
            raise TypeError(f"ratings must map item ids to stars, got {ratings!r:.80}")
        if times is not None:
            if missing := [item for item in ratings if item not in times]:
                raise ValueError(f"times must have one of every rating, there is none of item {missing[0]!r}")
            ratings = dict(sorted(ratings.items(), key=lambda pair: times[pair[0]]))
        rows = [self.item_row.get(item, -1) for item in checked_ids(self.manifest["id_kind"], "item ids", ratings)]
        (low, high), kinds, told = self.given_scale, self.kind_ratings, []
        for item, rating in ratings.items():
            if isinstance(rating, str) and rating in kinds:
                told.append(kinds[rating])
                continue
            if not isinstance(rating, Real) or isinstance(rating, bool):
                named = ", or a kind such as " + next(iter(kinds)) if kinds else ""
                raise TypeError(f"rating of item {item!r} must be a number{named}, got {rating!r:.80}")
            if not low <= rating <= high:
                raise ValueError(f"rating of item {item!r} must be {self.allowed_stars}, got {rating}")
            told.append(float(rating))
        row = np.array(rows, np.int64)
        known = (row >= 0) & (row < self.n_items)
        stars = np.array(told, np.float32)[known]
        known_of = None if attributes is None else attribute_rows(self.attributes, attributes)
        time = None if times is None else np.array([times[item] for item in ratings], np.int64)[known]
        return self.fold_in_rows(row[known], stars, known_of, time)

    def with_items(
        self,
        ids: Sequence[Id],
        about: Sequence[Mapping[str, Any] | None] | None = None,
        *,
        attributes: Sequence[Mapping[str, object] | None] | None = None,
        ratings: Mapping[Id, ItemRatings] | None = None,
        raters: UserVector | None = None,
    ) -> Bundle:
        """This bundle with a row for every item: also those given, and those of its data that it was not fitted on.

        An item that was not fitted has the row of its attributes, the average item's if there are none, and once it is
        rated that of its fold-in. Fitted items keep their rows. New ids come after all others, so that no row of
        `item_ids` and `ratings` changes its meaning. If the bundle `can_fold_in_items` is false, what is new is the
        average item.

        Args:
            ids: Items to add, or to describe anew.
            about: Title, year and genres of each, as in `items`; None for what is known, or the id as title.
            attributes: Further attributes of each by name: a value or a list; what the model does not know is ignored.
            ratings: All ratings that count of an item that was not fitted; without an entry, the bundle's own.
            raters: Rows of the users `n_users`, `n_users + 1`, ... of `ratings`, `(users, samples[, dim])`.

        Raises:
            ValueError: An id repeats, or there are not as many entries as ids.
            TypeError: An id is not of the data set's kind.
        """
        return bundle_with_items(self, self.item_row, ids, about, attributes, ratings, raters)

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
            folded, vector = self.fold_in_of(user), self.vector(user)
        score = float(self.factors.predict_for(vector, row).mean())
        bases, parts = folded.contributions(np.array([row]))
        reasons = [
            Reason(self.item_id(item), round(float(folded.rating[j]), 6), float(parts[0, j]), self.title(item))
            for j in np.argsort(-parts[0], kind="stable")
            for item in [int(folded.items[j])]
        ]
        return Explanation(score, float(bases[0]), reasons, score - float(bases[0]) - float(parts[0].sum()))

    def _vector_of(self, folded: FoldIn) -> UserVector:
        if folded.model is not self.factors:
            raise ValueError("this fold-in was made by another bundle, whose coordinates mean nothing here")
        return folded.vector

    def row_of_user(self, user_id: Id) -> int:
        """The row of a user; -1 for one who is not in the data set.

        Raises:
            TypeError: The id is not of the data set's kind.
        """
        checked_ids(self.manifest["id_kind"], "user_id", [user_id])
        return self.user_row.get(user_id, -1)

    def _row_of_item(self, item_id: Id) -> int:
        checked_ids(self.manifest["id_kind"], "item_id", [item_id])
        if item_id not in self.item_row:
            raise ValueError(f"no item {item_id!r} in {self.manifest['data']}")
        return self.item_row[item_id]

    def item_id(self, item: int) -> Id:
        """The id of an item's row."""
        found = self.item_ids[item]
        return int(found) if self.item_ids.dtype.kind == "i" else str(found)

    def describe_item(self, item: int, score: float) -> Recommendation:
        """An item's row and its score as what people see."""
        about = self.items[item]
        return Recommendation(self.item_id(item), score, self.title(item), about["year"], about["genres"])

    def save(self, path: Path) -> None:
        """Write the folder `path`: beside it under another name first, synced, then renamed into place.

        Raises:
            BundleError: The parts do not fit together.
        """
        path = Path(path)
        self._check(path)
        arrays = {
            "factors": self.factor_arrays(),
            "ids": packed_ids("user", self.user_ids) | packed_ids("item", self.item_ids),
            "ratings": self.row_arrays(),
        }
        write_folder(path, self.manifest, arrays, self.items)

    @classmethod
    def load(
        cls,
        path: str | Path,
        *,
        budget: Budget | None = None,
        sha256: str | None = None,
        verify_key: Path | None = None,
    ) -> Bundle:
        """Read a bundle's folder, verifying size and SHA-256 of every file before parsing it.

        Args:
            path: The folder.
            budget: What it may cost; None for `Budget.from_environment()`.
            sha256: That the manifest must have, as hexadecimal digits; None for any.
            verify_key: File of the Ed25519 public key that the bundle must be signed for; None to look at no signature.

        Raises:
            BundleError: The folder is missing, truncated, altered, another bundle, not signed, of a newer schema,
                inconsistent or beyond the budget.
        """
        path = Path(path)
        spending = Spending(path, Budget.from_environment() if budget is None else budget)
        contents = read_folder(path, spending, sha256, verify_key)
        try:
            bundle = cls(*parts_of(contents))
        except KeyError as error:
            raise BundleError(f"{path} is not a usable bundle: there is no array {error}") from error
        except ValueError as error:
            raise BundleError(f"{path} is not a usable bundle: {error}") from error
        bundle._check(path)
        take_parts(bundle, spending)
        return bundle

    def _check(self, path: Path) -> None:
        try:
            self.check()
        except ValueError as error:
            raise BundleError(f"{path}: {error}") from error
