"""API keys of the service: `recsys keys add shop --scope predict`, `list`, `rotate`, `revoke`.

A key is printed once and stored nowhere: the file holds its SHA-256. A service that runs heeds every change of the file
within `poll_seconds`.
"""

from __future__ import annotations

import argparse
import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from recsys.files import WriteError, write_errors
from serve.access.key_file import KEYS_FILE, NAME, PREFIX, SCOPES, Key, KeyFileError, digest_of, read_keys, write_keys

LOCK_SECONDS = 10.0


def add(path: Path, name: str, scopes: frozenset[str]) -> str:
    """Make a key.

    Returns:
        The key, which is not stored.

    Raises:
        KeyFileError: The name is taken or none, or the file is damaged.
        WriteError: The file cannot be written.
    """
    if not NAME.fullmatch(name):
        raise KeyFileError(f"NAME must be 1 to 64 letters, digits, '.', '_' or '-', got {name!r:.80}")
    with _alone(path):
        keys = _existing(path)
        if any(key.name == name for key in keys):
            raise KeyFileError(f"{path} has a key {name} already: rotate or revoke it, or choose another name")
        text, digest = _new()
        write_keys(path, (*keys, Key(name, scopes, digest, _now())))
    return text


def rotate(path: Path, name: str) -> str:
    """Replace a key by a new one of the same name and scopes; see `add`."""
    with _alone(path):
        keys = _existing(path)
        old = _named(keys, name, path)
        text, digest = _new()
        new = replace(old, digest=digest, created=_now())
        write_keys(path, tuple(new if key is old else key for key in keys))
    return text


def revoke(path: Path, name: str) -> None:
    """Remove a key; see `add`."""
    with _alone(path):
        keys = _existing(path)
        old = _named(keys, name, path)
        write_keys(path, tuple(key for key in keys if key is not old))


def _new() -> tuple[str, bytes]:
    """A key of 256 random bits, and its SHA-256."""
    text = PREFIX + secrets.token_urlsafe(32)
    return text, digest_of(text.encode())


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _existing(path: Path) -> tuple[Key, ...]:
    return read_keys(path)[0] if os.path.lexists(path) else ()


def _named(keys: tuple[Key, ...], name: str, path: Path) -> Key:
    for key in keys:
        if key.name == name:
            return key
    names = ", ".join(key.name for key in keys) or "none"
    raise KeyFileError(f"{path} has no key {name!r:.80}; it has {names}")


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """While no other process changes the file: else one of two keys made at once would be lost."""
    path = Path(os.path.realpath(path))  # a link has the lock of what it names
    lock = FileLock(path.with_name(f".{path.name}.lock"), timeout=LOCK_SECONDS, mode=0o600)
    try:
        with write_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            lock.acquire()
    except WriteError as error:
        if isinstance(error.__cause__, Timeout):
            raise KeyFileError(f"another process is changing {path}; try again") from None
        raise
    try:
        yield
    finally:
        lock.release()


def _scopes(text: str) -> frozenset[str]:
    scopes = frozenset(text.split(","))
    if not scopes <= set(SCOPES):
        raise argparse.ArgumentTypeError(f"must be some of {','.join(SCOPES)}, got {text!r:.80}")
    return scopes


def main() -> None:
    parser = argparse.ArgumentParser(prog="recsys keys", description=__doc__.partition("\n")[0])
    given = os.environ.get("RECSYS_KEYS") or KEYS_FILE
    parser.add_argument(
        "--file", type=Path, default=Path(given), help=f"where they are (default: RECSYS_KEYS, or {KEYS_FILE})"
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="add | list | rotate | revoke")
    new = commands.add_parser("add", help="make a key and print it, once")
    new.add_argument("name", metavar="NAME", help="by which it is listed, revoked and logged")
    new.add_argument(
        "--scope", type=_scopes, default=frozenset(("predict",)), metavar="SCOPES",
        help="separated by commas: predict (predictions, recommendations, items, the model), histories (users' "
        "ratings), events (record events, describe users and items), jobs (score many users), operations (metrics, "
        "details of readiness); default predict",
    )  # fmt: skip
    commands.add_parser("list", help="names, scopes and dates")
    for command, what in (("rotate", "replace a key and print the new one"), ("revoke", "make a key invalid")):
        commands.add_parser(command, help=what).add_argument("name", metavar="NAME")
    arguments = parser.parse_args()
    try:
        _run(arguments)
    except (KeyFileError, WriteError) as error:
        sys.exit(f"error: {error}")


def _run(arguments: argparse.Namespace) -> None:
    path: Path = arguments.file
    if arguments.command == "list":
        keys = _existing(path)
        for key in keys:
            print(f"{key.name:<24} {','.join(sorted(key.scopes, key=SCOPES.index)):<32} {key.created}")
        if not keys:
            print(f"no keys in {path}", file=sys.stderr)
    elif arguments.command == "revoke":
        revoke(path, arguments.name)
        print(f"{arguments.name} is no longer valid", file=sys.stderr)
    else:
        made = (
            add(path, arguments.name, arguments.scope) if arguments.command == "add" else rotate(path, arguments.name)
        )
        print("Keep this key; it is not shown again.", file=sys.stderr)
        print(made)


if __name__ == "__main__":
    main()
