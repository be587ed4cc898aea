"""JSON is measured before it is parsed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from recsys.bundle import Budget, BundleError
from recsys.bundle import strict_json as module
from recsys.bundle.budget import Spending
from recsys.bundle.strict_json import outline, parsed_json


def parse(content: bytes, **limits: int) -> Any:
    return parsed_json(Path("x.json"), content, Spending(Path("bundle"), Budget(**limits)))


def counted(value: Any, depth: int = 0) -> list[int]:
    """Depth, objects, lists and keys of what was parsed."""
    if not isinstance(value, dict | list):
        return [depth, 0, 0, 0]
    is_object = isinstance(value, dict)
    found = [depth + 1, is_object, not is_object, len(value) if is_object else 0]
    for one in value.values() if is_object else value:
        deepest, *below = counted(one, depth + 1)
        found = [max(found[0], deepest), *(a + b for a, b in zip(found[1:], below, strict=True))]
    return found


TEXTS = ["", "a", "[{,:}]", 'quo"ted', "back\\", "\\", '\\"', "\\\\", '\\\\"', "é", "🎬", "\n", "[" * 50]


@pytest.mark.parametrize("block", [1 << 20, 7, 1], ids=lambda block: f"block {block}")
def test_the_outline_is_that_of_what_is_parsed(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BLOCK", block)
    for value in [
        1,
        None,
        "x",
        [],
        {},
        [[]],
        {"a": [{}]},
        TEXTS,
        dict(zip(TEXTS, TEXTS, strict=True)),
        [[1, 2], [[3]]],
    ]:
        for ascii_only in (True, False):
            found = outline(json.dumps(value, ensure_ascii=ascii_only).encode())
            assert [found.depth, found.objects, found.lists, found.keys] == counted(value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"a": 1, "b": 2, "a": 3}', "it names 'a' twice"),
        (b'{"a": {"b": 2, "b": 2}}', "it names 'b' twice"),
        (b"[NaN]", "NaN is not a number"),
        (b"[-Infinity]", "-Infinity is not a number"),
        (b"[1e999]", "1e999 is not a number"),
        (b"[1." + b"0" * 10_000 + b"]", r"1\.0+ is not a number"),
        (b"[18446744073709551616]", "18446744073709551616 is beyond 64 bits"),
        (b"[-9223372036854775809]", "is beyond 64 bits"),
        (b"[" + b"9" * 10_000 + b"]", "9{30} is beyond 64 bits"),
        (b'["\\ud800"]', "surrogates not allowed"),
        (b'["\xff"]', "can't decode byte 0xff"),
        ('["x"]'.encode("utf-16"), "can't decode byte 0xff"),
        ('["x"]'.encode("utf-16-le"), "cannot be parsed"),
        (b'\xef\xbb\xbf["x"]', "BOM"),
        (b'["x', "Unterminated string"),
        (b"[]]", "Extra data"),
        (b"", "Expecting value"),
    ],
)
def test_what_no_answer_can_carry_is_refused(content: bytes, message: str) -> None:
    with pytest.raises(BundleError, match=message) as error:
        parse(content)
    assert str(error.value).startswith("x.json cannot be parsed: ")
    assert len(str(error.value)) < 200


@pytest.mark.parametrize("number", [2**64 - 1, -(2**63), 0, 1.5, 5e-324, 1e308])
def test_numbers_of_64_bits_are_read(number: float) -> None:
    assert parse(json.dumps([number]).encode()) == [number]


@pytest.mark.parametrize(
    ("content", "limits", "message"),
    [
        (b"[" * 33 + b"]" * 33, {}, r"is nested in 33 levels, the limit is 32 \(depth of recsys.bundle.Budget\)"),
        (b'{"a":' * 10_000_000, {}, "is nested in 10,000,000 levels"),
        (b"[" + b"1," * 10_000_000 + b"1]", {}, r"has about 10,000,002 values, the limit is 5,000,000"),
        (b"[" + b"{}," * 100_000 + b"1]", {"memory": 10_000_000}, "RECSYS_MAX_BUNDLE_MEMORY"),
    ],
    ids=["depth", "more depth", "values", "memory"],
)
def test_bombs_are_refused_before_they_are_parsed(
    content: bytes, limits: dict[str, int], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(module, "json")
    with pytest.raises(BundleError, match=message):
        parse(content, **limits)
