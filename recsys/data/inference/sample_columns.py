"""What the texts of a column in a sample say about it."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

from recsys.data.errors import DataError
from recsys.data.inference.texts import is_number, is_time, numbers, numeric, present
from recsys.data.inference.times import infer_time_format
from recsys.data.inference.vocabulary import is_event
from recsys.data.readers.format import Sample

EARLIEST, LATEST = 3e8, 5e9  # unix seconds (1979, 2128) that are taken for times whatever the column's name


FLAGS = ({"0", "1"}, {"-1", "1"}, {"false", "true"}, {"no", "yes"}, {"f", "t"}, {"n", "y"})
MOST_CELLS, FEWEST_ROWS = 200_000, 50  # looked at, so that thousands of columns take no time


@dataclass(eq=False)
class Column:
    """A column of a sample.

    Attributes:
        name: Its name; a position such as "0" without a header.
        place: Its position, from 0.
        width: Number of columns.
        texts: Its texts, one a row.
        type: Its type in a typed file, else "".
    """

    name: str
    place: int
    width: int
    texts: list[str]
    type: str = ""

    @property
    def named(self) -> bool:
        return not self.name.isdigit()

    @property
    def stores_time(self) -> bool:
        """Whether a typed file says that these are times."""
        return self.type.startswith(("timestamp", "date", "datetime"))

    @cached_property
    def present(self) -> list[str]:
        """Stripped texts that are not missing."""
        return [text.strip() for text in present(self.texts)]

    @cached_property
    def distinct(self) -> list[str]:
        return list(dict.fromkeys(self.present))

    @property
    def constant(self) -> bool:
        return len(self.distinct) < 2 and len(self.texts) > 2

    @cached_property
    def decimal(self) -> str:
        return "." if numeric(self.present) or not numeric(self.present, ",") else ","

    @cached_property
    def mostly_numeric(self) -> bool:
        found = sum(is_number(text, self.decimal) for text in self.present)
        return bool(found) and found >= 0.9 * len(self.present)

    @cached_property
    def numbers(self) -> list[float]:
        return [value for value in numbers(self.present, self.decimal) if not math.isnan(value)]

    @cached_property
    def low(self) -> float:
        return min(self.numbers, default=math.nan)

    @cached_property
    def high(self) -> float:
        return max(self.numbers, default=math.nan)

    @cached_property
    def mostly_positive(self) -> bool:
        """Whether no more than half of the numbers are negative, as a shop's returns are."""
        return sum(value < 0 for value in self.numbers) <= len(self.numbers) / 2

    @cached_property
    def is_flag(self) -> bool:
        """Whether its values are yes and no."""
        kinds = {text.lower() if not is_number(text) else f"{float(text.replace(',', '')):g}" for text in self.distinct}
        return kinds in FLAGS

    @cached_property
    def says_reaction(self) -> bool:
        """Whether at least half of its few words are known to say what a person did or felt."""
        known = sum(is_event(text) for text in self.distinct)
        return self.looks_like_event and not self.is_flag and known >= len(self.distinct) / 2

    @cached_property
    def whole(self) -> bool:
        return self.mostly_numeric and all(value.is_integer() for value in self.numbers)

    @cached_property
    def grouped(self) -> bool:
        """Whether equal values stand together."""
        runs = 1 + sum(first != second for first, second in pairwise(self.texts))
        return runs == len(set(self.texts)) and runs <= len(self.texts) / 2

    @cached_property
    def ascends(self) -> bool:
        values = numbers(self.texts, self.decimal)
        return all(first <= second for first, second in pairwise(values))

    @cached_property
    def is_index(self) -> bool:
        """Whether it counts the rows."""
        values = numbers(self.texts)
        steps = {second - first for first, second in pairwise(values)}
        return len(values) >= 4 and steps == {1.0}

    @cached_property
    def looks_like_time(self) -> bool:
        if self.stores_time:
            return True
        if not self.present:
            return False
        first = self.present[0]
        if self.mostly_numeric:
            dated = bool(re.fullmatch(r"(19|20)\d\d(0[1-9]|1[0-2])([0-2]\d|3[01])(\d{6})?", first))
            recent = any(self.low >= EARLIEST * unit and self.high <= LATEST * unit for unit in (1, 1e3, 1e6, 1e9))
            return (dated or recent) and len(self.distinct) > 1 and self._is_time
        return (is_time(first) or bool(re.search(r"\d{4}", first))) and self._is_time

    @cached_property
    def _is_time(self) -> bool:
        try:
            return infer_time_format(self.present, self.name) is not None
        except DataError:
            return True

    @cached_property
    def looks_like_event(self) -> bool:
        """Whether its few words say what happened."""
        words = all(re.fullmatch(r"[^\W\d]+([ _:-][^\W\d]+){0,3}", text) for text in self.distinct)
        return words and 2 <= len(self.distinct) <= 20 and len(self.distinct) <= len(self.present) / 10

    @cached_property
    def rating_likeness(self) -> float:
        """How much its values look like ratings; at least 2.5 for likely ones."""
        if not self.mostly_numeric or self.stores_time or not -100 <= self.low <= self.high <= 100 or self.is_index:
            return 0.0
        kinds = len(set(self.numbers))
        if kinds < 3 or (kinds > 21 and kinds > len(self.numbers) / 3 and self.whole):
            return 0.0
        spread = 3.0 if kinds <= 11 else 2.0 if kinds <= 21 else 1.5 if kinds <= 101 else 1.0
        score = spread + (self.low >= -1 and self.high <= 10) + self.place / self.width
        score += any("." in text or "," in text for text in self.present) and not self.ascends
        padded = any(len(text) > 1 and text[0] == "0" and text.isdigit() for text in self.present)
        return score - 2.5 * (self.ascends and len(self.texts) > 3) - 1.5 * (self.place == 0) - 4 * padded


def described(sample: Sample) -> list[Column]:
    """The columns of a sample, in file order."""
    width = len(sample.columns)
    rows = sample.rows[: max(FEWEST_ROWS, MOST_CELLS // max(1, width))]
    texts = [list(column) for column in zip(*rows, strict=True)]
    return [
        Column(name, place, width, texts[place], sample.types.get(name, ""))
        for place, name in enumerate(sample.columns)
    ]
