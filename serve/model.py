"""A bundle that is loaded, proven and ready to answer: ids travel as text, answers leave as plain values."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from recsys.bundle import Bundle, BundleError
from recsys.bundle.attributes import attribute_rows, choices
from recsys.bundle.factors import Floats, FoldIn, Rows, UserVector
from serve.catalogue import Catalogue
from serve.errors import ApiError
from serve.schemas import MAX_ID, Wish

INT_ID = re.compile(r"-?[0-9]{1,19}")
REASONS = 3
ROUNDING = 1e-5  # stars by which float32 may miss a bound of the scale
BINS = 16  # of the distribution of predicted ratings
EXAMPLES = 20  # users that are named to try
EXAMPLE_RATINGS = 100

Answer = dict[str, Any]


class Prediction(NamedTuple):
    rating: float  # stars
    cold_start: bool  # the user or the item is not known as a fitted one
    std: float | None  # of a rating around it, in stars
    probabilities: list[float] | None  # of each level of an ordinal link


class ServedModel:
    """All that a request needs, so that one reference to it answers a request from start to end."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle, self.catalogue = bundle, Catalogue(bundle)
        self.low, self.high = bundle.scale
        self.version = (bundle.sha256 or "unsaved")[:12]
        self.says_std = bundle.says_std and not bundle.ranks_only
        # Of one sample without a noise of its own plain numbers do: NumPy's clip and mean of one take as long as all
        # else of a prediction here.
        self.is_plain = bundle.factors.samples == 1 and bundle.factors.precision is None
        self.levels = [] if bundle.factors.levels is None else bundle.factors.levels.astype(float).tolist()
        self.integer_ids = bundle.manifest["id_kind"] == "int"
        self.users = {str(user): row for user, row in bundle.user_row.items()}
        self.items = {str(item): row for item, row in bundle.item_row.items()}
        ids = [str(item) for item in bundle.item_ids.tolist()]
        self.about: list[Answer] = [
            {"item_id": item, "title": a["title"], "year": a["year"], "genres": a["genres"]}
            for item, a in zip(ids, bundle.items, strict=True)
        ]
        # Recommendations are put together from JSON text: building and checking objects takes longer than ranking.
        self._about_json = [_open_json(about) for about in self.about]
        self._reason_json = [_open_json({name: about[name] for name in ("item_id", "title")}) for about in self.about]

    @classmethod
    def load(cls, path: Path) -> ServedModel:
        """Load, verify and probe the bundle in `path`.

        Raises:
            BundleError: It is no bundle, is damaged, or gives impossible answers.
        """
        bundle = Bundle.load(path)
        timeless = bundle.ratings._replace(timestamp=None)  # eight bytes a rating that no answer needs
        model = cls(replace(bundle, ratings=timeless))
        try:
            model.probe(path)
        except (ArithmeticError, np.linalg.LinAlgError) as error:
            raise BundleError(f"{path}: a trial answer cannot be computed: {error}") from error
        return model

    def probe(self, path: Path) -> None:
        """Ask a few things that requests will ask, and raise a BundleError where an answer is impossible."""
        bundle = self.bundle
        low, high = self.low, self.high
        busiest = int(np.diff(bundle.ratings.indptr)[: bundle.n_users].argmax()) if bundle.n_users else -1
        for user in {-1, 0, busiest}:
            vector = bundle.vector(user)
            rows, shown = bundle.top(vector, 3, seen=bundle.seen(user))
            answers = [*shown.tolist(), *bundle.predicted_for(vector, np.array([0])).mean.tolist()]
            if user >= 0 and self.bundle.can_fold_in:
                base, parts = bundle.fold_in_user(user).contributions(rows)
                answers += [(base + parts.sum(1)).clip(low, high).mean().item()] if len(rows) else []
            spread = self._std(vector, rows) or []
            possible = np.isfinite([*answers, *spread]).all()
            outside = any(not low - ROUNDING <= answer <= high + ROUNDING for answer in answers)
            if not possible or (outside and not bundle.ranks_only):
                raise BundleError(f"{path}: a trial prediction is no rating between {low:g} and {high:g}")

    @property
    def id_rule(self) -> str:
        """What an id must be, as a sentence."""
        return "IDs must be valid integers" if self.integer_ids else f"IDs must be strings of 1 to {MAX_ID} characters"

    @property
    def id_schema(self) -> Answer:
        """The same as JSON schema."""
        if self.integer_ids:
            return {"type": "string", "pattern": f"^{INT_ID.pattern}$"}
        return {"type": "string", "minLength": 1, "maxLength": MAX_ID}

    def user_row(self, user_id: str) -> int:
        """The row of a user; -1 for one that is not in the data set.

        Raises:
            ApiError: 400, the id is malformed.
        """
        row = self.users.get(user_id)
        return self._other_row(self.users, user_id) if row is None else row

    def item_row(self, item_id: str) -> int:
        """The row of an item.

        Raises:
            ApiError: 400, the id is malformed; 404, the item is not in the data set.
        """
        row = self.items.get(item_id)
        if row is None:
            row = self._other_row(self.items, item_id)
        if row < 0:
            raise ApiError(404, "unknown_item", "there is no item with this id")
        return row

    def _other_row(self, rows: dict[str, int], text: str) -> int:
        if not (INT_ID.fullmatch(text) if self.integer_ids else 0 < len(text) <= MAX_ID):
            raise ApiError(400, "invalid_id", self.id_rule)
        return rows.get(str(int(text)), -1) if self.integer_ids else -1  # 007 is 7

    def check_stars(self) -> None:
        """Raise a 409 where the model's scores are no stars."""
        if self.bundle.ranks_only:
            raise ApiError(409, "ranking_model", "this model ranks items and predicts no ratings")

    def check_fold_in(self) -> None:
        """Raise a 409 where the model takes in no new users."""
        if not self.bundle.can_fold_in:
            raise ApiError(409, "no_fold_in", "this model takes in no new users")

    def predict(self, user_id: str, item_id: str) -> Prediction:
        """Predicted stars of a rating model, and what else there is to say of them.

        Raises:
            ApiError: 400, an id is malformed; 404, the item is not in the data set.
        """
        user, item = self.user_row(user_id), self.item_row(item_id)
        bundle = self.bundle
        vector, probabilities = bundle.vector(user), None
        if self.is_plain:
            stars, std = bundle.factors.predict_for(vector, item).item(), bundle.manifest.get("noise")
        else:
            mean, spread, shares = bundle.predicted_for(vector, np.array([item]), std=self.says_std)
            stars, std = mean.item(), None if spread is None else spread.item()
            probabilities = None if shares is None else shares[0].tolist()
        cold = not (0 <= user < bundle.n_users and item < bundle.fitted_items)
        # Clipped in float64, where the bounds are exactly those of the scale.
        return Prediction(min(max(stars, self.low), self.high), cold, std, probabilities)

    def _std(self, vector: UserVector, rows: Rows) -> list[float] | None:
        """Of ratings around the predictions for one user, in stars; None where nobody can say."""
        if not self.says_std:
            return None
        if self.is_plain:
            return [float(self.bundle.manifest["noise"])] * len(rows)
        found = self.bundle.predicted_for(vector, rows, std=True).std
        return None if found is None else found.tolist()

    def predict_many(self, pairs: Sequence[tuple[str, str]]) -> list[Answer]:
        """As `predict`, for each pair; an error takes the place of what cannot be predicted."""
        user, item = np.full(len(pairs), -1), np.full(len(pairs), -1)
        errors: dict[int, ApiError] = {}
        for place, (user_id, item_id) in enumerate(pairs):
            try:
                user[place], item[place] = self.user_row(user_id), self.item_row(item_id)
            except ApiError as error:
                errors[place] = error
        mean, spread, _ = self.bundle.predicted(user, item, std=self.says_std)
        stars = mean.astype(np.float64).clip(self.low, self.high).tolist()
        std = [None] * len(pairs) if spread is None else spread.tolist()
        cold = ((user < 0) | (user >= self.bundle.n_users) | (item >= self.bundle.fitted_items)).tolist()
        return [
            {"rating": stars[place], "rating_std": std[place], "cold_start": cold[place], "error": None}
            if place not in errors
            else {
                "rating": None,
                "rating_std": None,
                "cold_start": None,
                "error": {"code": errors[place].code, "detail": errors[place].detail},
            }
            for place in range(len(pairs))
        ]

    def recommend(self, user: int | FoldIn, wish: Wish, skipped: list[int] | None = None) -> str:
        """The best items for a user's row, or for someone folded in, as the JSON of `schemas.Recommendations`."""
        bundle = self.bundle
        vector = user.vector if isinstance(user, FoldIn) else bundle.vector(user)
        scores = bundle.factors.scores(vector)
        counts = self._distribution(vector, scores) if wish.distribution else None
        seen = None
        if wish.exclude_seen:
            seen = user.items if isinstance(user, FoldIn) else bundle.seen(user)
        try:
            allowed = self.catalogue.allowed(wish.genre, wish.year_from, wish.year_to, wish.min_ratings)
        except KeyError:
            raise ApiError(400, "unknown_genre", "genre must be one of those that /model lists") from None
        rows, shown = bundle.top(
            vector, wish.k, scores=scores, seen=seen, allowed=None if allowed is None else allowed[: bundle.n_items]
        )
        because = self._because(user, rows) if wish.explain else ["null"] * len(rows)
        unknown = ["null"] * len(rows)
        stars = unknown if bundle.ranks_only else [f"{rating:.6f}" for rating in shown.tolist()]
        spread = self._std(vector, rows)
        std = unknown if spread is None else [f"{value:.6f}" for value in spread]
        parts = zip(rows.tolist(), stars, std, scores[rows].tolist(), because, strict=True)
        best = ",".join(
            f'{self._about_json[row]},"rating":{rating},"rating_std":{by},"score":{score:.6f},"because":{reasons}}}'
            for row, rating, by, score, reasons in parts
        )
        known = len(user.items) > 0 if isinstance(user, FoldIn) else 0 <= user < bundle.n_users
        return (
            f'{{"recommendations":[{best}],"cold_start":{"false" if known else "true"},'
            f'"distribution":{json.dumps(counts)},"model_version":"{self.version}"'
            + ("}" if skipped is None else f',"skipped":{skipped}}}')
        )

    def _because(self, user: int | FoldIn, rows: Rows) -> list[str]:
        """For each recommended item the rated ones that contributed most to its score, as JSON."""
        if not isinstance(user, FoldIn):
            if not (0 <= user < self.bundle.n_users and self.bundle.can_fold_in):
                return ["[]"] * len(rows)
            user = self.bundle.fold_in_user(user)
        _, parts = user.contributions(rows)
        strongest, amounts = _largest(parts, REASONS)
        items, stars = user.items[strongest].tolist(), user.rating[strongest].tolist()
        texts = self._reason_json
        return [
            "["
            + ",".join(
                f'{texts[item]},"rating":{rating},"contribution":{amount:.6f}}}'
                for item, rating, amount in zip(*reasons, strict=True)
                if amount > 0
            )
            + "]"
            for reasons in zip(items, stars, amounts.tolist(), strict=True)
        ]

    def _distribution(self, vector: UserVector, scores: Floats) -> Answer | None:
        """How many items are predicted to get how many stars; None for a ranking model."""
        if self.bundle.ranks_only:
            return None
        low, high = self.low, self.high
        if not self.is_plain:  # clipped before their mean, as predictions are
            _, scores = self.bundle.top(vector, len(scores))
        counts, edges = np.histogram(scores.astype(np.float64).clip(low, high), BINS, (low, high))
        return {"edges": edges.tolist(), "counts": counts.tolist()}

    def fold_in(
        self, ratings: Sequence[tuple[str, float]], attributes: dict[str, str] | None = None
    ) -> tuple[FoldIn, list[int]]:
        """Someone new, and the positions of the ratings whose items the model does not know.

        Raises:
            ApiError: 400, an id is malformed, a rating is off the scale, an item occurs twice or an attribute is not
                one that the model knows.
        """
        known = self._attribute_rows(attributes) if attributes else None
        low, high = self.low, self.high
        rated: dict[int, float] = {}
        seen: set[str] = set()
        skipped = []
        for place, (item_id, stars) in enumerate(ratings):
            row = self.items.get(item_id)
            if row is None:
                row = self._other_row(self.items, item_id)
            if not low <= stars <= high:
                raise ApiError(400, "rating_off_scale", f"body.ratings[{place}].rating must be in [{low:g}, {high:g}]")
            if row in rated or item_id in seen:
                raise ApiError(409, "duplicate_item", f"body.ratings[{place}].item_id occurs twice")
            seen.add(item_id)
            if 0 <= row < self.bundle.n_items:
                rated[row] = stars
            else:
                skipped.append(place)
        items, given = np.array([*rated], np.int64), np.array([*rated.values()], np.float32)
        return self.bundle.fold_in_rows(items, given, known), skipped

    def _attribute_rows(self, attributes: dict[str, str]) -> Rows:
        try:
            return attribute_rows(self.bundle.attributes, attributes)
        except ValueError:
            known = choices(self.bundle.attributes)
            name = next((name for name in known if attributes.get(name, known[name][0]) not in known[name]), None)
            said = "this model knows no attributes of users"
            if known:
                said = f"body.attributes must be among {', '.join(known)}, with values that /model lists"
            if name is not None:
                said = f"body.attributes.{name} must be one of {', '.join(known[name])}"
            raise ApiError(400, "unknown_attribute", said) from None

    def search(self, query: str | None, limit: int) -> list[Answer]:
        """Items by title, or all of them, most rated first."""
        rows = self.catalogue.popular(limit) if query is None else self.catalogue.search(query, limit)
        return [self.item(row) for row in rows]

    def item(self, row: int) -> Answer:
        """What is known of an item's row."""
        count = int(self.catalogue.n_ratings[row])
        mean = float(self.catalogue.mean_rating[row]) if count else None
        return {**self.about[row], "n_ratings": count, "mean_rating": mean}

    def similar(self, row: int, k: int) -> list[Answer]:
        """The k nearest items; none for an item without factors."""
        if row >= self.bundle.n_items:
            return []
        rows, alike = self.bundle.similar_rows(row, k)
        return [
            {**self.about[other], "similarity": similarity}
            for other, similarity in zip(rows.tolist(), alike.tolist(), strict=True)
        ]

    def user(self, user_id: str, limit: int) -> Answer:
        """What a user rated, best first, then most rated first.

        Raises:
            ApiError: 400, the id is malformed; 404, the user is not in the data set.
        """
        row = self.user_row(user_id)
        if row < 0:
            raise ApiError(404, "unknown_user", "there is no user with this id")
        entries = self.bundle.ratings.of(row)
        item, stars = self.bundle.ratings.item[entries], self.bundle.ratings.rating[entries]
        order = np.lexsort((item, -self.catalogue.n_ratings[item], -stars))[:limit]
        return {
            "user_id": str(self.bundle.user_ids[row]),
            "n_ratings": len(item),
            "mean_rating": float(stars.mean()) if len(item) else None,
            "cold_start": row >= self.bundle.n_users,
            "ratings": [
                {**self.about[i], "rating": r} for i, r in zip(item[order].tolist(), stars[order].tolist(), strict=True)
            ],
            "model_version": self.version,
        }

    def facts(self, *, histories: bool) -> Answer:
        """The manifest, and what clients need to know besides."""
        return {
            **self.bundle.manifest,
            "model_version": self.version,
            "service": {
                "genres": self.catalogue.genres,
                "rating_step": self.catalogue.rating_step,
                "years": self.catalogue.years,
                "attributes": choices(self.bundle.attributes),
                "histories": histories,
                "example_users": self.example_users() if histories else [],
            },
        }

    def example_users(self) -> list[str]:
        """Those with enough ratings to show a taste, but not so many that each says little, and no extreme mean."""
        rated, users = self.bundle.ratings, self.bundle.n_users
        counts = np.diff(rated.indptr)[:users]
        nearest = np.argsort(np.abs(counts - EXAMPLE_RATINGS), kind="stable")[: 5 * EXAMPLES]
        means = np.array([rated.rating[rated.of(user)].mean() if counts[user] else np.inf for user in nearest])
        usual = rated.rating.mean() if len(rated.rating) else 0.0
        chosen = nearest[np.argsort(np.abs(means - usual), kind="stable")[:EXAMPLES]]
        return [str(self.bundle.user_ids[row]) for row in chosen]

    def examples(self, *, histories: bool) -> dict[str, str]:
        """Ids that exist, for the documentation."""
        found = {"item_id": self.about[int(self.catalogue.n_ratings.argmax())]["item_id"]}
        return found | ({"user_id": self.example_users()[0]} if histories and self.bundle.n_users else {})


def _largest(values: Floats, k: int) -> tuple[Rows, Floats]:
    """Positions and values of the k largest of each row, largest first."""
    n = values.shape[1]
    line = np.arange(len(values))[:, None]
    places = values.argpartition(n - k, axis=1)[:, n - k :] if n > k else np.arange(n)[None].repeat(len(values), 0)
    places = places[line, (-values[line, places]).argsort(axis=1, kind="stable")]
    return places, values[line, places]


def _open_json(fields: Answer) -> str:
    """The JSON of an object that more fields will follow."""
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":"))[:-1]
