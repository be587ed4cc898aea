"""A validated bundle with the lookups that the API needs."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from recsys.bundle import Bundle, BundleError
from recsys.bundle.attributes import attribute_rows, choices, settable
from recsys.bundle.factors import UserVector
from recsys.bundle.fold_in import FoldIn
from recsys.bundle.partner import Partner
from recsys.bundle.ranker import Ranker
from recsys.bundle.typing import Float32Array, IndexArray
from serve.api_error import ApiError
from serve.ids import GivenId, IdIndex, id_rule
from serve.models.catalogue import Catalogue
from serve.models.person import Person
from serve.models.pointer import bundle_folder
from serve.settings import Settings
from serve.times import check_time, latest_time

Summary = tuple[str, str, int | None, list[str]]  # the fields of schemas.ItemSummary

SHOWN = 10  # kinds of events, in a message
TOLERANCE = 1e-5  # stars by which a float32 prediction may exceed the scale


class Given(Protocol):
    """A rating in a request."""

    @property
    def item_id(self) -> GivenId: ...
    @property
    def rating(self) -> float | None: ...
    @property
    def kind(self) -> str | None: ...
    @property
    def timestamp(self) -> int | None: ...


Folded = tuple[FoldIn, list[int]]  # somebody new, and the positions of their ratings of unknown items


class Told(NamedTuple):
    """What a database says of items, by item row."""

    stars: Mapping[int, Sequence[float]]  # of all ratings that the row was made of, where it was not fitted
    attributes: Mapping[int, Mapping[str, str]]  # that were set


NOTHING_TOLD = Told({}, {})


class ServedModel:
    """Everything needed to answer a request, so that a request uses a single model throughout.

    Args:
        bundle: Which may have items that its version was not fitted on.
        revision: Which items those are; 0 for none. Answers of the same version and revision are the same.
        told: What a database says of items, besides the bundle.
        partner: Of a ranking bundle that orders the lists: of the bundle itself, or of one with fewer items.
    """

    def __init__(
        self, bundle: Bundle, *, revision: int = 0, told: Told = NOTHING_TOLD, partner: Partner | None = None
    ) -> None:
        self.bundle, self.catalogue = bundle, Catalogue(bundle, told.stars)
        self.low, self.high = bundle.scale
        self.bundle_version = _short(bundle)
        self.partner = None if partner is None else Partner(bundle, partner.ranking, partner.mix)
        # Of what all answers depend on, so that no kept answer is of another pair.
        self.version = self.bundle_version if partner is None else f"{self.bundle_version}+{_short(partner.ranking)}"
        self.revision, self.told = revision, told
        cut = bundle.manifest.get("cut")
        self.cut: int = cut if type(cut) is int else 0  # the bundle was made of all events with seq <= cut
        self.attribute_rows = {name: row for row, name in enumerate(bundle.attributes)}
        self.has_std = bundle.has_uncertainty and not bundle.is_ranking
        # Fast path for a single sample without noise estimates: NumPy's clip and mean of one element would double the
        # time of a prediction.
        self.is_plain = bundle.factors.samples == 1 and bundle.factors.precision is None
        self.levels = [] if bundle.factors.levels is None else bundle.factors.levels.astype(float).tolist()
        self.integer_ids = integers = bundle.manifest["id_kind"] == "int"
        ids = [str(item) for item in bundle.item_ids.tolist()]
        # The format of a valid id, as a sentence. An item is the example for users too: who is one may be a secret.
        self.id_rule = id_rule(integers=integers, example=_example(ids[row] for row in self.catalogue.popular(100)))
        self.users = IdIndex(bundle.user_row, integers=integers, rule=self.id_rule)
        self.items = IdIndex(bundle.item_row, integers=integers, rule=self.id_rule)
        self._summaries: list[Summary] = [
            (item, bundle.title(row), about["year"], about["genres"])
            for row, (item, about) in enumerate(zip(ids, bundle.items, strict=True))
        ]

    @classmethod
    def load(cls, path: Path, *, sha256: str | None = None, settings: Settings | None = None) -> ServedModel:
        """Load, verify and probe the bundle in `path`.

        Args:
            path: Folder of the bundle.
            sha256: That its manifest must have; None for any.
            settings: What it may cost, and who must have signed it; None for those of the environment.

        Raises:
            BundleError: It is not a bundle, is corrupt or another one, is beyond the budget, is not signed, or gives
                invalid predictions.
        """
        settings = Settings() if settings is None else settings
        bundle = Bundle.load(path, budget=settings.budget, sha256=sha256, verify_key=settings.verify_key)
        if settings.database is None and bundle.encoder is None:  # no answer needs the times: eight bytes for each
            bundle = replace(bundle, ratings=bundle.ratings._replace(timestamp=None))
        partner = _partner(bundle, settings)
        try:
            model = cls(bundle, partner=partner)
        except ValueError as error:
            raise BundleError(f"{path}: {error}") from error
        try:
            model.probe(path)
        except (ArithmeticError, np.linalg.LinAlgError) as error:
            raise BundleError(f"{path}: a test prediction failed: {error}") from error
        return model

    def probe(self, path: Path | str) -> None:
        """Smoke-test predictions.

        Raises:
            BundleError: A prediction is not finite or not within the scale.
        """
        bundle = self.bundle
        low, high = self.low, self.high
        busiest = int(np.diff(bundle.ratings.indptr)[: bundle.n_users].argmax()) if bundle.n_users else -1
        for user in {-1, 0, busiest}:
            vector = bundle.vector(user)
            seen = bundle.seen(user)
            rows, shown = bundle.top_n(vector, 3, seen=seen)
            best = self.ranker.top(vector, 3, self.ranker.order(), history=seen, seen=seen)
            if self.partner is not None and not np.isfinite(self.partner.scores(None, seen)).all():
                raise BundleError(f"{path}: a test score of the ranking bundle is not finite")
            answers = [*shown.tolist(), *bundle.predictions_for(vector, np.array([0])).mean.tolist()]
            if user >= 0 and bundle.can_fold_in:
                base, parts = bundle.fold_in_user(user).contributions(rows)
                answers += [(base + parts.sum(1)).clip(low, high).mean().item()] if len(rows) else []
            spread = self.std(vector, rows) or []
            possible = np.isfinite([*answers, *spread, *best.scores.tolist()]).all()
            outside = any(not low - TOLERANCE <= answer <= high + TOLERANCE for answer in answers)
            if not possible or (outside and not bundle.is_ranking):
                raise BundleError(f"{path}: a test prediction is not within [{low:g}, {high:g}]")

    def person(self, user_id: str) -> Person:
        """Somebody as the bundle knows them; an id that it does not have is the average user.

        Args:
            user_id: As text, see `users`.
        """
        return Person(self.bundle, self.users.get(user_id, -1), user_id)

    def item_row(self, item_id: GivenId, place: str = "") -> int:
        """The row of an item, for a place in a body.

        Raises:
            ApiError: 400, the id is malformed; 404, the item is not in the data set.
        """
        return _known_item(self.items.row(item_id, place))

    def item_in_path(self, item_id: str) -> int:
        """As `item_row`, for a segment of a path."""
        return _known_item(self.items.get(self.items.text_in_path(item_id), -1))

    @cached_property
    def average_ratings(self) -> Float32Array:
        """What the average user would give each item with factors, `(n_items,)` stars; of a rating model."""
        shown, linear = self.bundle.item_scores(self.bundle.vector(-1))
        return self.bundle.apply_link(linear) if shown is None else shown

    @property
    def constant_std(self) -> float | None:
        """The standard deviation of every prediction, in stars; None if it is not known, or differs."""
        return self.bundle.manifest["noise"] if self.has_std and self.is_plain else None

    @cached_property
    def ranker(self) -> Ranker:
        """Lists in any order; items that a database tells of count with all ratings that their rows were made of."""
        if not self.told.stars:
            return self.bundle.ranker
        counts = self.bundle.ranker.counts.copy()
        for row, stars in self.told.stars.items():
            if self.bundle.fitted_items <= row < len(counts):
                counts[row] = len(stars)
        return Ranker(self.bundle, counts)

    def summary(self, row: int) -> Summary:
        return self._summaries[row]

    def check_rating_model(self) -> None:
        """Raise a 409 if the model predicts no ratings."""
        if self.bundle.is_ranking:
            raise ApiError(409, "ranking_model", "this model ranks items and predicts no ratings")

    def check_fold_in(self) -> None:
        """Raise a 409 if the model cannot fold in new users."""
        if not self.bundle.can_fold_in:
            raise ApiError(409, "no_fold_in", "this model does not support new users")

    def std(self, vector: UserVector, rows: IndexArray) -> list[float] | None:
        """Predictive standard deviations for one user, in stars; None for models without uncertainty."""
        if not self.has_std:
            return None
        if self.is_plain:
            return [float(self.bundle.manifest["noise"])] * len(rows)
        found = self.bundle.predictions_for(vector, rows, std=True).std
        return None if found is None else found.tolist()

    def fold_in(self, ratings: Sequence[Given], attributes: dict[str, str] | None = None) -> Folded:
        """Fold in a new user. Returns the fold-in and the positions of ratings of unknown items.

        Args:
            ratings: Stars are None only for implicit feedback; kinds, where the model tells them apart; times of all of
                them or of none.
            attributes: Side information by name.

        Raises:
            ApiError: 400, an id is malformed, a rating is missing or off the scale, a time is missing or cannot be
                one, or a kind or an attribute is unknown; 409, an item occurs twice.
        """
        known = self.check_attributes(attributes) if attributes else None
        low, high = self.bundle.given_scale
        rated: dict[int, tuple[float, int]] = {}
        seen: set[str] = set()
        unknown = []
        timed, latest = any(given.timestamp is not None for given in ratings), latest_time()
        for place, given in enumerate(ratings):
            item_id, stars = self.items.text(given.item_id, f"body.ratings[{place}].item_id"), given.rating
            if timed and given.timestamp is None:
                detail = f"body.ratings[{place}].timestamp must be given, as others have one"
                raise ApiError(400, "timestamp_missing", detail)
            if given.timestamp is not None:
                check_time(given.timestamp, latest, f"body.ratings[{place}].timestamp")
            row = self.items.get(item_id, -1)
            if stars is None and self.bundle.is_implicit:
                stars = high
            if stars is None:
                detail = f"body.ratings[{place}].rating must be given, {self.bundle.allowed_stars}"
                raise ApiError(400, "rating_missing", detail)
            if not low <= stars <= high:
                detail = f"body.ratings[{place}].rating must be {self.bundle.allowed_stars}"
                raise ApiError(400, "rating_off_scale", detail)
            if given.kind is not None:
                if given.kind not in self.bundle.kind_ratings:
                    raise ApiError(400, "unknown_kind", f"body.ratings[{place}].kind must be {self._allowed_kinds}")
                stars = self.bundle.kind_ratings[given.kind]
            if item_id in seen:
                raise ApiError(409, "duplicate_item", f"body.ratings[{place}].item_id occurs twice")
            seen.add(item_id)
            if 0 <= row < self.bundle.n_items:
                rated[row] = stars, given.timestamp or 0
            else:
                unknown.append(place)
        items, values = np.array([*rated], np.int64), np.array([stars for stars, _ in rated.values()], np.float32)
        if not timed:
            return self.bundle.fold_in_rows(items, values, known), unknown
        time = np.array([seconds for _, seconds in rated.values()], np.int64)
        order = np.argsort(time, kind="stable")
        return self.bundle.fold_in_rows(items[order], values[order], known, time[order]), unknown

    @property
    def _allowed_kinds(self) -> str:
        kinds = [*self.bundle.kind_ratings]
        if not kinds:
            return "left out: this model does not tell kinds of events apart"
        return f"one of {', '.join(kinds[:SHOWN])}{', …' if len(kinds) > SHOWN else ''}"

    def check_attributes(self, attributes: dict[str, str]) -> IndexArray:
        """Positions of a user's attributes among those that the model knows.

        Raises:
            ApiError: 400, one is unknown.
        """
        try:
            return attribute_rows(self.bundle.attributes, attributes)
        except ValueError:
            known = choices(self.bundle.attributes)
            name = next((name for name in known if attributes.get(name, known[name][0]) not in known[name]), None)
            detail = "body.attributes must be left out: this model has no user attributes"
            if known:
                detail = f"body.attributes must be among {', '.join(known)}, with values listed by /model"
            if name is not None:
                detail = f"body.attributes.{name} must be one of {', '.join(known[name])}"
            raise ApiError(400, "unknown_attribute", detail) from None

    def check_settable_attributes(self, attributes: Mapping[str, str]) -> None:
        """Check that the next fit may read these attributes of a user: values may be new, names may not.

        Raises:
            ApiError: 400, a name is unknown, or a value is a text where the model knows numbers.
        """
        known = choices(self.bundle.attributes)
        for name, value in attributes.items():
            if settable(known, name, value):
                continue
            if name in known:
                detail = f"body.attributes.{name} must be a number"
            elif known:
                detail = f"body.attributes must be among {', '.join(known)}"
            else:
                detail = "body.attributes must be empty: this model has no user attributes"
            raise ApiError(400, "unknown_attribute", detail)


def unused(given: Mapping[str, str], known: Container[str]) -> list[str]:
    """Names of attributes that are not among those a model knows, such as `gender=F`."""
    return [name for name, value in given.items() if f"{name}={value}" not in known]


def _short(bundle: Bundle) -> str:
    return (bundle.sha256 or "unsaved")[:12]


def _partner(bundle: Bundle, settings: Settings) -> Partner | None:
    """Of the ranking bundle that the settings name; the same budget and key as for the other count."""
    if settings.rank_with is None:
        return None
    try:
        folder = bundle_folder(settings.rank_with)
        ranking = Bundle.load(folder, budget=settings.budget, verify_key=settings.verify_key)
        return Partner(bundle, ranking, settings.rank_mix)
    except ValueError as error:
        raise BundleError(f"rank_with {settings.rank_with}: {error}") from error


def _known_item(row: int) -> int:
    if row < 0:
        raise ApiError(404, "unknown_item", "no item has this id")
    return row


def _example(ids: Iterable[str]) -> str | None:
    """The first id that reads well in a sentence."""
    return next((one for one in ids if len(one) <= 40 and one.isprintable() and one.strip() == one != ""), None)
