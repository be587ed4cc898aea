"""What is this machine's own."""

from __future__ import annotations

import pytest

from serve.addresses import is_loopback


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("127.8.9.10", True), ("localhost", True), ("LOCALHOST", True), ("::1", True),
     ("::ffff:127.0.0.1", True), ("0.0.0.0", False), ("::", False), ("", False), ("192.0.2.7", False),
     ("2001:db8::1", False), ("no.such.host.invalid", False), ("a" * 300, False), ("\ud800", False), ("a\0b", False)],
    ids=ascii,
)  # fmt: skip
def test_loopback(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected
