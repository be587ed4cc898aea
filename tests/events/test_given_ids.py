from __future__ import annotations

import pytest

from recsys.events.given_ids import given_id


@pytest.mark.parametrize(
    ("text", "kind", "meant"),
    [("07", "int", "7"), ("-7", "int", "-7"), ("0", "int", "0"), ("07", "str", "07"), ("ann", "str", "ann"),
     ("07", None, "07"), ("9223372036854775807", "int", "9223372036854775807")],
)  # fmt: skip
def test_what_is_meant(text: str, kind: str | None, meant: str) -> None:
    assert given_id(text, kind) == meant


@pytest.mark.parametrize("text", ["", "ann", "7.0", " 7", "٧", "9" * 19, "1" * 20, "--7"])
def test_what_is_no_integer_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^ids of this data are integers, such as 50, got "):
        given_id(text, "int")
