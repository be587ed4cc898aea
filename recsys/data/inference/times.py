"""Infer how times are written."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime

from recsys.data.errors import UndecidedError
from recsys.data.inference.texts import is_number, numbers

UNITS = ((1e11, "seconds"), (1e14, "milliseconds"), (1e17, "microseconds"), (float("inf"), "nanoseconds"))
ISO = re.compile(r"[1-9]\d{3}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}([.,]\d+)?)?( ?(Z|[+-]\d{2}(:?\d{2})?))?)?", re.ASCII)
TOKEN = re.compile(r"[^\W\d_]+|\d+|.", re.ASCII)
CLOCK = re.compile(
    r"(?<!\d)\d{1,2}:\d{2}(:\d{2}([.,]\d{1,6})?)?(?:( ?)([AaPp][Mm]))?(?:( ?)([+-]\d{2}:?\d{2}))?(?!\d)", re.ASCII
)
_WEEKDAYS = "mon tue wed thu fri sat sun monday tuesday wednesday thursday friday saturday sunday"
_MONTHS = """
    jan feb mar apr may jun jul aug sep oct nov dec january february march april june july august september october
    november december
"""
WEEKDAYS, MONTHS = _WEEKDAYS.split(), _MONTHS.split()
TRIED = 2000  # texts parsed to choose a pattern
TRIED_BADLY = 500  # texts of which some have no pattern
MOST, FEWEST = 0.9, 10  # share of the texts that a format has to suit, of at least so many
SHAPES = 6  # distinct forms of text that a pattern is made from


def commonest_form(texts: Iterable[str]) -> list[str]:
    """The texts of the commonest form, where forms differ by more than their digits and letters."""
    forms: dict[str, list[str]] = {}
    for text in texts:
        forms.setdefault(_shape(text.strip()), []).append(text)
    return max(forms.values(), key=len, default=[])


def infer_time_format(texts: Iterable[str], place: str) -> tuple[str, str] | None:
    """The format of times and why; None if the texts are no times.

    Args:
        texts: Texts that are not missing.
        place: The file's and column's name, for errors.

    Raises:
        UndecidedError: Day and month cannot be told apart.

    A few texts may be bad, such as 20205-01-01 among dates: the reader names their lines.
    """
    distinct = list(dict.fromkeys(text.strip() for text in texts))
    if not distinct:
        return None
    if all(map(is_number, distinct)):
        return _number_format(numbers(distinct), distinct)
    if all(map(ISO.fullmatch, distinct)):
        return "iso8601", f"times such as {distinct[0]}"
    patterns = _patterns(distinct)
    if not patterns and len(distinct) >= FEWEST:
        known = [text for text in distinct if is_number(text)]
        if len(known) >= MOST * len(distinct):
            return _number_format(numbers(known), known)
        if sum(ISO.fullmatch(text) is not None for text in distinct) >= MOST * len(distinct):
            return "iso8601", f"times such as {distinct[0]}"
        patterns = _fitting_most(distinct[:TRIED_BADLY])
    if len(patterns) > 1:
        raise UndecidedError(
            f"{place}: the order of day and month in {distinct[0]!r} cannot be told; set data.timestamp_format="
            + " or data.timestamp_format=".join(f"'{pattern}'" for pattern in patterns),
            [{"timestamp_format": pattern} for pattern in patterns],
        )
    return (patterns[0], f"times such as {distinct[0]}") if patterns else None


def _number_format(values: Sequence[float], texts: Sequence[str]) -> tuple[str, str] | None:
    dated = [
        (width, pattern)
        for width, pattern in ((8, "%Y%m%d"), (12, "%Y%m%d%H%M"), (14, "%Y%m%d%H%M%S"), (4, "%Y"))
        if all(len(text) == width and text[:2] in ("19", "20") for text in texts) and _parses(texts[:TRIED], pattern)
    ]
    if dated:
        return dated[0][1], f"dates such as {texts[0]}"
    largest = max(values)
    if min(values) < 0 or largest >= 1e20:
        return None
    unit = next(name for limit, name in UNITS if largest < limit)
    return unit, f"numbers such as {texts[0]}"


def _patterns(texts: list[str]) -> list[str]:
    """Patterns of `strptime` by which all texts can be read; more than one if the order of day and month is open."""
    shapes = {_shape(text): text for text in reversed(texts)}
    if len(shapes) > SHAPES:
        return []
    tried = dict.fromkeys(pattern for text in shapes.values() for pattern in _candidates(text))
    found = [pattern for pattern in tried if _parses(texts[:TRIED], pattern) and _parses(texts[TRIED:], pattern)]
    found = [pattern for pattern in found if not pattern.startswith("%y")] or found[:1]  # years last, if they can be
    dates = {re.sub("%[BbAaYyHIMSfpz]", "", pattern) for pattern in found}
    return found[:1] if len(dates) == 1 else found[:2]


def _fitting_most(texts: list[str]) -> list[str]:
    """Patterns by which as many texts as by any other can be read, and most of all."""
    shapes = Counter(map(_shape, texts)).most_common(SHAPES)
    examples = [next(text for text in texts if _shape(text) == shape) for shape, _ in shapes]
    tried = dict.fromkeys(pattern for text in examples for pattern in _candidates(text))
    fitting = {pattern: sum(_parses([text], pattern) for text in texts) for pattern in tried}
    most = max(fitting.values(), default=0)
    if most < MOST * len(texts):
        return []
    found = [pattern for pattern, n in fitting.items() if n == most]
    return [pattern for pattern in found if not pattern.startswith("%y")][:2] or found[:1]


def _shape(text: str) -> str:
    return re.sub(r"\d+", "0", re.sub(r"[^\W\d_]+", "a", text))


def _candidates(text: str) -> list[str]:
    """Patterns that a text may have been written by, the likelier first."""
    clock = CLOCK.search(text)
    date = text if clock is None else f"{text[: clock.start()]}\0{text[clock.end() :]}"
    time = "" if clock is None else _clock_pattern(clock)
    parts = [_directive(token) for token in TOKEN.findall(date)]
    numbers = [place for place, part in enumerate(parts) if part.isdigit()]
    result = []
    for order in _orders([parts[place] for place in numbers], named="%b" in parts or "%B" in parts):
        for place, directive in zip(numbers, order, strict=True):
            parts[place] = directive
        result.append("".join(parts).replace("\0", time))
    return result


def _clock_pattern(clock: re.Match[str]) -> str:
    """The pattern of a time of day, such as 1:05 PM."""
    seconds, fraction, blank, half, gap, zone = clock.groups()
    pattern = ("%I" if half else "%H") + ":%M" + (":%S" if seconds else "") + (f"{fraction[0]}%f" if fraction else "")
    return pattern + (f"{blank}%p" if half else "") + (f"{gap}%z" if zone else "")


def _directive(token: str) -> str:
    lower = token.lower()
    if lower in MONTHS or lower in WEEKDAYS:
        return ("%b" if lower in MONTHS else "%a") if len(token) == 3 else ("%B" if lower in MONTHS else "%A")
    return token.replace("%", "%%")


def _orders(numbers: list[str], *, named: bool) -> list[list[str]]:
    """Orders of year, month and day that numbers of a date may stand for."""
    year = next((place for place, number in enumerate(numbers) if len(number) == 4), None)
    if named:
        if len(numbers) != 2:
            return []
        if year is None:
            return [["%d", "%y"]]
        return [["%d", "%Y"] if year == 1 else ["%Y", "%d"]]
    if len(numbers) != 3:
        return []
    if year is None:
        return [["%d", "%m", "%y"], ["%m", "%d", "%y"], ["%y", "%m", "%d"]]
    if year == 0:
        return [["%Y", "%m", "%d"]]
    return [["%d", "%m", "%Y"], ["%m", "%d", "%Y"]] if year == 2 else []


def _parses(texts: Sequence[str], pattern: str) -> bool:
    try:
        for text in texts:
            datetime.strptime(text, pattern)
    except (ValueError, re.error):  # the second if it names a part of a time twice
        return False
    return True
