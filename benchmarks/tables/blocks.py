"""Blocks of a Markdown document: what stands between `<!-- table: NAME -->` and `<!-- end -->`."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.tables.results import TablesError

MARK = re.compile(r"<!-- table: (?P<name>.*?) -->|<!-- end -->")


@dataclass(frozen=True)
class Block:
    name: str
    start: int  # of what is between the marks, in characters
    end: int


def blocks(text: str) -> list[Block]:
    """All blocks in order.

    Raises:
        TablesError: One is not closed, or an end has no beginning.
    """
    found: list[Block] = []
    begun: re.Match[str] | None = None
    for mark in MARK.finditer(text):
        if begun and mark["name"] is None:
            found.append(Block(begun["name"], begun.end(), mark.start()))
            begun = None
        elif begun:
            raise unclosed(text, begun)
        elif mark["name"] is None:
            raise TablesError(f"line {line(text, mark)}: `<!-- end -->` ends no table")
        else:
            begun = mark
    if begun:
        raise unclosed(text, begun)
    return found


def filled(text: str, content: Callable[[str], str]) -> str:
    """The text with every block's content replaced by what `content` gives for its name."""
    parts, after = [], 0
    for block in blocks(text):
        parts += [text[after : block.start], f"\n{content(block.name)}\n"]
        after = block.end
    return "".join([*parts, text[after:]])


def unclosed(text: str, begun: re.Match[str]) -> TablesError:
    return TablesError(f"line {line(text, begun)}: table {begun['name']} has no `<!-- end -->`")


def line(text: str, mark: re.Match[str]) -> int:
    return text.count("\n", 0, mark.start()) + 1
