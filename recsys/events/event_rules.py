"""EventRules: what an event must be to count for a model."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from recsys.bundle.parts import stars_within
from recsys.events.given_ids import given_id


@dataclass(frozen=True)
class EventRules:
    """What ids and ratings of events must be; what is not known of a model is not asked for.

    Attributes:
        id_kind: Of the data, `int` or `str`.
        scale: Lowest and highest rating that someone may give.
    """

    id_kind: str | None = None
    scale: tuple[float, float] = (-math.inf, math.inf)

    @classmethod
    def of(cls, manifest: Mapping[str, Any], scale: tuple[float, float] | None = None) -> EventRules:
        """Those of a bundle's model.

        Args:
            manifest: The bundle's.
            scale: Its `given_scale`; None for that of the manifest, which is the same unless it is a ranking model.
        """
        low, high = manifest["rating_scale"] if scale is None else scale
        return cls(str(manifest["id_kind"]), (float(low), float(high)))

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
            allowed = stars_within(low, high) if high < math.inf else "a finite number"
            raise ValueError(f"rating must be {allowed}, got {stars:g}")
