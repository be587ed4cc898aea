"""Who may ask: checks of the host, the key and the rate, around all routes."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from threading import Event

from starlette.responses import Response
from starlette.types import ASGIApp, Scope

from serve.access.addresses import Clients
from serve.access.cors import Cors
from serve.access.hosts import Hosts
from serve.access.key_file import Key
from serve.access.key_ring import KeyRing
from serve.access.rate_limits import Limiter, RateLimit, Table
from serve.errors import error
from serve.metrics import MULTIPROC_DIR
from serve.settings import Settings, listed

log = logging.getLogger("serve")

UNLIMITED = ("/health/live", "/health/ready")
FAILURES = RateLimit(60, 60)  # requests without a valid key where one is needed, per address


class Guard:
    """Checks requests, first whatever they ask for, then for what their route needs.

    Args:
        settings: Hosts, keys, limits and proxies.
    """

    def __init__(self, settings: Settings) -> None:
        self.hosts = Hosts(listed(settings.allowed_hosts), settings.host)
        self.clients = Clients(listed(settings.trusted_proxies))
        self.keys = None if settings.keys_file is None else KeyRing(settings.keys_file)
        folder = os.environ.get(MULTIPROC_DIR)  # which workers share
        table = Table(Path(folder) / "rate_limits" if folder else None)
        self._failures = Limiter(table, "failure", FAILURES)
        self.limit = None if settings.rate_limit is None else RateLimit.parse(settings.rate_limit)
        if self.limit is not None:
            self._by_key, self._by_address = (Limiter(table, kind, self.limit) for kind in ("key", "address"))
            self._policy = (b"ratelimit-policy", b'"default";q=%d;w=%d' % self.limit)
        self._origins = listed(settings.cors_origins)

    def check(self, scope: Scope) -> Response | None:
        """The error to send instead of an answer, for a request of a wrong host or too many; else None.

        Leaves in `scope` the key of the request, if it has a valid one, and the headers that tell what is left.
        """
        headers: list[tuple[bytes, bytes]] = scope["headers"]
        found = dict(headers)
        repeated = len(found) != len(headers)
        host, given = found.get(b"host"), found.get(b"authorization")
        if repeated:  # of two hosts or keys none counts: what stands before the service may have checked the other
            names = [name for name, _ in headers]
            host = host if names.count(b"host") == 1 else None
            given = given if names.count(b"authorization") == 1 else None
        scope["guard"], scope["key"], scope["limits"] = self, None, ()
        if host is None or not self.hosts.allows(host):
            return error(400, "invalid_host", "the service does not go by the name in Host; --allowed-hosts lists more")
        key: Key | None = None
        if self.keys is not None and given is not None:
            key = scope["key"] = self.keys.find(given)
        if self.limit is None or scope["path"] in UNLIMITED or is_operations(scope):
            return None
        left, seconds = self._by_address.take(self.client(scope)) if key is None else self._by_key.take(key.name)
        scope["limits"] = self._policy, (b"ratelimit", b'"default";r=%d;t=%d' % (max(left, 0), seconds))
        return _too_many("too many requests", seconds) if left < 0 else None

    def refuse(self, scope: Scope, needs: str | None) -> Response | None:
        """The error to send instead of an answer, for a request without a key of this scope; else None."""
        if needs is None or self.permits(scope, needs):
            return None
        if scope["key"] is not None:
            challenge = {"WWW-Authenticate": f'Bearer error="insufficient_scope", scope="{needs}"'}
            return error(403, "scope_missing", f"this key lacks the scope {needs}", challenge)
        left, seconds = self._failures.take(self.client(scope))
        if left < 0:
            return _too_many("too many requests without a valid key", seconds)
        if any(name == b"authorization" for name, _ in scope["headers"]):
            challenge = {"WWW-Authenticate": 'Bearer error="invalid_token"'}
            return error(401, "key_invalid", "this key is not valid; send Authorization: Bearer KEY, once", challenge)
        detail = "a key is needed: send Authorization: Bearer KEY"
        return error(401, "key_required", detail, {"WWW-Authenticate": "Bearer"})

    def permits(self, scope: Scope, needs: str) -> bool:
        """Whether a request has a key of this scope, or needs none."""
        if self.keys is None:
            return True
        key: Key | None = scope["key"]
        return (key is not None and needs in key.scopes) or is_operations(scope)

    def permissions(self, scope: Scope) -> frozenset[str] | None:
        """All that a request is permitted, by the scopes of its key; None if it needs none."""
        if self.keys is None or is_operations(scope):
            return None
        key: Key | None = scope["key"]
        return frozenset() if key is None else key.scopes

    def client(self, scope: Scope) -> str:
        """The client's address, behind trusted proxies too."""
        peer = scope["client"][0] if scope.get("client") else ""
        if not self.clients.networks:
            return self.clients.name(peer)
        forwarded = b",".join(value for name, value in scope["headers"] if name == b"x-forwarded-for")
        return self.clients.name(peer, forwarded)

    def readable(self, response: Response) -> ASGIApp:
        """The response, readable also by pages of the origins that may call the service."""
        return Cors(response, self._origins) if self._origins else response

    def follow_keys(self, ended: Event, seconds: float) -> None:
        """Look at the file of keys every so many seconds: in a thread, for a file system may hang."""
        while self.keys is not None and not ended.wait(seconds):
            try:
                self.keys.refresh()
            except Exception:  # else revoked keys would stay valid
                log.exception("keys were not read")


def is_operations(scope: Scope) -> bool:
    """Whether the request came by the operations port."""
    return bool(scope.get("state", {}).get("operations"))


def _too_many(detail: str, seconds: int) -> Response:
    wait = str(seconds)
    return error(429, "rate_limited", f"{detail}; try again in {wait} s", {"Retry-After": wait})
