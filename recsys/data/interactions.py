"""Rows of files as ratings, or as implicit feedback with weights: infers what is not set, accounts for each row."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from recsys.data.columns import EVENT, ITEM_ID, RATING, TIMESTAMP, USER_ID, WEIGHT
from recsys.data.errors import DataError, UndecidedError, listed
from recsys.data.format_options import check_kind
from recsys.data.inference import infer_columns, infer_format, infer_values
from recsys.data.inference.decimals import undecided_number
from recsys.data.inference.finding import AUTO, Finding
from recsys.data.inference.texts import is_missing
from recsys.data.interaction_options import InteractionOptions, position
from recsys.data.rating_data import RATING_COLUMNS, RatingData
from recsys.data.readers import read_rows, sample_rows
from recsys.data.readers.fields import Field, Stars, Text, Weight
from recsys.data.readers.format import Format, RowCounts, Sample, SourceFile, Values
from recsys.data.readers.id_fields import AnyId, same_kind
from recsys.data.readers.limits import MOST_NAMED, check_columns
from recsys.data.readers.time_fields import Time
from recsys.data.repeats import merge_repeats
from recsys.data.row_values import (
    absent_events,
    event_kinds,
    event_weights,
    events_text,
    rows_frame,
    weight_scale,
    words_as_ids,
)

DEEP_SAMPLE = 300_000  # rows that may decide which number of a date is the month
SAMPLE = 10_000  # rows from which the columns are inferred
MOST_UNRATED = 0.5  # share of the rows without a warning
MERGED = {"sum": "added to others of the same user and item"}
ROLES = ("user", "item", "rating", "timestamp", "event", "weight")


@dataclass
class Interactions:
    """Ratings as `RatingData` has them, and how they came about.

    Attributes:
        ratings: The frame `RatingData.ratings`.
        implicit: Whether it is implicit feedback.
        rating_min: Lowest rating of the scale.
        rating_max: Highest rating of the scale.
        events: Kinds of events, as `RatingData.events`.
        counts: What became of the rows.
        written: How the files are written.
        findings: Options that were inferred.
        warnings: What a person should know.
        options: All options of columns, set or inferred.
        settled: Values of options that are neither set nor worth a finding.
    """

    ratings: pd.DataFrame
    implicit: bool
    rating_min: float
    rating_max: float
    events: tuple[str, ...]
    counts: RowCounts
    written: Format
    findings: list[Finding]
    warnings: list[str]
    options: dict[str, Any]
    settled: dict[str, Any]

    def data(self, name: str, **others: Any) -> RatingData:
        """The data set of these rows; `others` are fields of `RatingData` beside them or in their place."""
        own: dict[str, Any] = {
            "ratings": self.ratings,
            "rating_min": self.rating_min,
            "rating_max": self.rating_max,
            "implicit": self.implicit,
            "events": self.events,
            "counts": self.counts,
            "findings": tuple(self.findings),
            "settled": self.settled,
            "warnings": tuple(self.warnings),
        }
        return RatingData(name=name, **own | others)


def read_interactions(
    files: Sequence[SourceFile], form: Mapping[str, Any], options: InteractionOptions, place: str
) -> Interactions:
    """Read the rows of files that are written alike.

    Args:
        files: At least one.
        form: Fields of `Format` that are set, by name.
        options: What the columns are.
        place: What the rows are of, for messages.

    Raises:
        DataError: A file or an option does not suit; the message names file, line, column and value, or the option.
    """
    return _Reading(options, place).read(files, form)


class _Reading:
    """Options that are set or inferred so far, and the counts of rows left out."""

    def __init__(self, options: InteractionOptions, place: str) -> None:
        self.place = place
        self.given = options.given()
        self.options = self.given | {"rating_min": options.rating_min, "rating_max": options.rating_max}
        self.asks_scale = {name for name in ("rating_min", "rating_max") if getattr(options, name) is None}
        self.findings: list[Finding] = []
        self.warnings: list[str] = []
        self.dropped: dict[str, int] = {}
        self.events: tuple[str, ...] = ()

    def read(self, files: Sequence[SourceFile], form: Mapping[str, Any]) -> Interactions:
        written, found = self._format(files, form)
        self.findings += [replace(one, option="format") if one.option == "kind" else one for one in found]
        sample = self._infer_columns(files, written)
        if "decimal" not in form:
            self._check_decimal(sample, written)
        fields = self._fields()
        rows = read_rows(files, written, fields, bad_rows=self.options["bad_rows"])
        values = dict(rows.values)
        self.dropped |= rows.counts.dropped
        self._infer_values(values)
        frame, explicit = self._ratings(values)
        counts = RowCounts(rows.counts.total, rows.counts.refused, {k: n for k, n in self.dropped.items() if n})
        if counts.kept != len(frame):
            raise DataError(f"{self.place}: {len(frame)} ratings, but {counts.sentence(self.place)}")
        low, high = (1.0, 1.0) if not explicit else self._scale(frame[RATING].to_numpy())
        return Interactions(
            ratings=frame,
            implicit=not explicit,
            rating_min=low,
            rating_max=high,
            events=self.events,
            counts=counts,
            written=written,
            findings=self.findings,
            warnings=self.warnings,
            options=self.options,
            settled=self._settled(explicit=explicit),
        )

    def _format(self, files: Sequence[SourceFile], form: Mapping[str, Any]) -> tuple[Format, list[Finding]]:
        try:
            written, found = infer_format(files, form)
        except UnicodeError as error:
            encoding = form.get("encoding", "utf-8")
            raise DataError(f"{self.place}: cannot be read with data.encoding={encoding}: {error}") from error
        check_kind(form, written.kind, self.place)
        return written, found

    def _settled(self, *, explicit: bool) -> dict[str, Any]:
        """Options that were neither set nor found to be anything."""
        values = {f"{role}_column": self.options.get(f"{role}_column") for role in ROLES}
        if explicit:  # kinds of events and weights have not been looked at
            values |= {"event_column": None, "weight_column": None, "missing": self.options.get("missing") or []}
        found = {*self.given, *(one.option for one in self.findings)}
        return {option: value for option, value in values.items() if option not in found}

    def _infer_columns(self, files: Sequence[SourceFile], written: Format) -> Sample:
        given = dict(self.given)
        if "events" in given and "rating_column" not in given:
            given["rating_column"] = None
            self._find("rating_column", None, "data.events says what the events weigh")
        names = {f"{role}_column" for role in ROLES} | {"timestamp_format"}
        sample = sample_rows(files[0], written, SAMPLE)
        check_columns(self.place, len(sample.columns), MOST_NAMED)
        words = {str(value) for value in given.get("missing", ()) if isinstance(value, str)}
        sample = replace(sample, rows=[["" if text in words else text for text in row] for row in sample.rows])
        for option in sorted(names & given.keys() - {"timestamp_format"}):
            if (place := position(given[option], sample.columns)) is not None:
                self.given[option] = given[option] = sample.columns[place]
        try:
            found, findings = infer_columns(
                sample,
                {name: value for name, value in given.items() if name in names},
                lambda: sample_rows(files[0], written, DEEP_SAMPLE),
            )
        except DataError as error:
            error.args = (f"{self.place}: {error}",)
            raise
        self.options |= {name: given.get(name) for name in names if name in given} | found
        self.findings += findings
        if "events" in self.given and self.options.get("event_column") is None:
            present = listed(sample.columns)
            raise DataError(f"{self.place}: events is set, but there is no event_column; the columns are {present}")
        return sample

    def _check_decimal(self, sample: Sample, written: Format) -> None:
        """Ask for the decimal sign where numbers are such as 1,234 and nothing says what these are."""
        for role in ("rating", "weight"):
            column = self.options.get(f"{role}_column")
            if column is None or written.decimal == "," or sample.types.get(column, "string") != "string":
                continue
            place = sample.columns.index(column)
            texts = [row[place] for row in sample.rows if not is_missing(row[place])]
            whole = role == "weight"
            if (text := undecided_number(texts, points=written.kind == "csv", whole=whole)) is None:
                continue
            signs = (".", ",") if "," in text else (",", ".")  # that of thousands first
            values = [re.sub(r"[.,]", "" if sign == signs[0] else ".", text) for sign in signs]
            raise UndecidedError(
                f"{self.place}: column {column!r} has numbers such as {text}, which may be {values[0]} or {values[1]}; "
                f"set data.decimal={signs[0]} or data.decimal={signs[1]}",
                [{"decimal": sign} for sign in signs],
            )

    def _fields(self) -> dict[str, Field]:
        """Fields to read, by column of the file."""
        low, high = (self.options[name] for name in ("rating_min", "rating_max"))
        stars = Stars(
            RATING,
            low if isinstance(low, int | float) else -np.inf,
            high if isinstance(high, int | float) else np.inf,
            missing=tuple(self.given.get("missing", ())),
        )
        makers: dict[str, Field] = {
            "user": AnyId(USER_ID),
            "item": AnyId(ITEM_ID),
            "rating": stars,
            "timestamp": Time(TIMESTAMP, self.options.get("timestamp_format") or "seconds"),
            "event": Text(EVENT),
            "weight": Weight(WEIGHT),
        }
        columns = {role: self.options.get(f"{role}_column") for role in ROLES}
        fields = {str(column): makers[role] for role, column in columns.items() if column is not None}
        used = [column for column in columns.values() if column is not None]
        if len(fields) < len(used):
            roles = ", ".join(f"{role}_column" for role in ROLES)
            raise DataError(f"{self.place}: {roles} must differ, got {used}")
        return fields

    def _infer_values(self, values: dict[str, Values]) -> None:
        found, findings = infer_values(values, self.options, self.given)
        for option, value in found.items():
            if option in self.given or option in self.asks_scale:
                continue
            why = "; ".join(dict.fromkeys(one.why for one in findings if one.option == option))
            earlier = [one for one in self.findings if one.option == option]
            if why or earlier:  # else it is as if it were set to nothing
                self.findings = [one for one in self.findings if one.option != option]
                self._find(option, value, why or "the column is none of ratings")
        self.options |= {option: value for option, value in found.items() if option not in self.given}
        if self.options.get("rating_column") is None and RATING in values:
            ratings = values.pop(RATING)
            if self.options.get("weight_column") is not None and WEIGHT not in values:
                values[WEIGHT] = np.asarray(ratings, dtype=np.float64)

    def _ratings(self, values: dict[str, Values]) -> tuple[pd.DataFrame, bool]:
        """The frame, and whether it has ratings."""
        ids = dict(zip((USER_ID, ITEM_ID), same_kind(values.pop(USER_ID), values.pop(ITEM_ID)), strict=True))
        keep = np.ones(len(ids[USER_ID]), dtype=bool)
        for name, column in ids.items():
            if isinstance(column, pa.Array):
                self._warn_of_words("user" if name == USER_ID else "item", column)
        explicit = RATING in values and self.options["missing_as"] == "drop"
        columns: dict[str, Any] = {}
        if explicit:
            rating = self._without_missing(np.asarray(values[RATING]))
            if "events" in self.given:
                self._drop(keep, self._event_weight(values[EVENT]) == 0, "of other events")
            self._drop(keep, np.isnan(rating), "not rated")
            unrated = self.dropped["not rated"] / len(keep)
            if (events := self.options.get("events")) and "events" not in self.given and unrated > MOST_UNRATED:
                said = shlex.quote(f"data.events={events_text(events)}")
                self.warnings.append(
                    f"{self.place}: {unrated:.0%} of the rows have no rating; with data.rating_column=null {said} "
                    f"model=ials they count by their {self.options['event_column']}, for a model that ranks"
                )
            unused = {"events", "event_column", "weight_column"}
            self.findings = [one for one in self.findings if one.option not in unused]
            columns[RATING] = rating
        else:
            columns |= self._weights(values, keep)
        if TIMESTAMP in values:
            columns[TIMESTAMP] = values[TIMESTAMP]
        if not keep.any():
            reasons = ", ".join(f"{n:,} {reason}" for reason, n in self.dropped.items() if n)
            raise DataError(f"{self.place}: no ratings are left of {len(keep):,} rows ({reasons})")
        return self._merged(rows_frame(ids, columns, keep), explicit=explicit), explicit

    def _without_missing(self, rating: NDArray[np.float32]) -> NDArray[np.float32]:
        """Ratings with NaN for the values that were inferred to mean "not rated"."""
        if "missing" in self.given or not (missing := self.options.get("missing")):
            return rating
        return np.where(np.isin(rating, np.array(missing, np.float32)), np.float32(np.nan), rating)

    def _weights(self, values: dict[str, Values], keep: NDArray[np.bool_]) -> dict[str, NDArray[Any]]:
        """Weight and kind of event of each row before repeats are merged; without what is the same for all."""
        weight, kinds = None, {}
        if self.options.get("event_column") is not None and EVENT in values:
            weight = self._event_weight(values[EVENT])
            self._drop(keep, weight == 0, "of other events")
            self.events, places = event_kinds(values[EVENT], self.options["events"])
            kinds = {EVENT: places} if self.events else {}
        if WEIGHT in values:
            own = np.asarray(values[WEIGHT], dtype=np.float64)
            self._drop(keep, ~(own > 0), "without a weight > 0")
            weight = own if weight is None else weight * own
        return kinds if weight is None else {WEIGHT: weight} | kinds

    def _event_weight(self, events: Values) -> NDArray[np.float64]:
        known: dict[str, float] = self.options.get("events") or {}
        if problem := absent_events(events, known, self.options["event_column"]):
            self.warnings.append(f"{self.place}: {problem}")
        weights = event_weights(events, known)
        if not weights.any():
            raise DataError(f"{self.place}: {problem or 'no row has an event with a weight'}")
        return weights

    def _merged(self, frame: pd.DataFrame, *, explicit: bool) -> pd.DataFrame:
        """Each user and item once, with final weights."""
        rule = self.options.get("repeats", "latest" if explicit or WEIGHT not in frame else "sum")
        merged = merge_repeats(frame, self.place, rule)
        if len(merged) < len(frame):
            self.dropped[MERGED.get(rule, "repeats of a user and item")] = len(frame) - len(merged)
            if "repeats" not in self.given:
                self._find("repeats", rule, f"{len(frame) - len(merged):,} rows repeat a user and item")
        if WEIGHT in merged:
            weight = merged[WEIGHT].to_numpy(np.float64)
            if self._scale_of(weight) == "log":
                weight = np.log1p(weight)
            merged[WEIGHT] = weight.astype(np.float32)
        if not explicit:
            merged.insert(2, RATING, pd.Series(1.0, index=merged.index, dtype="float32"))
        return merged[[name for name in RATING_COLUMNS if name in merged]]

    def _scale_of(self, weights: NDArray[np.float64]) -> str:
        if "weight_scale" in self.given:
            return str(self.given["weight_scale"])
        if self.options.get("weight_column") is None:
            return "linear"
        scale, why = weight_scale(weights)
        self._find("weight_scale", scale, why)
        return scale

    def _scale(self, rating: NDArray[np.float32]) -> tuple[float, float]:
        """Lowest and highest rating of the scale, as set or as in the data."""
        low, high = (self.options.get(name) for name in ("rating_min", "rating_max"))
        unset = (None, AUTO)
        return float(rating.min() if low in unset else low), float(rating.max() if high in unset else high)

    def _drop(self, keep: NDArray[np.bool_], which: NDArray[np.bool_], reason: str) -> None:
        self.dropped[reason] = self.dropped.get(reason, 0) + int(np.count_nonzero(which & keep))
        keep &= ~which

    def _warn_of_words(self, role: str, ids: pa.DictionaryArray) -> None:
        rows, words = words_as_ids(ids)
        if rows:
            what = f"{rows:,} rows have {listed(words)} in the column {self.options[f'{role}_column']}"
            self.warnings.append(f"{self.place}: {what}, taken as an id like the other texts there")

    def _find(self, option: str, value: Any, why: str) -> None:
        self.findings.append(Finding(option, value, why))
