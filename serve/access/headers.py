"""Headers on every answer, those of errors and files included: no content sniffing, frames, referrers or scripts."""

from __future__ import annotations

CONTENT_POLICY = b"content-security-policy"

# What a browser may do with an answer of the API: show it as it is. Pages name their own sources instead.
SECURITY_HEADERS: tuple[tuple[bytes, bytes], ...] = (
    (CONTENT_POLICY, b"default-src 'none'; frame-ancestors 'none'"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
)
_WITHOUT_POLICY = SECURITY_HEADERS[1:]


def secured(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """The headers of an answer with these added; a content policy that it has stays."""
    for name, _ in headers:
        if name == CONTENT_POLICY:
            return [*headers, *_WITHOUT_POLICY]
    return [*headers, *SECURITY_HEADERS]
