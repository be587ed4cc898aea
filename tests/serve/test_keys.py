"""API keys: a file that never holds one, and the command that writes it."""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock

from serve import keys
from serve.access.key_file import SCOPES, Key, KeyFileError, read_keys, write_keys

EVERYTHING = frozenset(SCOPES)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "outputs" / "keys.json"


Run = Callable[..., tuple[str, str]]


@pytest.fixture
def run(file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """What `recsys keys` prints, and says."""

    def call(*arguments: str) -> tuple[str, str]:
        monkeypatch.setattr("sys.argv", ["recsys keys", "--file", str(file), *arguments])
        keys.main()
        return capsys.readouterr()

    return call


def test_a_key_is_printed_once_and_stored_nowhere(run: Run, file: Path) -> None:
    printed, _ = run("add", "shop", "--scope", "predict,histories")
    assert re.fullmatch(r"recsys_[A-Za-z0-9_-]{43}\n", printed)
    key = printed.strip()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    for path in file.parent.iterdir():
        assert key[7:] not in path.read_text()
        assert not stat.S_IMODE(path.stat().st_mode) & 0o077
    [entry] = json.loads(file.read_text())["keys"]
    assert entry == {
        "name": "shop", "scopes": ["predict", "histories"], "created": entry["created"],
        "sha256": hashlib.sha256(key.encode()).hexdigest(),
    }  # fmt: skip
    listed, _ = run("list")
    assert listed.split()[:2] == ["shop", "predict,histories"]
    assert key not in listed
    assert entry["sha256"] not in listed


def test_a_key_is_closed_to_others_whatever_the_umask(run: Run, file: Path) -> None:
    before = os.umask(0)
    try:
        run("add", "shop")
    finally:
        os.umask(before)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_group_that_reads_the_file_goes_on_reading_it(run: Run, file: Path) -> None:
    run("add", "shop")
    file.chmod(0o640)
    run("add", "other")
    assert stat.S_IMODE(file.stat().st_mode) == 0o640


def test_a_group_that_cannot_be_kept_is_told(run: Run, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    run("add", "shop")
    file.chmod(0o640)
    content = file.read_text()
    monkeypatch.setattr("os.chown", refuse)
    with pytest.raises(SystemExit, match=r"^error: keys [^\n]* cannot keep their group \d+: Operation not permitted$"):
        run("revoke", "shop")
    assert file.read_text() == content


def test_rotate_and_revoke(run: Run, file: Path) -> None:
    first, _ = run("add", "shop", "--scope", "operations")
    run("add", "other")
    second, _ = run("rotate", "shop")
    assert second != first
    shop, other = read_keys(file)[0]
    assert (shop.name, shop.scopes, shop.digest) == (
        "shop", {"operations"}, hashlib.sha256(second.strip().encode()).digest()
    )  # fmt: skip
    assert (other.name, other.scopes) == ("other", {"predict"})
    run("revoke", "shop")
    assert [key.name for key in read_keys(file)[0]] == ["other"]
    run("revoke", "other")
    assert read_keys(file)[0] == ()
    assert "no keys" in run("list")[1]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["add", "shop"], "has a key shop already"), (["revoke", "none"], "has no key 'none'; it has shop"),
     (["rotate", "none"], "has no key"), (["add", "a b"], "NAME must be"), (["add", ""], "NAME must be"),
     (["add", "a\nb"], "NAME must be"), (["add", "é"], "NAME must be"), (["add", "x" * 65], "NAME must be")],
)  # fmt: skip
def test_a_mistake_is_one_sentence(run: Run, arguments: list[str], said: str) -> None:
    run("add", "shop")
    with pytest.raises(SystemExit, match=rf"^error: [^\n]*{re.escape(said)}[^\n]*$"):
        run(*arguments)


def test_an_unknown_scope(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    for scope in ("all", "", "predict,", "predict,admin"):
        with pytest.raises(SystemExit):
            run("add", "shop", "--scope", scope)
        assert "predict,histories,events,jobs,operations" in capsys.readouterr().err


def test_a_folder_that_cannot_be_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("")
    monkeypatch.setattr("sys.argv", ["keys", "--file", str(tmp_path / "plain" / "keys.json"), "add", "shop"])
    with pytest.raises(SystemExit, match=r"^error: cannot write"):
        keys.main()


def test_the_file_is_named_by_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RECSYS_KEYS", str(tmp_path / "mine"))
    monkeypatch.setattr("sys.argv", ["keys", "add", "shop"])
    keys.main()
    assert [key.name for key in read_keys(tmp_path / "mine")[0]] == ["shop"]


def test_keys_made_at_once_are_all_kept(file: Path) -> None:
    threads = [threading.Thread(target=keys.add, args=(file, f"key{n}", EVERYTHING)) for n in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert {key.name for key in read_keys(file)[0]} == {f"key{n}" for n in range(20)}


def test_a_file_that_another_process_keeps_is_not_waited_for_in_vain(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys, "LOCK_SECONDS", 0.05)
    file.parent.mkdir()
    with FileLock(file.with_name(".keys.json.lock")), pytest.raises(KeyFileError, match="another process"):
        keys.add(file, "shop", EVERYTHING)


def entry(**changes: object) -> dict[str, object]:
    return {"name": "a", "scopes": ["predict"], "sha256": "0" * 64, "created": "2026-11-29T12:00:00+00:00"} | changes


@pytest.mark.parametrize(
    "content",
    [
        "", "{", "[]", "7", "\0" * 100, "[" * 100_000, '{"version": 1, "keys": {}}', '{"version": 2, "keys": []}',
        '{"version": 1, "keys": [], "more": 1}', '{"keys": []}', '{"version": 1, "keys": [7]}',
        *(json.dumps({"version": 1, "keys": keys})
          for keys in (
              [entry(name="a b")], [entry(name=7)], [entry(name="")], [entry(scopes=[])], [entry(scopes=["admin"])],
              [entry(scopes="predict")], [entry(scopes=[["predict"]])], [entry(sha256="0" * 63)],
              [entry(sha256="A" * 64)], [entry(sha256=None)], [entry(sha256="0" * 64 + "\n")], [entry(created=7)],
              [entry(more=1)], [entry(), entry(sha256="1" * 64)], [entry(), entry(name="b")])),
    ],
    ids=lambda text: ascii(text)[:60],
)  # fmt: skip
def test_a_damaged_file_is_refused_and_kept(file: Path, content: str) -> None:
    file.parent.mkdir()
    file.write_text(content)
    file.chmod(0o600)
    with pytest.raises(KeyFileError, match=rf"^keys {re.escape(str(file))} are damaged: [^\n]+$"):
        read_keys(file)
    with pytest.raises(KeyFileError):
        keys.add(file, "new", EVERYTHING)
    assert file.read_text() == content


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o660, 0o620, 0o602, 0o601, 0o610, 0o777])
def test_a_file_that_others_can_use_is_refused(file: Path, mode: int) -> None:
    keys.add(file, "shop", EVERYTHING)
    file.chmod(mode)
    with pytest.raises(KeyFileError, match=f"must be closed to others, not {mode:04o}: chmod 600"):
        read_keys(file)


@pytest.mark.parametrize("kind", ["pipe", "folder", "device", "link to a pipe", "dangling link", "large", "none"])
def test_anything_but_a_file_is_refused_at_once(tmp_path: Path, kind: str) -> None:
    file = tmp_path / "keys.json"
    if "pipe" in kind:
        os.mkfifo(tmp_path / "pipe", 0o600)
    if kind == "folder":
        file.mkdir()
    elif kind == "large":
        file.touch(0o600)
        os.truncate(file, 20 << 30)
    elif kind != "none":
        target = {"pipe": "pipe", "link to a pipe": "pipe", "device": "/dev/zero", "dangling link": "gone"}[kind]
        file.symlink_to(target)
    with pytest.raises(KeyFileError, match=r"^(no )?keys [^\n]*$"):
        read_keys(file)


def test_a_link_to_a_private_file_is_followed_and_stays_one(tmp_path: Path) -> None:
    keys.add(tmp_path / "real", "shop", EVERYTHING)
    (tmp_path / "link").symlink_to("real")
    keys.add(tmp_path / "link", "other", EVERYTHING)
    assert (tmp_path / "link").is_symlink()
    assert {key.name for key in read_keys(tmp_path / "real")[0]} == {"shop", "other"}


def test_a_dangling_link_is_not_taken_for_an_absent_file(tmp_path: Path) -> None:
    (tmp_path / "keys.json").symlink_to("gone")
    with pytest.raises(KeyFileError):
        keys.add(tmp_path / "keys.json", "shop", EVERYTHING)
    assert not (tmp_path / "gone").exists()


def test_what_is_written_is_read(tmp_path: Path) -> None:
    written = (Key("a", EVERYTHING, b"\1" * 32, "now"), Key("b", frozenset(("predict",)), b"\2" * 32, "then"))
    write_keys(tmp_path / "keys", written)
    assert read_keys(tmp_path / "keys")[0] == written
