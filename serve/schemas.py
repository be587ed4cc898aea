"""What goes in and what comes out, with bounds, units and examples.

Three things depend on the bundle that is served: what an id looks like, the rating scale and the genres. Fields of
these kinds carry a marker as their `format`, which `serve.openapi` replaces when `/openapi.json` is asked for.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

MAX_ID = 512  # characters
MAX_RATINGS = 1000
MAX_K = 1000
STD = "Standard deviation of a rating around the predicted one, in stars: noise, and what the model is unsure of."


def _whole(value: Any) -> Any:
    """In JSON 10.0 is an integer."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Id = Annotated[str, Field(max_length=MAX_ID), WithJsonSchema({"type": "string", "format": "id"})]
# A batch answers a malformed id with an error in that id's place, so that any string may stand there.
AnyId = Annotated[
    str, Field(max_length=MAX_ID), WithJsonSchema({"type": "string", "maxLength": MAX_ID, "format": "any-id"})
]
Stars = Annotated[
    float,
    Field(allow_inf_nan=False, description="Stars, within the scale."),
    WithJsonSchema({"type": "number", "format": "stars"}),
]
Genre = Annotated[str, Field(max_length=100), WithJsonSchema({"type": "string", "format": "genre"})]
Attributes = Annotated[
    dict[str, Annotated[str, Field(max_length=100)]],
    Field(max_length=100),
    WithJsonSchema({"type": "object", "format": "attributes"}),
]
Year = Annotated[int, Field(ge=-9999, le=9999), BeforeValidator(_whole)]
K = Annotated[int, Field(ge=1, le=MAX_K), BeforeValidator(_whole)]
MinRatings = Annotated[
    int,
    Field(ge=0, le=2**31 - 1, description="Leave out items that fewer people rated: their predictions are guesses."),
    BeforeValidator(_whole),
]


def _digits(value: Any) -> Any:
    """Leave to pydantic what are plain digits; make it refuse the spellings of Python, such as 1_000 and ' 7'."""
    if isinstance(value, str) and not (value.isascii() and value.removeprefix("-").isdigit()):
        return "not an integer"
    return value


QueryK = Annotated[K, BeforeValidator(_digits)]


class Input(BaseModel):
    """A body: no field is converted from another type, none is ignored."""

    model_config = ConfigDict(strict=True, extra="forbid")


class Pair(Input):
    user_id: Id
    item_id: Id


class AnyPair(Input):
    user_id: AnyId
    item_id: AnyId


class Pairs(Input):
    pairs: list[AnyPair] = Field(min_length=1, max_length=MAX_RATINGS)


class Rated(Input):
    item_id: Id
    rating: Stars


class Wish(Input):
    """Which recommendations are wanted."""

    k: K = Field(10, description="How many; fewer come where fewer are left.")
    exclude_seen: bool = Field(True, description="Leave out what the user has rated.")
    genre: Genre | None = Field(None, description="Only items of this genre.")
    year_from: Year | None = Field(None, description="Only items of this year or later.")
    year_to: Year | None = Field(None, description="Only items of this year or earlier.")
    min_ratings: MinRatings = 0
    explain: bool = Field(False, description="Say which of the user's ratings contributed most.")
    distribution: bool = Field(False, description="Count the predicted ratings of all items.")


class NewUser(Wish):
    """Someone without an account: what they rated, and what they want."""

    ratings: list[Rated] = Field(min_length=1, max_length=MAX_RATINGS, description="Each item once.")
    attributes: Attributes | None = Field(
        None, description="What else is known of them, by name, such as a gender; /model lists the names and values."
    )


class Error(BaseModel):
    detail: str = Field(description="One sentence for people.", examples=["IDs must be valid integers"])
    code: str = Field(description="One word for programs.", examples=["invalid_id"])


class Share(BaseModel):
    rating: float = Field(description="Stars, a level of the scale.", examples=[4.0])
    probability: float = Field(examples=[0.38])


class Prediction(BaseModel):
    rating: float = Field(description="Predicted stars, within the scale.", examples=[4.31])
    rating_std: float | None = Field(description=f"{STD} Null where the model does not say.", examples=[0.87])
    cold_start: bool = Field(
        description="The model was not fitted on the user or not on the item, which count as average, or as what is "
        "known of them besides ratings says.",
        examples=[False],
    )
    star_probabilities: list[Share] | None = Field(
        description="How likely each level of the scale is, lowest first; null where the model predicts a mean only."
    )
    model_version: str = Field(description="The first 12 digits of the manifest's SHA-256.", examples=["5f0c9a1b2c3d"])


class PairPrediction(BaseModel):
    rating: float | None = Field(description="Predicted stars; null where there is an error.", examples=[4.31])
    rating_std: float | None = Field(description="As in a single prediction.", examples=[0.87])
    cold_start: bool | None = Field(
        description="As in a single prediction; null where there is an error.", examples=[False]
    )
    error: Error | None = Field(None, description="Why this pair has no prediction.", examples=[None])


class Predictions(BaseModel):
    predictions: list[PairPrediction] = Field(description="In the order of the pairs.")
    model_version: str


class Reason(BaseModel):
    item_id: str = Field(examples=["172"])
    title: str = Field(examples=["Empire Strikes Back, The (1980)"])
    rating: float = Field(description="Stars that the user gave.", examples=[5.0])
    contribution: float = Field(
        description="What this added to the score, in the fold-in of all that the user rated; a rating model's is in "
        "stars.",
        examples=[0.21],
    )


class About(BaseModel):
    item_id: str = Field(examples=["50"])
    title: str = Field(examples=["Star Wars (1977)"])
    year: int | None = Field(examples=[1977])
    genres: list[str] = Field(examples=[["Action", "Sci-Fi"]])


class Recommendation(About):
    rating: float | None = Field(
        description="Predicted stars, within the scale; null for a ranking model.", examples=[4.62]
    )
    rating_std: float | None = Field(description=f"{STD} Null where the model does not say.", examples=[0.87])
    score: float = Field(
        description="What the list is ordered by; a rating model's is in stars, unclipped.", examples=[4.62]
    )
    because: list[Reason] | None = Field(
        description="Up to three rated items that contributed most; null unless asked for."
    )


class Distribution(BaseModel):
    """Predicted ratings of all items."""

    edges: list[float] = Field(description="Bounds of the bins in stars, one more than bins.")
    counts: list[int] = Field(description="Items in each bin.")


class Recommendations(BaseModel):
    recommendations: list[Recommendation] = Field(description="Best first.")
    cold_start: bool = Field(
        description="The model knows no rating of the user: these are the average user's, or what their attributes say."
    )
    distribution: Distribution | None = None
    model_version: str


class NewUserRecommendations(Recommendations):
    skipped: list[int] = Field(description="Positions of the ratings whose items the model does not know.")


class Item(About):
    n_ratings: int = Field(description="Ratings in the data set.", examples=[583])
    mean_rating: float | None = Field(description="Their mean in stars; null where there is none.", examples=[4.36])


class Items(BaseModel):
    items: list[Item]
    model_version: str


class Neighbour(About):
    similarity: float = Field(
        description="Cosine of the two items' vectors, in [-1, 1]; less for items that few rated.",
        examples=[0.83],
    )


class Neighbours(BaseModel):
    items: list[Neighbour] = Field(description="Most similar first.")
    model_version: str


class RatedItem(About):
    rating: float = Field(description="Stars.", examples=[5.0])


class User(BaseModel):
    user_id: str
    n_ratings: int
    mean_rating: float | None = Field(description="In stars.")
    cold_start: bool = Field(description="The model was not fitted on this user.")
    ratings: list[RatedItem] = Field(description="Best first.")
    model_version: str


class ServiceFacts(BaseModel):
    """What the page and other clients need to know besides the manifest."""

    genres: list[str]
    rating_step: float | None = Field(description="Between neighbouring ratings of the data set; null where it varies.")
    years: tuple[int, int] | None = Field(description="The first and the last year of the items.")
    attributes: dict[str, list[str]] = Field(
        description="What may be known of someone new besides ratings: the values of each attribute.",
        examples=[{"gender": ["F", "M"]}],
    )
    histories: bool = Field(description="Whether people's ratings are shown.")
    example_users: list[str] = Field(
        description="Users with about a hundred ratings; none where histories are not shown."
    )


class Model(BaseModel):
    """The bundle's manifest, and what this service adds."""

    model_config = ConfigDict(extra="allow")

    model_version: str
    service: ServiceFacts


class Live(BaseModel):
    status: str = Field(examples=["live"])


class Ready(BaseModel):
    status: str = Field(examples=["ready"])
    model_version: str
    data: str = Field(description="The data set that the model was fitted on.", examples=["ml-1m"])
    failed_loads: int = Field(description="Bundles that this worker refused since it started.")
    last_error: str | None = Field(
        description="Why the last bundle that the pointer named was refused; null when all is well."
    )
