from __future__ import annotations

import errno
import json
import os
import socket
from pathlib import Path

import pytest

from recsys.files import (
    parsed_json,
    read_json,
    read_regular,
)


def test_only_regular_files_are_read_and_never_waited_for(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12345")
    (tmp_path / "link").symlink_to("file")
    for name in ("file", "link"):
        assert read_regular(tmp_path / name, 5) == b"12345"
    with pytest.raises(OSError, match="more than 4 bytes") as large:
        read_regular(tmp_path / "file", 4)
    assert large.value.errno == errno.EFBIG
    with pytest.raises(FileNotFoundError):
        read_regular(tmp_path / "none", 5)
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        before = len(list(Path("/dev/fd").iterdir()))
        listening.bind(str(tmp_path / "socket"))
        for path in (tmp_path, tmp_path / "pipe", tmp_path / "socket", Path("/dev/zero"), Path("/dev/null")):
            with pytest.raises(OSError, match=r"regular file|No such device"):
                read_regular(path, 5)
        assert len(list(Path("/dev/fd").iterdir())) == before


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("[" * 100_000, "nested in more than 50 levels"),
        ('{"a": ' * 60 + "1" + "}" * 60, "nested in more than 50 levels"),
        ('"' + "x" * (1 << 20) + '"', "more than 1 MiB"),
        ("{", "Expecting property name"),
    ],
)
def test_json_that_would_fill_the_memory_is_refused(tmp_path: Path, content: str, reason: str) -> None:
    (tmp_path / "status.json").write_text(content)
    with pytest.raises(ValueError, match=reason):
        parsed_json(tmp_path / "status.json")
    assert read_json(tmp_path / "status.json") is None


def test_a_pipe_is_no_file_of_figures(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "status.json")
    with pytest.raises(ValueError, match="not a file"):
        parsed_json(tmp_path / "status.json")


def test_json_of_any_kind_is_parsed(tmp_path: Path) -> None:
    for text in ("1", "[]", '{"a": [1, {"b": null}]}', "[" * 50 + "]" * 50):
        (tmp_path / "a.json").write_text(text)
        assert parsed_json(tmp_path / "a.json") == json.loads(text)


def test_json_that_is_damaged_is_missing_and_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert read_json(tmp_path / "a.json") is None
    assert caplog.text == ""
    for content in (b"", b"{", b"\xff\xfe", b"\0" * 9, b"[]", b"null", b"[" * 100_000):
        caplog.clear()
        (tmp_path / "a.json").write_bytes(content)
        assert read_json(tmp_path / "a.json") is None
        assert f"{tmp_path / 'a.json'} is damaged (" in caplog.text
