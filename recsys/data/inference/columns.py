"""Infer which columns hold users, items, ratings, times, events and weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from recsys.data.errors import DataError, UndecidedError, did_you_mean
from recsys.data.inference import id_columns
from recsys.data.inference.finding import Finding
from recsys.data.inference.sample_columns import Column, described
from recsys.data.inference.texts import present
from recsys.data.inference.times import commonest_form, infer_time_format
from recsys.data.inference.vocabulary import (
    EVENT,
    ITEM,
    RATING,
    TIMESTAMP,
    USER,
    WEIGHT,
    event_weight,
    is_attribute,
    is_liking,
    likeness,
)
from recsys.data.readers.format import Sample

ROLES = (USER, ITEM, RATING, TIMESTAMP, EVENT, WEIGHT)
SURE, LIKELY = 90, 50  # of the likeness of a name
MOST_EVENTS = 30  # kinds
MOST_COMPARED = 50  # columns
NOTHING = {RATING: "ratings", TIMESTAMP: "times"}


def infer_columns(
    sample: Sample, given: Mapping[str, Any], more: Callable[[], Sample] | None = None
) -> tuple[dict[str, Any], list[Finding]]:
    """Infer the column options of `TabularRatings` that are not given.

    Args:
        sample: The first rows of the ratings file.
        given: Options that are known, such as `user_column`; None says that there is no such column.
        more: Gives more rows of the file, for an order of day and month that the first do not decide.

    Returns:
        `user_column`, `item_column`, `rating_column`, `timestamp_column`, `timestamp_format`, `event_column` and
        `weight_column`, each only if it is not given; None where there is no such column. And why.

    Raises:
        DataError: Users or items cannot be told; names the options to set.
    """
    if not sample.rows:
        names = ", ".join(sample.columns[:10])
        raise DataError(
            f"the file has no rows of the {len(sample.columns)} columns {names}; if it should, set data.separator"
        )
    return _Columns(sample, given, more).infer()


class _Columns:
    """The assignment of columns to roles."""

    def __init__(self, sample: Sample, given: Mapping[str, Any], more: Callable[[], Sample] | None) -> None:
        self.given, self.more = given, more
        self.columns = described(sample)
        self.chosen: dict[str, Column | None] = {}
        self.why: dict[str, str] = {}
        for role in ROLES:
            if f"{role}_column" in given:
                name = given[f"{role}_column"]
                self.chosen[role] = None if name is None else self._given_column(str(name))

    def infer(self) -> tuple[dict[str, Any], list[Finding]]:
        by_name = self.columns[0].named
        if by_name:
            for role in (USER, ITEM):
                self._choose_id_by_name(role)
            for role in (TIMESTAMP, RATING, EVENT, WEIGHT):
                self._choose_by_name(role)
        self._choose_time()
        self._choose_event()
        self._choose_flag()
        self._choose_rating()
        self._choose_ids()
        self._choose_weight()
        return self._result()

    @property
    def free(self) -> list[Column]:
        """Columns without a role, in file order."""
        return [column for column in self.columns if column not in self.chosen.values()]

    def _given_column(self, name: str) -> Column:
        found = [column for column in self.columns if column.name == name]
        if len(found) != 1:
            names = ", ".join(column.name for column in self.columns[:30])
            hint = "" if found else did_you_mean(name, [column.name for column in self.columns])
            raise DataError(f"{'no' if not found else 'more than one'} column {name!r}; the columns are {names}{hint}")
        return found[0]

    def _set(self, role: str, column: Column | None, why: str = "") -> None:
        self.chosen[role] = column
        self.why[role] = why

    # -- by name

    def _ranked(self, role: str, at_least: float) -> list[tuple[float, Column]]:
        scored = [(likeness(column.name, role), column) for column in self.free]
        return sorted((pair for pair in scored if pair[0] >= at_least), key=lambda pair: -pair[0])

    def _choose_id_by_name(self, role: str) -> None:
        if role in self.chosen:
            return
        ranked = [pair for pair in self._ranked(role, 1) if pair[1].present and not self._says_else(role, *pair)]
        if not ranked:
            return
        score, best = ranked[0]
        rivals = [column for other, column in ranked[1:] if score - other < 3 and score >= SURE]
        rivals = [column for column in rivals if not id_columns.determines(best, column)]
        if rivals and not best.constant:
            option = f"data.{role}_column"
            names = [best, *rivals]
            raise UndecidedError(
                f"columns {' and '.join(repr(column.name) for column in names)} may both be the {role}s; set "
                + " or ".join(f"{option}={column.name}" for column in names),
                [{f"{role}_column": column.name} for column in names],
            )
        self._set(role, best, "its name")

    def _says_else(self, role: str, score: float, column: Column) -> bool:
        """Whether a name says more of another role, as "visit_time" does."""
        return any(likeness(column.name, other) > score + 5 for other in ROLES if other != role)

    def _choose_by_name(self, role: str) -> None:
        if role in self.chosen:
            return
        suits: dict[str, Callable[[Column], bool]] = {
            RATING: lambda column: column.mostly_numeric,
            TIMESTAMP: self._is_time,
            EVENT: lambda column: len(column.distinct) <= MOST_EVENTS and not column.constant,
            WEIGHT: lambda column: column.mostly_numeric and column.mostly_positive,
        }
        for score, column in self._ranked(role, LIKELY):
            if self._says_else(role, score, column):
                continue
            if suits[role](column) if column.present else role == RATING and score >= SURE:  # some logs begin without
                self._set(role, column, "its name")
                return

    # -- by values

    def _is_time(self, column: Column) -> bool:
        try:
            found = infer_time_format(column.present, f"column {column.name!r}")
        except DataError:
            return True  # asked for when it is chosen
        return found is not None

    def _choose_time(self) -> None:
        if TIMESTAMP in self.chosen:
            return
        for column in self.free:
            if column.looks_like_time and not is_attribute(column.name):
                self._set(TIMESTAMP, column, f"its values, such as {column.present[0]}")
                return
        for score, column in self._ranked(TIMESTAMP, SURE):
            if column.mostly_numeric or column.is_flag or not column.present:
                continue
            if not self._says_else(TIMESTAMP, score, column):
                raise _unknown_times(column)
        self._set(TIMESTAMP, None)

    def _choose_event(self) -> None:
        if EVENT in self.chosen:
            return
        ids = [self.chosen.get(role) for role in (USER, ITEM)]
        for column in self.free:
            if None in ids and not is_attribute(column.name) and column.looks_like_event and not column.named:
                self._set(EVENT, column, f"the {len(column.distinct)} words {', '.join(column.distinct[:4])}")
                return
            if column.named and column.says_reaction and not self._is_property(column):
                self._set(EVENT, column, f"the {len(column.distinct)} words {', '.join(column.distinct[:4])}")
                return
        self._set(EVENT, None)

    def _choose_flag(self) -> None:
        """Take a column of yes and no for a weight, so that rows with no do not count as those with yes."""
        if any(self.chosen.get(role) is not None for role in (RATING, EVENT, WEIGHT)) or "weight_column" in self.given:
            return
        flags = [column for column in self.free if column.is_flag and column.named and not is_attribute(column.name)]
        flags = [column for column in flags if not self._is_property(column)]
        said = [column for column in flags if is_liking(column.name) or likeness(column.name, RATING) >= LIKELY]
        said = said or [column for column in flags if not event_weight(column.name)]
        alone = None not in [self.chosen.get(role) for role in (USER, ITEM)] and len(self.free) == 1
        if found := said or (flags if alone else []):
            role = WEIGHT if event_weight(found[0].name) else EVENT  # of returned, only "no" is a sign of liking
            self._set(role, found[0], f"the values {' and '.join(found[0].distinct)}: what is not liked is left out")

    def _is_property(self, column: Column) -> bool:
        """Whether a column says something of a user or item alone."""
        ids = (self.chosen.get(role) for role in (USER, ITEM))
        return any(one is not None and id_columns.determines(one, column) for one in ids)

    def _choose_rating(self) -> None:
        if RATING in self.chosen:
            return
        scored = [
            (column.rating_likeness, column)
            for column in self.free
            if not is_attribute(column.name) and not self._follows(column)
        ]
        best = max(scored, key=lambda pair: pair[0], default=None)
        others = any(self.chosen.get(role) is not None for role in (EVENT, WEIGHT))
        enough = len(self.free) + sum(self.chosen.get(role) is not None for role in (USER, ITEM)) > 2
        self._check_named_ratings()
        if best is None or best[0] < 2.5 or others or not enough:
            self._set(RATING, None)
        else:
            self._set(RATING, best[1], f"its values from {best[1].low:g} to {best[1].high:g}")

    def _check_named_ratings(self) -> None:
        """Refuse to leave out a column of ratings that are no numbers."""
        for score, column in self._ranked(RATING, SURE):
            if column.present and not column.mostly_numeric and not self._says_else(RATING, score, column):
                raise UndecidedError(
                    f"column {column.name!r} has ratings such as {column.present[0]!r}, which are no numbers; with "
                    "data.rating_column=null every row is implicit feedback",
                    [{"rating_column": None}],
                )

    def _follows(self, column: Column) -> bool:
        """Whether a column with fewer values follows from another, as a category does from an item."""
        return any(
            id_columns.determines(other, column)
            for other in self.columns[:MOST_COMPARED]
            if other is not column and len(other.distinct) <= len(other.texts) / 2
        )

    def _choose_ids(self) -> None:
        missing = [role for role in (USER, ITEM) if role not in self.chosen]
        if not missing:
            return
        others = [column for role in (USER, ITEM) if (column := self.chosen.get(role)) is not None]
        numbers = 0 if any(self.chosen.get(role) is not None for role in (RATING, WEIGHT)) else 1
        found = id_columns.candidates(self.free, others, len(missing), numbers)
        if len(missing) == 2:
            user, item, why = id_columns.orient(*found)
            self._set(USER, user, why)
            self._set(ITEM, item, why)
        else:
            self._set(missing[0], found[0], "no other column has ids that repeat")

    def _choose_weight(self) -> None:
        if WEIGHT in self.chosen:
            if self.chosen[RATING] is not None and "weight_column" not in self.given:
                self._set(WEIGHT, None)
            return
        ids = [column for role in (USER, ITEM) if (column := self.chosen[role]) is not None]
        unnamed = [column for column in self.free if not column.named and not column.constant]
        numeric = [
            column
            for column in unnamed
            if column.mostly_numeric and column.low >= 0 and not any(id_columns.determines(one, column) for one in ids)
        ]
        if self.chosen[RATING] is None and numeric and "rating_column" not in self.given:
            self._set(WEIGHT, numeric[-1], f"its numbers from {numeric[-1].low:g} to {numeric[-1].high:g}")
        else:
            self._set(WEIGHT, None)

    # -- the result

    def _result(self) -> tuple[dict[str, Any], list[Finding]]:
        options: dict[str, Any] = {}
        findings = []
        for role in ROLES:
            option = f"{role}_column"
            if option in self.given:
                continue
            column = self.chosen.get(role)
            options[option] = None if column is None else column.name
            if column is not None:
                findings.append(Finding(option, column.name, self.why[role]))
            elif role in (RATING, TIMESTAMP):
                findings.append(Finding(option, None, f"no column looks like {NOTHING[role]}"))
        time = self.chosen.get(TIMESTAMP)
        if time is not None and "timestamp_format" not in self.given and not time.stores_time:
            place = f"column {time.name!r}"
            # A few bad values are for the reader, which names their lines.
            found = self._time_format(time, place)
            if found is None:
                raise _unknown_times(time)
            options["timestamp_format"] = found[0]
            findings.append(Finding("timestamp_format", *found))
        return options, findings

    def _time_format(self, time: Column, place: str) -> tuple[str, str] | None:
        """Format of the times; of those of the commonest form, if some are written in another."""
        texts = time.present
        for attempt in range(2):
            try:
                return infer_time_format(texts, place) or infer_time_format(commonest_form(texts), place)
            except UndecidedError:
                if attempt or self.more is None:
                    raise
            sample = self.more()
            at = sample.columns.index(time.name)
            texts = present(row[at] for row in sample.rows)
        return None


def _unknown_times(column: Column) -> UndecidedError:
    shown = column.present[0] if column.present else ""
    return UndecidedError(
        f"column {column.name!r} has times such as {shown!r} in no known form; set data.timestamp_format to a strptime "
        "pattern, or data.timestamp_column=null",
        [{"timestamp_column": None}],
    )
