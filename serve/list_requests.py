"""What requests for lists of recommendations may hold."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, FailFast, Field, WithJsonSchema, model_validator

from recsys.bundle.costs import MAX_RATINGS
from recsys.bundle.ids import MAX_ID_LENGTH
from recsys.bundle.ranking import MAX_RATINGS as MAX_MIN_RATINGS
from recsys.bundle.rules import MAX_BOOST, MAX_BOOSTS
from recsys.events.given_ids import INTEGER
from serve.schemas import TIMED, Attributes, BodyId, Genre, Input, K, RatingIn, Year, few, integral

MAX_LISTED = 10_000  # items that a list may be restricted to, or that it must not have
MAX_JOB_USERS = 10_000  # that a job may name
LISTS = ("exclude", "available", "boost")  # query parameters that may be repeated
NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?", re.ASCII)
BOOST = r"^[^:]+:-?[0-9](\.[0-9]+)?$"  # one form of those that are allowed


class _FirstFault(FailFast):
    """A `FailFast` for a field that may be null: one of a union must have a hash."""

    __hash__ = object.__hash__


MinRatings = Annotated[int, Field(ge=0, le=MAX_MIN_RATINGS), BeforeValidator(integral)]
Ids = Annotated[list[BodyId], _FirstFault(), Field(max_length=MAX_LISTED)]
Boosts = Annotated[
    dict[
        Annotated[str, Field(max_length=MAX_ID_LENGTH)],
        Annotated[float, Field(ge=-MAX_BOOST, le=MAX_BOOST, allow_inf_nan=False)],
    ],
    Field(max_length=MAX_BOOSTS),
    BeforeValidator(few),
]


class RecommendationFilters(Input):
    """Number and filters of recommendations."""

    k: K = Field(10, description="Number of items; fewer if fewer pass the filters.")
    exclude_seen: bool = Field(True, description="Exclude items that the user has rated.")
    genre: Genre | None = Field(None, description="Only items of this genre.")
    year_from: Year | None = Field(None, description="Only items of this year or later.")
    year_to: Year | None = Field(None, description="Only items of this year or earlier.")
    min_ratings: MinRatings | None = Field(
        None, description="Exclude items with fewer ratings; left out: as many as are best for this order, 0: none."
    )
    rank_by: Literal["stars", "gain", "bound", "liking"] | None = Field(
        None,
        description="What the list is ordered by: the predicted stars; the stars beyond what the average user would "
        "give; a lower bound of the stars, for a model that has one; or the chance that the user picks the item, times "
        "the stars. Left out: what is best for this model. A ranking model has one order.",
    )
    diversity: float = Field(
        0.0, ge=0, le=1, allow_inf_nan=False, description="From 0, the best items, to 1, items that are least alike."
    )
    exclude: Ids = Field(default_factory=list, description="Items to leave out; unknown ones are ignored.")
    available: Ids | None = Field(
        None, description="The only items to choose from; unknown ones are ignored. Left out: all."
    )
    boost: Boosts = Field(
        default_factory=dict,
        description="Amounts by genre or item id, added to the score; to the logarithm of the score by liking.",
        examples=[{"Comedy": 0.5}],
    )


class RecommendationOptions(RecommendationFilters):
    """Number, filters and extra content of recommendations."""

    explain: bool = Field(False, description="Add the user's ratings with the largest contribution to each item.")
    distribution: bool = Field(False, description="Add a histogram of the predicted ratings of all items.")


class RecommendationQuery(RecommendationOptions):
    """The options as query parameters, whose values arrive as text; lists are parameters that are repeated."""

    model_config = ConfigDict(frozen=True)  # requests with the same query string share one

    boost: Annotated[
        Boosts,
        WithJsonSchema(
            {
                "type": "array",
                "items": {"type": "string", "pattern": BOOST, "maxLength": MAX_ID_LENGTH},
                "maxItems": MAX_BOOSTS,
            },
        ),
    ] = Field(
        default_factory=dict,
        description="Genres or item ids with an amount, such as Comedy:0.5, added to the score; to the logarithm of "
        "the score by liking.",
        examples=[["Comedy:0.5"]],
    )

    @model_validator(mode="before")
    @classmethod
    def _parse_texts(cls, values: dict[str, Any]) -> dict[str, Any]:
        return {name: _parse_option(name, text) for name, text in values.items()}


def _parse_option(name: str, text: Any) -> Any:
    """The value of a query parameter; ids and genres are texts, whatever they look like."""
    if name == "boost":
        named = [one.rpartition(":") for one in text]
        return {key: _parse_number(amount) if colon else amount for key, colon, amount in named}
    if name == "diversity":
        return _parse_number(text)
    return text if name in ("genre", *LISTS) else _parse_literal(text)


def _parse_number(text: Any) -> Any:
    """The value of a decimal number; any other text remains one."""
    return float(text) if isinstance(text, str) and NUMBER.fullmatch(text) else text


def _parse_literal(text: Any) -> Any:
    """The value of `true`, `false` or plain digits; any other text remains one."""
    if text in ("true", "false"):
        return text == "true"
    return int(text) if isinstance(text, str) and INTEGER.fullmatch(text) else text


class FoldInRequest(RecommendationOptions):
    """A user without an account: their ratings, and the options."""

    ratings: Annotated[list[RatingIn], FailFast()] = Field(
        min_length=1,
        max_length=MAX_RATINGS,
        description="Each item once, in order of time, the latest last: a model of histories or of drift counts what "
        "came last most.",
        json_schema_extra=TIMED,
    )
    attributes: Attributes | None = Field(
        None, description="Side information by name, such as a gender; /model lists the names and values."
    )


class JobRequest(RecommendationFilters):
    """For whom recommendations are computed, and how the file is written."""

    users: Annotated[list[BodyId], FailFast()] = Field(
        default_factory=list, min_length=1, max_length=MAX_JOB_USERS, description="Who, in the order of the file; "
        "left out: all.",
    )  # fmt: skip
    format: Literal["jsonl", "parquet"] = Field("jsonl", description="JSON lines, or Parquet, which needs pyarrow.")
