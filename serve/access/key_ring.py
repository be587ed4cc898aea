"""The keys that a running service accepts; changes of their file are heeded without a restart."""

from __future__ import annotations

import hmac
import logging
from pathlib import Path

from serve.access.key_file import KEY, Key, KeyFileError, Stamp, digest_of, read_keys

log = logging.getLogger("serve")

LONGEST = 128  # bytes of an Authorization header that may hold a key
MOST_REMEMBERED = 1024


class KeyRing:
    """Keys by what a request's `Authorization` says.

    A file that cannot be read when a worker starts leaves no keys: nobody may ask, until it can be. Later, the last
    good keys stay in use.

    Args:
        path: File of keys.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._keys: tuple[Key, ...] = ()
        self._known: dict[bytes, Key] = {}  # headers with a valid key: nothing that a stranger sends gets in
        self._stamp: Stamp | None = None
        self._complaint: tuple[str, Stamp | None] | None = None
        self.refresh()
        if self._stamp is not None and not self._keys:
            log.warning("%s has no keys: nobody may ask until `recsys keys add`", path)

    def find(self, authorization: bytes) -> Key | None:
        """The key of an `Authorization` header; None if it is no valid one.

        In constant time with respect to the keys: hashes are compared, all of them, each as a whole.
        """
        known = self._known
        found = known.get(authorization)
        if found is not None:
            return found
        scheme, _, text = authorization[:LONGEST].partition(b" ")
        text = text.strip(b" ")
        if scheme.lower() != b"bearer" or not KEY.fullmatch(text) or len(authorization) > LONGEST:
            return None
        digest = digest_of(text)
        for key in self._keys:
            if hmac.compare_digest(key.digest, digest):
                found = key
        if found is not None and len(known) < MOST_REMEMBERED:
            known[authorization] = found
        return found

    def refresh(self) -> None:
        """Read the file again if it has changed; log why if it cannot be read, once."""
        stamp = None
        try:
            stamp = Stamp.of(self.path.stat())
            if stamp == self._stamp:
                return
            keys, stamp = read_keys(self.path)
        except (KeyFileError, OSError) as error:
            complaint = str(error) if isinstance(error, KeyFileError) else f"keys {self.path}: {error.strerror}"
            if self._complaint != (complaint, stamp):
                self._complaint = complaint, stamp
                log.error("%s; %s", complaint, "the keys read before stay valid" if self._stamp else "no key is valid")
            return
        if self._stamp is not None:
            log.info("keys have changed: %s", ", ".join(key.name for key in keys) or "none is left")
        # A request between these lines may remember a key in the former dictionary, which nobody reads again.
        self._keys, self._known, self._stamp, self._complaint = keys, {}, stamp, None
