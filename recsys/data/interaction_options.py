"""Options of a source of rows: which column is what, and what its values mean; checked before anything is read."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, TypeAlias

from recsys.data.errors import check_choice, did_you_mean
from recsys.data.inference.finding import AUTO
from recsys.data.readers.time_fields import UNITS
from recsys.data.repeats import REPEATS

Column: TypeAlias = str | int | None  # a name, or a position from 0 in a file without header; None: there is none

MISSING_AS = ("drop", "implicit")
WEIGHT_SCALES = ("linear", "log")
BAD_ROWS = ("error", "drop")


@dataclass(frozen=True)
class InteractionOptions:
    """What the columns of the rows are; `auto` is inferred from the data.

    Attributes:
        user_column: Column of user ids.
        item_column: Column of item ids.
        rating_column: Column of ratings; None for implicit feedback.
        timestamp_column: Column of times; None without times.
        timestamp_format: `seconds`, `milliseconds`, `microseconds` or `nanoseconds` since 1970, `iso8601`, or a
            strptime pattern such as `%d.%m.%Y %H:%M`; UTC if no zone is given.
        missing: Values of the rating column that mean "not rated", besides empty ones and words such as NA.
        missing_as: `drop` leaves rows without a rating out; `implicit` takes all rows, rated or not, as implicit
            feedback.
        rating_min: Lowest rating of the scale; None for the minimum of the data.
        rating_max: Highest rating of the scale; None for the maximum of the data.
        event_column: Column of the kind of event, such as view or purchase; None without.
        events: Weight of each kind of event, or a list of kinds that weigh 1 each; others are left out.
        weight_column: Column of counts or hours, for implicit feedback; None without.
        weight_scale: `linear`, or `log`: log(1 + weight), after repeats are summed.
        repeats: What becomes of rows that repeat a user and item: `latest`, `first`, or for implicit feedback `sum` of
            their weights.
        bad_rows: `error` stops at the first row that cannot be read, `drop` counts them.

    Raises:
        ValueError: An option is none of the allowed values, or contradicts another; the message names it.
    """

    user_column: Column = AUTO
    item_column: Column = AUTO
    rating_column: Column = AUTO
    timestamp_column: Column = AUTO
    timestamp_format: str = AUTO
    missing: str | float | Sequence[Any] | None = AUTO
    missing_as: str = "drop"
    rating_min: float | str | None = AUTO
    rating_max: float | str | None = AUTO
    event_column: Column = AUTO
    events: str | Mapping[str, float] | Sequence[str] | None = AUTO
    weight_column: Column = AUTO
    weight_scale: str = AUTO
    repeats: str = AUTO
    bad_rows: str = "error"

    def __post_init__(self) -> None:
        self._check_columns()
        check_choice("missing_as", self.missing_as, MISSING_AS)
        check_choice("weight_scale", self.weight_scale, (AUTO, *WEIGHT_SCALES))
        check_choice("repeats", self.repeats, (AUTO, *REPEATS))
        check_choice("bad_rows", self.bad_rows, BAD_ROWS)
        self._check_times()
        self._check_scale()
        self._check_events()
        if isinstance(self.missing, Mapping) or any(isinstance(value, Mapping | list) for value in self.missing_values):
            raise ValueError(f"missing must be a value or a list of values such as [99,-1,NA], got {self.missing!r}")
        if self.repeats == "sum" and self.rating_column not in (AUTO, None) and self.missing_as == "drop":
            raise ValueError("repeats=sum adds weights of implicit feedback, so rating_column must be null")

    @property
    def missing_values(self) -> tuple[float | str, ...]:
        """The values that are set to mean "not rated"."""
        if self.missing is None or self.missing == AUTO:
            return ()
        if isinstance(self.missing, str) or not isinstance(self.missing, Sequence):
            return (self.missing,)
        return tuple(self.missing)

    @property
    def event_weights(self) -> dict[str, float] | None:
        """Weight of each kind of event that is set; None if none is."""
        if self.events is None or self.events == AUTO:
            return None
        if isinstance(self.events, Mapping):
            return {str(kind): float(weight) for kind, weight in self.events.items()}
        kinds = [self.events] if isinstance(self.events, str) else self.events
        return {str(kind): 1.0 for kind in kinds}

    def given(self) -> dict[str, Any]:
        """Options that are set, as inference takes them; columns by name."""
        found = {field.name: getattr(self, field.name) for field in fields(self)}
        found = {name: value for name, value in found.items() if not _is_auto(value)}
        for name in [name for name in found if name.endswith("_column") and found[name] is not None]:
            found[name] = str(found[name])
        if "missing" in found:
            found["missing"] = list(self.missing_values)
        if self.event_weights is not None:
            found["events"] = self.event_weights
        for name in ("rating_min", "rating_max", "events"):
            if found.get(name, 0) is None:
                del found[name]
        return found

    def _check_columns(self) -> None:
        named: dict[str, str] = {}
        for role in ("user", "item", "rating", "timestamp", "event", "weight"):
            option, value = f"{role}_column", getattr(self, f"{role}_column")
            if value is None and role in ("user", "item"):
                raise ValueError(f"{option} must be the name of a column, got null")
            check_column(option, value)
            if value in (None, AUTO):
                continue
            if (other := named.setdefault(str(value), option)) != option:
                raise ValueError(f"{other} and {option} must differ, got {value!r} for both")

    def _check_times(self) -> None:
        text = self.timestamp_format
        if text == AUTO:
            return
        if not isinstance(text, str) or (text not in (*UNITS, "iso8601") and not re.search("%[A-Za-z]", text)):
            allowed = ", ".join((*UNITS, "iso8601"))
            raise ValueError(f"timestamp_format must be one of {allowed} or a pattern such as %d.%m.%Y, got {text!r}")
        if self.timestamp_column is None:
            raise ValueError(f"timestamp_format={text} needs timestamp_column, which is null")

    def _check_scale(self) -> None:
        bounds: list[float] = []
        for option in ("rating_min", "rating_max"):
            value = getattr(self, option)
            if value is None or value == AUTO:
                continue
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise ValueError(f"{option} must be a number, got {value!r}")
            if not math.isfinite(value):
                raise ValueError(f"{option} must be finite, got {value}")
            bounds.append(value)
        if len(bounds) == 2 and bounds[0] >= bounds[1]:
            raise ValueError(f"rating_max must be > rating_min = {bounds[0]:g}, got {bounds[1]:g}")

    def _check_events(self) -> None:
        weights = self._checked_events()
        if weights is None:
            return
        if not weights or not all(math.isfinite(weight) and weight >= 0 for weight in weights.values()):
            raise ValueError(f"events must have weights >= 0, some > 0, got {self.events!r}")
        if not any(weights.values()):
            raise ValueError(f"events must have a weight > 0, got {self.events!r}")
        if self.event_column is None:
            raise ValueError(f"events={self.events!r} needs event_column, which is null")

    def _checked_events(self) -> dict[str, float] | None:
        try:
            return self.event_weights
        except (TypeError, ValueError):
            raise ValueError(
                f"events must be weights such as {{view: 1, purchase: 10}} or a list of kinds, got {self.events!r}"
            ) from None


def check_column(option: str, value: Any) -> None:
    """Raise a ValueError unless the value can name a column, or none."""
    if isinstance(value, bool) or not isinstance(value, str | int | None) or value == "":
        raise ValueError(f"{option} must be the name or position of a column, got {value!r}")


def check_named(options: InteractionOptions, columns: Sequence[str] | None) -> None:
    """Raise a ValueError if an option names a column that is not among the names that are given to all columns."""
    if columns is None:
        return
    for role in ("user", "item", "rating", "timestamp", "event", "weight"):
        value = getattr(options, f"{role}_column")
        if value not in (None, AUTO) and position(value, columns) is None:
            hint = did_you_mean(value, map(str, columns))
            raise ValueError(
                f"{role}_column must be one of columns, {', '.join(map(str, columns))}, got {value!r}{hint}"
            )


def position(value: Column, columns: Sequence[Any]) -> int | None:
    """Where a column is that is named, or else numbered from 0; None if there is none."""
    names = [str(name) for name in columns]
    if str(value) in names:
        return names.index(str(value))
    number = int(value) if str(value).isdecimal() else len(names)  # type: ignore[arg-type]
    return number if number < len(names) else None


def _is_auto(value: Any) -> bool:
    return isinstance(value, str) and value == AUTO
