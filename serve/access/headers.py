"""Headers on every answer, those of errors and files included: no sniffing, frames, referrers, scripts or copies."""

from __future__ import annotations

CONTENT_POLICY = b"content-security-policy"

# What a browser may do with an answer of the API: show it as it is, and no cache may keep it, since it can be about a
# person, or for one key. Pages name their own sources and caching instead.
SECURITY_HEADERS: tuple[tuple[bytes, bytes], ...] = (
    (CONTENT_POLICY, b"default-src 'none'; frame-ancestors 'none'"),
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
)
_FOR_PAGES = SECURITY_HEADERS[2:]


def secured(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """The headers of an answer with these added; one with a content policy is a page, whose own stay."""
    for name, _ in headers:
        if name == CONTENT_POLICY:
            return [*headers, *_FOR_PAGES]
    return [*headers, *SECURITY_HEADERS]
