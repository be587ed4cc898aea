"""Every answer tells browsers what they must not do with it."""

from __future__ import annotations

import pytest

from serve.headers import SECURITY_HEADERS, secured
from tests.serve.conftest import CheckedClient


@pytest.mark.parametrize(
    "path", ["/items/50", "/items/4711", "/nothing", "/health/live", "/metrics", "/", "/page/page.js", "/page/none",
             "/openapi.json", "/predict/rating"],
)  # fmt: skip
def test_every_answer_has_them(client: CheckedClient, path: str) -> None:
    for method in ("GET", "PUT", "OPTIONS"):
        answer = client.request(method, path, follow_redirects=False)
        for name, value in SECURITY_HEADERS:
            [found] = answer.headers.get_list(name.decode())
            if name != b"content-security-policy":
                assert found == value.decode()
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
        assert "default-src 'none'" in answer.headers["content-security-policy"] or path == "/"


def test_a_pages_own_policy_stays() -> None:
    own = [(b"content-security-policy", b"default-src 'self'")]
    assert secured(own)[0] == own[0]
    assert [name for name, _ in secured(own)] == [name for name, _ in SECURITY_HEADERS]
