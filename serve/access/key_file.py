"""The file of API keys: their names, scopes and SHA-256, never the keys.

A key is 256 random bits, so that its plain SHA-256 cannot be inverted and needs no slow hash on each request.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from recsys.files import atomic_write, openness, read_regular

KEYS_FILE = Path("outputs/keys.json")  # where they are, unless told otherwise
SCOPES = ("predict", "histories", "events", "jobs", "operations")
PREFIX = "recsys_"  # by which scanners for secrets, and people, recognize a key
KEY = re.compile(rb"recsys_[A-Za-z0-9_-]{43}")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
MAX_BYTES = 1 << 20  # of a file
OTHERS = 0o037  # what nobody but the owner may do; a group may read, as it must where an orchestrator mounts the file
VERSION = 1


class KeyFileError(ValueError):
    """The file of keys cannot be used, or not for this."""


@dataclass(frozen=True)
class Key:
    """What is known of a key.

    Attributes:
        name: By which it is listed, revoked and logged.
        scopes: Of `SCOPES`: what it allows.
        digest: SHA-256 of the key.
        created: Date and time in UTC.
    """

    name: str
    scopes: frozenset[str]
    digest: bytes
    created: str


class Stamp(NamedTuple):
    """What of a file changes whenever it is written, replaced or given other rights."""

    device: int
    inode: int
    size: int
    modified: int
    changed: int

    @classmethod
    def of(cls, status: os.stat_result) -> Stamp:
        return cls(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def digest_of(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()


def read_keys(path: Path) -> tuple[tuple[Key, ...], Stamp]:
    """The keys in the file, and the stamp of what was read.

    Raises:
        KeyFileError: There is no such file, it is damaged or none, or others can read it.
    """
    stamps = []

    def check(status: os.stat_result) -> None:
        if problem := openness(status, OTHERS):
            raise KeyFileError(f"keys {path} {problem} {path}")
        stamps.append(Stamp.of(status))

    try:
        content = read_regular(path, MAX_BYTES, check)
    except FileNotFoundError:
        raise KeyFileError(f"no keys in {path}: make one with `recsys keys add NAME`") from None
    except OSError as error:
        raise KeyFileError(f"keys {path} cannot be read: {error.strerror}") from error
    try:
        return _parsed(json.loads(content)), stamps[0]
    except (ValueError, RecursionError):  # of which not even a part is repeated
        raise KeyFileError(
            f"keys {path} are damaged: restore the file, or remove it and make new keys with `recsys keys add`"
        ) from None


def _parsed(content: Any) -> tuple[Key, ...]:
    """The keys.

    Raises:
        ValueError: Anything is not as `write_keys` writes it.
    """
    if not isinstance(content, dict) or content.keys() != {"version", "keys"} or content["version"] != VERSION:
        raise ValueError
    if not isinstance(content["keys"], list):
        raise ValueError
    keys = tuple(map(_key, content["keys"]))
    if len({key.name for key in keys}) != len(keys) or len({key.digest for key in keys}) != len(keys):
        raise ValueError
    return keys


def _key(entry: Any) -> Key:
    if not isinstance(entry, dict) or entry.keys() != {"name", "scopes", "sha256", "created"}:
        raise ValueError
    name, scopes, digest, created = entry["name"], entry["scopes"], entry["sha256"], entry["created"]
    if not isinstance(name, str) or not NAME.fullmatch(name) or not isinstance(created, str):
        raise ValueError
    if not isinstance(scopes, list) or not scopes or any(scope not in SCOPES for scope in scopes):
        raise ValueError
    if not isinstance(digest, str) or not re.fullmatch("[0-9a-f]{64}", digest):
        raise ValueError
    return Key(name, frozenset(scopes), bytes.fromhex(digest), created)


def write_keys(path: Path, keys: tuple[Key, ...]) -> None:
    """Replace the file, readable by its owner, and by its group if it was.

    Raises:
        KeyFileError: It cannot keep its group.
        WriteError: It cannot be written.
    """
    entries = [
        {"name": key.name, "scopes": sorted(key.scopes, key=SCOPES.index), "sha256": key.digest.hex(),
         "created": key.created}
        for key in keys
    ]  # fmt: skip
    before = path.stat() if path.exists() else None
    with atomic_write(path) as partial:
        partial.chmod(0o600)  # while it is empty
        if before is not None and before.st_mode & stat.S_IRGRP:  # the service may read it by its group
            try:
                os.chown(partial, -1, before.st_gid)
            except OSError as error:
                raise KeyFileError(f"keys {path} cannot keep their group {before.st_gid}: {error.strerror}") from error
            partial.chmod(0o640)
        partial.write_text(json.dumps({"version": VERSION, "keys": entries}, indent=1) + "\n", encoding="ascii")
