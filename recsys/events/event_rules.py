"""EventRules: what an event must be to count for a model."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from recsys.events.given_ids import given_id

if TYPE_CHECKING:
    from recsys.bundle import Bundle


@dataclass(frozen=True)
class EventRules:
    """What ids and ratings of events must be; what is not known of a model is not asked for.

    Attributes:
        id_kind: Of the data, `int` or `str`.
        scale: Lowest and highest rating.
        allowed_stars: The scale in words.
    """

    id_kind: str | None = None
    scale: tuple[float, float] = (-math.inf, math.inf)
    allowed_stars: str = "a finite number"

    @classmethod
    def of(cls, bundle: Bundle) -> EventRules:
        """Those of a bundle's model."""
        return cls(str(bundle.manifest["id_kind"]), bundle.given_scale, bundle.allowed_stars)

    def id(self, text: str, name: str) -> str:
        """The id that is meant, as text.

        Raises:
            ValueError: It is none; the message says which, by `name`.
        """
        try:
            return given_id(text, self.id_kind)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None

    def check_rating(self, stars: float) -> None:
        """Check that a rating is on the scale.

        Raises:
            ValueError: It is not.
        """
        low, high = self.scale
        if not (math.isfinite(stars) and low <= stars <= high):
            raise ValueError(f"rating must be {self.allowed_stars}, got {stars:g}")
