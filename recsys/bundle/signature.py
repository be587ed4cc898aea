"""Signatures: who vouches for a bundle. Ed25519 of the manifest, which vouches for the rest; needs `cryptography`."""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from recsys.bundle.errors import BundleError
from recsys.bundle.reading import reason
from recsys.files import atomic_write, openness, read_regular

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

SIGNATURE = "manifest.sig"  # beside the manifest: 64 bytes as base64, in one line
LINE_BYTES = 89
KEY_BYTES = 16 << 10  # of a file of a key
OTHERS = 0o077  # what nobody but the owner may do with a private key


class SigningError(BundleError):
    """A key cannot be used."""


def read_private_key(path: Path) -> Ed25519PrivateKey:
    """The key in a file as `openssl genpkey -algorithm ed25519` makes it.

    Raises:
        SigningError: There is none, it is another kind of key or encrypted, others can read it, or the package is
            missing.
    """

    def check(status: os.stat_result) -> None:
        if problem := openness(status, OTHERS):
            raise SigningError(f"private key {path} {problem} {path}")

    content = _content(path, check)
    serialization, ed25519 = _cryptography()
    try:
        key = serialization.load_pem_private_key(content, None)
    except Exception as error:  # of which there are many kinds, and none may repeat the key
        encrypted = isinstance(error, TypeError)
        raise SigningError(
            f"{path} is encrypted: write it without a password, by `openssl pkey -in {path} -out KEY.pem`"
            if encrypted
            else f"{path} holds no private key in PEM, as `openssl genpkey -algorithm ed25519` makes it"
        ) from None
    if not isinstance(key, ed25519.Ed25519PrivateKey):
        raise SigningError(f"{path} must hold a private key of Ed25519, got {type(key).__name__}")
    return cast("Ed25519PrivateKey", key)


def read_public_key(path: Path) -> Ed25519PublicKey:
    """The key in a file as `openssl pkey -pubout` makes it.

    Raises:
        SigningError: There is none, it is another kind of key, or the package is missing.
    """
    content = _content(path)
    serialization, ed25519 = _cryptography()
    try:
        key = serialization.load_pem_public_key(content)
    except Exception:  # of which there are many kinds
        raise SigningError(f"{path} holds no public key in PEM, as `openssl pkey -pubout` makes it") from None
    if not isinstance(key, ed25519.Ed25519PublicKey):
        raise SigningError(f"{path} must hold a public key of Ed25519, got {type(key).__name__}")
    return cast("Ed25519PublicKey", key)


def sign(folder: Path, manifest: bytes, key: Ed25519PrivateKey) -> None:
    """Write the signature of a manifest beside it, whole or not at all.

    Raises:
        WriteError: The folder cannot be written to.
    """
    with atomic_write(folder / SIGNATURE) as partial:
        partial.write_bytes(signature_of(manifest, key))


def signature_of(manifest: bytes, key: Ed25519PrivateKey) -> bytes:
    """The content of the signature's file."""
    return base64.b64encode(key.sign(manifest)) + b"\n"


def read_signature(folder: Path) -> bytes | None:
    """The signature in a bundle's folder, not checked; None if there is none.

    Raises:
        BundleError: It cannot be read.
    """
    file = folder / SIGNATURE
    try:
        return read_regular(file, LINE_BYTES)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise BundleError(f"{file} cannot be read: {reason(error)}") from error


def check_signature(folder: Path, manifest: bytes, verify_key: Path) -> None:
    """Check that the manifest is signed with the private key to a public one.

    Args:
        folder: Of the bundle.
        manifest: The bytes of its manifest.
        verify_key: File of the public key.

    Raises:
        BundleError: It is not signed, or not with this key; or the key cannot be used.
    """
    key, line = read_public_key(verify_key), read_signature(folder)
    if line is None:
        raise BundleError(f"{folder} is not signed: it has no {SIGNATURE}")
    if not _is_signed(key, line, manifest):
        raise BundleError(f"{folder} is not signed with the private key to {verify_key}")


def _is_signed(key: Ed25519PublicKey, line: bytes, manifest: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature

    try:
        signature = base64.b64decode(line.removesuffix(b"\n"), validate=True)
        if base64.b64encode(signature) + b"\n" != line:  # spare bits that are set
            return False
        key.verify(signature, manifest)
    except (binascii.Error, InvalidSignature):
        return False
    return True


def _content(path: Path, check: Callable[[os.stat_result], None] | None = None) -> bytes:
    try:
        return read_regular(path, KEY_BYTES, check)
    except OSError as error:
        raise SigningError(f"key {path} cannot be read: {reason(error)}") from error


def _cryptography() -> tuple[Any, Any]:
    """The modules of the package that are used here."""
    try:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ImportError as error:
        raise SigningError(
            "signatures need the package cryptography: pip install 'recsys-lightning[signing]'"
        ) from error
    return serialization, ed25519
