"""A bundle is signed with a private key, and taken for nobody else's."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from recsys.bundle import Bundle, BundleError
from recsys.bundle.manifest import MANIFEST
from recsys.bundle.signature import SIGNATURE, SigningError, read_private_key, read_public_key, sign
from recsys.files import WriteError
from tests.bundles import one_sentence, rewritten


def write_keys(folder: Path, name: str = "key") -> tuple[Path, Path]:
    """Files of a new private key and of its public one."""
    key = ed25519.Ed25519PrivateKey.generate()
    private, public = folder / f"{name}.pem", folder / f"{name}.pub.pem"
    private.touch(0o600)
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return private, public


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, Path]:
    return write_keys(tmp_path)


@pytest.fixture
def signed(saved: Path, keys: tuple[Path, Path]) -> Path:
    sign(saved, (saved / MANIFEST).read_bytes(), read_private_key(keys[0]))
    return saved


def test_a_signed_bundle_is_loaded_and_no_other(signed: Path, keys: tuple[Path, Path], tmp_path: Path) -> None:
    assert Bundle.load(signed, verify_key=keys[1]).n_users == 2
    assert len((signed / SIGNATURE).read_bytes()) == 89
    _, other = write_keys(tmp_path, "other")
    with pytest.raises(BundleError, match=f"bundle is not signed with the private key to {other}") as error:
        Bundle.load(signed, verify_key=other)
    one_sentence(error)
    rewritten(signed, rating_scale=[1, 4])  # with a digest that agrees
    with pytest.raises(BundleError, match="is not signed with"):
        Bundle.load(signed, verify_key=keys[1])
    assert Bundle.load(signed).scale == (1, 4)
    (signed / SIGNATURE).unlink()
    with pytest.raises(BundleError, match=r"is not signed: it has no manifest\.sig") as error:
        Bundle.load(signed, verify_key=keys[1])
    one_sentence(error)


def test_every_bit_of_the_signature_counts(signed: Path, keys: tuple[Path, Path]) -> None:
    whole = (signed / SIGNATURE).read_bytes()
    contents = [bytes([*whole[:at], whole[at] ^ 1 << bit, *whole[at + 1 :]]) for at in range(89) for bit in range(8)]
    contents += [whole[:length] for length in range(89)] + [whole + b"\n", b" " + whole, whole.replace(b"\n", b"\r\n")]
    spare = whole[:85] + bytes([whole[85] + 1]) + whole[86:]  # bits that base64 leaves over
    for content in [*contents, spare]:
        (signed / SIGNATURE).write_bytes(content)
        with pytest.raises(BundleError, match=r"not signed|manifest\.sig cannot be read"):
            Bundle.load(signed, verify_key=keys[1])


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo], ids=["dir", "pipe"])
def test_a_signature_that_is_no_file_is_refused(signed: Path, keys: tuple[Path, Path], make: object) -> None:
    (signed / SIGNATURE).unlink()
    make(signed / SIGNATURE)  # type: ignore[operator]
    with pytest.raises(BundleError, match=r"manifest\.sig cannot be read: it is not a regular file"):
        Bundle.load(signed, verify_key=keys[1])


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")
def test_keys_are_those_of_openssl(saved: Path, tmp_path: Path) -> None:
    private, public = tmp_path / "key.pem", tmp_path / "key.pub.pem"
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", private], check=True, umask=0o077)
    subprocess.run(["openssl", "pkey", "-in", private, "-pubout", "-out", public], check=True)
    sign(saved, (saved / MANIFEST).read_bytes(), read_private_key(private))
    assert Bundle.load(saved, verify_key=public).n_users == 2


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX's")
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660])
def test_a_private_key_that_others_can_read_is_refused(keys: tuple[Path, Path], mode: int) -> None:
    keys[0].chmod(mode)
    with pytest.raises(SigningError, match=rf"must be closed to others, not {mode:04o}: chmod 600 ") as error:
        read_private_key(keys[0])
    one_sentence(error)


def test_other_keys_are_refused_and_not_repeated(keys: tuple[Path, Path], tmp_path: Path) -> None:
    other = ec.generate_private_key(ec.SECP256R1())
    file = tmp_path / "other.pem"
    file.touch(0o600)
    file.write_bytes(other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    with pytest.raises(SigningError, match="must hold a private key of Ed25519, got E"):
        read_private_key(file)
    secret = BestAvailableEncryption(b"secret")
    file.write_bytes(ed25519.Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, secret))
    with pytest.raises(SigningError, match="is encrypted: write it without a password"):
        read_private_key(file)
    file.write_bytes(other.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    with pytest.raises(SigningError, match="must hold a public key of Ed25519, got E"):
        read_public_key(file)
    with pytest.raises(SigningError, match="holds no public key in PEM"):
        read_public_key(keys[0])
    keys[1].chmod(0o600)
    with pytest.raises(SigningError, match="holds no private key in PEM"):
        read_private_key(keys[1])
    for content in (b"", b"-----BEGIN PRIVATE KEY-----\nsecret\n-----END PRIVATE KEY-----\n", b"\xff" * 100):
        file.write_bytes(content)
        for read in (read_private_key, read_public_key):
            with pytest.raises(SigningError, match=f"{file} holds no (private|public) key in PEM") as error:
                read(file)
            assert "secret" not in one_sentence(error)
    for missing in (tmp_path / "none.pem", tmp_path):
        with pytest.raises(SigningError, match="cannot be read"):
            read_public_key(missing)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="the superuser may write anywhere")
def test_a_folder_that_cannot_be_written_to_is_named(saved: Path, keys: tuple[Path, Path]) -> None:
    saved.chmod(0o500)
    with pytest.raises(WriteError, match=r"cannot write .*manifest\.sig: Permission denied"):
        sign(saved, b"", read_private_key(keys[0]))


def test_without_the_package_it_is_named(saved: Path, keys: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives", None)
    with pytest.raises(SigningError, match=r"pip install 'recsys-lightning\[signing\]'") as error:
        Bundle.load(saved, verify_key=keys[1])
    one_sentence(error)
    assert Bundle.load(saved).n_users == 2
