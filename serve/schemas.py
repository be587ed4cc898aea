"""What requests may hold, and what several answers share: bounds, units and examples.

An answer is a dataclass: its annotations are the OpenAPI schema, its instances are what orjson encodes. Those of one
resource are defined beside its routes, in `serve.routers`.

Three things depend on the bundle that is served: what an id looks like, the rating scale and the genres; and times on
the day. Fields of these kinds carry a marker as their `format`, which `serve.openapi` replaces when `/openapi.json` is
requested.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    FailFast,
    Field,
    JsonValue,
    PlainValidator,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError

from recsys.bundle.costs import MAX_K, MAX_RATINGS
from recsys.bundle.ids import MAX_ID_LENGTH, MAX_KIND
from serve.ids import GivenId

MAX_FIELDS = 100  # of an object
MAX_TEXT = 100  # characters of an attribute's name, and of its value
TEXT = r"^[^\x00-\x1f\x7f]+$"  # without control characters


def integral(value: Any) -> Any:
    """In JSON 10.0 is an integer."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def few(values: Any) -> Any:
    """Refuse an object of very many fields before each is looked at: a megabyte of unknown ones took 1.4 s."""
    if isinstance(values, dict) and len(values) > MAX_FIELDS:
        raise PydanticCustomError("too_many_fields", "object should have at most 100 fields")
    return values


def _plain_digits(value: Any) -> Any:
    """Let pydantic parse plain digits only; reject Python's other spellings, such as 1_000 and ' 7'."""
    if isinstance(value, str) and not (value.isascii() and value.removeprefix("-").isdigit()):
        return "not an integer"
    return value


def _text_or_number(value: Any) -> GivenId:
    """An id in JSON: what it means depends on the bundle, see `serve.ids`."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError("not an id")
    if isinstance(value, str):
        value.encode()  # a UnicodeEncodeError, which is a ValueError, for half a surrogate pair
        if len(value) > MAX_ID_LENGTH:
            raise ValueError("too long")
    return value


Id = Annotated[str, Field(max_length=MAX_ID_LENGTH), WithJsonSchema({"type": "string", "format": "id"})]
BodyId = Annotated[GivenId, PlainValidator(_text_or_number), WithJsonSchema({"format": "body-id"})]
RecordedId = Annotated[
    str, Field(max_length=MAX_ID_LENGTH), WithJsonSchema({"type": "string", "format": "recorded-id"})
]
RecordedBodyId = Annotated[GivenId, PlainValidator(_text_or_number), WithJsonSchema({"format": "recorded-body-id"})]
# Batches accept any text or number, since a malformed id gets an error in its place.
UnvalidatedId = Annotated[
    GivenId,
    PlainValidator(_text_or_number),
    WithJsonSchema({"type": ["string", "number"], "maxLength": MAX_ID_LENGTH, "format": "any-id"}),
]
Stars = Annotated[
    float,
    Field(allow_inf_nan=False, description="Stars, within the scale."),
    WithJsonSchema({"type": "number", "format": "stars"}),
]
Genre = Annotated[str, Field(max_length=100), WithJsonSchema({"type": "string", "maxLength": 100, "format": "genre"})]
Attributes = Annotated[
    dict[str, Annotated[str, Field(max_length=MAX_TEXT)]],
    Field(max_length=MAX_FIELDS),
    BeforeValidator(few),
    WithJsonSchema({"type": "object", "format": "attributes"}),
]
Text = Annotated[str, Field(min_length=1, max_length=MAX_TEXT, pattern=TEXT)]
# Those that are recorded may have values that only the next fit knows.
RecordedAttributes = Annotated[
    dict[Text, Text],
    Field(max_length=MAX_FIELDS, json_schema_extra={"additionalProperties": False}),  # names that are no `Text`
    BeforeValidator(few),
]
Unused = Annotated[list[str], Field(description="Names of attributes that this model does not read; the next fit may.")]
Year = Annotated[int, Field(ge=-9999, le=9999), BeforeValidator(integral)]
Seconds = Annotated[
    int,
    Field(
        description="When it happened: unix seconds, UTC; at most a day ahead of the service.",
        examples=[1_764_460_800],
    ),
    BeforeValidator(integral),
    WithJsonSchema({"type": "integer", "format": "seconds", "minimum": 0}),
]
K = Annotated[int, Field(ge=1, le=MAX_K), BeforeValidator(integral)]
QueryK = Annotated[K, BeforeValidator(_plain_digits)]
# Fields shared by several responses.

Std = Annotated[
    float | None,
    Field(
        description="Predictive standard deviation of a rating, in stars: noise and epistemic uncertainty. Null for "
        "models without uncertainty.",
        examples=[0.87],
    ),
]
ModelVersion = Annotated[
    str,
    Field(
        description="The first 12 digits of the manifest's SHA-256; of both bundles, joined by `+`, where another one "
        "orders the lists.",
        examples=["5f0c9a1b2c3d"],
    ),
]


class Input(BaseModel):
    """A request body: strict types, no unknown fields."""

    model_config = ConfigDict(strict=True, extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _few_fields(cls, values: Any) -> Any:
        return few(values)


class RatingIn(Input):
    item_id: BodyId
    rating: Stars | None = Field(
        None, description="Stars, within the scale; may be left out for implicit feedback, where the item counts."
    )
    kind: str | None = Field(
        None, max_length=MAX_KIND, description="What was done, of implicit feedback: one of the `kinds` of `/model`. "
        "Without, it counts as the last of them.",
    )  # fmt: skip
    timestamp: Seconds | None = Field(
        None, description="When, in unix seconds; of all ratings or of none. Without, their order counts."
    )


TIMED: dict[str, JsonValue] = {  # of ratings: all have a time, or none has
    "anyOf": [
        {"items": {"required": ["timestamp"], "properties": {"timestamp": {"type": "integer"}}}},
        {"items": {"properties": {"timestamp": {"type": "null"}}}},
    ]
}


class PredictionRequest(Input):
    """An item, and a user by their id or by their ratings."""

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [{"required": ["user_id"]}, {"required": ["ratings"]}],
            "dependentRequired": {"attributes": ["ratings"]},
        }
    )

    item_id: BodyId
    user_id: BodyId = Field(default_factory=str, description="A user who is known, or counts as the average one.")
    ratings: Annotated[list[RatingIn], FailFast()] = Field(
        default_factory=list, min_length=1, max_length=MAX_RATINGS, description="In the place of `user_id`: those of "
        "somebody new, as in `/recommendations/`.", json_schema_extra=TIMED,
    )  # fmt: skip
    attributes: Attributes | None = Field(None, description="Of somebody new: side information by name.")

    @model_validator(mode="after")
    def _one_user(self) -> Self:
        given = self.model_fields_set
        if ("user_id" in given) == ("ratings" in given):
            raise PydanticCustomError("one_user", "either user_id or ratings must be given")
        if "attributes" in given and "user_id" in given:
            raise PydanticCustomError("no_attributes", "attributes must be left out, with user_id they are known")
        return self


class LenientPair(Input):
    user_id: UnvalidatedId
    item_id: UnvalidatedId


class Pairs(Input):
    pairs: Annotated[list[LenientPair], FailFast()] = Field(min_length=1, max_length=MAX_RATINGS)


@dataclass
class Error:
    detail: Annotated[
        str, Field(description="Human-readable message.", examples=["IDs must be valid integers, such as 50"])
    ]
    code: Annotated[str, Field(description="Machine-readable code.", examples=["invalid_id"])]


@dataclass
class ItemSummary:
    item_id: Annotated[str, Field(examples=["50"])]
    title: Annotated[
        str,
        Field(
            description="As people read it, its article in front; the id, for an item without a title.",
            examples=["Star Wars (1977)"],
        ),
    ]
    year: Annotated[int | None, Field(examples=[1977])]
    genres: Annotated[list[str], Field(examples=[["Action", "Sci-Fi"]])]


@dataclass
class Item(ItemSummary):
    n_ratings: Annotated[int, Field(description="Number of ratings that the model counts.", examples=[583])]
    mean_rating: Annotated[
        float | None,
        Field(description="Mean rating in stars; null without ratings, and for implicit feedback.", examples=[4.36]),
    ]
